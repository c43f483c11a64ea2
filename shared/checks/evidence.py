"""What a run leaves behind: the end of its log in the record, all of it (up to a limit) in the archive."""

import re

from shared.domain.candidate import Evidence
from shared.domain.errors import Misconfigured, Rejected, Retry
from shared.domain.policy import RegistryRule
from shared.ports import Archive, Run, TaskRunner

LOG_LIMIT_BYTES = 1_000_000
"""How much of a log is kept; of a longer one the end, where the outcome stands."""

_TAIL_LINES = 15
_LINE_LIMIT = 300
_ERROR = re.compile(r"\berror:", re.IGNORECASE)
_TELLING = re.compile(r"\berror\b|\bfail(ed|ure)?\b|\bdenied\b", re.IGNORECASE)
_BOILERPLATE = re.compile(r"failed to run step|Container failed during run|Run ID: ", re.IGNORECASE)


def gather_evidence(tasks: TaskRunner, archive: Archive, registry: RegistryRule, run: Run, name: str) -> Evidence:
    """The evidence of a run that has ended. A log that cannot be had does not change the verdict: it says so.

    Raises:
        Misconfigured: the archive may not be written: a person must mend it before evidence is lost.
    """
    try:
        text = tasks.log(registry, run.run_id, LOG_LIMIT_BYTES)
    except (Retry, Rejected, Misconfigured) as error:
        return Evidence(status=run.detail, log_tail=(f"(the log could not be had: {error})",))
    lines = [line.rstrip()[:_LINE_LIMIT] for line in text.splitlines() if line.strip()]
    tail = tuple(lines[-_TAIL_LINES:])
    try:
        return Evidence(status=run.detail, log_tail=tail, log_blob=archive.store(name, text))
    except (Retry, Rejected) as error:
        return Evidence(status=f"{run.detail} (the log could not be kept: {error})", log_tail=tail)


def telling_line(evidence: Evidence) -> str:
    """The line of the log's end that says best what went wrong.

    The tool's own "error: …" before its other words, those before the runner's, and of equals the last.
    """
    failing = [line for line in evidence.log_tail if _TELLING.search(line)]
    own = [line for line in failing if not _BOILERPLATE.search(line)]
    errors = [line for line in own if _ERROR.search(line)]
    return (errors or own or failing or [*evidence.log_tail] or [evidence.status or "it said nothing"])[-1].strip()
