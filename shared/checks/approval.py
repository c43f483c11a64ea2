"""The check that a person makes. It asks once, and waits without being looked at: the verdict comes from outside."""

import logging

from shared.checks.kind import CheckKind, Started
from shared.domain.candidate import Candidate
from shared.domain.errors import BasegateError
from shared.domain.policy import ApprovalCheck
from shared.ports import Outcome, Services

log = logging.getLogger(__name__)

ASKED = Started("", "approval")
"""Stands in the place of a run once approval was asked for."""


class ApprovalCheckKind(CheckKind[ApprovalCheck]):
    """Announces that approval is needed (`Basegate.ApprovalNeeded`); an operation takes the answer down.

    There is nothing to adopt, to read or to stop: asking twice does no harm.
    """

    waits_for_person = True

    def __init__(self, services: Services) -> None:
        self._announcer = services.announcer

    def start(self, candidate: Candidate, rule: ApprovalCheck, mark: str) -> Started:
        """Ask. Nobody hearing it is no reason to stop: it is visible where candidates are read."""
        outcome = Outcome(
            name="ApprovalNeeded",
            subject=f"gates/{candidate.gate}/candidates/{candidate.row}",
            page=f"candidates/{candidate.id}",
            data={"gate": candidate.gate, "image": str(candidate.image), "requestedBy": candidate.requested_by},
        )
        try:
            self._announcer.announce(outcome)
        except BasegateError as error:
            log.warning("approval of %s is needed and could not be announced: %s", candidate.image, error)
        return ASKED

    def dependency(self, rule: ApprovalCheck) -> str:
        """A person."""
        return "approval"
