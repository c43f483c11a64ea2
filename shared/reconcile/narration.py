"""The log as an operator reads it: one line an effect, with what it concerns and why.

The line says everything by itself, in `key=value` form; the same fields go along as attributes of the log
record, for telemetry to filter by.
"""

import logging

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.decide import Decision
from shared.domain.record import GateRecord, Record
from shared.domain.rollout import Rollout, RolloutState

log = logging.getLogger(__name__)


def about(record: Record) -> dict[str, str]:
    """What a record is about: its place in the ledger, gate or app, image, state."""
    fields = {"record": f"{record.work_item.kind}/{record.partition}/{record.row}"}
    match record:
        case GateRecord():
            return fields | {"gate": record.gate, "image": str(record.image), "state": record.state.value}
        case Rollout():
            image = {"image": str(record.image), "digest": record.image.digest} if record.image else {}
            return fields | {"app": record.app, **image, "state": record.state.value}
    return fields


def tell_step(decision: Decision, before: Record, after: Record) -> None:
    """Log what a step did, at DEBUG where it changed nothing (a run that still runs).

    A step that ends badly is a WARNING: that is what an alert should ask for.
    """
    if after.history == before.history:
        _log(logging.DEBUG, decision.action.value, decision.reason, after)
        return
    last = after.history[-1]
    level = logging.WARNING if _is_bad(after) and not _is_bad(before) else logging.INFO
    _log(level, last.what, last.why, after)


def tell_problem(problem: str, why: object, record: Record) -> None:
    """Log what did not work, and will be tried again or was given up."""
    _log(logging.WARNING, problem, str(why), record)


def tell_dropped(why: str, record: Record) -> None:
    """Log a work item that ended without a step."""
    _log(logging.DEBUG, "work item dropped", why, record)


def _is_bad(record: Record) -> bool:
    match record:
        case Candidate():
            return record.state is CandidateState.FAILED
        case Rollout():
            return record.state in (RolloutState.RESTORING, RolloutState.RESTORED, RolloutState.FAILED)
    return False


def _log(level: int, what: str, why: str, record: Record) -> None:
    """Log a line, and make it only where it is logged."""
    if not log.isEnabledFor(level):
        return
    fields = about(record)
    place = " ".join(f"{name}={value}" for name, value in fields.items())
    attributes = {f"basegate_{name}": value for name, value in fields.items()}
    log.log(level, "%s", f"{what}: {why} [{place}]" if why else f"{what} [{place}]", extra=attributes)
