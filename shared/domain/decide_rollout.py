"""The next step of a rollout."""

from datetime import datetime

from shared.domain.decision import Action, Decision, after_the_end, await_run_id
from shared.domain.policy import App
from shared.domain.record import growing_wait
from shared.domain.rollout import AppRecord, Cause, Rollout, RolloutState

BUILD_LIMIT = 3
"""How often a rollout builds because something newer came in between, before it goes on with what it has."""

_VERIFY_EVERY_SECONDS = 1.0


def decide_rollout(
    rollout: Rollout,
    record: AppRecord | None,
    app: App | None,
    now: datetime,
    base_built_at: datetime | None = None,
    *,
    claimed: bool = False,
) -> Decision:
    """What to do next with a rollout, from its record, the app's record and rule, and the time alone.

    `record` is None where what is newer does not count: while the build runs, and once it is on the container group.
    `claimed` says that this worker has claimed the build that is not started.
    `base_built_at` is when the last build on the app's base was made, where an image of unknown base must be compared.

    1. A settled one is announced.
    2. Without its app it has come to its end.
    3. For an image that someone else built, the run that built it is found: it gives the image its place in the order.
    4. Before it goes on to the container group, it must be fresh: nothing newer is live or on its way.
    5. It is built, deployed and verified; what is not healthy in time is put back to the last good one.
    """
    if rollout.settled:  # 1
        return after_the_end(rollout)
    if app is None:  # 2
        return Decision(Action.RULE_REMOVED, f"the app {rollout.app} is not in the rules any more")
    if rollout.image is not None and not rollout.image.run_id:  # 3
        wait = growing_wait(rollout.created_at, now)
        return Decision(Action.TRACE_BUILD, f"which run of the app's task built {rollout.image}?", wait)
    stale = staleness(rollout, record, base_built_at) if record is not None else None  # 4
    return stale or _decide_state(rollout, app, now, claimed=claimed)  # 5


def _decide_state(rollout: Rollout, app: App, now: datetime, *, claimed: bool) -> Decision:
    match rollout.state:
        case RolloutState.BUILDING:
            return _decide_build(rollout, app, now, claimed=claimed)
        case RolloutState.DEPLOYING:
            return Decision(Action.DEPLOY, f"put {rollout.image} on the container group")
        case RolloutState.VERIFYING:
            return Decision(Action.VERIFY, "is it healthy?", _VERIFY_EVERY_SECONDS)
        case _ if rollout.restore.put_at is None:
            return Decision(Action.RESTORE, rollout.reason)
        case _:
            return Decision(Action.VERIFY_RESTORED, "is the last good one healthy again?", _VERIFY_EVERY_SECONDS)


def is_waiting(rollout: Rollout) -> bool:
    """Whether it has not begun to deploy: then what went live meanwhile counts."""
    return rollout.state in (RolloutState.BUILDING, RolloutState.DEPLOYING) and not rollout.deploy.touched


def staleness(rollout: Rollout, record: AppRecord, base_built_at: datetime | None = None) -> Decision | None:
    """Why a rollout must not go on as it is: something newer exists. None where it is fresh, or has begun to deploy."""
    if not is_waiting(rollout):
        return None
    if rollout.cause is Cause.BASE and record.base_rollout != rollout.name:
        return Decision(Action.SUPERSEDE, f"the base moved on to {record.base}")
    if rollout.names_image:
        return Decision(Action.SUPERSEDE, f"{record.live} went live since") if _is_overtaken(rollout, record) else None
    if record.decided > rollout.after:
        return Decision(Action.SUPERSEDE, f"an operator has deployed {record.live} since it began")
    built_at = rollout.image.built_at if rollout.image else rollout.build.created_at
    newer_was_live = record.is_newer(built_at)
    if rollout.cause is Cause.IMAGE and newer_was_live:
        return Decision(Action.SUPERSEDE, "an image that was built later went live")
    if built_at is None or rollout.build.times >= BUILD_LIMIT:
        return None
    if newer_was_live:
        return Decision(Action.REBUILD, f"{record.live} went live since this build began")
    built_here = rollout.cause is Cause.BASE or rollout.build.times > 0
    moved_on = rollout.base != record.base if built_here else base_built_at is not None and base_built_at > built_at
    return Decision(Action.REBUILD, f"the base moved on to {record.base} since it was built") if moved_on else None


def _is_overtaken(rollout: Rollout, record: AppRecord) -> bool:
    """Whether what went live since an image was named counts for more.

    An operator's word gives way to a later one; a rollback also where its image is not one to go back to any more.
    """
    if rollout.cause is Cause.OPERATOR:
        later = record.asked_at is not None and record.asked_at > rollout.created_at
        return later or (rollout.goes_back and all(image != rollout.image for image in record.good))
    return record.lives > rollout.after


def _decide_build(rollout: Rollout, app: App, now: datetime, *, claimed: bool) -> Decision:
    build = rollout.build
    if build.claimed_at is None or (claimed and not build.run_id):
        base = f"on {rollout.base}" if rollout.base else "on its current base"
        return Decision(Action.START_BUILD, f"build {app.name} {base}")
    if not build.run_id:
        return await_run_id(build.claimed_at, Action.ADOPT_BUILD, now)
    return Decision(Action.WATCH_BUILD, f"run {build.run_id} goes on", growing_wait(build.claimed_at, now))
