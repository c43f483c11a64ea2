"""The log of a candidate's check or of a rollout's build: stored, or so far if the run is in progress."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from shared.domain.candidate import CheckRecord
from shared.domain.errors import NotThere, Rejected
from shared.domain.rollout import BuildRecord, RolloutState
from shared.ports import Services
from shared.queries.lookup import Lookup

LOG_LIMIT_BYTES = 1024 * 1024
"""The maximum size of a returned log; a longer one is cut to its end, which has the result."""


class LogSource(StrEnum):
    """The source of a log: stored as evidence, or read from a run in progress."""

    STORED = "stored"
    RUNNING = "running"


class RunLog(msgspec.Struct, frozen=True):
    """The end of a log, its source, and the run that wrote it: `task check, run ca1 of base.azurecr.io`."""

    text: str
    source: LogSource
    of: str


class RunLogs:
    """Reads logs. Raises `Malformed` for an invalid id, `NotThere` for an unknown one."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)

    def of_candidate(self, identifier: str) -> RunLog:
        """The log of the running check, else of the last one that has ended.

        Raises:
            NotThere: no check has written a log yet, or the stored log was deleted.
        """
        record = self._lookup.candidate(identifier).record
        is_open = not record.settled
        runs = ((one, f"{one.kind} check", one.kind == "task" and is_open) for one in reversed(record.checks))
        return self._first(runs, identifier)

    def of_rollout(self, identifier: str) -> RunLog:
        """The log of the build.

        Raises:
            NotThere: it has written no log yet, Basegate did not build the image, or the stored log was deleted.
        """
        record = self._lookup.rollout(identifier).record
        return self._first([(record.build, "build", record.state is RolloutState.BUILDING)], identifier)

    def _first(self, runs: Iterable[tuple[CheckRecord | BuildRecord, str, bool]], identifier: str) -> RunLog:
        """The log of the first run that has one. Each run comes with its name, and whether it may be running."""
        for run, what, may_go_on in runs:
            of = f"{what}, run {run.run_id} of {run.registry}"
            if run.evidence.log_blob:
                return self._stored(run.evidence.log_blob, of)
            if run.run_id and may_go_on:
                return self._running(run, of)
        raise NotThere(f"{identifier} has no log yet")

    def _running(self, run: CheckRecord | BuildRecord, of: str) -> RunLog:
        registry = self._services.policy.registry_at(run.registry)
        if registry is None:
            raise NotThere(f"the log of {of} cannot be read: that registry is not in the rules any more")
        try:
            text = self._services.tasks.log(registry, run.run_id, LOG_LIMIT_BYTES)
        except Rejected as error:
            raise NotThere(f"{of} has written no log yet") from error
        return RunLog(_end_of(text), LogSource.RUNNING, of)

    def _stored(self, place: str, of: str) -> RunLog:
        try:
            return RunLog(_end_of(self._services.archive.read(place)), LogSource.STORED, of)
        except Rejected as error:
            raise NotThere(f"the log of {of}, stored as {place}, does not exist any more") from error


def _end_of(text: str) -> str:
    """The end of a text, at most `LOG_LIMIT_BYTES`."""
    return text.encode()[-LOG_LIMIT_BYTES:].decode(errors="ignore")
