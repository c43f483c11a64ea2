"""The engine: steps of one invocation, plans, faults that stall and pass, crashes, and outcomes nobody hears."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from shared.checks.approval import ApprovalCheck
from shared.domain.alarm import Alarm
from shared.domain.candidate import Candidate, CandidateState
from shared.domain.decide import Decision
from shared.domain.errors import BasegateError, Busy, Cause, Conflict, Misconfigured, Retry, Throttled
from shared.domain.image import ImageRef
from shared.domain.outcome import Outcome
from shared.domain.policy import RegistryRule
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.record import WorkItem
from shared.health import HealthChecks
from shared.ports import Stored
from shared.reconcile.candidates import CandidateController
from shared.reconcile.engine import STEP_LIMIT_SECONDS, Reconciler
from shared.records.step import Step
from tests.fakes import ProcessDied, World, digest, sample_policy
from tests.unit.operators import promote_again

ORANGE, RED, GREEN = digest("orange"), digest("red"), digest("green")


def gate_world() -> World:
    return World(sample_policy(apps={}))


def pushed(content: Any = GREEN) -> World:
    """A world whose candidate is being examined, with a check of 600 s."""
    world = gate_world()
    world.tasks.seconds = 600
    world.push("15-alpine", content)
    for _ in range(5):
        world.next_item()
    return world


def stalled_on_copy(*faults: BasegateError) -> World:
    """A world whose candidate has passed, and whose promotion cannot copy."""
    world = gate_world()
    world.registry.copy_fault = faults[0] if faults else Retry("503 the registry is away")
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.promotion().stall
    return world


def until(world: World, condition: Callable[[], object]) -> None:
    """Go on until something is so."""
    while not world.promotions() or not condition():
        world.next_item()


def alarms(world: World) -> list[Alarm]:
    return [stored.record for stored in world.ledger.list(Alarm, "stalls")]


# several steps an invocation


def test_from_the_verdict_to_the_copy_and_from_the_copy_to_the_end_nothing_goes_through_the_queue() -> None:
    policy = sample_policy(apps={})
    gate = msgspec.structs.replace(policy.gates["node"], referrers="ignore")
    world = World(msgspec.structs.replace(policy, gates={"node": gate}))
    world.registry.copy_seconds = 0.0
    world.push("15-alpine", GREEN)
    items = []
    while world.queue.waiting:
        items.append(world.next_item())
    kinds = {item.kind for item in items[1:] if isinstance(item, WorkItem)}
    assert kinds == {"candidate"}, "only the check is waited for"
    assert world.unheard() == []


def test_what_a_step_did_is_saved_before_the_next_effect_that_cannot_be_repeated() -> None:
    world = gate_world()
    saved: list[str] = []

    def note(record: object) -> None:
        if isinstance(record, Promotion) and record.candidate:
            saved.append(record.history[-1].what)

    world.ledger.before_save = note
    world.push("15-alpine", GREEN)
    world.settle()
    steps = ["passed", "copy started", "locked", "stable tag moved", "promoted"]
    assert list(dict.fromkeys(saved)) == steps


def test_no_step_begins_later_than_its_limit_and_the_rest_goes_through_the_queue() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.settle(within_seconds=2.5)
    world.registry.copy_seconds = 0.0
    start, world.clock.ticking = world.clock.time, 1.5
    called: list[float] = []
    for name in ("start_copy", "lock", "point"):
        setattr(world.registry, name, _timed(world, getattr(world.registry, name), start, called))
    world.next_item()
    assert called, "some steps were taken"
    assert max(called) < STEP_LIMIT_SECONDS + 10
    assert world.stable_tag() is None, "and not all"
    assert world.queue.waiting[0][0] <= world.clock.time + timedelta(seconds=10)
    world.clock.ticking = 0.0
    world.settle()
    assert world.stable_tag() == GREEN


def _timed(world: World, real: Callable[..., Any], start: datetime, called: list[float]) -> Callable[..., Any]:
    def call(*given: Any) -> Any:
        called.append((world.clock.time - start).total_seconds())
        return real(*given)

    return call


def test_a_step_that_changes_nothing_is_not_repeated_at_once() -> None:
    world = gate_world()
    world.registry.copy_seconds = 60
    world.push("15-alpine", GREEN)
    world.settle(within_seconds=5)
    polls: list[float] = []
    polled = _timed(world, world.registry.copy_status, world.clock.time, polls)
    world.registry.copy_status = polled  # type: ignore[method-assign]
    world.pass_time(30)
    assert 1 <= len(polls) < 30


# which work item is whose turn


@pytest.mark.parametrize(
    "item", [WorkItem("candidate", "node", "nobody"), WorkItem("promotion", "x", "y"), WorkItem("odd", "", "")]
)
def test_a_work_item_without_a_record_is_dropped_and_said(item: WorkItem, caplog: pytest.LogCaptureFixture) -> None:
    world = gate_world()
    with caplog.at_level(logging.WARNING):
        world.reconciler.work(item)
    assert "work item dropped" in caplog.text
    assert not world.reconciler.give_up(item, "it crashed")
    assert world.queue.waiting == []


def test_a_work_item_that_is_not_planned_takes_no_step_and_watches_over_the_plan() -> None:
    world = pushed()
    before = world.candidate(GREEN)
    world.reconciler.work(before.work_item)
    assert world.candidate(GREEN) == before
    assert {item for _, _, item in world.queue.waiting} == {before.planned_work_item}


def test_many_of_them_do_not_multiply_the_polls() -> None:
    world = pushed()
    for _ in range(10):
        world.reconciler.work(world.candidate(GREEN).work_item)
    world.pass_time(90)
    assert len(world.queue.waiting) == 1


def test_a_redelivered_work_item_goes_on_whatever_is_planned() -> None:
    world = pushed()
    before = len(world.queue.waiting)
    world.reconciler.work(world.candidate(GREEN).work_item, redelivered=True)
    assert len(world.queue.waiting) == before + 1


@pytest.mark.parametrize("seconds", [-600, -5, 0, 300])
def test_a_worker_whose_clock_disagrees_takes_the_planned_work_item_all_the_same(seconds: float) -> None:
    world = pushed()
    _, _, item = world.queue.waiting.pop()
    assert isinstance(item, WorkItem)
    world.clock.forward(seconds)
    world.reconciler.work(item)
    assert world.queue.waiting, "the chain goes on"


def test_a_planned_work_item_that_got_lost_is_made_up_for_by_the_next() -> None:
    world = pushed()
    world.queue.waiting.clear()
    world.reconciler.work(world.candidate(GREEN).work_item)
    world.settle(within_seconds=1000)
    assert world.stable_tag() == GREEN


def test_a_write_whose_answer_got_lost_does_not_end_the_chain() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    save, lost = world.ledger.save, iter([False, False, True])

    def save_and_lose_the_answer(stored: Stored[Any], record: Any) -> Stored[Any]:
        saved = save(stored, record)
        if isinstance(record, Candidate) and next(lost, False):
            raise Conflict("the SDK sent it again and was told that it had changed")
        return saved

    world.ledger.save = save_and_lose_the_answer  # type: ignore[method-assign]
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_ledger_that_is_away_puts_the_work_item_off_and_loses_nothing() -> None:
    world = pushed()
    planned = world.queue.waiting.pop()[2]
    assert isinstance(planned, WorkItem)
    load, world.ledger.load = world.ledger.load, _away  # type: ignore[method-assign,assignment]
    world.reconciler.work(planned)
    assert [item for _, _, item in world.queue.waiting] == [msgspec.structs.replace(planned, planned_for=None)]
    world.ledger.load = load  # type: ignore[method-assign]
    world.settle(within_seconds=1000)
    assert world.stable_tag() == GREEN


def test_a_redelivered_work_item_that_meets_an_outage_is_still_the_last_trace_of_a_dead_worker() -> None:
    world = pushed()
    planned = world.queue.waiting.pop()[2]
    assert isinstance(planned, WorkItem)
    send, world.queue.send = world.queue.send, _die  # type: ignore[method-assign,assignment]
    with pytest.raises(ProcessDied):
        world.reconciler.work(planned)
    world.queue.send = send  # type: ignore[method-assign]
    load, world.ledger.load = world.ledger.load, _away  # type: ignore[method-assign,assignment]
    world.reconciler.work(planned, redelivered=True)
    world.ledger.load = load  # type: ignore[method-assign]
    world.settle(within_seconds=1000)
    assert world.stable_tag() == GREEN


def _away(*_: object) -> None:
    raise Retry("the tables answer 503")


def _die(*_: object) -> None:
    raise ProcessDied


# stalls


def test_a_step_is_stalled_after_two_tries_and_says_on_what_and_until_when() -> None:
    world = stalled_on_copy(Misconfigured("403", cause=Cause.ROLE, remedy="grant the app AcrPush"))
    promotion = world.promotion()
    stall = promotion.stall
    assert stall
    assert (promotion.state, promotion.state_name) == (PromotionState.PROMOTING, "stalled")
    assert (stall.step, stall.dependency, stall.cause) == ("copy", "registry base", "role")
    assert (stall.reason, stall.remedy, stall.tries) == ("403", "grant the app AcrPush", 2)
    assert stall.next_try_at
    assert stall.next_try_at > world.clock.now()
    assert stall.since == promotion.failing_since


def test_one_failed_try_is_no_stall() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.registry.copy_fault = Retry("503")
    until(world, lambda: world.promotion().failures)
    assert world.promotion().stall is None
    world.registry.copy_fault = None
    world.settle()
    assert (world.stable_tag(), world.promotion().failures) == (GREEN, 0)


def test_a_pause_of_a_minute_is_a_stall_at_once() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.registry.copy_fault = Throttled("429", 3600.0)
    until(world, lambda: world.promotion().failures)
    stall = world.promotion().stall
    assert stall
    assert (stall.tries, stall.reason) == (1, "429")


def test_tries_come_at_growing_intervals_and_never_stop() -> None:
    world = stalled_on_copy()
    tries = []
    for _ in range(12):
        before = world.promotion().failures
        while world.promotion().failures == before:
            world.next_item()
        tries.append(world.clock.now())
    waits = [round((later - earlier).total_seconds()) for earlier, later in pairwise(tries)]
    assert waits == sorted(waits)
    assert waits[-1] == 300


@pytest.mark.parametrize("hours", [0.2, 1, 30])
def test_what_was_stalled_for_any_time_goes_on_by_itself_when_its_cause_is_gone(hours: float) -> None:
    world = stalled_on_copy()
    world.pass_time(hours * 3600)
    assert world.stable_tag() is None
    world.registry.copy_fault = None
    world.pass_time(600)
    promotion = world.promotion()
    assert (world.stable_tag(), promotion.state) == (GREEN, PromotionState.PROMOTED)
    assert (promotion.stall, promotion.failures, promotion.failing_since) == (None, 0, None)
    assert "resumed" in [entry.what for entry in promotion.history]


def test_a_hint_about_a_stalled_record_is_taken_at_once() -> None:
    world = stalled_on_copy()
    world.pass_time(3600)
    world.registry.copy_fault = None
    world.reconciler.work(world.promotion().work_item)
    world.settle(within_seconds=10)
    assert world.stable_tag() == GREEN


def test_what_stalls_on_one_dependency_is_one_alarm_and_released_by_the_first_that_succeeds() -> None:
    world = gate_world()
    world.registry.copy_fault = Retry("503")
    tags = [f"15.{number}" for number in range(8)]
    for tag in tags:
        world.push(tag, GREEN)
    world.pass_time(1200)
    assert [alarm.subject for alarm in alarms(world)] == ["registry base"]
    assert all(promotion.stall for promotion in world.promotions())
    world.registry.copy_fault = None
    world.reconciler.work(world.promotion(tags[0]).work_item)
    world.settle(within_seconds=30)
    assert {world.stable_tag(tag) for tag in tags} == {GREEN}


@pytest.mark.parametrize("bad", [(), ("15.00", "15.01"), ("15.38", "15.39")], ids=["none", "the first", "the last"])
def test_many_stalled_records_are_released_by_a_few_messages_each(bad: tuple[str, ...]) -> None:
    """Those that stall for a reason of their own did so before, and do not keep the others from being released."""
    world = gate_world()
    world.registry.copy_fault = Retry("503")
    tags = [f"15.{number:02}" for number in range(40)]
    for tag in bad:
        world.push(tag, GREEN)
    world.pass_time(400)
    for tag in set(tags) - set(bad):
        world.push(tag, GREEN)
    world.pass_time(1000)
    released, send = Counter[str](), world.queue.send

    def counted(item: WorkItem, wait_seconds: float) -> None:
        released[item.row] += item.kind == "promotion" and item.planned_for is None
        send(item, wait_seconds)

    world.queue.send = counted  # type: ignore[method-assign]
    world.registry.copy_fault = None
    fail_copies_of(world, bad)
    world.reconciler.work(world.promotion("15.20").work_item)
    world.settle(within_seconds=90)
    assert {tag for tag in tags if world.stable_tag(tag) is None} == set(bad)
    assert sum(released.values()) <= 3 * len(tags)


def fail_copies_of(world: World, tags: tuple[str, ...]) -> None:
    """Let no copy of these tags be started."""
    start = world.registry.start_copy

    def start_others(source: ImageRef, source_rule: RegistryRule, target: RegistryRule, name: str) -> str:
        if name.startswith(tuple(f"node:{tag}-" for tag in tags)):
            raise Retry("503")
        return start(source, source_rule, target, name)

    world.registry.start_copy = start_others  # type: ignore[method-assign]


def test_another_dependency_is_not_released() -> None:
    world = gate_world()
    world.tasks.start_fault = Misconfigured("no such task")
    world.push("15.14", ORANGE)
    world.settle()
    world.tasks.start_fault, world.registry.copy_fault = None, Retry("503")
    world.push("15-alpine", GREEN)
    world.next_item()
    assert world.candidate(GREEN).checks[0].run_id
    world.tasks.start_fault = Misconfigured("no such task")
    world.pass_time(60)
    assert {alarm.subject for alarm in alarms(world)} == {"task base/base-import-node", "registry base"}
    world.registry.copy_fault = None
    tries = world.candidate(ORANGE).failures
    world.reconciler.work(world.promotion().work_item)
    world.settle(within_seconds=5)
    assert world.stable_tag() == GREEN
    assert world.candidate(ORANGE).failures == tries


def test_a_copy_that_only_began_proves_nothing_about_copies() -> None:
    world = gate_world()
    world.registry.copy_problem = "429 toomanyrequests"
    world.push("15-alpine", GREEN)
    world.settle()
    promotion = world.promotion()
    assert promotion.stall
    assert (promotion.failures, promotion.stall.step) == (2, "watch copy")
    world.pass_time(3600)
    assert world.promotion().stall
    assert len(world.registry.copies) < 25, "the waits grow although each copy could be begun"
    world.registry.copy_problem = ""
    world.pass_time(600)
    assert (world.stable_tag(), world.promotion().stall) == (GREEN, None)


def test_a_wait_for_someone_else_is_no_failure_however_long() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.registry.copy_fault = Busy("someone else is at it", delay_seconds=1)
    world.pass_time(120)
    assert (world.promotion().failures, world.promotion().stall) == (0, None)
    world.registry.copy_fault = None
    world.settle()
    assert world.stable_tag() == GREEN


def test_who_waits_for_someone_else_is_not_stalled_any_more() -> None:
    world = stalled_on_copy()
    world.registry.copy_fault = Busy("someone else is at it", delay_seconds=1)
    world.pass_time(60)
    assert world.promotion().stall is None


# crashes


def test_a_step_that_crashes_leaves_the_last_saved_step() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    lock, world.registry.lock = world.registry.lock, _crash  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        world.settle()
    assert world.promotion().history[-1].what == "copy started"
    world.registry.lock = lock  # type: ignore[method-assign]
    world.reconciler.work(world.promotion().work_item, redelivered=True)
    world.settle()
    assert world.stable_tag() == GREEN


def _crash(*_: object) -> None:
    raise ZeroDivisionError


def test_a_poisoned_work_item_stalls_its_record_visibly_and_it_is_tried_again() -> None:
    world = pushed()
    world.queue.waiting.clear()
    assert world.reconciler.give_up(world.candidate(GREEN).work_item, "the step crashed at every delivery")
    candidate = world.candidate(GREEN)
    assert candidate.stall
    assert (candidate.state_name, candidate.stall.reason) == ("stalled", "the step crashed at every delivery")
    assert len(alarms(world)) == 1
    world.settle(within_seconds=1000)
    world.pass_time(1000)
    assert world.stable_tag() == GREEN


def test_a_poisoned_work_item_of_what_waits_for_a_person_stalls_it_until_it_is_tried_again() -> None:
    gate = sample_policy().gates["node"]
    asking = msgspec.structs.replace(gate, checks=(ApprovalCheck(),))
    world = World(sample_policy(gates={"node": asking}))
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.reconciler.give_up(world.candidate(GREEN).work_item, "it crashed")
    assert world.candidate(GREEN).state_name == "stalled"
    world.pass_time(600)
    assert (world.candidate(GREEN).state_name, world.candidate(GREEN).next_step_at) == ("awaiting approval", None)


def test_a_poisoned_work_item_stalls_its_record_though_not_even_a_decision_can_be_made() -> None:
    world = pushed()

    class Crashing(CandidateController):
        def decide(self, record: Candidate, step: Step[Candidate] | None = None) -> Decision:
            raise ZeroDivisionError

    crashing = Reconciler(world.services, {"candidate": Crashing(world.services)})
    assert crashing.give_up(world.candidate(GREEN).work_item, "it crashed at every delivery")
    assert world.candidate(GREEN).state_name == "stalled"
    world.pass_time(1000)
    assert world.stable_tag() == GREEN


def test_a_poisoned_work_item_of_a_listener_is_visible_while_it_hears_nothing() -> None:
    world = gate_world()
    world.announcer.fault = Retry("the topic is away")
    world.push("15-alpine", GREEN)
    world.settle(within_seconds=30)
    assert world.candidate(GREEN).settled
    assert world.reconciler.give_up(world.listener().work_item, "it crashed at every delivery")
    found = [result for result in HealthChecks(world.services).run() if result.dependency == "outcomes"]
    assert "it crashed at every delivery" in found[0].detail
    world.announcer.fault = None
    world.pass_time(7200)
    assert (world.listener().stall, world.listener().settled) == (None, True)
    assert {"CandidatePassed", "Promoted"} <= set(world.announcer.names)


def test_giving_up_a_settled_record_changes_nothing() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.settle()
    rows = dict(world.ledger.rows)
    for record in (world.candidate(GREEN), world.promotion()):
        assert world.reconciler.give_up(record.work_item, "it crashed")
    assert world.ledger.rows == rows


def test_a_poisoned_announcement_is_made_in_the_end() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    announce = world.announcer.announce

    def crash(outcome: Outcome) -> None:
        if outcome.name in ("CandidatePassed", "Promoted"):
            raise ZeroDivisionError
        announce(outcome)

    world.announcer.announce = crash  # type: ignore[method-assign]
    for _ in range(6):
        try:
            world.settle()
        except ZeroDivisionError:
            continue
    for record in (world.candidate(GREEN), world.promotion()):
        world.reconciler.give_up(record.work_item, "it crashed")
    world.announcer.announce = announce  # type: ignore[method-assign]
    world.pass_time(600)
    assert {"CandidatePassed", "Promoted"} <= set(world.announcer.names)
    assert world.stable_tag() == GREEN


# outcomes


def test_what_waits_for_a_verdict_is_brought_up_once_although_the_outcome_is_not_heard() -> None:
    world = gate_world()
    world.announcer.fault = Retry("503")
    world.push("15-alpine", GREEN)
    world.pass_time(3600)
    assert world.registry.copies == ["node:15-alpine-cb1"]
    assert world.candidate(GREEN).state is CandidateState.PASSED


def test_what_fails_is_a_warning_and_what_goes_well_is_not(caplog: pytest.LogCaptureFixture) -> None:
    world = gate_world()
    world.tasks.failing[ORANGE] = "ERROR: Invalid Color: Red"
    with caplog.at_level(logging.INFO):
        world.push("15-alpine", ORANGE)
        world.settle()
        failed = [record for record in caplog.records if record.levelno >= logging.WARNING]
        caplog.clear()
        world.push("15-alpine", GREEN)
        world.settle()
    assert any("ERROR: Invalid Color: Red" in record.message and "state=failed" in record.message for record in failed)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_decision_that_ends_while_its_promotion_is_parked_takes_it_up_at_once() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.settle()
    promote_again(world)
    assert world.queue.waiting == [], "there is nothing to take up"
