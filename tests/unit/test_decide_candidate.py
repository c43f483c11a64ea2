"""The next step of a candidate, as a table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.domain.candidate import Candidate, CandidateState, CheckRecord, TagOutcome, TagRecord, Verdict
from shared.domain.decide_candidate import decide_candidate
from shared.domain.decision import ADOPTION_GRACE_SECONDS, STANDSTILL_LIMIT_SECONDS, Action
from shared.domain.image import parse_repository, parse_tag
from shared.domain.policy import ApprovalCheck, PromoteBy, TaskCheck
from shared.domain.record import Entry
from tests.fakes import START, digest, sample_policy

GATE = sample_policy().gates["node"]
BY_TASK = msgspec.structs.replace(GATE, promote=msgspec.structs.replace(GATE.promote, by=PromoteBy.TASK))
UNLOCKED = msgspec.structs.replace(GATE, promote=msgspec.structs.replace(GATE.promote, lock=False))
STRICTER = msgspec.structs.replace(GATE, checks=(*GATE.checks, TaskCheck(registry="base", task="second-look")))
NOW = START

CLAIMED = CheckRecord(kind="task", claimed_at=NOW)
RUNNING = CheckRecord(kind="task", claimed_at=NOW, run_id="ca1")
PASSED = CheckRecord(kind="task", claimed_at=NOW, run_id="ca1", verdict=Verdict.PASSED)
FAILED = CheckRecord(kind="task", claimed_at=NOW, run_id="ca1", verdict=Verdict.FAILED, reason="Invalid Color")
UNKNOWN = CheckRecord(kind="task", claimed_at=NOW, run_id="ca1", verdict=Verdict.UNKNOWN, reason="canceled")


def tag(name: str = "15-alpine", **changes: Any) -> TagRecord:
    return TagRecord(tag=parse_tag(name), pushed_at=NOW, **changes)


COPYING = tag(unique="15-alpine-ca1", copy_started_at=NOW)
COPIED = msgspec.structs.replace(COPYING, copied_at=NOW)
LOCKED = msgspec.structs.replace(COPIED, locked_at=NOW)
MOVED = msgspec.structs.replace(LOCKED, moved_at=NOW)
SETTLED = msgspec.structs.replace(MOVED, rolled_out_at=NOW, outcome=TagOutcome.PROMOTED)
OVERTAKEN = msgspec.structs.replace(LOCKED, outcome=TagOutcome.SUPERSEDED)


def candidate(check: CheckRecord = PASSED, *tags: TagRecord, **changes: Any) -> Candidate:
    return Candidate(
        gate="node",
        digest=digest("green"),
        attempt=1,
        source_registry="public",
        repository=parse_repository("node"),
        login_server="publicregistry.azurecr.io",
        fingerprint=changes.pop("fingerprint", GATE.fingerprint),
        tags=tags or (tag(),),
        checks=changes.pop("checks", (check,)),
        created_at=NOW,
        **changes,
    )


PROMOTED: dict[str, Any] = {"state": CandidateState.PROMOTED}
ANNOUNCED: dict[str, Any] = {"state": CandidateState.PROMOTED, "announced": True}


@pytest.mark.parametrize(
    ("record", "action", "index"),
    [
        (candidate(CheckRecord(kind="task")), Action.START_CHECK, 0),
        (candidate(CLAIMED), Action.WAIT, 0),
        (candidate(RUNNING), Action.WATCH_CHECK, 0),
        (candidate(FAILED), Action.FAIL, 0),
        (candidate(UNKNOWN), Action.FAIL, 0),
        (candidate(PASSED), Action.COPY, 0),
        (candidate(PASSED, tag(resighted_at=NOW)), Action.RECHECK_SOURCE, 0),
        (candidate(PASSED, SETTLED, tag("15.14", resighted_at=NOW)), Action.RECHECK_SOURCE, 1),
        (candidate(PASSED, COPYING), Action.WATCH_COPY, 0),
        (candidate(PASSED, COPIED), Action.LOCK, 0),
        (candidate(PASSED, LOCKED), Action.MOVE_STABLE, 0),
        (candidate(PASSED, MOVED), Action.ROLL_OUT, 0),
        (candidate(PASSED, SETTLED), Action.FINISH, 0),
        (candidate(PASSED, OVERTAKEN), Action.FINISH, 0),
        (candidate(PASSED, SETTLED, tag("15.14")), Action.COPY, 1),
        (candidate(PASSED, OVERTAKEN, COPIED), Action.LOCK, 1),
        (candidate(PASSED, SETTLED, **PROMOTED), Action.ANNOUNCE, 0),
        (candidate(PASSED, SETTLED, **ANNOUNCED), Action.DONE, 0),
        (candidate(FAILED, state=CandidateState.FAILED), Action.ANNOUNCE, 0),
        (candidate(FAILED, state=CandidateState.FAILED, announced=True), Action.DONE, 0),
        (candidate(FAILED, tag(resighted_at=NOW), state=CandidateState.FAILED, announced=True), Action.FAIL, 0),
        (candidate(PASSED, SETTLED, tag("15.14", resighted_at=NOW), **ANNOUNCED), Action.RECHECK_SOURCE, 1),
    ],
)
def test_the_step_follows_from_the_record(record: Candidate, action: Action, index: int) -> None:
    decision = decide_candidate(record, GATE, NOW)
    assert (decision.action, decision.index) == (action, index)
    assert decision.reason


@pytest.mark.parametrize(
    ("verdicts", "action", "index"),
    [
        ((PASSED, CheckRecord(kind="task")), Action.START_CHECK, 1),
        ((PASSED, RUNNING), Action.WATCH_CHECK, 1),
        ((PASSED, UNKNOWN), Action.FAIL, 1),
        ((FAILED, CheckRecord(kind="task")), Action.FAIL, 0),
        ((CLAIMED, PASSED), Action.WAIT, 0),
        ((PASSED, PASSED), Action.COPY, 0),
    ],
)
def test_every_check_must_pass_in_its_turn(verdicts: tuple[CheckRecord, ...], action: Action, index: int) -> None:
    record = candidate(checks=verdicts, fingerprint=STRICTER.fingerprint)
    decision = decide_candidate(record, STRICTER, NOW)
    assert (decision.action, decision.index) == (action, index)


@pytest.mark.parametrize(
    "check", [CheckRecord(kind="task"), CLAIMED, RUNNING, PASSED, FAILED, UNKNOWN], ids=lambda c: str(c.verdict)
)
def test_checks_under_another_policy_begin_anew_whatever_they_said(check: CheckRecord) -> None:
    assert decide_candidate(candidate(check), STRICTER, NOW).action is Action.RESTART_CHECKS


@pytest.mark.parametrize("under_way", [COPYING, COPIED, MOVED])
def test_a_copy_or_a_move_under_way_is_finished_under_the_policy_it_began_with(under_way: TagRecord) -> None:
    before = decide_candidate(candidate(PASSED, under_way), GATE, NOW)
    assert decide_candidate(candidate(PASSED, under_way), STRICTER, NOW) == before


@pytest.mark.parametrize("state", [CandidateState.PROMOTING, CandidateState.EXAMINING])
def test_the_stable_tag_moves_under_the_current_policy_only(state: CandidateState) -> None:
    unlocked = msgspec.structs.replace(STRICTER, promote=UNLOCKED.promote)
    assert decide_candidate(candidate(PASSED, LOCKED, state=state), STRICTER, NOW).action is Action.RESTART_CHECKS
    assert decide_candidate(candidate(PASSED, COPIED, state=state), unlocked, NOW).action is Action.RESTART_CHECKS


def test_a_person_may_take_longer_than_a_day_to_approve() -> None:
    gate = msgspec.structs.replace(GATE, checks=(*GATE.checks, ApprovalCheck()))
    asked = CheckRecord(kind="approval", claimed_at=NOW, run_id="approval")
    record = candidate(checks=(PASSED, asked), fingerprint=gate.fingerprint)
    late = NOW + timedelta(seconds=3 * STANDSTILL_LIMIT_SECONDS)
    assert decide_candidate(record, gate, late).action is Action.DONE


def test_a_finished_candidate_is_not_examined_anew_because_the_policy_changed() -> None:
    assert decide_candidate(candidate(PASSED, SETTLED, **ANNOUNCED), STRICTER, NOW).action is Action.DONE


def test_a_finished_candidate_that_is_pushed_again_is_judged_under_the_current_policy() -> None:
    again = msgspec.structs.replace(SETTLED, resighted_at=NOW)
    assert decide_candidate(candidate(PASSED, again, **ANNOUNCED), STRICTER, NOW).action is Action.RESTART_CHECKS


def test_a_gate_that_does_not_lock_goes_straight_to_the_stable_tag() -> None:
    assert decide_candidate(candidate(PASSED, COPIED), UNLOCKED, NOW).action is Action.MOVE_STABLE


def test_a_gate_whose_task_promotes_records_and_never_copies() -> None:
    assert decide_candidate(candidate(PASSED), BY_TASK, NOW).action is Action.RECORD_TASK_PROMOTION
    assert decide_candidate(candidate(PASSED, MOVED), BY_TASK, NOW).action is Action.ROLL_OUT


def test_a_claimed_run_is_waited_for_and_then_looked_for() -> None:
    record = candidate(CLAIMED)
    for age in (0.0, 2.0, ADOPTION_GRACE_SECONDS - 0.1):
        decision = decide_candidate(record, GATE, NOW + timedelta(seconds=age))
        assert decision.action is Action.WAIT
        assert decision.wait_seconds == pytest.approx(ADOPTION_GRACE_SECONDS - age)
    assert decide_candidate(record, GATE, NOW + timedelta(seconds=ADOPTION_GRACE_SECONDS)).action is Action.ADOPT_CHECK


@pytest.mark.parametrize(("age", "wait"), [(0, 1), (2, 1), (9, 3), (60, 20), (90, 30), (3600, 30)])
@pytest.mark.parametrize("record", [candidate(RUNNING), candidate(PASSED, COPYING)])
def test_what_runs_is_looked_at_less_and_less_often(record: Candidate, age: float, wait: float) -> None:
    decision = decide_candidate(record, GATE, NOW + timedelta(seconds=age))
    assert decision.wait_seconds == (0 if age == 0 and decision.action is Action.WATCH_COPY else wait)


def test_a_copy_that_was_just_begun_is_looked_at_at_once() -> None:
    record = candidate(PASSED, COPYING)
    assert decide_candidate(record, GATE, NOW + timedelta(seconds=0.1)).wait_seconds == 0
    assert decide_candidate(record, GATE, NOW + timedelta(seconds=0.5)).wait_seconds == 1


def test_a_run_past_its_time_is_said_to_be_so() -> None:
    decision = decide_candidate(candidate(RUNNING), GATE, NOW + timedelta(seconds=601))
    assert (decision.action, decision.reason) == (Action.WATCH_CHECK, "run ca1 is past its 600 s")


def test_a_clock_that_went_back_does_no_harm() -> None:
    decision = decide_candidate(candidate(RUNNING), GATE, NOW - timedelta(hours=1))
    assert (decision.action, decision.wait_seconds) == (Action.WATCH_CHECK, 1)


def test_what_stands_still_for_a_day_has_failed_and_what_moved_meanwhile_has_not() -> None:
    late = NOW + timedelta(seconds=STANDSTILL_LIMIT_SECONDS + 1)
    assert decide_candidate(candidate(PASSED, LOCKED), GATE, late).action is Action.FAIL
    moved = candidate(PASSED, LOCKED, history=(Entry(late - timedelta(hours=1), "locked"),))
    assert decide_candidate(moved, GATE, late).action is Action.MOVE_STABLE


def test_what_is_finished_never_outlives_itself() -> None:
    late = NOW + timedelta(days=400)
    assert decide_candidate(candidate(PASSED, SETTLED, **PROMOTED), GATE, late).action is Action.ANNOUNCE
    again = msgspec.structs.replace(SETTLED, resighted_at=late)
    assert decide_candidate(candidate(PASSED, again, **ANNOUNCED), GATE, late).action is Action.RECHECK_SOURCE


@pytest.mark.parametrize("check", [CheckRecord(kind="task"), CLAIMED, RUNNING, FAILED, UNKNOWN])
@pytest.mark.parametrize("record_tag", [tag(), COPYING, COPIED, LOCKED, MOVED])
def test_nothing_promotes_without_a_passed_verdict(check: CheckRecord, record_tag: TagRecord) -> None:
    promoting = {Action.COPY, Action.WATCH_COPY, Action.LOCK, Action.MOVE_STABLE, Action.RECORD_TASK_PROMOTION}
    for gate in (GATE, BY_TASK, UNLOCKED, STRICTER):
        if gate.fingerprint == GATE.fingerprint:
            assert decide_candidate(candidate(check, record_tag), gate, NOW).action not in promoting
