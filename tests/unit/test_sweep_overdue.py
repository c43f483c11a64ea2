"""The sweep and open records: what nobody takes up is brought up, what waits is left in peace, alarms of stalls end."""

from __future__ import annotations

import pytest

from shared.domain.alarm import STALLS, Alarm, AlarmKind
from shared.domain.errors import Misconfigured, Retry
from shared.domain.promotion import PromotionState
from shared.domain.sweep import SweepRecord
from shared.sweep.jobs import lost_work
from tests.fakes import World, digest

GREEN, BLUE = digest("green"), digest("blue")
PERIOD = 300.0


def stall_alarms(world: World) -> list[Alarm]:
    return [stored.record for stored in world.ledger.list(Alarm, STALLS) if stored.record.is_active]


def brought_up(world: World) -> list[str]:
    return [effect.subject.split(",")[0] for effect in world.sweep_now().effects if effect.what == "enqueue"]


@pytest.fixture
def stalled() -> World:
    """A promotion that is refused its copy."""
    world = World()
    world.registry.copy_fault = Misconfigured("the role is missing", remedy="grant it")
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.promotion().stall is not None
    return world


def test_a_promotion_that_waits_for_its_verdict_is_not_overdue() -> None:
    world = World()
    world.tasks.seconds = 500.0
    world.push("15-alpine", GREEN)
    world.pass_time(PERIOD)
    assert world.promotion().state is PromotionState.WAITING
    assert brought_up(world) == []


def test_a_promotion_whose_candidate_brought_nothing_up_is_overdue() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    waiting = world.promotion().reset()
    stored = world.ledger.load(type(waiting), "node", waiting.row)
    assert stored
    world.ledger.save(stored, waiting)
    world.clock.forward(PERIOD)
    assert f"promotion {waiting.id}" in brought_up(world)
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_stalled_record_is_brought_up_only_when_its_next_try_is_overdue(stalled: World) -> None:
    stalled.queue.waiting.clear()
    stall = stalled.promotion().stall
    assert stall is not None
    assert stall.next_try_at is not None
    stalled.clock.time = stall.next_try_at
    assert brought_up(stalled) == []
    stalled.clock.forward(lost_work.GRACE_SECONDS + 1)
    assert brought_up(stalled) == [f"promotion {stalled.promotion().id}"]


def test_no_more_records_are_brought_up_at_once_than_the_queue_should_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_work, "WOKEN_AT_ONCE", 1)
    world = World()
    for tag, content in (("15-alpine", GREEN), ("15.14", BLUE)):
        world.push(tag, content)
        world.next_item()
    world.queue.waiting.clear()
    world.clock.forward(PERIOD)
    assert len(brought_up(world)) == 1


def test_the_alarm_about_a_stall_ends_when_no_record_stalls_on_the_same(stalled: World) -> None:
    stalled.push("15.14", BLUE)
    stalled.settle()
    stalled.sweep_now()
    assert [(alarm.kind, alarm.subject) for alarm in stall_alarms(stalled)] == [(AlarmKind.STALLED, "registry base")]
    stalled.registry.copy_fault = None
    stalled.pass_time(2 * PERIOD)
    assert stalled.stable_tag() == GREEN
    stalled.sweep_now()
    assert stall_alarms(stalled) == []
    assert stalled.announcer.names.count("DriftResolved") == 1


def test_the_alarm_about_a_stall_that_could_not_be_raised_is_raised_by_the_sweep(stalled: World) -> None:
    for key in [key for key in stalled.ledger.rows if key[0] == "Alarm"]:
        del stalled.ledger.rows[key]
    stalled.sweep_now()
    assert [alarm.subject for alarm in stall_alarms(stalled)] == ["registry base"]


def test_a_gate_whose_records_cannot_be_read_ends_no_alarm_about_stalls(stalled: World) -> None:
    honest = stalled.ledger.open

    def away(kind: type, partition: str) -> object:
        if partition == "node":
            raise Retry("the ledger is away")
        return honest(kind, partition)

    stalled.ledger.open = away  # type: ignore[assignment, method-assign]
    stalled.sweep_now()
    assert len(stall_alarms(stalled)) == 1
    stored = stalled.ledger.load(SweepRecord, "sweep", "stall-alarms")
    assert stored
    assert stored.record.problem == "the ledger is away"
