"""The next step of a candidate."""

from __future__ import annotations

from datetime import datetime

from shared.domain.candidate import Candidate, CheckRecord, TagRecord, Verdict
from shared.domain.decision import Action, Decision, after_the_end, await_run_id, first, outlived
from shared.domain.policy import ApprovalCheck, Check, Gate, PromoteBy, TaskCheck
from shared.domain.record import growing_wait, seconds_between

_FIRST_LOOK_SECONDS = 0.3
"""A copy whose layers are in the target already is done as soon as it is begun: the first look does not wait."""


def decide_candidate(candidate: Candidate, gate: Gate, now: datetime) -> Decision:
    """What to do next with a candidate, from its record, the gate's rule and the time alone.

    1. A finished one is announced; one whose tag was pushed again is taken up again.
    2. Checks that have changed since begin anew: a verdict counts only under the current policy.
    3. Each check runs to its verdict; anything but `passed` is the end.
    4. A repeated push is confirmed at the registry: an event is a hint.
    5. Each tag is promoted: unique tag, lock, stable tag, rollouts, in that order.
    6. The record is closed.
    """
    resighted = first(candidate.tags, lambda tag: tag.resighted_at is not None)
    if candidate.finished and resighted is None:  # 1
        return after_the_end(candidate)
    current = candidate.fingerprint == gate.fingerprint
    open_check = first(candidate.checks, lambda check: check.verdict is not Verdict.PASSED)
    if current and open_check is not None and _awaits_approval(candidate.checks[open_check], gate.checks[open_check]):
        return Decision(Action.DONE, "a person must approve")
    if not candidate.finished and (end := outlived(candidate, now)):
        return end
    if not current and not _in_promotion(candidate, gate):  # 2
        return Decision(Action.RESTART_CHECKS, "the gate's checks have changed since they ran")
    if open_check is not None:  # 3
        return _decide_check(candidate, gate, open_check, now)
    if resighted is not None:  # 4
        return Decision(Action.RECHECK_SOURCE, "the tag was pushed again with this digest", index=resighted)
    open_tag = first(candidate.tags, lambda tag: tag.outcome is None and not tag.held)
    if open_tag is not None:  # 5
        return _decide_tag(candidate.tags[open_tag], open_tag, gate, now)
    return Decision(Action.FINISH, "every tag is settled")  # 6


def _awaits_approval(check: CheckRecord, rule: Check) -> bool:
    """Whether it is a person's turn, who may take as long as it takes."""
    return isinstance(rule, ApprovalCheck) and bool(check.run_id) and check.verdict is None


def _in_promotion(candidate: Candidate, gate: Gate) -> bool:
    """Whether a tag is being copied or has just moved: that is finished, whatever the policy says by now.

    Between the two, before the stable tag moves, the verdict must be one under the current policy.
    """
    return any(
        tag.outcome is None
        and (tag.moved_at is not None or (tag.copy_started_at is not None and _needs_copy(tag, gate)))
        for tag in candidate.tags
    )


def _needs_copy(tag: TagRecord, gate: Gate) -> bool:
    """Whether the unique tag is not there yet, or not locked as the gate wants it."""
    return tag.copied_at is None or (gate.promote.lock and tag.locked_at is None)


def _decide_check(candidate: Candidate, gate: Gate, index: int, now: datetime) -> Decision:
    check, rule = candidate.checks[index], gate.checks[index]
    if check.verdict is not None:
        return Decision(Action.FAIL, check.reason, index=index)
    if check.claimed_at is None:
        return Decision(Action.START_CHECK, f"the {check.kind} check has not run yet", index=index)
    if not check.run_id:
        return await_run_id(check.claimed_at, Action.ADOPT_CHECK, now, index)
    assert isinstance(rule, TaskCheck)  # whoever waits for a person got no further than the top
    overdue = seconds_between(check.claimed_at, now) > rule.timeout_seconds
    reason = f"run {check.run_id} is past its {rule.timeout_seconds} s" if overdue else f"run {check.run_id} goes on"
    return Decision(Action.WATCH_CHECK, reason, growing_wait(check.claimed_at, now), index)


def _decide_tag(tag: TagRecord, index: int, gate: Gate, now: datetime) -> Decision:
    if tag.moved_at is not None:
        return Decision(Action.ROLL_OUT, f"roll out what stands on {tag.tag}", index=index)
    if gate.promote.by is PromoteBy.TASK:
        return Decision(Action.RECORD_TASK_PROMOTION, "the gate's task promotes by itself", index=index)
    if tag.copy_started_at is None:
        return Decision(Action.COPY, f"every check passed: copy for {tag.tag}", index=index)
    if tag.copied_at is None:
        begun = seconds_between(tag.copy_started_at, now) < _FIRST_LOOK_SECONDS
        wait = 0.0 if begun else growing_wait(tag.copy_started_at, now)
        return Decision(Action.WATCH_COPY, f"the copy to {tag.unique} goes on", wait, index)
    if _needs_copy(tag, gate):
        return Decision(Action.LOCK, f"lock {tag.unique}", index=index)
    return Decision(Action.MOVE_STABLE, f"point {tag.tag} at the digest", index=index)
