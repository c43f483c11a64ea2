"""The sweep and lists of tags in no order: how much of the ledger it reads does not depend on the order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest

from shared.domain.image import parse_tag
from shared.domain.observation import Observation
from shared.domain.policy import Source
from shared.ports import R, Stored
from shared.sweep.jobs import upstream
from shared.sweep.jobs.upstream import TrackedTags, UpstreamJob
from shared.sweep.sweep import JobState
from tests.fakes import START, FakeLedger, World, digest, sample_policy

NAMES = [f"15.{number}" for number in range(1000)]


class CountingLedger(FakeLedger):
    """Counts the records that ranges give."""

    given = 0

    def between(self, kind: type[R], partition: str, first: str, last: str) -> Iterator[Stored[R]]:
        for stored in super().between(kind, partition, first, last):
            self.given += 1
            yield stored


def known_world() -> tuple[World, CountingLedger]:
    """A gate that has seen a thousand tags, which the registry lists in no order."""
    policy = sample_policy()
    source = Source(registry="public", repository="node", tags=("15.*",))
    world = World(
        msgspec.structs.replace(policy, gates={"node": msgspec.structs.replace(policy.gates["node"], source=source)})
    )
    ledger = world.ledger = CountingLedger()
    world.restart()
    for name in random.Random(15).sample(NAMES, len(NAMES)):
        world.registry.tags["public", f"node:{name}"] = digest(name)
        ledger.insert(Observation(gate="node", tag=parse_tag(name), digest=digest(name), sequence=1, first_seen=START))
    return world, ledger


def test_a_list_in_no_order_is_compared_with_each_observation_once() -> None:
    world, ledger = known_world()
    job = UpstreamJob(world.services, world.policy.gates["node"])
    result = world.sweep.run_job(job, world.clock.now() + timedelta(minutes=4))
    assert (result.state, result.effects) == (JobState.DONE, ())
    assert len([asked for asked in world.tags.asked if asked.startswith("public/")]) == len(NAMES)
    assert ledger.given == len(NAMES)


def test_a_sweep_of_a_list_in_no_order_goes_on_where_it_was() -> None:
    world, _ = known_world()
    for _ in range(6):  # no time at all: a batch of 200 a sweep, and one that finds the end
        result = world.sweep.run(world.clock.now())
    assert result.jobs[0].state is JobState.DONE
    asked = [asked for asked in world.tags.asked if asked.startswith("public/")]
    assert sorted(asked) == sorted(f"public/node:{name}" for name in NAMES)


def test_no_more_names_are_taken_than_are_sorted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "_SORTED_TAGS", 10)
    endless = (str(number) for number in itertools.count(9, -1))
    rule = Source(registry="public", repository="node", tags=("*",)).tracked
    tracked = TrackedTags(rule, lambda: endless).behind("")
    assert list(itertools.islice(tracked, 10)) == sorted("0123456789")
    assert next(endless) == "-1"
