"""Holds and vetoes under bad luck: events, reruns, dying processes; they stay until they are lifted."""

from __future__ import annotations

import pytest

from shared.domain.candidate import CandidateState, Verdict
from shared.domain.errors import BasegateError
from shared.domain.image import Digest
from shared.domain.standing import HoldUntil
from shared.workflow.find import candidate_id
from shared.workflow.operate import Who
from tests.fakes import World
from tests.simulation.story import Story

STORIES = 40
WHO = Who("op", "a simulated night")


def passed(world: World, content: Digest) -> bool:
    return any(
        candidate.digest == content and all(check.verdict is Verdict.PASSED for check in candidate.checks)
        for candidate in world.candidates()
    )


def rerun_everything(world: World) -> None:
    for candidate in world.candidates():
        try:
            world.operate.candidates.rerun(candidate_id(candidate), WHO).act()
        except BasegateError:
            continue


@pytest.mark.parametrize("seed", range(STORIES))
def test_a_hold_stays_through_everything_and_lifting_it_lets_the_newest_passed_push_through(seed: int) -> None:
    story = Story(seed)
    world = story.world
    story.world.ledger.before_save = None
    world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, WHO).act()
    world.ledger.before_save = lambda record: story.maybe_die()
    story.play()
    rerun_everything(world)
    world.restart()
    world.settle()
    assert world.stable_tag() is None
    assert world.registry.moves == []
    world.operate.gates.lift("node", "15-alpine", WHO).act()
    world.settle()
    expected = [content for _, content in story.pushed if passed(world, content)]
    assert world.stable_tag() == (expected[-1] if expected else None)
    assert all(candidate.state is not CandidateState.HELD for candidate in world.candidates())


@pytest.mark.parametrize("seed", range(STORIES))
def test_a_vetoed_digest_is_never_promoted_whatever_happens(seed: int) -> None:
    story = Story(seed)
    world = story.world
    story.before_push = lambda number, content: (
        world.operate.vetoes.veto("node", content, WHO).act() if number % 2 else None
    )
    story.play()
    rerun_everything(world)
    world.restart()
    world.settle()
    vetoed = {content for number, (_, content) in enumerate(story.pushed) if number % 2}
    assert not vetoed & {content for _, content in world.registry.moves}
    assert not vetoed & {world.registry.tags[key] for key in world.registry.tags if key[0] == "base"}
