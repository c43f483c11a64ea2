"""The approval check: a person decides. It asks once and is not polled: the verdict comes by an operation."""

from collections.abc import Iterator

from shared.checks.kind import CheckKind, Started
from shared.domain.candidate import Candidate, Verdict
from shared.domain.policy import CheckRule, Phase, Policy, Rule

ASKED = Started("", "approval")
"""In place of a run, once approval was requested."""


TWO_PERSONS_NEED_NAMES = "a function key does not identify a person: set BASEGATE_SIGN_IN to easy-auth, or leave it out"


class ApprovalCheck(Rule, CheckRule, frozen=True, kw_only=True):
    """A person approves or rejects; with two_persons, not the person who requested the run."""

    kind = "approval"
    phase = Phase.PERSON

    two_persons: bool = False

    def problems(self, policy: Policy, *, signs_in: bool) -> Iterator[tuple[str, str]]:
        """Two persons are required, but callers with a function key can claim any name."""
        if self.two_persons and not signs_in:
            yield "two_persons", TWO_PERSONS_NEED_NAMES


class ApprovalCheckKind(CheckKind[ApprovalCheck]):
    """Asks for approval: the candidate's state announces it (`Basegate.ApprovalNeeded`), an operation gives the
    verdict. There is nothing to adopt, poll or cancel: asking twice does no harm.
    """

    rule = ApprovalCheck
    waits_for_person = True

    def start(self, candidate: Candidate, rule: ApprovalCheck, mark: str) -> Started:
        """Ask."""
        return ASKED

    def rejection(self, candidate: Candidate, rule: ApprovalCheck, verdict: Verdict, actor: str) -> str:
        """With two persons, the one who requested the run may reject it, but not approve it."""
        approves = verdict is Verdict.PASSED
        if rule.two_persons and approves and is_same_person(candidate.requested_by, actor):
            return f"{actor} requested this run: gate {candidate.gate} requires another person to approve it"
        return ""

    def dependency(self, rule: ApprovalCheck) -> str:
        """A person."""
        return "approval"


def is_same_person(one: str, other: str) -> bool:
    """Whether two actors have the same name, where each may have a reason behind it (`ada: for the demo`)."""
    return _name(one) == _name(other)


def _name(actor: str) -> str:
    return actor.partition(":")[0].strip().casefold()
