"""Standing decisions of an operator: they stay until they are lifted, whatever events, sweeps and reruns say."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from shared.domain.image import Digest


class HoldUntil(StrEnum):
    """When a hold ends by itself."""

    LIFTED = "lifted"
    """Never: only an operator lifts it."""

    NEWER = "newer"
    """When a digest that was pushed after the hold began passes."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A stable tag stays where it is."""

    actor: str
    reason: str
    at: datetime
    until: HoldUntil = HoldUntil.LIFTED

    def stops(self, pushed_at: datetime) -> bool:
        """Whether it keeps out a digest that was pushed at a time."""
        return self.until is HoldUntil.LIFTED or pushed_at <= self.at


class Veto(msgspec.Struct, frozen=True, kw_only=True):
    """A digest is banned at a gate. A lifted veto stays in the ledger, lifted."""

    gate: str
    digest: Digest
    actor: str
    reason: str
    at: datetime
    lifted_at: datetime | None = None
    lifted_by: str = ""

    @property
    def partition(self) -> str:
        """The ledger partition: the gate."""
        return self.gate

    @property
    def row(self) -> str:
        """The ledger row: the digest."""
        return veto_row(self.digest)

    @property
    def stands(self) -> bool:
        """Whether it holds now."""
        return self.lifted_at is None

    @property
    def words(self) -> str:
        """Why the digest is refused."""
        return f"{self.digest} is vetoed by {self.actor} since {self.at:%Y-%m-%d %H:%M}: {self.reason}"


def veto_row(digest: str) -> str:
    """The ledger row of a digest's veto."""
    return digest.removeprefix("sha256:")
