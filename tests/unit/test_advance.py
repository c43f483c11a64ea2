"""Looks that come twice, late or to nobody, faults that pass, and outcomes that cannot be told."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.decision import STANDSTILL_LIMIT_SECONDS, STEP_ATTEMPTS
from shared.domain.errors import BasegateError, Busy, Conflict, Misconfigured, NeedsRecreation, Rejected, Retry
from shared.domain.record import Look
from shared.domain.rollout import RolloutState
from shared.ports import Stored
from shared.workflow.advance import ANNOUNCE_ATTEMPTS
from tests.fakes import ProcessDied, World, digest

ORANGE, GREEN = digest("orange"), digest("green")
DAY = STANDSTILL_LIMIT_SECONDS


def examined(world: World) -> None:
    """Go on until the registry is what everything waits for: every check has passed."""
    while world.candidates()[0].checks[0].verdict is None:
        world.next_look()


@pytest.mark.parametrize("look", [Look("candidate", "node", "nobody"), Look("rollout", "x", "y"), Look("odd", "", "")])
def test_a_look_at_nothing_is_dropped_and_said(look: Look, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.WARNING):
        world.advance.look(look)
    assert "look dropped" in caplog.text
    assert not world.advance.give_up(look, "it crashed")
    assert world.queue.waiting == []


def test_a_hint_that_finds_a_look_planned_takes_no_step_and_watches_over_the_plan() -> None:
    world = World()
    world.tasks.seconds = 600
    admission = world.push("15-alpine", GREEN)
    for _ in range(12):
        world.next_look()
    before = world.candidate(GREEN)
    world.advance.look(admission.looks[0])
    assert world.candidate(GREEN) == before
    assert {look for _, _, look in world.queue.waiting} == {before.planned_look}


def test_a_redelivered_look_goes_on_whatever_is_planned() -> None:
    world = World()
    world.tasks.seconds = 600
    admission = world.push("15-alpine", GREEN)
    for _ in range(12):
        world.next_look()
    before = len(world.queue.waiting)
    world.advance.look(admission.looks[0], redelivered=True)
    assert len(world.queue.waiting) == before + 1


def checking(world: World) -> None:
    """Go on until the check runs and its next look lies well ahead."""
    world.tasks.seconds = 600
    for _ in range(12):
        world.next_look()


@pytest.mark.parametrize("seconds", [-600, -5, 0, 600])
def test_a_worker_whose_clock_disagrees_does_not_take_the_planned_look_for_a_duplicate(seconds: float) -> None:
    world = World()
    world.push("15-alpine", GREEN)
    checking(world)
    _, _, look = world.queue.waiting.pop()
    world.clock.forward(seconds)
    world.advance.look(look)
    assert world.queue.waiting, "the chain of looks goes on"


def test_a_planned_look_that_got_lost_is_made_up_for_by_the_next_hint() -> None:
    world = World()
    admission = world.push("15-alpine", GREEN)
    checking(world)
    world.queue.waiting.clear()
    world.advance.look(admission.looks[0])
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED


def test_many_hints_at_a_running_check_do_not_multiply_its_looks() -> None:
    world = World()
    admission = world.push("15-alpine", GREEN)
    checking(world)
    for _ in range(10):
        world.advance.look(admission.looks[0])
    until = world.clock.now() + timedelta(seconds=90)
    while world.clock.now() < until:
        world.next_look()
    assert len(world.queue.waiting) == 1


def test_a_redelivered_look_that_meets_an_outage_is_still_the_last_trace_of_a_dead_worker() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    checking(world)
    planned = world.queue.waiting.pop()[2]
    send, world.queue.send = world.queue.send, _die  # type: ignore[method-assign,assignment]
    with pytest.raises(ProcessDied):
        world.advance.look(planned)
    world.queue.send = send  # type: ignore[method-assign]
    load, world.ledger.load = world.ledger.load, _away  # type: ignore[method-assign,assignment]
    world.advance.look(planned, redelivered=True)
    world.ledger.load = load  # type: ignore[method-assign]
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED


def test_a_write_whose_answer_got_lost_does_not_end_the_chain() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    save, lost = world.ledger.save, iter([False, False, True])

    def save_and_lose_the_answer(stored: Stored[Any], record: Any) -> Stored[Any]:
        saved = save(stored, record)
        if next(lost, False):
            raise Conflict("the SDK sent it again and was told that it had changed")
        return saved

    world.ledger.save = save_and_lose_the_answer  # type: ignore[method-assign]
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED


def _die(*_: object) -> None:
    raise ProcessDied


def test_faults_are_waited_out_longer_each_time() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    examined(world)
    world.registry.fault = Retry("503", delay_seconds=4)
    waits = []
    for _ in range(4):
        before = world.clock.now()
        world.next_look()
        waits.append(round((world.queue.waiting[0][0] - before).total_seconds()))
    assert waits == sorted(waits)
    assert waits[-1] >= 4 * waits[0]


def test_a_wait_for_someone_else_is_no_failure() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    examined(world)
    world.registry.fault = Busy("someone else is at it", delay_seconds=1)
    for _ in range(20):
        world.next_look()
    assert world.candidate(GREEN).failures == 0
    world.registry.fault = None
    world.settle()
    assert world.stable_tag() == GREEN


def test_faults_with_waits_between_them_are_not_counted_together() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    examined(world)
    for number in range(3 * STEP_ATTEMPTS):
        world.registry.fault = (
            Retry("503", delay_seconds=1) if number % 2 else Busy("it is being moved", delay_seconds=1)
        )
        world.next_look()
    world.registry.fault = None
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED


@pytest.mark.parametrize("refusal", [Rejected("404 there is no such topic"), Misconfigured("grant the role")])
def test_an_outcome_that_the_topic_refuses_stays_what_it_is(refusal: BasegateError) -> None:
    world = World()
    world.announcer.fault = refusal
    world.push("15-alpine", GREEN)
    world.settle()
    candidate = world.candidate(GREEN)
    assert (candidate.state, candidate.announced) == (CandidateState.PROMOTED, True)
    assert [rollout.state for rollout in world.rollouts()] == [RolloutState.LIVE]
    assert (candidate.history[-1].what, candidate.history[-1].why) == ("announcement failed", str(refusal))


def test_a_topic_that_is_away_for_a_moment_is_told_a_little_later() -> None:
    world = World()
    world.announcer.fault = Retry("the topic answers 503", delay_seconds=7)
    world.push("15-alpine", GREEN)
    while not any(entry.what == "announcement failed" for entry in world.candidates()[0].history):
        world.next_look()
    due = min(due for due, _, look in world.queue.waiting if look.kind == "candidate")
    assert (due - world.clock.now()).total_seconds() == 7
    world.announcer.fault = None
    world.settle()
    assert "CandidatePromoted" in world.announcer.names
    assert world.candidate(GREEN).failures == 0


def test_a_topic_that_stays_away_is_given_up() -> None:
    world = World()
    world.announcer.fault = Retry("the topic answers 503")
    world.push("15-alpine", GREEN)
    world.settle()
    candidate = world.candidate(GREEN)
    assert (candidate.state, candidate.announced, candidate.failures) == (
        CandidateState.PROMOTED,
        True,
        ANNOUNCE_ATTEMPTS,
    )


def test_an_image_that_comes_back_after_days_is_promoted_again() -> None:
    world = World()
    for content in (ORANGE, GREEN, ORANGE):
        world.push("15-alpine", content)
        world.settle()
        world.clock.forward(2 * DAY)
    assert world.stable_tag() == ORANGE
    assert world.candidate(ORANGE).state is CandidateState.PROMOTED


def test_a_tag_that_comes_after_days_is_promoted_too() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    world.clock.forward(2 * DAY)
    world.push("15.14", GREEN)
    world.settle()
    assert world.stable_tag("15.14") == GREEN
    assert world.candidate(GREEN).state is CandidateState.PROMOTED


def test_a_record_that_stands_still_for_a_day_ends_visibly() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    examined(world)
    world.registry.fault = Busy("someone else is at it", delay_seconds=3600)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert world.candidate(GREEN).reason == "nothing moved it for 24 h"


def test_giving_up_a_finished_record_changes_nothing() -> None:
    world = World()
    admission = world.push("15-alpine", GREEN)
    world.settle()
    before = world.ledger.load(Candidate, "node", admission.looks[0].row)
    assert world.advance.give_up(admission.looks[0], "it crashed")
    assert world.ledger.load(Candidate, "node", admission.looks[0].row) == before


def test_giving_up_a_rollout_in_the_middle_puts_the_last_good_one_back() -> None:
    world = World()
    world.push("15-alpine", ORANGE)
    world.settle()
    world.clock.forward(60)
    world.probe.sick["ct4"] = "HTTP 500"
    world.push("15-alpine", GREEN)
    while not any(rollout.state is RolloutState.VERIFYING for rollout in world.rollouts()):
        world.next_look()
    assert world.advance.give_up(world.rollouts()[-1].look, "ZeroDivisionError")
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.RESTORED
    assert "ZeroDivisionError" in world.rollouts()[-1].reason
    assert world.containers.puts[-1].endswith(":ct2")


def test_a_ledger_that_is_away_puts_the_look_off_and_loses_nothing() -> None:
    world = World()
    look = world.push("15-alpine", GREEN).looks[0]
    world.queue.waiting.clear()
    load, world.ledger.load = world.ledger.load, _away  # type: ignore[method-assign,assignment]
    world.advance.look(look)
    assert [waiting[2] for waiting in world.queue.waiting] == [look]
    world.ledger.load = load  # type: ignore[method-assign]
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED


def _away(*_: object) -> None:
    raise Retry("the tables answer 503")


def test_a_candidate_whose_copies_failed_gets_new_ones_when_it_is_pushed_again() -> None:
    world = World()
    world.registry.copy_problem = "429 toomanyrequests"
    world.push("15-alpine", GREEN)
    world.settle()
    world.registry.copy_problem = ""
    world.clock.forward(60)
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED
    assert world.stable_tag() == GREEN


def test_a_group_that_cannot_even_be_created_anew_fails_the_rollout() -> None:
    world = World()
    world.containers.faults = [NeedsRecreation("cpu cannot be updated")] * 2
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.FAILED


def test_what_fails_is_a_warning_and_what_goes_well_is_not(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
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
