"""The check that a person makes. It asks once, and waits without being looked at: the verdict comes from outside."""

from collections.abc import Iterator

from shared.checks.kind import CheckKind, Started
from shared.domain.candidate import Candidate, Verdict
from shared.domain.policy import CheckRule, Policy, Rule

ASKED = Started("", "approval")
"""Stands in the place of a run once approval was asked for."""


class ApprovalCheck(Rule, CheckRule, frozen=True, kw_only=True):
    """A person approves, or rejects; with two_persons, not the one who asked for the run."""

    kind = "approval"

    two_persons: bool = False

    def problems(self, policy: Policy, *, signs_in: bool) -> Iterator[tuple[str, str]]:
        """Another person than the one who asked, where a name is what the holder of a key claims it is."""
        if self.two_persons and not signs_in:
            why = "a function key says nothing of persons: set BASEGATE_SIGN_IN to easy-auth, or leave it out"
            yield "two_persons", why


class ApprovalCheckKind(CheckKind[ApprovalCheck]):
    """Has a person asked: the candidate's state announces it (`Basegate.ApprovalNeeded`), an operation answers it.

    There is nothing to adopt, to read or to stop: asking twice does no harm.
    """

    rule = ApprovalCheck
    waits_for_person = True

    def start(self, candidate: Candidate, rule: ApprovalCheck, mark: str) -> Started:
        """Ask."""
        return ASKED

    def refusal(self, candidate: Candidate, rule: ApprovalCheck, verdict: Verdict, actor: str) -> str:
        """With two persons, who asked for the run may reject it, and not approve it."""
        approves = verdict is Verdict.PASSED
        if rule.two_persons and approves and _name(candidate.requested_by) == _name(actor):
            return f"{actor} asked for this run: gate {candidate.gate} wants another person to approve it"
        return ""

    def dependency(self, rule: ApprovalCheck) -> str:
        """A person."""
        return "approval"


def _name(actor: str) -> str:
    """A person's name, to compare: as it is taken down for an attempt, whatever the case of its letters."""
    return actor.partition(":")[0].strip().casefold()
