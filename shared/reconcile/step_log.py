"""Logs each step of a record: one line an effect, with the record, its image and the reason.

A line is complete by itself, with fields in `key=value` form; the same fields are attributes of the log record, for
telemetry to filter by.
"""

import logging

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.decide import Decision
from shared.domain.record import GateRecord, Record
from shared.domain.rollout import Rollout, RolloutState

log = logging.getLogger(__name__)


def log_step(decision: Decision, before: Record, after: Record) -> None:
    """Log what a step did: DEBUG if it changed nothing (a run is still running), WARNING if the record failed by it."""
    if after.history == before.history:
        _log(logging.DEBUG, decision.action.value, decision.reason, after)
        return
    last = after.history[-1]
    level = logging.WARNING if _is_bad(after) and not _is_bad(before) else logging.INFO
    _log(level, last.what, last.why, after)


def log_problem(problem: str, why: object, record: Record) -> None:
    """Log a failed step."""
    _log(logging.WARNING, problem, str(why), record)


def log_dropped(why: str, record: Record) -> None:
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
    """Log a line; it is formatted only if the level is enabled."""
    if not log.isEnabledFor(level):
        return
    fields = _fields(record)
    text = " ".join(f"{name}={value}" for name, value in fields.items())
    attributes = {f"basegate_{name}": value for name, value in fields.items()}
    log.log(level, "%s", f"{what}: {why} [{text}]" if why else f"{what} [{text}]", extra=attributes)


def _fields(record: Record) -> dict[str, str]:
    """The fields of a line: the record's ledger key, its gate or app, its image and its state."""
    fields = {"record": f"{record.work_item.kind}/{record.partition}/{record.row}"}
    match record:
        case GateRecord():
            return fields | {"gate": record.gate, "image": str(record.image), "state": record.state.value}
        case Rollout():
            image = {"image": str(record.image), "digest": record.image.digest} if record.image else {}
            return fields | {"app": record.app, **image, "state": record.state.value}
    return fields
