"""The next step of a rollout, as a table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.domain.decide import ADOPTION_GRACE_SECONDS, BUILD_LIMIT, Action, decide_rollout
from shared.domain.image import ImageRef, parse_repository
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
OTHER_BASE = ImageRef("contosobaseartifacts.azurecr.io", parse_repository("node"), digest("blue"))
FRESH = AppRecord(app="hello-world", base=BASE, base_tag="node:15-alpine", base_move=1, base_rollout="r")


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def image(tag: str = "ct2", built_at: datetime = NOW) -> BuiltImage:
    return BuiltImage(
        login_server="contoso.azurecr.io",
        repository="hello-world",
        tag=tag,
        digest=digest(tag),
        built_at=built_at,
        run_id=tag,
    )


def rollout(state: RolloutState, cause: Cause = Cause.BASE, **changes: Any) -> Rollout:
    by_base: dict[str, Any] = {"base": BASE, "base_move": 1} if cause is Cause.BASE else {}
    return Rollout(app="hello-world", name="r", cause=cause, state=state, created_at=NOW, **(by_base | changes))


BUILDING = RolloutState.BUILDING
CLAIMED = BuildRecord(claimed_at=NOW, times=1)
RUNNING = BuildRecord(claimed_at=NOW, times=1, run_id="ct2")
BUILT = BuildRecord(claimed_at=NOW, times=1, run_id="ct2", created_at=NOW, finished_at=NOW)
PUT = DeployRecord(put_at=NOW)
DEPLOYING: dict[str, Any] = {"build": BUILT, "image": image()}
FOUND: dict[str, Any] = {"image": image()}
UNPROVEN: dict[str, Any] = {"image": msgspec.structs.replace(image(), run_id="")}
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
        (rollout(RolloutState.DEPLOYING, Cause.IMAGE, **UNPROVEN), Action.TRACE_BUILD),
        (rollout(RolloutState.DEPLOYING, Cause.IMAGE, **FOUND), Action.DEPLOY),
        *((rollout(state), Action.DONE) for state in FINAL_STATES),
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


def app_record(**changes: Any) -> AppRecord:
    return msgspec.structs.replace(FRESH, **changes)


def went_live(built: BuiltImage, **changes: Any) -> AppRecord:
    return app_record(live=built, newest_built_at=built.built_at, lives=1, **changes)


BASE_MOVED_ON = app_record(base=OTHER_BASE, base_move=2, base_rollout="another")
LATER_LIVE, EARLIER_LIVE = went_live(image("ct9", at(3))), went_live(image("ct1", at(-3)))
LATER_WAS_LIVE = msgspec.structs.replace(LATER_LIVE, live=image("ct1", at(-3)), lives=2, decided=2)
REBUILT: dict[str, Any] = {**DEPLOYING, "base": BASE}
AFTER_BOTH: dict[str, Any] = {**FOUND, "after": 2}


@pytest.mark.parametrize(
    ("record", "app_record", "action"),
    [
        (rollout(BUILDING), BASE_MOVED_ON, Action.SUPERSEDE),
        (rollout(BUILDING, build=RUNNING), BASE_MOVED_ON, Action.SUPERSEDE),
        (rollout(RolloutState.DEPLOYING, **DEPLOYING), BASE_MOVED_ON, Action.SUPERSEDE),
        (rollout(RolloutState.DEPLOYING, **DEPLOYING), LATER_LIVE, Action.REBUILD),
        (rollout(RolloutState.DEPLOYING, **DEPLOYING), EARLIER_LIVE, Action.DEPLOY),
        (rollout(RolloutState.DEPLOYING, Cause.IMAGE, **FOUND), LATER_LIVE, Action.SUPERSEDE),
        (rollout(RolloutState.DEPLOYING, Cause.IMAGE, **FOUND), EARLIER_LIVE, Action.DEPLOY),
        (rollout(RolloutState.DEPLOYING, Cause.IMAGE, **AFTER_BOTH), LATER_WAS_LIVE, Action.SUPERSEDE),
        (rollout(RolloutState.DEPLOYING, Cause.OPERATOR, **REBUILT), BASE_MOVED_ON, Action.REBUILD),
        (rollout(RolloutState.DEPLOYING, Cause.OPERATOR, **REBUILT), FRESH, Action.DEPLOY),
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


@pytest.mark.parametrize(("base_built_at", "action"), [(at(-1), Action.DEPLOY), (at(1), Action.REBUILD)])
def test_an_image_of_unknown_base_is_built_again_if_it_is_older_than_the_build_on_the_base(
    base_built_at: datetime, action: Action
) -> None:
    record = rollout(RolloutState.DEPLOYING, Cause.IMAGE, **FOUND)
    assert decide_rollout(record, FRESH, APP, NOW, base_built_at).action is action


def test_what_the_sweep_deploys_again_is_overtaken_by_another_that_went_live_since() -> None:
    record = rollout(RolloutState.DEPLOYING, Cause.DRIFT, **FOUND, after=1)
    assert decide_rollout(record, LATER_LIVE, APP, NOW).action is Action.DEPLOY
    assert decide_rollout(record, LATER_WAS_LIVE, APP, NOW).action is Action.SUPERSEDE


def test_an_image_that_an_operator_chose_is_overtaken_by_a_later_word_of_an_operator_alone() -> None:
    record = rollout(RolloutState.DEPLOYING, Cause.OPERATOR, **FOUND, after=1)
    asked_at = record.created_at
    for seconds, action in ((-1, Action.DEPLOY), (1, Action.SUPERSEDE)):
        other = msgspec.structs.replace(LATER_WAS_LIVE, asked_at=asked_at + timedelta(seconds=seconds))
        assert decide_rollout(record, other, APP, NOW).action is action
    assert decide_rollout(record, LATER_WAS_LIVE, APP, NOW).action is Action.DEPLOY


@pytest.mark.parametrize("cause", [Cause.BASE, Cause.IMAGE, Cause.OPERATOR])
def test_what_began_before_an_operator_chose_an_image_does_not_go_live_over_it(cause: Cause) -> None:
    record = rollout(BUILDING, cause, build=RUNNING, after=1)
    assert decide_rollout(record, app_record(lives=2, decided=1), APP, NOW).action is Action.WATCH_BUILD
    assert decide_rollout(record, app_record(lives=2, decided=2), APP, NOW).action is Action.SUPERSEDE


def test_a_rollout_whose_app_is_gone_from_the_rules_has_an_end_of_its_own() -> None:
    assert decide_rollout(rollout(BUILDING), FRESH, None, NOW).action is Action.RULE_REMOVED
    settled = rollout(RolloutState.RULE_REMOVED)
    assert decide_rollout(settled, FRESH, None, NOW).action is Action.DONE


def test_building_again_has_an_end() -> None:
    times = msgspec.structs.replace(BUILT, times=BUILD_LIMIT)
    record = rollout(RolloutState.DEPLOYING, build=times, image=image())
    assert decide_rollout(record, LATER_LIVE, APP, NOW).action is Action.DEPLOY


@pytest.mark.parametrize("state", [BUILDING, RolloutState.DEPLOYING, RolloutState.VERIFYING, RolloutState.RESTORING])
def test_no_rollout_ends_because_time_has_passed(state: RolloutState) -> None:
    record = rollout(state, **({"build": RUNNING} if state is BUILDING else DEPLOYING))
    assert decide_rollout(record, FRESH, APP, NOW).action is decide_rollout(record, FRESH, APP, at(10**8)).action


def test_twice_back_goes_two_back_and_what_comes_after_is_forgotten() -> None:
    record = FRESH
    for number in (1, 2, 3):
        record = record.with_live(image(f"ct{number}", at(number)), at(number))
    assert [built.tag for built in record.good] == ["ct3", "ct2", "ct1"]
    back = record.with_live(
        image("ct2", at(2)), at(4), back=True, by=rollout(RolloutState.LIVE, Cause.OPERATOR, **FOUND)
    )
    assert [built.tag for built in back.good] == ["ct2", "ct1"]
    assert (back.lives, back.decided, back.newest_built_at) == (4, 4, at(3))


def test_the_same_image_put_again_is_no_further_deployment() -> None:
    record = FRESH.with_live(image(), at(1)).with_live(image(), at(2))
    assert (record.lives, list(record.good), record.live_since) == (1, [image()], at(2))
