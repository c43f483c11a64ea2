"""A stable tag: its digest, who is moving it, and the operators' standing decisions: holds and vetoes."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self

import msgspec

from shared.domain.image import Digest, Tag
from shared.domain.record import ApiModel, Moment, Row, list_item, time_row


class HoldUntil(StrEnum):
    """When a hold ends."""

    LIFTED = "lifted"
    """When an operator lifts it."""

    NEWER = "newer"
    """When a digest passes that was first observed for that tag after the hold began."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A stable tag must not move. `sequence` is that of the last observation when the hold began."""

    actor: str
    reason: str
    at: datetime
    until: HoldUntil = HoldUntil.LIFTED
    sequence: int = 0

    def stops(self, sequence: int, *, returning: bool) -> bool:
        """Whether it prevents the promotion of a digest of that sequence; a returning digest is not newer."""
        return self.until is HoldUntil.LIFTED or returning or sequence <= self.sequence


class Veto(Row, frozen=True, kw_only=True):
    """A digest is banned in a target repository, for every gate that promotes there.

    `target` is `<login server>/<repository>`, `gate` where it was requested. A lifted veto stays in the ledger.
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
        """The ledger partition: the target repository, without the slashes that keys forbid."""
        return veto_partition(self.target)

    @property
    def row(self) -> str:
        """The ledger row: the digest."""
        return veto_row(self.digest)

    @property
    def is_active(self) -> bool:
        """Whether it has not been lifted."""
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


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Who is moving a stable tag, to which digest, and until when the claim is valid.

    `fence` is set if the claim was taken over from a worker that counts as dead but may only be paused: until then that
    worker may still move the tag.
    """

    mover: str
    digest: Digest
    until: datetime
    fence: datetime | None = None

    def after_release(self, now: datetime) -> Self | None:
        """What remains of it after its release: until the fence the tag cannot be claimed for another move."""
        if self.fence is None or self.fence <= now:
            return None
        return msgspec.structs.replace(self, until=self.fence, fence=None)


class Move(ApiModel, frozen=True, kw_only=True):
    """One move of a stable tag. `moved_by`: who rolled back, or that the sweep put it back; "" for a promotion."""

    gate: str
    tag: str
    sequence: int
    digest: Digest | None
    unique: str
    candidate: str
    moved_at: Moment
    moved_by: str


class TagScan(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest report says of the digest of a stable tag, under the rules and exceptions of its last judgement.

    `scanned_at` is None if there is no report. `counts` are its findings by severity. `failing` of its findings,
    licences and secrets fail now; `new` of the findings that fail were not in the report that it was promoted with.
    `reason` says why it is at risk; `basis` identifies what it was judged by. `repairs` says which of the candidates
    that wait pass by the same basis, by row.
    """

    digest: Digest
    scanned_at: datetime | None = None
    database_built_at: datetime | None = None
    counts: dict[str, int] = {}
    failing: int = 0
    new: int = 0
    at_risk: bool = False
    reason: str = ""
    basis: str = ""
    repairs: dict[str, bool] = {}


class StableTag(Row, frozen=True, kw_only=True):
    """The record of one stable tag of one gate.

    Azure has no conditional tag move, so a mover claims the record first. `sequence` is that of the promoted
    observation; `move` counts the moves, and orders what is built on them. `promotion` and `candidate` are rows of the
    ledger; `moved_by` is the operator who rolled back to it, "" for a promotion. `put_back_at` is when the tag was last
    put back after a move around the gate, `put_back_from` what it was then. `scan` is what the sweep knows of the scans
    of a digest, which may be an earlier one: `current_scan` is that of the digest. `referrers_done` says that the sweep
    has seen that nothing is left to be copied of what is attached to the digest upstream.
    """

    item: ClassVar = Move

    key_fields = ("gate", "tag")

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
    put_back_at: datetime | None = None
    put_back_from: str = ""
    claim: Claim | None = None
    hold: Hold | None = None
    scan: TagScan | None = None
    referrers_done: bool = False

    @property
    def current_scan(self) -> TagScan | None:
        """What is known of the scans of its digest; None if nothing is."""
        return self.scan if self.scan is not None and self.scan.digest == self.digest else None

    def is_moving(self, now: datetime) -> bool:
        """Whether the tag is being moved right now; an expired claim is that of a dead worker."""
        return self.claim is not None and self.claim.until > now

    @property
    def time_row(self) -> str:
        """Its row in the list of the gate's moves: one for each move and each put-back; "" before the first."""
        last = self.put_back_at or self.moved_at
        return time_row(last, f"{self.tag}~{999_999 - self.move:06}") if last is not None else ""

    def summary(self) -> Move:
        """The last move of the tag, as a list item."""
        last = self.put_back_at or self.moved_at
        assert last is not None  # else it has no place in the list
        by = f"sweep: put back, {self.put_back_from}" if self.put_back_at else self.moved_by
        return list_item(Move, self, candidate=f"{self.gate}.{self.candidate}", moved_at=last, moved_by=by)
