"""A candidate: one image, by digest, under examination at a gate."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from shared.domain.image import Digest, ImageRef, Repository, Tag, short
from shared.domain.record import TEXT_LIMIT, Look, Record


class CandidateState(StrEnum):
    """Where a candidate stands. From `promoted` on it is finished; a held one goes on when the hold is lifted."""

    EXAMINING = "examining"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    HELD = "held"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELED = "canceled"


class FoundBy(StrEnum):
    """How the gate came to know of a candidate."""

    EVENT = "event"
    SWEEP = "sweep"
    OPERATOR = "operator"


class Verdict(StrEnum):
    """What a check says. Only `passed` promotes."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict stands on: the run's own status, its log's last lines, and where the whole log is kept."""

    status: str = ""
    log_tail: tuple[str, ...] = ()
    log_blob: str = ""


class CheckRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One check of a candidate, from its claim to its verdict."""

    kind: str
    claimed_at: datetime | None = None
    run_id: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    verdict: Verdict | None = None
    reason: str = ""
    evidence: Evidence = Evidence()


_LISTED_PROMOTIONS = 25
"""How many tags a list tells the promotion of: a line of a list must fit into one property of a table row."""


class TagOutcome(StrEnum):
    """How the promotion of one tag ended."""

    PROMOTED = "promoted"
    SUPERSEDED = "superseded"


class TagRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One tag under which the candidate was pushed, and its promotion.

    `pushed_at` orders candidates: a stable tag never goes back to an older push. `resighted_at` is a later
    push of the same digest under the same tag that the registry has not confirmed yet.
    """

    tag: Tag
    pushed_at: datetime
    resighted_at: datetime | None = None
    unique: str = ""
    copy_operation: str = ""
    copy_started_at: datetime | None = None
    copy_attempts: int = 0
    copied_at: datetime | None = None
    locked_at: datetime | None = None
    moved_at: datetime | None = None
    rolled_out_at: datetime | None = None
    outcome: TagOutcome | None = None
    held: bool = False

    def summary(self) -> dict[str, Any]:
        """The promotion as it reads in a list: how far the unique tag has come, and since when."""
        steps = (("locked", self.locked_at), ("copied", self.copied_at), ("copying", self.copy_started_at))
        progress, since = next(((name, at) for name, at in steps if at is not None), ("", None))
        return {
            "tag": self.tag,
            "pushedAt": self.pushed_at.isoformat(),
            "unique": self.unique,
            "progress": progress,
            "since": since.isoformat() if since else None,
        }


class Candidate(Record, frozen=True, kw_only=True):
    """The record of one (gate, digest, attempt). `requested_by` names the operator who asked for it, if one did."""

    gate: str
    digest: Digest
    attempt: int
    source_registry: str
    repository: Repository
    login_server: str
    fingerprint: str
    tags: tuple[TagRecord, ...]
    checks: tuple[CheckRecord, ...]
    requested_by: str = ""
    found_by: FoundBy = FoundBy.EVENT
    state: CandidateState = CandidateState.EXAMINING

    @property
    def partition(self) -> str:
        """The ledger partition: the gate."""
        return self.gate

    @property
    def row(self) -> str:
        """The ledger row: digest and attempt."""
        return candidate_row(self.digest, self.attempt)

    @property
    def look(self) -> Look:
        """The message that brings this record up again."""
        return Look("candidate", self.partition, self.row)

    @property
    def image(self) -> ImageRef:
        """The image under examination, in its source registry."""
        return ImageRef(self.login_server, self.repository, self.digest)

    @property
    def finished(self) -> bool:
        """Whether its state is final."""
        return self.state not in (CandidateState.EXAMINING, CandidateState.PROMOTING)

    @property
    def is_open(self) -> bool:
        """Whether anything is left to do with it: a finished one is taken up again when it is pushed again."""
        return super().is_open or any(tag.resighted_at is not None for tag in self.tags)

    def summary(self) -> dict[str, Any]:
        """The candidate as it reads in a list."""
        return {
            "id": self.id,
            "gate": self.gate,
            "image": str(self.image),
            "digest": self.digest,
            "attempt": self.attempt,
            "tags": [tag.tag for tag in self.tags],
            "state": self.state.value,
            "reason": self.reason[:TEXT_LIMIT],
            "createdAt": self.created_at.isoformat(),
            "check": self.open_check,
            "promotions": [tag.summary() for tag in self.tags[:_LISTED_PROMOTIONS]],
            **self.last_change(),
        }

    @property
    def open_check(self) -> str:
        """The kind of the check that is under way, or waits for a person; "" where none is."""
        if self.finished:
            return ""
        return next((check.kind for check in self.checks if check.claimed_at and check.verdict is None), "")

    @property
    def run_id(self) -> str:
        """What tells this candidate's unique tags apart: its first run's id, else the start of its digest."""
        return next((check.run_id for check in self.checks if check.run_id), short(self.digest))

    def with_check(self, index: int, **changes: object) -> Candidate:
        """The candidate with one check changed."""
        check = msgspec.structs.replace(self.checks[index], **changes)
        return msgspec.structs.replace(self, checks=(*self.checks[:index], check, *self.checks[index + 1 :]))

    def with_tag(self, index: int, **changes: object) -> Candidate:
        """The candidate with one tag changed."""
        tag = msgspec.structs.replace(self.tags[index], **changes)
        return msgspec.structs.replace(self, tags=(*self.tags[:index], tag, *self.tags[index + 1 :]))

    def tag_index(self, tag: str) -> int | None:
        """Where a tag stands in `tags`, or None."""
        return next((i for i, record in enumerate(self.tags) if record.tag == tag), None)


def candidate_row(digest: str, attempt: int) -> str:
    """The ledger row of a candidate: sortable, and free of what Azure Tables refuses in keys."""
    return f"{digest.removeprefix('sha256:')}-{attempt:03}"
