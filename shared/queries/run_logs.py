"""The log of a candidate's check or of a rollout's build: as it was kept, or so far, while the run goes on."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from shared.domain.candidate import CheckRecord
from shared.domain.errors import NotFound, Rejected
from shared.domain.rollout import BuildRecord, RolloutState
from shared.ports import Services
from shared.queries.lookup import Lookup

LOG_LIMIT_BYTES = 1024 * 1024
"""How much of a log is answered; of a longer one the end, where the outcome stands."""


class LogSource(StrEnum):
    """Where a log comes from: kept as evidence, or read from the run that goes on."""

    STORED = "stored"
    RUNNING = "running"


class RunLog(msgspec.Struct, frozen=True):
    """The end of a run's log, where it comes from, and what it is of: `task check, run ca1 of base.azurecr.io`."""

    text: str
    source: LogSource
    of: str


class RunLogs:
    """Reads logs. An id that is none is `Malformed`, one of nothing `NotFound`."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)

    def of_candidate(self, identifier: str) -> RunLog:
        """The log of the check that goes on, else of the last one that has ended.

        Raises:
            NotFound: no check has said anything yet, or what was kept is gone.
        """
        record = self._lookup.candidate(identifier).record
        is_open = not record.settled
        runs = ((one, f"{one.kind} check", one.kind == "task" and is_open) for one in reversed(record.checks))
        return self._first(runs, identifier)

    def of_rollout(self, identifier: str) -> RunLog:
        """The log of the build.

        Raises:
            NotFound: it has said nothing yet, someone else built the image, or what was kept is gone.
        """
        record = self._lookup.rollout(identifier).record
        return self._first([(record.build, "build", record.state is RolloutState.BUILDING)], identifier)

    def _first(self, runs: Iterable[tuple[CheckRecord | BuildRecord, str, bool]], identifier: str) -> RunLog:
        """The log of the first run that has one: of runs, with what they are of and whether they may go on."""
        for run, what, may_go_on in runs:
            of = f"{what}, run {run.run_id} of {run.registry}"
            if run.evidence.log_blob:
                return self._stored(run.evidence.log_blob, of)
            if run.run_id and may_go_on:
                return self._running(run, of)
        raise NotFound(f"no log of {identifier} is kept yet")

    def _running(self, run: CheckRecord | BuildRecord, of: str) -> RunLog:
        registry = self._services.policy.registry_at(run.registry)
        if registry is None:
            raise NotFound(f"the log of {of} cannot be read: the rules do not name that registry any more")
        try:
            text = self._services.tasks.log(registry, run.run_id, LOG_LIMIT_BYTES)
        except Rejected as error:
            raise NotFound(f"{of} has written no log yet") from error
        return RunLog(_end_of(text), LogSource.RUNNING, of)

    def _stored(self, place: str, of: str) -> RunLog:
        try:
            return RunLog(_end_of(self._services.archive.read(place)), LogSource.STORED, of)
        except Rejected as error:
            raise NotFound(f"the log of {of} was kept as {place} and is not there any more") from error


def _end_of(text: str) -> str:
    """The end of a text, of so many bytes that it may be answered."""
    return text.encode()[-LOG_LIMIT_BYTES:].decode(errors="ignore")
