"""Pushes, doubled and shuffled events, dying processes and passing faults, in an order that a seed decides.

The invariants are those of the design; each story checks all of them.
"""

from __future__ import annotations

import heapq
from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from shared.domain.candidate import Candidate, CandidateState, Verdict
from shared.domain.errors import Retry
from shared.domain.image import Digest
from shared.domain.rollout import RolloutState
from tests.fakes import ProcessDied, World, digest

STORIES = 60
PUSHES = 7


class Story:
    """One world and its bad luck."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.world = World()
        self.world.tasks.seconds = self.random.choice((1, 3, 20))
        self.pushed: list[tuple[str, Digest]] = []
        self.undelivered: list[dict[str, Any]] = []
        self.world.ledger.before_save = lambda record: self._maybe_die()

    def play(self) -> None:
        """Push, disturb and deliver until everything is told and at rest."""
        for number in range(PUSHES):
            self._push(number)
            for _ in range(self.random.randrange(12)):
                self._something_happens()
        while self.undelivered or self.world.queue.waiting:
            self._something_happens()
        self.world.ledger.before_save = None

    def _push(self, number: int) -> None:
        self.world.clock.forward(self.random.choice((1, 1, 30)))
        content = digest(f"image {number}")
        if self.random.random() < 0.3:
            self.world.tasks.failing[content] = "ERROR: Invalid Color: Red"
        self.world.registry.tags[("public", "node:15-alpine")] = content
        self.pushed.append(("15-alpine", content))
        event = self.world.event("15-alpine", content)
        self.undelivered += [event] * self.random.choice((1, 1, 2, 3))

    def _something_happens(self) -> None:
        self.world.registry.fault = Retry("503", 1.0) if self.random.random() < 0.03 else None
        if self.undelivered and self.random.random() < 0.5:
            self._deliver()
        elif self.world.queue.waiting:
            self._look()

    def _deliver(self) -> None:
        event = self.undelivered.pop(self.random.randrange(len(self.undelivered)))
        try:
            self.world.deliver(event)
        except ProcessDied:
            self.undelivered.append(event)
            self.world.restart()

    def _look(self) -> None:
        due, order, look = heapq.heappop(self.world.queue.waiting)
        self.world.clock.time = max(self.world.clock.time, due) + timedelta(milliseconds=10)
        if self.random.random() < 0.1:
            heapq.heappush(self.world.queue.waiting, (due, order + 100_000, look))
        try:
            self.world.advance.look(look, redelivered=order < 0)
        except ProcessDied:
            self.world.restart()
            again = self.world.clock.now() + timedelta(seconds=self.random.choice((0, 2, 30)))
            heapq.heappush(self.world.queue.waiting, (again, -abs(order), look))

    def _maybe_die(self) -> None:
        if self.random.random() < 0.04:
            raise ProcessDied


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
    assert world.app().deploying == ""
