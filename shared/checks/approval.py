"""The check that a person makes. It asks once, and waits without being looked at: the verdict comes from outside."""

from shared.checks.kind import CheckKind, Started
from shared.domain.candidate import Candidate
from shared.domain.policy import ApprovalCheck

ASKED = Started("", "approval")
"""Stands in the place of a run once approval was asked for."""


class ApprovalCheckKind(CheckKind[ApprovalCheck]):
    """Has a person asked: the candidate's state announces it (`Basegate.ApprovalNeeded`), an operation answers it.

    There is nothing to adopt, to read or to stop: asking twice does no harm.
    """

    waits_for_person = True

    def start(self, candidate: Candidate, rule: ApprovalCheck, mark: str) -> Started:
        """Ask."""
        return ASKED

    def dependency(self, rule: ApprovalCheck) -> str:
        """A person."""
        return "approval"
