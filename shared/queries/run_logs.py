"""The log of a candidate's check or of a rollout's build: stored, or so far if the run is in progress."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec

from shared.checks import check_kinds
from shared.checks.evidence import log_so_far
from shared.domain.candidate import CheckRecord
from shared.domain.errors import NotFound, Rejected
from shared.domain.rollout import BuildRecord, RolloutState
from shared.ports import Services
from shared.queries.lookup import Lookup

LOG_LIMIT_BYTES = 1024 * 1024
"""The maximum size of a returned log; a longer one is cut to its end, which has the result."""

Reader = Callable[[Any, int], str | None]
"""Reads the last bytes of the log of a run in progress; None if it writes no log."""


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
    """Reads logs. Raises `Malformed` for an invalid id, `NotFound` for an unknown one."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)

    def of_candidate(self, identifier: str) -> RunLog:
        """The log of the running check, else of the last one that has ended.

        Raises:
            NotFound: no check has written a log yet, or the stored log was deleted.
        """
        record = self._lookup.candidate(identifier).record
        kinds = {} if record.settled else check_kinds(self._services)
        checks = ((one, kinds[one.kind].log if one.kind in kinds else None) for one in reversed(record.checks))
        return self._first(((one, f"{one.kind} check", so_far) for one, so_far in checks), identifier)

    def of_rollout(self, identifier: str) -> RunLog:
        """The log of the build.

        Raises:
            NotFound: it has written no log yet, Basegate did not build the image, or the stored log was deleted.
        """
        record = self._lookup.rollout(identifier).record
        so_far = partial(log_so_far, self._services) if record.state is RolloutState.BUILDING else None
        return self._first([(record.build, "build", so_far)], identifier)

    def _first(self, runs: Iterable[tuple[CheckRecord | BuildRecord, str, Reader | None]], identifier: str) -> RunLog:
        """The log of the first run that has one. Each run comes with its name, and a reader if it may be running."""
        for run, what, so_far in runs:
            of = f"{what}, run {run.run_id} of {run.registry}"
            if run.evidence.log_blob:
                return self._stored(run.evidence.log_blob, of)
            try:
                text = so_far(run, LOG_LIMIT_BYTES) if so_far and run.run_id else None
            except Rejected as error:
                raise NotFound(f"{of} has written no log yet") from error
            if text is not None:
                return RunLog(_end_of(text), LogSource.RUNNING, of)
        raise NotFound(f"{identifier} has no log yet")

    def _stored(self, place: str, of: str) -> RunLog:
        try:
            return RunLog(_end_of(self._services.archive.read(place)), LogSource.STORED, of)
        except Rejected as error:
            raise NotFound(f"the log of {of}, stored as {place}, does not exist any more") from error


def _end_of(text: str) -> str:
    """The end of a text, at most `LOG_LIMIT_BYTES`."""
    return text.encode()[-LOG_LIMIT_BYTES:].decode(errors="ignore")
