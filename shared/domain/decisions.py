"""Standing decisions of an operator: they stay until they are lifted, whatever events, sweeps and reruns say."""

from datetime import datetime
from enum import StrEnum

import msgspec

from shared.domain.image import Digest


class HoldUntil(StrEnum):
    """When a hold ends by itself."""

    LIFTED = "lifted"
    """Never: only an operator lifts it."""

    NEWER = "newer"
    """When a digest passes that was first observed for that tag after the hold began."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A stable tag stays where it is. `sequence` is that of the last observation when the hold began."""

    actor: str
    reason: str
    at: datetime
    until: HoldUntil = HoldUntil.LIFTED
    sequence: int = 0

    def stops(self, sequence: int, *, returning: bool) -> bool:
        """Whether it keeps out a digest of that sequence; one that the tag had before is not newer."""
        return self.until is HoldUntil.LIFTED or returning or sequence <= self.sequence


class Veto(msgspec.Struct, frozen=True, kw_only=True):
    """A digest is banned in a target repository, for every gate that promotes there.

    `target` is `<login server>/<repository>`, `gate` where it was asked for. A lifted veto stays in the ledger, lifted.
    """

    gate: str
    target: str
    digest: Digest
    actor: str
    reason: str
    at: datetime
    lifted_at: datetime | None = None
    lifted_by: str = ""

    @property
    def partition(self) -> str:
        """The ledger partition: the target repository, without the slashes that keys may not have."""
        return veto_partition(self.target)

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


def veto_partition(target: str) -> str:
    """The ledger partition of a target repository's vetoes."""
    return target.replace("/", "|")


def veto_row(digest: str) -> str:
    """The ledger row of a digest's veto."""
    return digest.removeprefix("sha256:")
