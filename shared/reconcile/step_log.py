"""Logs each step of a record: one line an effect, with the record, its image and the reason.

A line is complete by itself: what happened, why, and the record with its image and state; digests are cut to twelve
digits. The attributes of the log record have all fields with whole digests, for telemetry to filter by.
"""

import logging
import re

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.decide import Decision
from shared.domain.record import GateRecord, Record
from shared.domain.rollout import Rollout, RolloutState

log = logging.getLogger(__name__)

_IN_TEXT = ("record", "image", "state")
_DIGEST = re.compile(r"(?:sha256:)?\b([0-9a-f]{12})[0-9a-f]{52}\b")


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
    text = " ".join(f"{name}={fields[name]}" for name in _IN_TEXT if name in fields)
    line = f"{what}: {why} [{text}]" if why else f"{what} [{text}]"
    attributes = {f"basegate_{name}": value for name, value in fields.items()}
    log.log(level, "%s", _DIGEST.sub(lambda digest: digest[1], line), extra=attributes)


def _fields(record: Record) -> dict[str, str]:
    """The record's ledger key, its gate or app, its image and its state."""
    fields = {"record": f"{record.work_item.kind}/{record.partition}/{record.row}", "state": record.state.value}
    match record:
        case GateRecord():
            return fields | {"gate": record.gate, "image": str(record.image)}
        case Rollout():
            image = {"image": str(record.image), "digest": record.image.digest} if record.image else {}
            return fields | {"app": record.app, **image}
    return fields
