"""Looks that come twice, late or to nobody, faults that pass, and outcomes that cannot be told."""

from __future__ import annotations

import logging

import pytest

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.decision import STANDSTILL_LIMIT_SECONDS
from shared.domain.errors import BasegateError, Busy, Misconfigured, NeedsRecreation, Rejected, Retry
from shared.domain.record import Look
from shared.domain.rollout import RolloutState
from shared.workflow.advance import ANNOUNCE_ATTEMPTS
from tests.fakes import World, digest

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


def test_a_first_delivery_that_finds_a_later_look_planned_is_one_too_many() -> None:
    world = World()
    world.tasks.seconds = 600
    admission = world.push("15-alpine", GREEN)
    for _ in range(12):
        world.next_look()
    waiting = list(world.queue.waiting)
    world.advance.look(admission.looks[0])
    assert world.queue.waiting == waiting


def test_a_redelivered_look_goes_on_whatever_is_planned() -> None:
    world = World()
    world.tasks.seconds = 600
    admission = world.push("15-alpine", GREEN)
    for _ in range(12):
        world.next_look()
    before = len(world.queue.waiting)
    world.advance.look(admission.looks[0], redelivered=True)
    assert len(world.queue.waiting) == before + 1


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
