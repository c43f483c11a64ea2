"""Holds and vetoes under bad luck: events, reruns, dying processes; they stay until they are lifted."""

from __future__ import annotations

from contextlib import suppress

import pytest

from shared.domain.candidate import CandidateState, Verdict
from shared.domain.errors import BasegateError
from shared.domain.image import Digest
from shared.domain.standing import HoldUntil
from shared.domain.track import Track
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


@pytest.mark.parametrize("seed", range(STORIES))
def test_no_stable_tag_ever_stands_on_what_was_canceled_whatever_happens(seed: int) -> None:
    story = Story(seed)
    world = story.world
    canceled: set[str] = set()

    def cancel_something(record: object) -> None:
        """An operator comes in between any two writes."""
        story.maybe_die()
        if story.random.random() < 0.05:
            hook, world.ledger.before_save = world.ledger.before_save, None
            candidate = story.random.choice(world.candidates() or [None])
            with suppress(BasegateError):
                if candidate is not None:
                    world.operate.candidates.cancel(candidate_id(candidate), WHO).act()
                    canceled.add(candidate.row)
            world.ledger.before_save = hook

    world.ledger.before_save = cancel_something
    story.play()
    world.restart()
    world.settle()
    tracks = [stored.record for stored in world.ledger.list(Track, "node")]
    assert all(track.candidate not in canceled for track in tracks)
    assert {track.tag: world.stable_tag(track.tag) for track in tracks} == {t.tag: t.digest for t in tracks}
    gone = {candidate.digest for candidate in world.candidates() if candidate.row in canceled}
    assert not gone & {content for _, content in world.registry.moves}
