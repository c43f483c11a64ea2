"""Pushes, doubled and shuffled events, dying processes and passing faults, in an order that a seed decides.

The invariants are those of the design; each story checks all of them.
"""

from __future__ import annotations

from collections import Counter

import pytest

from shared.domain.candidate import Candidate, CandidateState, Verdict
from shared.domain.image import Digest
from shared.domain.rollout import RolloutState
from tests.fakes import World
from tests.simulation.story import Story

STORIES = 60


@pytest.mark.parametrize("seed", range(STORIES))
def test_whatever_happens_the_invariants_hold(seed: int) -> None:
    story = Story(seed)
    story.play()
    world = story.world
    candidates = {candidate.digest: candidate for candidate in world.candidates()}
    passed = {d for d, candidate in candidates.items() if _passed(candidate)}

    assert set(candidates) == {content for _, content in story.pushed}, "every push is handled"
    assert all(candidate.finished for candidate in candidates.values()), "and comes to an end"
    assert {content for _, content in world.registry.moves} <= passed, "1: only passed digests get a stable tag"
    _check_unique_tags(world, candidates)
    expected = [content for _, content in story.pushed if content in passed]
    assert world.stable_tag() == (expected[-1] if expected else None), "4: the newest passed push, never an older one"
    examinations = Counter(run.values["IMAGE"] for run in world.tasks.runs.values() if "IMAGE" in run.values)
    assert set(examinations.values()) <= {1}, "5: one examination a digest"
    assert all(candidate.history for candidate in candidates.values()), "8: everything is explained"
    _check_page(world, expected)


def _passed(candidate: Candidate) -> bool:
    return all(check.verdict is Verdict.PASSED for check in candidate.checks)


def _check_unique_tags(world: World, candidates: dict[Digest, Candidate]) -> None:
    for (registry, name), content in world.registry.tags.items():
        if registry == "base" and name != "node:15-alpine":
            assert ("base", name) in world.registry.locked, "3: a unique tag is locked"
            assert candidates[content].run_id in name, "2: it holds what the run examined"
    for content, candidate in candidates.items():
        if candidate.state is CandidateState.PROMOTED:
            assert len(world.unique_tags(content)) == 1, "3: one unique tag a digest"


def _check_page(world: World, passed: list[Digest]) -> None:
    """What runs in the end was built on what the stable tag stands on in the end."""
    if not passed:
        assert not world.rollouts()
        return
    live = world.app().live
    assert live is not None
    builds = [r for r in world.rollouts() if r.image and r.image.tag == live.tag and r.state is RolloutState.LIVE]
    assert builds
    assert builds[0].base
    assert builds[0].base.digest == passed[-1]
