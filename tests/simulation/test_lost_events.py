"""Events that never come, and what is done around the gate: the sweep leads to the same end, whatever dies."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from shared.domain.alarm import Alarm
from shared.domain.candidate import Candidate, Verdict
from shared.domain.errors import Retry
from shared.domain.standing import HoldUntil
from shared.workflow.operate import Who
from tests.fakes import ProcessDied, World, digest
from tests.simulation.story import Story

STORIES = 40
PERIOD = 300.0
STABLE = ("base", "node:15-alpine")


class LossyStory(Story):
    """A story in which a share of the events is dropped, a share doubled, all are shuffled, and sweeps come by."""

    def __init__(self, seed: int, dropped: float) -> None:
        super().__init__(seed)
        self._dropped, self._luck = dropped, Random(seed + 1000)
        self.before_push = lambda number, content: self.sweep_whole() if number else None

    def play(self) -> None:
        """As ever; then sweeps, a period apart, until nothing is left to do."""
        super().play()
        for _ in range(4):
            self.sweep_whole()
            self.world.settle(limit=5000)

    def deliver_or_lose(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """How often an event comes."""
        if self._luck.random() < self._dropped:
            return []
        return [event] * (2 if self._luck.random() < 0.3 else 1)

    def _push(self, number: int) -> None:
        waiting = len(self.undelivered)
        super()._push(number)
        event = self.undelivered[waiting]
        self.undelivered[waiting:] = self.deliver_or_lose(event)

    def _something_happens(self) -> None:
        super()._something_happens()
        if self.random.random() < 0.05:
            self.sweep()

    def sweep(self) -> None:
        """One sweep, which may die half-way and may have little time."""
        until = self.world.clock.now()
        try:
            self.world.sweep.run(until)
        except (ProcessDied, Retry):
            self.world.restart()

    def sweep_whole(self) -> None:
        """A period later, and the lease of whoever died is over: a sweep from end to end."""
        hook, self.world.ledger.before_save = self.world.ledger.before_save, None
        fault, self.world.registry.fault = self.world.registry.fault, None
        self.world.clock.forward(PERIOD)
        self.world.sweep_now(at_once=True)
        self.world.clock.forward(0.1)  # a push that comes after a look is later than the look
        self.world.ledger.before_save, self.world.registry.fault = hook, fault


@pytest.mark.parametrize("dropped", [0.3, 1.0], ids=["a third is lost", "all are lost"])
@pytest.mark.parametrize("seed", range(STORIES))
def test_every_digest_is_handled_exactly_once_whatever_is_lost(seed: int, dropped: float) -> None:
    story = LossyStory(seed, dropped)
    story.play()
    world = story.world
    candidates = {candidate.digest: candidate for candidate in world.candidates()}
    passed = [content for _, content in story.pushed if _passed(candidates[content])]

    assert set(candidates) == {content for _, content in story.pushed}, "6: every push is handled"
    assert len(world.candidates()) == len(candidates), "5: once"
    assert all(candidate.finished for candidate in candidates.values())
    examinations = Counter(run.values["IMAGE"] for run in world.tasks.runs.values() if "IMAGE" in run.values)
    assert set(examinations.values()) <= {1}, "5: one examination a digest"
    assert world.stable_tag() == (passed[-1] if passed else None), "4: the newest passed push"
    assert {content for _, content in world.registry.moves} <= set(passed), "1: nothing else was ever stable"


@pytest.mark.parametrize("seed", range(STORIES))
def test_what_is_done_around_the_gate_is_undone_and_what_operators_decided_is_not(seed: int) -> None:
    random, world = Random(seed), World()
    for content in ("orange", "green"):
        world.push("15-alpine", digest(content))
        world.settle()
        world.clock.forward(60)
    held = random.random() < 0.5
    if held:
        who = Who.of("ada", "a quiet weekend")
        world.operate.gates.roll_back("node", "15-alpine", digest("orange"), HoldUntil.LIFTED, who).act()
        world.settle()
    for number in range(6):
        _harm(world, random, number)
        _sweep_until_quiet(world, random)
    assert world.stable_tag() == digest("orange" if held else "green")
    live = world.app().live
    assert live is not None
    assert world.containers.groups["hello-world-aci"][0] == str(live)
    built = next(rollout for rollout in world.rollouts() if rollout.image == live)
    assert built.base is not None
    assert built.base.digest == world.stable_tag()
    assert [a.record.words for a in world.ledger.list(Alarm, "gates.node") if a.record.stands] == []
    assert [a.record.words for a in world.ledger.list(Alarm, "apps.hello-world") if a.record.stands] == []


def _harm(world: World, random: Random, number: int) -> None:
    """What somebody does around the gate."""
    unique = next(name for (at, name) in world.registry.tags if at == "base" and name != STABLE[1])
    match random.randrange(5):
        case 0:
            world.registry.tags[STABLE] = digest(f"foreign {number}")
        case 1:
            world.registry.tags.pop(STABLE, None)
        case 2:
            world.containers.groups.pop("hello-world-aci", None)
        case 3:
            world.containers.groups["hello-world-aci"] = ("foreign:1", world.clock.now())
        case _:
            world.registry.locked.discard(("base", unique))
            world.registry.tags[("base", unique)] = digest(f"foreign {number}")


def _sweep_until_quiet(world: World, random: Random) -> None:
    """Sweeps that die at any write, and then some that do not."""

    def maybe_die(_: object) -> None:
        if random.random() < 0.1:
            raise ProcessDied

    world.ledger.before_save = maybe_die
    for _ in range(3):
        try:
            world.sweep_now()
        except ProcessDied:
            world.restart()
        world.settle_while_crashing()
        world.clock.forward(PERIOD)
    world.ledger.before_save = None
    for _ in range(4):
        world.clock.forward(PERIOD)
        world.sweep_now()
        world.settle()


def _passed(candidate: Candidate) -> bool:
    return all(check.verdict is Verdict.PASSED for check in candidate.checks)
