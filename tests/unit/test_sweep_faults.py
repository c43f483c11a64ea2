"""The sweep and what goes wrong in the middle of it: one job's fault is that job's, and time is shared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest

from shared.domain.errors import Retry, Throttled
from shared.domain.image import Digest
from shared.domain.policy import Policy, RegistryRule
from shared.domain.sweep import SweepRecord
from shared.sweep.job import JobRun, SweepJob, one_by_one
from shared.sweep.sweep import JobState, Sweep, SweepResult
from tests.fakes import World, digest, sample_policy

GREEN = digest("green")
BATCH = 200


def gates(*names: str, tags: int = 1) -> Policy:
    """Gates of one source registry, each with a repository and tags of its own."""
    policy = sample_policy()
    gate = policy.gates["node"]
    made = {
        name: msgspec.structs.replace(
            gate,
            name=name,
            source=msgspec.structs.replace(
                gate.source, repository=name, tags=tuple(f"1.{number:04}" for number in range(tags))
            ),
            promote=msgspec.structs.replace(gate.promote, repository=name),
        )
        for name in names
    }
    return msgspec.structs.replace(policy, gates=made, apps={})


def state_of(result: SweepResult, job: str) -> JobState:
    return next(one.state for one in result.jobs if one.job == job)


@pytest.mark.parametrize("fault", [KeyError("a bug"), Retry("503")], ids=["a bug", "a fault"])
def test_what_goes_wrong_in_one_job_stops_no_other(fault: Exception) -> None:
    world = World(gates("first", "second"))
    world.registry.tags[("public", "second:1.0000")] = GREEN
    real = world.ledger.between

    def broken(kind: type, partition: str, first: str, last: str) -> object:
        if partition == "first":
            raise fault
        return real(kind, partition, first, last)

    world.ledger.between = broken  # type: ignore[assignment, method-assign]
    world.registry.tags[("public", "first:1.0000")] = GREEN
    result = world.sweep_now()
    assert state_of(result, "upstream.first") is JobState.FAILED
    assert state_of(result, "upstream.second") is JobState.DONE
    stored = world.ledger.load(SweepRecord, "sweep", "upstream.first")
    assert stored
    assert (stored.record.holder, bool(stored.record.problem)) == ("", True)


@pytest.mark.parametrize("row", ["upstream.first", "overdue.gate.first"])
def test_a_job_whose_row_cannot_be_written_stops_no_other(row: str) -> None:
    world = World(gates("first", "second"))

    def away(record: object) -> None:
        if isinstance(record, SweepRecord) and record.job == row:
            raise Retry("the ledger is away: 503")

    world.ledger.before_save = away
    result = world.sweep_now()
    assert [job.job for job in result.unfinished] == [row]
    assert state_of(result, row) is JobState.FAILED


def test_a_registry_that_asks_for_a_pause_is_not_asked_for_the_other_tags() -> None:
    world, asked = World(gates("huge", tags=BATCH)), list[str]()

    def read(registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        asked.append(tag)
        raise Throttled("429")

    world.tags.digest_of = read  # type: ignore[method-assign]
    world.sweep_now()
    assert len(asked) == 1


def slow(world: World, seconds: float) -> None:
    """Every reading of an upstream tag takes its time."""
    real = world.tags.digest_of

    def read(registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        world.clock.forward(seconds)
        return real(registry, repository, tag)

    world.tags.digest_of = read  # type: ignore[method-assign]


def test_a_gate_with_many_tags_leaves_time_to_the_others_of_its_registry() -> None:
    world = World(gates("huge", "small", tags=1))
    huge = msgspec.structs.replace(
        world.policy.gates["huge"].source, tags=tuple(f"1.{number:04}" for number in range(20 * BATCH))
    )
    all_gates = {**world.policy.gates, "huge": msgspec.structs.replace(world.policy.gates["huge"], source=huge)}
    world.policy = msgspec.structs.replace(world.policy, gates=all_gates)
    world.restart()
    slow(world, 0.1)
    result = world.sweep.run(world.clock.now() + timedelta(seconds=180))
    assert state_of(result, "upstream.huge") is JobState.CONTINUES
    assert state_of(result, "upstream.small") is JobState.DONE


def test_a_sweep_whose_time_is_up_begins_no_more_jobs_and_the_next_one_begins_with_those() -> None:
    names = [f"gate-{number}" for number in range(9)]
    world = World(gates(*names, tags=BATCH))
    slow(world, 0.2)
    began = world.clock.now()
    world.sweep.run(began + timedelta(seconds=180))
    assert (world.clock.now() - began).total_seconds() < 180 + 2 * 0.2 * BATCH
    for _ in range(2):
        world.clock.forward(300)
        world.sweep.run(world.clock.now() + timedelta(seconds=180))
    whole = {stored.record.job for stored in world.ledger.list(SweepRecord, "sweep") if stored.record.finished_at}
    assert {f"upstream.{name}" for name in names} <= whole


def test_jobs_are_reported_in_the_order_of_the_rules() -> None:
    world = World(gates("first", "second"))
    jobs = [job.job for job in world.sweep_now().jobs]
    assert jobs.index("upstream.first") < jobs.index("silence.first") < jobs.index("upstream.second")
    assert jobs == [job.job for job in world.sweep_now().jobs]


class ToyJob(SweepJob):
    """The least that a sweep job is."""

    def batches(self, run: JobRun) -> Iterator[str]:
        for batch in ("a", "b"):
            if batch > run.record.after:
                run.note("play", batch)
                yield batch


def test_a_job_of_another_kind_is_resumed_where_it_was_left() -> None:
    world = World()
    sweep = Sweep(world.services, one_by_one)
    results = [sweep.run_job(ToyJob(world.services, "toy", "toys"), world.clock.now()) for _ in range(3)]
    assert [result.state for result in results] == [JobState.CONTINUES, JobState.CONTINUES, JobState.DONE]
    assert [[effect.subject for effect in result.effects] for result in results] == [["a"], ["b"], []]
