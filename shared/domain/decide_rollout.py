"""The next step of a rollout."""

from __future__ import annotations

from datetime import datetime

from shared.domain.decision import Action, Decision, after_the_end, await_run_id, outlived
from shared.domain.policy import App
from shared.domain.record import growing_wait
from shared.domain.rollout import AppRecord, Cause, Rollout, RolloutState

BUILD_LIMIT = 3
"""How often a rollout builds because something newer came in between, before it goes on with what it has."""

_VERIFY_EVERY_SECONDS = 1.0


def decide_rollout(rollout: Rollout, record: AppRecord, app: App, now: datetime) -> Decision:
    """What to do next with a rollout, from its record, the app's record and rule, and the time alone.

    1. A finished one is announced.
    2. The times of a build that someone else made are looked up: they tell what it was built from.
    3. Before it goes on to the container group, it must be fresh: nothing newer is live or on its way.
    4. It is built, deployed and verified; what is not healthy in time is put back to the last good one.
    """
    if rollout.finished:  # 1
        return after_the_end(rollout)
    if end := outlived(rollout, now):
        return end
    if rollout.image is not None and not rollout.build.traced:  # 2
        return Decision(Action.TRACE_BUILD, "when was this image built, and so on which base?")
    return staleness(rollout, record) or _decide_state(rollout, app, now)  # 3, 4


def _decide_state(rollout: Rollout, app: App, now: datetime) -> Decision:
    match rollout.state:
        case RolloutState.BUILDING:
            return _decide_build(rollout, app, now)
        case RolloutState.DEPLOYING:
            return Decision(Action.DEPLOY, f"put {rollout.image} on the container group")
        case RolloutState.VERIFYING:
            return Decision(Action.VERIFY, "is it healthy?", _VERIFY_EVERY_SECONDS)
        case _ if rollout.restore.put_at is None:
            return Decision(Action.RESTORE, rollout.reason)
        case _:
            return Decision(Action.VERIFY_RESTORED, "is the last good one healthy again?", _VERIFY_EVERY_SECONDS)


def staleness(rollout: Rollout, record: AppRecord) -> Decision | None:
    """Why a rollout must not go on as it is: something newer exists. None where it is fresh, or has begun to deploy."""
    on_its_way = rollout.state in (RolloutState.BUILDING, RolloutState.DEPLOYING)
    if not on_its_way or rollout.deploy.touched:
        return None
    if rollout.cause is Cause.BASE and _is_later(record.base_moved_at, rollout.base_moved_at):
        return Decision(Action.SUPERSEDE, f"the base moved on to {record.base}")
    built_at = rollout.build.started_at
    if built_at is None:
        return None
    newer_is_live = record.live is not None and record.live.built_at > built_at
    if rollout.cause in (Cause.IMAGE, Cause.DRIFT) and newer_is_live:
        return Decision(Action.SUPERSEDE, f"{record.live} was built later and is live")
    if rollout.build.times >= BUILD_LIMIT:
        return None
    if newer_is_live:
        return Decision(Action.REBUILD, f"{record.live} went live since this build began")
    if rollout.cause is Cause.IMAGE and _is_later(record.base_moved_at, built_at):
        return Decision(Action.REBUILD, f"it was built before the base moved to {record.base}")
    return None


def _is_later(moment: datetime | None, other: datetime | None) -> bool:
    return moment is not None and (other is None or moment > other)


def _decide_build(rollout: Rollout, app: App, now: datetime) -> Decision:
    build = rollout.build
    if build.claimed_at is None:
        return Decision(Action.START_BUILD, f"build on {rollout.base or 'the current base'}")
    if not build.run_id:
        return await_run_id(build.claimed_at, Action.ADOPT_BUILD, now)
    wait = growing_wait(build.claimed_at, now)
    return Decision(Action.WATCH_BUILD, f"run {build.run_id} of task {app.build.task} goes on", wait)
