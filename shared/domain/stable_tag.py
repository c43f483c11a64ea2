"""A stable tag: what a tag of the target repository stands on, who is moving it, and whether it is held."""

from datetime import datetime
from typing import Any

import msgspec

from shared.domain.decisions import Hold
from shared.domain.image import Digest, Tag
from shared.domain.record import time_row


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Who is moving a stable tag, to which digest, and until when that is believed."""

    mover: str
    digest: Digest
    until: datetime


class StableTag(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one stable tag of one gate.

    Azure has no conditional tag move, so a mover claims the record first. `sequence` is that of the observation it
    stands on; `move` counts the moves, so that what is built on them has an order. `promotion` and `candidate` are
    rows of the ledger; `moved_by` names the operator who rolled back to it, "" where the digest passed.
    """

    gate: str
    tag: Tag
    digest: Digest | None = None
    sequence: int = 0
    promotion: str = ""
    candidate: str = ""
    unique: str = ""
    move: int = 0
    moved_at: datetime | None = None
    moved_by: str = ""
    claim: Claim | None = None
    hold: Hold | None = None

    def is_moving(self, now: datetime) -> bool:
        """Whether somebody is moving the tag right now; a claim past its time is that of a dead one."""
        return self.claim is not None and self.claim.until > now

    @property
    def partition(self) -> str:
        """The ledger partition: the gate."""
        return self.gate

    @property
    def row(self) -> str:
        """The ledger row: the tag."""
        return self.tag

    @property
    def time_row(self) -> str:
        """Its line in the list of the gate's moves: one a move, "" before the first."""
        return time_row(self.moved_at, f"{self.tag}~{999_999 - self.move:06}") if self.moved_at is not None else ""

    def summary(self) -> dict[str, Any]:
        """The move that brought the tag where it stands, as it reads in a list."""
        return {
            "gate": self.gate,
            "tag": self.tag,
            "sequence": self.sequence,
            "digest": self.digest,
            "unique": self.unique,
            "candidate": f"{self.gate}.{self.candidate}",
            "movedAt": self.moved_at.isoformat() if self.moved_at else None,
            "movedBy": self.moved_by,
        }
