"""The check that a person makes. It asks once, and waits without being looked at: the verdict comes from outside."""

from __future__ import annotations

import logging
from datetime import datetime

from shared.domain.candidate import Candidate, CheckRecord
from shared.domain.errors import BasegateError
from shared.domain.policy import ApprovalCheck
from shared.ports import Notice
from shared.workflow.checks.method import Finding
from shared.workflow.services import Services

log = logging.getLogger(__name__)

ASKED = "approval"
"""Stands in the place of a run id once approval was asked for."""


class ApprovalMethod:
    """Tells that approval is needed (`Basegate.ApprovalNeeded`); `operate` takes the answer down."""

    def __init__(self, services: Services) -> None:
        self._announcer = services.announcer

    def start(self, candidate: Candidate, rule: ApprovalCheck, mark: str) -> str:
        """Ask. Nobody hearing it is no reason to stop: it is visible where candidates are read."""
        notice = Notice(
            name="ApprovalNeeded",
            subject=f"gates/{candidate.gate}/candidates/{candidate.row}",
            page=f"candidates/{candidate.id}",
            data={"gate": candidate.gate, "image": str(candidate.image), "requestedBy": candidate.requested_by},
        )
        try:
            self._announcer.announce(notice)
        except BasegateError as error:
            log.warning("approval of %s is needed and could not be told: %s", candidate.image, error)
        return ASKED

    def adopt(self, candidate: Candidate, rule: ApprovalCheck, mark: str, since: datetime) -> str | None:
        """Asking twice does no harm: let it be started again."""
        return None

    def watch(self, candidate: Candidate, check: CheckRecord, rule: ApprovalCheck) -> Finding | None:
        """There is nothing to look at."""
        return None

    def cancel(self, check: CheckRecord, rule: ApprovalCheck) -> None:
        """There is nothing to stop."""
