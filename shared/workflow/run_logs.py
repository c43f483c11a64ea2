"""The log of a candidate's check or of a rollout's build: as it was kept, or so far, while the run goes on."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from shared.domain.candidate import Candidate
from shared.domain.errors import NotThere, Rejected
from shared.domain.policy import RegistryRule, TaskCheck
from shared.domain.rollout import Rollout, RolloutState
from shared.workflow.evidence import plain_text
from shared.workflow.find import Find
from shared.workflow.services import Services

LOG_LIMIT_BYTES = 1024 * 1024
"""How much of a log is answered; of a longer one the end, where the outcome stands."""


class LogSource(StrEnum):
    """Where a log comes from: kept as evidence, or read from the run that goes on."""

    STORED = "stored"
    RUNNING = "running"


class RunLog(msgspec.Struct, frozen=True):
    """The end of a run's log, and where it comes from."""

    text: str
    source: LogSource


class RunLogs:
    """Reads logs. An id that is none is `Malformed`, one of nothing `NotThere`."""

    def __init__(self, services: Services) -> None:
        self._services, self._find = services, Find(services)

    def of_candidate(self, identifier: str) -> RunLog:
        """The log of the check that goes on, else of the last one that has ended.

        Raises:
            NotThere: no check has said anything yet, or what was kept is gone.
        """
        record = self._find.candidate(identifier).record
        running = self._check_that_goes_on(record)
        if running is not None:
            return self._running(*running)
        kept = [check.evidence.log_blob for check in record.checks if check.evidence.log_blob]
        return self._stored(kept[-1] if kept else "", identifier)

    def of_rollout(self, identifier: str) -> RunLog:
        """The log of the build.

        Raises:
            NotThere: it has said nothing yet, someone else built the image, or what was kept is gone.
        """
        record: Rollout = self._find.rollout(identifier).record
        build, app = record.build, self._services.app(record.app)
        if record.state is RolloutState.BUILDING and build.run_id and not build.evidence.log_blob and app is not None:
            return self._running(self._services.registry_rule(app.build.registry), build.run_id)
        return self._stored(build.evidence.log_blob, identifier)

    def _check_that_goes_on(self, record: Candidate) -> tuple[RegistryRule, str] | None:
        gate = self._services.gate(record.gate)
        if gate is None or record.finished:
            return None
        for check, rule in zip(record.checks, gate.checks, strict=False):
            if isinstance(rule, TaskCheck) and check.run_id and check.verdict is None:
                return self._services.registry_rule(rule.registry), check.run_id
        return None

    def _running(self, registry: RegistryRule, run_id: str) -> RunLog:
        try:
            text = self._services.tasks.log(registry, run_id, LOG_LIMIT_BYTES)
        except Rejected as error:
            raise NotThere(f"run {run_id} of {registry.login_server} has written no log yet") from error
        return RunLog(_end_of(plain_text(text)), LogSource.RUNNING)

    def _stored(self, place: str, identifier: str) -> RunLog:
        if not place:
            raise NotThere(f"no log of {identifier} is kept yet")
        try:
            return RunLog(_end_of(self._services.archive.read(place)), LogSource.STORED)
        except Rejected as error:
            raise NotThere(f"the log of {identifier} was kept as {place} and is not there any more") from error


def _end_of(text: str) -> str:
    """The end of a text, of so many bytes that it may be answered."""
    return text.encode()[-LOG_LIMIT_BYTES:].decode(errors="ignore")
