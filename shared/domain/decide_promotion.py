"""The next step of a promotion."""

from datetime import datetime

from shared.domain.decision import Action, Decision, after_the_end
from shared.domain.policy import Gate, PromoteBy
from shared.domain.promotion import Promotion
from shared.domain.record import growing_wait, seconds_between

_AT_ONCE_SECONDS = 1.0
"""A copy whose layers are in the target already is done as soon as it is begun: to ask for it does not wait."""


def decide_promotion(promotion: Promotion, gate: Gate | None, now: datetime) -> Decision:
    """What to do next with a promotion, from its record, the gate's rule and the time alone.

    1. A settled one is announced; without its gate it has come to its end.
    2. It stands on an attempt that passed the gate's current checks; until the tag has moved, it must still do so.
    3. Unique tag, lock, stable tag, rollouts, in that order.
    """
    if promotion.settled:  # 1
        return after_the_end(promotion)
    if promotion.moved_at is not None:
        return Decision(Action.ROLL_OUT, f"roll out what stands on {promotion.tag}")
    if gate is None:
        return Decision(Action.RULE_REMOVED, f"the gate {promotion.gate} is not in the rules any more")
    if not promotion.candidate or promotion.fingerprint != gate.fingerprint:  # 2
        return Decision(Action.AWAIT_VERDICT, "it needs a passed verdict under the gate's current checks")
    if gate.promote.by is PromoteBy.TASK and promotion.copy_started_at is None:  # 3
        return Decision(Action.RECORD_TASK_PROMOTION, "the gate's task promotes by itself")
    if promotion.copied_at is None:
        return _decide_copy(promotion, now)
    if gate.promote.lock and promotion.locked_at is None and not promotion.lock_problem:
        return Decision(Action.LOCK, f"lock {promotion.unique}")
    return Decision(Action.MOVE_STABLE_TAG, f"point {promotion.tag} at the digest")


def _decide_copy(promotion: Promotion, now: datetime) -> Decision:
    if promotion.copy_started_at is None:
        return Decision(Action.COPY, f"every check passed: copy for {promotion.tag}")
    begun = seconds_between(promotion.copy_started_at, now) < _AT_ONCE_SECONDS
    wait = 0.0 if begun else growing_wait(promotion.copy_started_at, now)
    return Decision(Action.WATCH_COPY, f"the copy to {promotion.unique} goes on", wait)
