"""What every kind of check fulfils. A further kind is one more module here and its rule in the policy."""

from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from shared.domain.candidate import Candidate, CheckRecord, Evidence, Verdict

Rule_contra = TypeVar("Rule_contra", contravariant=True)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found."""

    verdict: Verdict
    reason: str
    evidence: Evidence = Evidence()
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Started(msgspec.Struct, frozen=True):
    """A run that was begun: where (a login server, or "" where it is nobody's) and under which id."""

    registry: str
    run_id: str


class CheckKind(Protocol[Rule_contra]):
    """One way to examine a candidate.

    `mark` names this run of this check of this attempt: a run that carries it belongs to it. A check that needs no
    run answers with its finding at once.
    """

    waits_for_person: bool
    """Whether the verdict comes from outside, however long that takes."""

    def start(self, candidate: Candidate, rule: Rule_contra, mark: str) -> Started | Finding:
        """Begin the check; returns its run, or what it found already."""
        ...

    def adopt(self, candidate: Candidate, rule: Rule_contra, mark: str, since: datetime) -> Started | None:
        """The run that was begun at or after `since` and never recorded, or None: it is started again."""
        return None

    def watch(self, candidate: Candidate, check: CheckRecord, rule: Rule_contra) -> Finding | None:
        """What the run found, or None while it goes on. One past its time is stopped, and has found nothing."""
        return None

    def cancel(self, check: CheckRecord, rule: Rule_contra) -> None:
        """Stop a run that nobody waits for any more."""
        return

    def dependency(self, rule: Rule_contra) -> str:
        """What it asks, for those who read why it stalls."""
        ...
