"""The next step of a candidate."""

from datetime import datetime

from shared.domain.candidate import Candidate, CandidateState, Verdict
from shared.domain.decision import Action, Decision, after_the_end, await_run_id, first
from shared.domain.policy import Gate
from shared.domain.record import growing_wait

RUNS_AT_ONCE = 3
"""How often a check that ends without a verdict is run before there is only one run a day."""

_RERUN_WAIT_SECONDS = 60.0
_DAY_SECONDS = 86_400.0


def decide_candidate(candidate: Candidate, gate: Gate | None, now: datetime, *, claimed: bool = False) -> Decision:
    """What to do next with a candidate, from its record, the gate's rule and the time alone.

    `claimed` says that this worker has claimed the check that is not started.

    1. A settled one is announced.
    2. Without its gate it has come to its end.
    3. Checks that have changed since make a new attempt: a verdict counts only under the current checks.
    4. Each check runs to its verdict, in order; `failed` is the end, and so is the last `passed`.
    """
    if candidate.settled:  # 1
        return after_the_end(candidate)
    if gate is None:  # 2
        return Decision(Action.RULE_REMOVED, f"the gate {candidate.gate} is not in the rules any more")
    if candidate.fingerprint != gate.fingerprint:  # 3
        return Decision(Action.EXAMINE_ANEW, "the gate's checks have changed since this attempt began")
    index = first(candidate.checks, lambda check: check.verdict is not Verdict.PASSED)
    if index is None:  # 4
        return Decision(Action.PASS, "every check passed")
    return _decide_check(candidate, index, now, claimed=claimed)


def _decide_check(candidate: Candidate, index: int, now: datetime, *, claimed: bool) -> Decision:
    check = candidate.checks[index]
    if check.verdict is not None:
        return Decision(Action.FAIL, check.reason, index=index)
    if check.claimed_at is None or (claimed and not check.run_id):
        why = f"run it again: {check.reason}" if check.runs else "has not run yet"
        return Decision(Action.START_CHECK, f"the {check.kind} check: {why}", index=index)
    if not check.run_id:
        return await_run_id(check.claimed_at, Action.ADOPT_CHECK, now, index)
    if candidate.state is CandidateState.AWAITING_APPROVAL:
        return Decision(Action.DONE, "a person must approve", index=index)
    return Decision(Action.WATCH_CHECK, f"run {check.run_id} goes on", growing_wait(check.claimed_at, now), index)


def rerun_wait(runs: int) -> float:
    """The seconds to wait after so many runs of a check that ended without a verdict."""
    return _DAY_SECONDS if runs >= RUNS_AT_ONCE else _RERUN_WAIT_SECONDS * 2 ** (runs - 1)
