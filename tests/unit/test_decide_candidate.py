"""The next step of a candidate, as a table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.checks.approval import ApprovalCheck
from shared.checks.signature import SignatureCheck
from shared.checks.task import TaskCheck
from shared.domain.candidate import Candidate, CandidateState, CheckRecord, Verdict
from shared.domain.decide import ADOPTION_GRACE_SECONDS, RUNS_IN_A_ROW, Action, decide_candidate, rerun_wait
from shared.domain.image import Tag, parse_repository
from shared.domain.record import Stall
from tests.fakes import START, digest, sample_policy

GATE = sample_policy().gates["node"]
STRICTER = msgspec.structs.replace(GATE, checks=(*GATE.checks, TaskCheck(registry="base", task="second-look")))
ASKING = msgspec.structs.replace(GATE, checks=(*GATE.checks, ApprovalCheck()))
READING = SignatureCheck()
BY_TASK = msgspec.structs.replace(
    GATE,
    checks=(ApprovalCheck(), *GATE.checks, READING, READING),
    promote=msgspec.structs.replace(GATE.promote, by="task"),
)
NOW = START

FRESH = CheckRecord(kind="task")
AGAIN = CheckRecord(kind="task", runs=1, reason="run ca1 ended without a verdict")
LATER = msgspec.structs.replace(AGAIN, retry_at=NOW + timedelta(seconds=60))
CLAIMED = CheckRecord(kind="task", claimed_at=NOW, runs=1)
RUNNING = msgspec.structs.replace(CLAIMED, registry="base.azurecr.io", run_id="ca1")
PASSED = msgspec.structs.replace(RUNNING, verdict=Verdict.PASSED)
FAILED = msgspec.structs.replace(RUNNING, verdict=Verdict.FAILED, reason="Invalid Color")
ASKED = CheckRecord(kind="approval", claimed_at=NOW, run_id="approval", runs=1)
WAITING = CandidateState.AWAITING_APPROVAL
SETTLED = [state for state in CandidateState if state not in (CandidateState.EXAMINING, WAITING)]


def candidate(*checks: CheckRecord, **changes: Any) -> Candidate:
    return Candidate(
        gate="node",
        digest=digest("green"),
        attempt=1,
        tag=Tag("15-alpine"),
        source_registry="public",
        repository=parse_repository("node"),
        login_server="publicregistry.azurecr.io",
        fingerprint=changes.pop("fingerprint", GATE.fingerprint),
        checks=checks or (FRESH,),
        created_at=NOW,
        **changes,
    )


def waiting() -> Candidate:
    return candidate(PASSED, ASKED, fingerprint=ASKING.fingerprint, state=WAITING)


@pytest.mark.parametrize(
    ("record", "action"),
    [
        (candidate(FRESH), Action.START_CHECK),
        (candidate(AGAIN), Action.START_CHECK),
        (candidate(CLAIMED), Action.WAIT),
        (candidate(RUNNING), Action.WATCH_CHECK),
        (candidate(FAILED), Action.FAIL),
        (candidate(PASSED), Action.PASS),
    ],
)
def test_the_step_follows_from_the_record(record: Candidate, action: Action) -> None:
    decision = decide_candidate(record, GATE, NOW)
    assert decision.action is action
    assert decision.reason


@pytest.mark.parametrize(
    ("checks", "action", "index"),
    [
        ((PASSED, FRESH), Action.START_CHECK, 1),
        ((PASSED, RUNNING), Action.WATCH_CHECK, 1),
        ((PASSED, FAILED), Action.FAIL, 1),
        ((FAILED, FRESH), Action.FAIL, 0),
        ((CLAIMED, PASSED), Action.WAIT, 0),
        ((PASSED, PASSED), Action.PASS, 0),
        ((FRESH, FRESH), Action.START_CHECK, 0),
        ((RUNNING, FRESH), Action.START_CHECK, 1),
        ((CLAIMED, RUNNING), Action.WATCH_CHECK, 1),
        ((RUNNING, FAILED), Action.FAIL, 1),
        ((AGAIN, RUNNING), Action.START_CHECK, 0),
        ((LATER, RUNNING), Action.WATCH_CHECK, 1),
        ((LATER, PASSED), Action.START_CHECK, 0),
    ],
)
def test_every_check_must_pass_and_those_that_are_due_run_side_by_side(
    checks: tuple[CheckRecord, ...], action: Action, index: int
) -> None:
    decision = decide_candidate(candidate(*checks, fingerprint=STRICTER.fingerprint), STRICTER, NOW)
    assert (decision.action, decision.index) == (action, index)


@pytest.mark.parametrize(
    ("checks", "index"),
    [
        ((FRESH, FRESH, FRESH, FRESH), 2),
        ((FRESH, FRESH, PASSED, FRESH), 3),
        ((FRESH, RUNNING, PASSED, FRESH), 3),
        ((FRESH, FRESH, PASSED, PASSED), 0),
        ((PASSED, FRESH, PASSED, PASSED), 1),
    ],
)
def test_where_the_gate_s_task_promotes_what_only_reads_comes_before_the_order_of_the_rules(
    checks: tuple[CheckRecord, ...], index: int
) -> None:
    decision = decide_candidate(candidate(*checks, fingerprint=BY_TASK.fingerprint), BY_TASK, NOW)
    assert (decision.action, decision.index) == (Action.START_CHECK, index)


@pytest.mark.parametrize("check", [FRESH, AGAIN, CLAIMED, RUNNING, PASSED, FAILED])
def test_under_changed_checks_another_attempt_begins_whatever_they_said(check: CheckRecord) -> None:
    assert decide_candidate(candidate(check), STRICTER, NOW).action is Action.EXAMINE_ANEW


@pytest.mark.parametrize("check", [FRESH, AGAIN, CLAIMED, RUNNING, PASSED, FAILED])
def test_without_its_gate_it_has_come_to_its_end(check: CheckRecord) -> None:
    assert decide_candidate(candidate(check), None, NOW).action is Action.RULE_REMOVED


def test_what_waits_for_a_person_has_no_step_however_long_that_takes() -> None:
    for days in (0, 400):
        assert decide_candidate(waiting(), ASKING, NOW + timedelta(days=days)).action is Action.DONE


def test_what_waits_for_a_person_ends_with_its_gate_and_begins_anew_under_changed_checks() -> None:
    assert decide_candidate(waiting(), None, NOW).action is Action.RULE_REMOVED
    assert decide_candidate(waiting(), STRICTER, NOW).action is Action.EXAMINE_ANEW


@pytest.mark.parametrize("gate", [GATE, STRICTER, None])
@pytest.mark.parametrize("state", SETTLED)
def test_a_settled_attempt_never_changes_whatever_the_rules_say(state: CandidateState, gate: Any) -> None:
    assert decide_candidate(candidate(PASSED, state=state), gate, NOW).action is Action.DONE


@pytest.mark.parametrize("state", list(CandidateState))
def test_open_ones_are_called_stalled_and_settled_ones_are_not(state: CandidateState) -> None:
    stall = Stall(since=NOW, step="start check", dependency="task base/x", reason="503")
    shown = candidate(state=state, stall=stall).state_name
    assert shown == (state.value if state in SETTLED else "stalled")


def test_a_claimed_run_is_waited_for_and_then_looked_for() -> None:
    for age in (0.0, 2.0, ADOPTION_GRACE_SECONDS - 0.1):
        decision = decide_candidate(candidate(CLAIMED), GATE, NOW + timedelta(seconds=age))
        assert decision.action is Action.WAIT
        assert decision.wait_seconds == pytest.approx(ADOPTION_GRACE_SECONDS - age)
    late = NOW + timedelta(seconds=ADOPTION_GRACE_SECONDS)
    assert decide_candidate(candidate(CLAIMED), GATE, late).action is Action.ADOPT_CHECK


@pytest.mark.parametrize(("age", "wait"), [(-3600, 1), (0, 1), (2, 1), (3, 1), (9, 3), (60, 20), (90, 30), (3600, 30)])
def test_what_runs_is_polled_less_and_less_often(age: float, wait: float) -> None:
    decision = decide_candidate(candidate(RUNNING), GATE, NOW + timedelta(seconds=age))
    assert (decision.action, decision.wait_seconds) == (Action.WATCH_CHECK, wait)


def test_three_runs_without_a_verdict_follow_each_other_and_then_one_a_day() -> None:
    waits = [rerun_wait(runs) for runs in range(1, 6)]
    assert waits == [60, 120, 86_400, 86_400, 86_400]
    assert RUNS_IN_A_ROW == 3
