"""The evidence of a run: the end of its log in the record, all of it (up to a limit) in the archive."""

import re

from shared.domain.candidate import CheckRecord, Evidence
from shared.domain.errors import Misconfigured, NotFound, Rejected, Retry
from shared.domain.policy import RegistryRule
from shared.domain.rollout import BuildRecord
from shared.ports import Archive, Run, Services, TaskRunner

LOG_LIMIT_BYTES = 1_000_000
"""How much of a log is kept; of a longer one the end, where the outcome stands."""

_TAIL_LINES = 15
_LINE_LIMIT = 300
_ERROR = re.compile(r"\berror:", re.IGNORECASE)
_TELLING = re.compile(r"\berror\b|\bfail(ed|ure)?\b|\bdenied\b", re.IGNORECASE)
_BOILERPLATE = re.compile(r"failed to run step|Container failed during run|Run ID: ", re.IGNORECASE)


def gather_evidence(tasks: TaskRunner, archive: Archive, registry: RegistryRule, run: Run, name: str) -> Evidence:
    """The evidence of a run that has ended. A log that cannot be read does not change the verdict: the evidence says
    so.

    Raises:
        Misconfigured: the archive denies access: an operator must fix that before evidence is lost.
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


def log_so_far(services: Services, run: CheckRecord | BuildRecord, limit_bytes: int) -> str:
    """The last bytes of the log of a running task.

    Raises:
        NotFound: the rules do not name its registry any more.
        Rejected: it has written nothing yet.
    """
    registry = services.policy.registry_at(run.registry)
    if registry is None:
        why = "the rules do not name that registry any more"
        raise NotFound(f"the log of run {run.run_id} of {run.registry} cannot be read: {why}")
    return services.tasks.log(registry, run.run_id, limit_bytes)


def telling_line(evidence: Evidence) -> str:
    """The most informative line of a log's end.

    The tool's own "error: …" ranks above its other output, and that above the runner's; of equals the last one wins.
    """
    failing = [line for line in evidence.log_tail if _TELLING.search(line)]
    own = [line for line in failing if not _BOILERPLATE.search(line)]
    errors = [line for line in own if _ERROR.search(line)]
    return (errors or own or failing or [*evidence.log_tail] or [evidence.status or "it said nothing"])[-1].strip()
