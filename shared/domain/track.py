"""A track: one stable tag of one gate."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from shared.domain.image import Digest, Tag
from shared.domain.record import time_row
from shared.domain.standing import Hold


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One stable tag of one gate: which candidate it stands on, and who is moving it right now.

    Azure has no conditional tag move, so a mover claims the track first (`moving`, until `moving_until`).
    `moved_by` names the operator who rolled back to it; "" where the candidate passed.
    """

    gate: str
    tag: Tag
    digest: Digest | None = None
    pushed_at: datetime | None = None
    candidate: str = ""
    unique: str = ""
    moved_at: datetime | None = None
    moved_by: str = ""
    moving: str = ""
    moving_until: datetime | None = None
    hold: Hold | None = None

    def is_moving(self, now: datetime) -> bool:
        """Whether somebody is moving the tag right now; a claim past its time is that of a dead one."""
        return bool(self.moving) and self.moving_until is not None and self.moving_until > now

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
        """Its line in the list of the gate's promotions: one a move, "" before the first."""
        at = self.moved_at
        return time_row(at, f"{self.tag}~{999_999 - at.microsecond:06}") if at is not None else ""

    def summary(self) -> dict[str, Any]:
        """The move that brought the tag where it stands, as it reads in a list."""
        return {
            "gate": self.gate,
            "tag": self.tag,
            "digest": self.digest,
            "unique": self.unique,
            "candidate": f"{self.gate}.{self.candidate}",
            "movedAt": self.moved_at.isoformat() if self.moved_at else None,
            "movedBy": self.moved_by,
        }
