"""What every kind of check fulfils. A further kind is one more module here and its rule in the policy."""

from __future__ import annotations

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


class CheckMethod(Protocol[Rule_contra]):
    """One way to examine a candidate.

    `mark` names this check of this attempt: a run that carries it belongs to it. A check that needs no run
    answers with its finding at once.
    """

    def start(self, candidate: Candidate, rule: Rule_contra, mark: str) -> str | Finding:
        """Begin the check; returns the id of its run, or what it found already."""
        ...

    def adopt(self, candidate: Candidate, rule: Rule_contra, mark: str, since: datetime) -> str | None:
        """The run that was begun at or after `since` and never recorded, or None."""
        ...

    def watch(self, candidate: Candidate, check: CheckRecord, rule: Rule_contra) -> Finding | None:
        """What the run found, or None while it goes on."""
        ...

    def cancel(self, check: CheckRecord, rule: Rule_contra) -> None:
        """Stop a run that is past its time."""
        ...
