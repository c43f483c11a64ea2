"""The next step of a rollout, as a table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.domain.decide_rollout import BUILD_LIMIT, decide_rollout
from shared.domain.decision import ADOPTION_GRACE_SECONDS, STANDSTILL_LIMIT_SECONDS, Action
from shared.domain.image import ImageRef, parse_repository
from shared.domain.record import Entry
from shared.domain.rollout import (
    FINAL_STATES,
    AppRecord,
    BuildRecord,
    BuiltImage,
    Cause,
    DeployRecord,
    Rollout,
    RolloutState,
)
from tests.fakes import START, digest, sample_policy

APP = sample_policy().apps["hello-world"]
NOW = START
BASE = ImageRef("contosobaseartifacts.azurecr.io", parse_repository("node"), digest("green"))
FRESH = AppRecord(app="hello-world", base=BASE, base_moved_at=NOW)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def image(tag: str = "ct2", built_at: datetime = NOW) -> BuiltImage:
    return BuiltImage(
        login_server="contoso.azurecr.io", repository="hello-world", tag=tag, digest=digest(tag), built_at=built_at
    )


def rollout(state: RolloutState, cause: Cause = Cause.BASE, **changes: Any) -> Rollout:
    by_base: dict[str, Any] = {"base": BASE, "base_moved_at": NOW} if cause is Cause.BASE else {}
    return Rollout(app="hello-world", name="r", cause=cause, state=state, created_at=NOW, **(by_base | changes))


BUILDING = RolloutState.BUILDING
CLAIMED = BuildRecord(claimed_at=NOW, times=1)
RUNNING = BuildRecord(claimed_at=NOW, times=1, run_id="ct2")
BUILT = BuildRecord(claimed_at=NOW, times=1, run_id="ct2", started_at=NOW, finished_at=NOW, traced=True)
PUT = DeployRecord(put_at=NOW)
DEPLOYING: dict[str, Any] = {"build": BUILT, "image": image()}
VERIFYING: dict[str, Any] = {**DEPLOYING, "deploy": PUT}
RESTORING: dict[str, Any] = {**VERIFYING, "reason": "HTTP 500"}


@pytest.mark.parametrize(
    ("record", "action"),
    [
        (rollout(BUILDING), Action.START_BUILD),
        (rollout(BUILDING, build=CLAIMED), Action.WAIT),
        (rollout(BUILDING, build=RUNNING), Action.WATCH_BUILD),
        (rollout(RolloutState.DEPLOYING, **DEPLOYING), Action.DEPLOY),
        (rollout(RolloutState.VERIFYING, **VERIFYING), Action.VERIFY),
        (rollout(RolloutState.RESTORING, **RESTORING), Action.RESTORE),
        (rollout(RolloutState.RESTORING, restore=PUT, **RESTORING), Action.VERIFY_RESTORED),
        (rollout(RolloutState.DEPLOYING, Cause.IMAGE, image=image("ct9")), Action.TRACE_BUILD),
        (rollout(RolloutState.DEPLOYING, Cause.IMAGE, **DEPLOYING), Action.DEPLOY),
        *((rollout(state), Action.ANNOUNCE) for state in FINAL_STATES),
        *((rollout(state, announced=True), Action.DONE) for state in FINAL_STATES),
    ],
)
def test_the_step_follows_from_the_record(record: Rollout, action: Action) -> None:
    decision = decide_rollout(record, FRESH, APP, NOW)
    assert decision.action is action
    assert decision.reason or action is Action.RESTORE


def test_a_claimed_build_is_waited_for_and_then_looked_for() -> None:
    record = rollout(BUILDING, build=CLAIMED)
    waiting = decide_rollout(record, FRESH, APP, at(2))
    assert (waiting.action, waiting.wait_seconds) == (Action.WAIT, ADOPTION_GRACE_SECONDS - 2)
    assert decide_rollout(record, FRESH, APP, at(ADOPTION_GRACE_SECONDS)).action is Action.ADOPT_BUILD


@pytest.mark.parametrize(("age", "wait"), [(0, 1), (9, 3), (60, 20), (3600, 30)])
def test_a_build_is_looked_at_less_and_less_often(age: float, wait: float) -> None:
    assert decide_rollout(rollout(BUILDING, build=RUNNING), FRESH, APP, at(age)).wait_seconds == wait


@pytest.mark.parametrize("state", [RolloutState.VERIFYING, RolloutState.RESTORING])
def test_health_is_looked_at_every_second(state: RolloutState) -> None:
    record = rollout(state, restore=PUT, **VERIFYING)
    assert decide_rollout(record, FRESH, APP, NOW).wait_seconds == 1.0


BASE_MOVED_ON = msgspec.structs.replace(FRESH, base_moved_at=at(5))
LATER_LIVE = msgspec.structs.replace(FRESH, live=image("ct9", at(3)))
EARLIER_LIVE = msgspec.structs.replace(FRESH, live=image("ct1", at(-3)))
BUILT_AFTER: dict[str, Any] = {"build": msgspec.structs.replace(BUILT, started_at=at(6)), "image": image("ct2", at(6))}


@pytest.mark.parametrize(
    ("record", "app_record", "action"),
    [
        (rollout(BUILDING), BASE_MOVED_ON, Action.SUPERSEDE),
        (rollout(BUILDING, build=RUNNING), BASE_MOVED_ON, Action.SUPERSEDE),
        (rollout(RolloutState.DEPLOYING, **DEPLOYING), BASE_MOVED_ON, Action.SUPERSEDE),
        (rollout(RolloutState.DEPLOYING, **DEPLOYING), LATER_LIVE, Action.REBUILD),
        (rollout(RolloutState.DEPLOYING, **DEPLOYING), EARLIER_LIVE, Action.DEPLOY),
        (rollout(RolloutState.DEPLOYING, Cause.IMAGE, **DEPLOYING), LATER_LIVE, Action.SUPERSEDE),
        (rollout(RolloutState.DEPLOYING, Cause.IMAGE, **DEPLOYING), EARLIER_LIVE, Action.DEPLOY),
        (rollout(RolloutState.DEPLOYING, Cause.IMAGE, **DEPLOYING), BASE_MOVED_ON, Action.REBUILD),
        (rollout(RolloutState.DEPLOYING, Cause.IMAGE, **BUILT_AFTER), BASE_MOVED_ON, Action.DEPLOY),
        (rollout(BUILDING, build=RUNNING), LATER_LIVE, Action.WATCH_BUILD),
        (rollout(RolloutState.VERIFYING, **VERIFYING), BASE_MOVED_ON, Action.VERIFY),
        (rollout(RolloutState.VERIFYING, **VERIFYING), LATER_LIVE, Action.VERIFY),
        (rollout(RolloutState.RESTORING, **RESTORING), BASE_MOVED_ON, Action.RESTORE),
    ],
)
def test_only_what_is_fresh_goes_on_to_the_container_group(
    record: Rollout, app_record: AppRecord, action: Action
) -> None:
    assert decide_rollout(record, app_record, APP, NOW).action is action


def test_building_again_has_an_end() -> None:
    times = msgspec.structs.replace(BUILT, times=BUILD_LIMIT)
    record = rollout(RolloutState.DEPLOYING, build=times, image=image())
    assert decide_rollout(record, LATER_LIVE, APP, NOW).action is Action.DEPLOY


def test_a_rollout_that_stands_still_for_a_day_has_failed() -> None:
    late = at(STANDSTILL_LIMIT_SECONDS + 1)
    record = rollout(RolloutState.DEPLOYING, **DEPLOYING)
    assert decide_rollout(record, FRESH, APP, late).action is Action.FAIL
    moved = msgspec.structs.replace(record, history=(Entry(late, "built"),))
    assert decide_rollout(moved, FRESH, APP, late).action is Action.DEPLOY


def test_a_restoration_is_begun_even_if_the_rollout_took_more_than_a_day_to_fail() -> None:
    late = at(STANDSTILL_LIMIT_SECONDS + 1)
    record = rollout(RolloutState.RESTORING, history=(Entry(late, "failed after deployment"),), **RESTORING)
    assert decide_rollout(record, FRESH, APP, late).action is Action.RESTORE
