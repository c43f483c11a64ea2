"""The next step of a promotion, as a table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.checks.task import TaskCheck
from shared.domain.decide import Action, decide_promotion
from shared.domain.image import Tag, parse_repository
from shared.domain.promotion import PARKED, REOPENABLE, Promotion, PromotionState, promotion_row
from shared.domain.record import Stall
from tests.fakes import START, digest, sample_policy

GATE = sample_policy().gates["node"]
BY_TASK = msgspec.structs.replace(GATE, promote=msgspec.structs.replace(GATE.promote, by="task"))
UNLOCKED = msgspec.structs.replace(GATE, promote=msgspec.structs.replace(GATE.promote, lock=False))
STRICTER = msgspec.structs.replace(GATE, checks=(*GATE.checks, TaskCheck(registry="base", task="second-look")))
NOW = START
OPEN = (PromotionState.WAITING, PromotionState.PROMOTING)
SETTLED = [state for state in PromotionState if state not in OPEN]


def promotion(**changes: Any) -> Promotion:
    return Promotion(
        gate="node",
        tag=Tag("15-alpine"),
        sequence=7,
        digest=digest("green"),
        source_registry="public",
        repository=parse_repository("node"),
        login_server="publicregistry.azurecr.io",
        created_at=NOW,
        **changes,
    )


def standing(**changes: Any) -> Promotion:
    """A promotion that stands on an attempt that passed."""
    fields = {"state": PromotionState.PROMOTING, "candidate": "green-001", "fingerprint": GATE.fingerprint}
    return promotion(**(fields | changes))


COPYING: dict[str, Any] = {"unique": "15-alpine-ca1", "copy_started_at": NOW}
COPIED = COPYING | {"copied_at": NOW}
LOCKED = COPIED | {"locked_at": NOW}
UNLOCKABLE = COPIED | {"lock_problem": "403"}
MOVED = LOCKED | {"moved_at": NOW, "move": 1}


@pytest.mark.parametrize(
    ("record", "action"),
    [
        (promotion(), Action.AWAIT_VERDICT),
        (standing(), Action.COPY),
        (standing(**COPYING), Action.WATCH_COPY),
        (standing(**COPIED), Action.LOCK),
        (standing(**LOCKED), Action.MOVE_STABLE_TAG),
        (standing(**UNLOCKABLE), Action.MOVE_STABLE_TAG),
        (standing(**MOVED), Action.ROLL_OUT),
    ],
)
def test_the_step_follows_from_the_record(record: Promotion, action: Action) -> None:
    decision = decide_promotion(record, GATE, NOW)
    assert decision.action is action
    assert decision.reason


DUE = MOVED | {"state": PromotionState.PROMOTED, "referrers_due": True, "record_due": True}


@pytest.mark.parametrize(
    ("more", "action", "wait"),
    [
        ({}, Action.COPY_REFERRERS, 1),
        ({"referrer_tries": 1}, Action.COPY_REFERRERS, 15),
        ({"referrer_tries": 2}, Action.COPY_REFERRERS, 60),
        ({"referrers_due": False}, Action.SIGN_RECORD, 1),
        ({"referrers_due": False, "signed_record": "x"}, Action.ATTACH_RECORD, 0),
        ({"referrers_due": False, "record_due": False}, Action.DONE, 0),
        ({"record_due": False}, Action.COPY_REFERRERS, 1),
    ],
)
def test_what_is_due_after_the_promotion_has_its_order(more: dict[str, Any], action: Action, wait: float) -> None:
    decision = decide_promotion(standing(**(DUE | more)), GATE, NOW)
    assert (decision.action, decision.wait_seconds) == (action, wait)


@pytest.mark.parametrize("steps", [{}, COPYING, COPIED, LOCKED])
def test_until_the_tag_has_moved_the_verdict_must_be_one_under_the_current_checks(steps: dict[str, Any]) -> None:
    assert decide_promotion(standing(**steps), STRICTER, NOW).action is Action.AWAIT_VERDICT
    assert decide_promotion(standing(**steps), None, NOW).action is Action.RULE_REMOVED


@pytest.mark.parametrize("gate", [GATE, STRICTER, None])
def test_a_tag_that_has_moved_is_rolled_out_whatever_the_rules_say_by_then(gate: Any) -> None:
    assert decide_promotion(standing(**MOVED), gate, NOW).action is Action.ROLL_OUT


@pytest.mark.parametrize("gate", [GATE, BY_TASK, UNLOCKED])
@pytest.mark.parametrize("steps", [{}, COPYING, COPIED, LOCKED])
def test_nothing_is_done_at_the_target_without_an_attempt_to_stand_on(gate: Any, steps: dict[str, Any]) -> None:
    assert decide_promotion(promotion(**steps), gate, NOW).action is Action.AWAIT_VERDICT


def test_a_gate_that_does_not_lock_goes_straight_to_the_stable_tag() -> None:
    assert decide_promotion(standing(**COPIED), UNLOCKED, NOW).action is Action.MOVE_STABLE_TAG


def test_a_gate_whose_task_promotes_records_and_never_copies() -> None:
    assert decide_promotion(standing(), BY_TASK, NOW).action is Action.RECORD_TASK_PROMOTION
    assert decide_promotion(standing(**MOVED), BY_TASK, NOW).action is Action.ROLL_OUT


@pytest.mark.parametrize("gate", [GATE, STRICTER, None])
@pytest.mark.parametrize("state", SETTLED)
def test_a_settled_or_parked_promotion_is_left_alone(state: PromotionState, gate: Any) -> None:
    assert decide_promotion(promotion(state=state), gate, NOW).action is Action.DONE


@pytest.mark.parametrize("state", list(PromotionState))
def test_open_ones_are_called_stalled_and_settled_ones_are_not(state: PromotionState) -> None:
    stall = Stall(since=NOW, step="copy", dependency="registry base", reason="429")
    assert promotion(state=state, stall=stall).state_name == ("stalled" if state in OPEN else state.value)


@pytest.mark.parametrize(("age", "wait"), [(0.1, 0), (0.5, 0), (9, 3), (3600, 30)])
def test_a_copy_that_was_just_begun_is_polled_at_once_and_then_less_and_less_often(age: float, wait: float) -> None:
    decision = decide_promotion(standing(**COPYING), GATE, NOW + timedelta(seconds=age))
    assert (decision.action, decision.wait_seconds) == (Action.WATCH_COPY, wait)


def test_what_is_taken_up_again_begins_with_nothing_of_its_earlier_try() -> None:
    stall = Stall(since=NOW, step="copy", dependency="registry base", reason="429")
    failing = {"failures": 3, "failing_since": NOW, "failing_step": "watch copy", "stall": stall, "next_step_at": NOW}
    ended = {"last_outcome": 7, "reason": "held", "rolled_out_at": NOW, "lock_problem": "403"}
    worn = standing(**(MOVED | failing | ended | {"state": PromotionState.HELD, "copy_operation": "x"}))
    assert worn.reset() == promotion(last_outcome=7), "the outcomes of a promotion are numbered on"


def test_only_what_did_nothing_to_the_stable_tag_is_taken_up_again() -> None:
    assert PARKED < REOPENABLE
    assert REOPENABLE.isdisjoint((*OPEN, PromotionState.PROMOTED, PromotionState.SUPERSEDED))


def test_the_rows_of_a_tag_sort_by_sequence_and_are_not_those_of_a_longer_tag() -> None:
    rows = [promotion_row("15", sequence) for sequence in (1, 9, 10, 123_456)]
    assert rows == sorted(rows)
    assert not promotion_row("15-alpine", 1).startswith("15~")
