"""Decisions: the one next step of a record, when it is due, and why; from the record, its rule and the time alone."""

from datetime import datetime
from enum import StrEnum

import msgspec

from shared.domain.candidate import Candidate, CandidateState, Verdict
from shared.domain.errors import Busy
from shared.domain.policy import App, Gate
from shared.domain.promotion import Promotion
from shared.domain.record import growing_wait, seconds_between
from shared.domain.rollout import AppRecord, Cause, Rollout, RolloutState

ADOPTION_GRACE_SECONDS, START_LIMIT_SECONDS = 5.0, 60.0
"""How long a claimed run may take to get its id before Basegate searches for it (a healthy start takes 1 to 2 s), and
before a claim without a run is released: the deadline of the call that starts it. If it were released earlier, a slow
service would be asked for a second run."""


class Action(StrEnum):
    """One step. A step of a check has the index of that check in `Decision.index`."""

    START_CHECK = "start check"
    ADOPT_CHECK = "adopt check"
    WATCH_CHECK = "watch check"
    EXAMINE_ANEW = "examine anew"
    PASS = "pass"  # noqa: S105 (a word, no secret)

    AWAIT_VERDICT = "await verdict"
    COPY = "copy"
    WATCH_COPY = "watch copy"
    LOCK = "lock"
    MOVE_STABLE_TAG = "move stable tag"
    RECORD_TASK_PROMOTION = "record task promotion"
    ROLL_OUT = "roll out"
    COPY_REFERRERS = "copy the referrers"
    SIGN_RECORD = "sign the decision record"
    ATTACH_RECORD = "attach the decision record"

    TRACE_BUILD = "trace build"
    START_BUILD = "start build"
    ADOPT_BUILD = "adopt build"
    WATCH_BUILD = "watch build"
    REBUILD = "rebuild"
    DEPLOY = "deploy"
    VERIFY = "verify"
    RESTORE = "restore"
    VERIFY_RESTORED = "verify restored"
    SUPERSEDE = "supersede"

    RULE_REMOVED = "rule removed"
    FAIL = "fail"
    SEND = "send"
    WAIT = "wait"
    DONE = "done"


class Decision(msgspec.Struct, frozen=True):
    """What to do, for which check, and why.

    `wait_seconds` is the delay of the work item that takes the step; a work item that arrives takes it immediately.
    """

    action: Action
    reason: str
    wait_seconds: float = 0.0
    index: int = 0


SETTLED = Decision(Action.DONE, "settled")


def await_run_id(claimed_at: datetime, adopt: Action, now: datetime, index: int = 0) -> Decision:
    """What to do about a claimed run without an id: give its starter a moment, then search for the run.

    Either a worker is starting it right now, or one died between starting it and recording its id.
    """
    age = seconds_between(claimed_at, now)
    if age < ADOPTION_GRACE_SECONDS:
        return Decision(Action.WAIT, "a worker may be starting the run", ADOPTION_GRACE_SECONDS - age, index)
    return Decision(adopt, f"claimed {age:.0f} s ago, and no run id was recorded", 0.0, index)


def require_start_failed(claimed_at: datetime, now: datetime) -> None:
    """Keep the claim of a run that was searched for and not found, while its starter may be waiting for the service.

    Raises:
        Busy: it may still be started.
    """
    left = START_LIMIT_SECONDS - seconds_between(claimed_at, now)
    if left > 0:
        raise Busy("a worker may still be starting the run", delay_seconds=left)


RUNS_IN_A_ROW = 3
"""How many times a check without a verdict is run in a row; after that, once a day."""

_RERUN_WAIT_SECONDS = 60.0
_DAY_SECONDS = 86_400.0


def decide_candidate(candidate: Candidate, gate: Gate | None, now: datetime, *, claimed: bool = False) -> Decision:
    """The next step of a candidate, from its record, the gate's rule and the time alone.

    `claimed`: this worker has claimed the check that is not started.

    1. A settled candidate has no next step.
    2. A candidate whose gate was removed from the rules ends.
    3. If the checks have changed, a new attempt begins: a verdict counts only under the current checks.
    4. `failed` ends the attempt.
    5. The checks of a phase run side by side, each to its verdict; the last `passed` ends the attempt.
    """
    if candidate.settled:  # 1
        return SETTLED
    if gate is None:  # 2
        return Decision(Action.RULE_REMOVED, f"gate {candidate.gate} is no longer in the rules")
    if candidate.fingerprint != gate.fingerprint:  # 3
        return Decision(Action.EXAMINE_ANEW, "the gate's checks have changed since this attempt began")
    for index, check in enumerate(candidate.checks):  # 4
        if check.verdict is not None and check.verdict is not Verdict.PASSED:
            return Decision(Action.FAIL, check.reason, index=index)
    due = _due(candidate, gate)  # 5
    if not due:
        return Decision(Action.PASS, "every check passed")
    decisions = [_decide_check(candidate, index, now, claimed=claimed) for index in due]
    return min(decisions, key=lambda one: (one.wait_seconds, one.action is not Action.START_CHECK))


def only_waits_to_retry(candidate: Candidate, gate: Gate) -> bool:
    """Whether every check whose turn it is, if there is one, has ended without a verdict and waits for its next run."""
    due = _due(candidate, gate)
    return bool(due) and all(candidate.checks[index].retry_at is not None for index in due)


def _due(candidate: Candidate, gate: Gate) -> list[int]:
    """The indexes of the checks without a verdict whose turn it is."""
    left = [index for index, check in enumerate(candidate.checks) if check.verdict is None]
    return gate.due(left)


def _decide_check(candidate: Candidate, index: int, now: datetime, *, claimed: bool) -> Decision:
    check = candidate.checks[index]
    if check.claimed_at is None or (claimed and not check.run_id):
        why = f"run it again: {check.reason}" if check.runs else "has not run yet"
        wait = seconds_between(now, check.retry_at) if check.retry_at else 0.0
        return Decision(Action.START_CHECK, f"the {check.kind} check: {why}", wait, index)
    if not check.run_id:
        return await_run_id(check.claimed_at, Action.ADOPT_CHECK, now, index)
    if candidate.state is CandidateState.AWAITING_APPROVAL:
        return Decision(Action.DONE, "waiting for an approval", index=index)
    return Decision(Action.WATCH_CHECK, f"run {check.run_id} is running", growing_wait(check.claimed_at, now), index)


def rerun_wait(runs: int) -> float:
    """The seconds to wait for the next run of a check that has had `runs` runs without a verdict."""
    return _DAY_SECONDS if runs >= RUNS_IN_A_ROW else _RERUN_WAIT_SECONDS * 2 ** (runs - 1)


_RECORD_WAIT_SECONDS = 1.0
"""Referrers are copied, and the decision record is signed, by a work item of its own: rollouts and outcomes do not wait
for it."""

_REFERRERS_WAIT_SECONDS = (_RECORD_WAIT_SECONDS, 15.0, 60.0)
"""The wait before each try of a promotion to copy the referrers of its digest."""

REFERRER_TRIES = len(_REFERRERS_WAIT_SECONDS)
"""How often it tries: the decision record waits for that."""

_FAST_COPY_SECONDS = 1.0
"""A copy whose layers exist in the target completes immediately: in its first second its status is read undelayed."""


def decide_promotion(promotion: Promotion, gate: Gate | None, now: datetime) -> Decision:
    """The next step of a promotion, from its record, the gate's rule and the time alone.

    1. A settled promotion has no next step; one whose gate was removed from the rules ends.
    2. It is based on an attempt that passed the gate's current checks; until the tag has moved, it must remain so.
    3. Unique tag, lock, stable tag, rollouts, in that order.
    4. After that the referrers of the digest are copied, if the rule does not say otherwise, and the decision record is
       signed and attached: nothing waits for either, and neither is forgotten.
    """
    if promotion.settled:  # 1
        return SETTLED
    if promotion.moved_at is not None:
        return _decide_after_move(promotion)
    if gate is None:
        return Decision(Action.RULE_REMOVED, f"gate {promotion.gate} is no longer in the rules")
    if not promotion.candidate or promotion.fingerprint != gate.fingerprint:  # 2
        return Decision(Action.AWAIT_VERDICT, "it needs a passed verdict under the gate's current checks")
    if gate.promote.by == "task" and promotion.copy_started_at is None:  # 3
        return Decision(Action.RECORD_TASK_PROMOTION, "the gate's own task promotes")
    if promotion.copied_at is None:
        return _decide_copy(promotion, now)
    if gate.promote.lock and promotion.locked_at is None and not promotion.lock_problem:
        return Decision(Action.LOCK, f"lock {promotion.unique}")
    return Decision(Action.MOVE_STABLE_TAG, f"point {promotion.tag} at the digest")


def _decide_after_move(promotion: Promotion) -> Decision:
    if promotion.under_way:
        return Decision(Action.ROLL_OUT, f"roll out the apps built on {promotion.tag}")
    if promotion.referrers_due:  # 4
        wait = _REFERRERS_WAIT_SECONDS[min(promotion.referrer_tries, REFERRER_TRIES - 1)]
        return Decision(Action.COPY_REFERRERS, "what is attached to the digest upstream is copied with it", wait)
    if promotion.signed_record:
        return Decision(Action.ATTACH_RECORD, "the decision record is signed")
    return Decision(Action.SIGN_RECORD, "the promotion is done", _RECORD_WAIT_SECONDS)


def _decide_copy(promotion: Promotion, now: datetime) -> Decision:
    if promotion.copy_started_at is None:
        return Decision(Action.COPY, f"every check passed: copy for {promotion.tag}")
    begun = seconds_between(promotion.copy_started_at, now) < _FAST_COPY_SECONDS
    wait = 0.0 if begun else growing_wait(promotion.copy_started_at, now)
    return Decision(Action.WATCH_COPY, f"the copy to {promotion.unique} is in progress", wait)


BUILD_LIMIT = 3
"""How often a rollout builds because something newer appeared meanwhile; then it continues with what it has."""

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
    """The next step of a rollout, from its record, the app's record and rule, and the time alone.

    `record` is None where newer images do not count: while the build runs, and after the deployment has begun.
    `claimed`: this worker has claimed the build that is not started.
    `base_built_at` is when the last build on the app's base was made; an image of unknown base is compared with it.

    1. A settled rollout has no next step.
    2. A rollout whose app was removed from the rules ends.
    3. For an image that someone else built, its run is traced: the run gives the image its place in the order.
    4. Before the deployment begins, it must be fresh: nothing newer is live or being rolled out.
    5. It is built, deployed and verified; if it is not healthy in time, the last good image is put back.
    """
    if rollout.settled:  # 1
        return SETTLED
    if app is None:  # 2
        return Decision(Action.RULE_REMOVED, f"app {rollout.app} is no longer in the rules")
    if rollout.image is not None and not rollout.image.run_id:  # 3
        wait = growing_wait(rollout.created_at, now)
        return Decision(Action.TRACE_BUILD, f"find the run of the app's task that built {rollout.image}", wait)
    stale = staleness(rollout, record, base_built_at) if record is not None else None  # 4
    return stale or _decide_state(rollout, app, now, claimed=claimed)  # 5


def _decide_state(rollout: Rollout, app: App, now: datetime, *, claimed: bool) -> Decision:
    match rollout.state:
        case RolloutState.BUILDING:
            return _decide_build(rollout, app, now, claimed=claimed)
        case RolloutState.DEPLOYING:
            return Decision(Action.DEPLOY, f"deploy {rollout.image}")
        case RolloutState.VERIFYING:
            return Decision(Action.VERIFY, "check its health", _VERIFY_EVERY_SECONDS)
        case _ if rollout.restore.put_at is None:
            return Decision(Action.RESTORE, rollout.reason)
        case _:
            return Decision(Action.VERIFY_RESTORED, "check the health of the last good image", _VERIFY_EVERY_SECONDS)


def is_waiting(rollout: Rollout) -> bool:
    """Whether its deployment has not begun: until then, what went live meanwhile counts."""
    return rollout.state in (RolloutState.BUILDING, RolloutState.DEPLOYING) and not rollout.deploy.touched


def staleness(rollout: Rollout, record: AppRecord, base_built_at: datetime | None = None) -> Decision | None:
    """What to do about a rollout that something newer has overtaken; None if it is fresh, or has begun to deploy."""
    if not is_waiting(rollout):
        return None
    if rollout.cause is Cause.BASE and record.base_rollout != rollout.name:
        return Decision(Action.SUPERSEDE, f"the base moved to {record.base}")
    if rollout.deploys_existing_image:
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
    return Decision(Action.REBUILD, f"the base moved to {record.base} since it was built") if moved_on else None


def _is_overtaken(rollout: Rollout, record: AppRecord) -> bool:
    """Whether what went live since an image was chosen takes precedence over it.

    An operator's choice yields to a later one; a rollback also if its image can no longer be rolled back to.
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
    return Decision(Action.WATCH_BUILD, f"run {build.run_id} is running", growing_wait(build.claimed_at, now))
