"""An observation: what a source tag was when it was read from its registry. Pure: the caller reads the registry.

Each tag has one linear history: an observation is saved with the ETag that was loaded before the registry was asked, so
two workers cannot save their answers in the wrong order, and no clocks are compared.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from shared.domain.image import Digest, Tag
from shared.domain.record import Row

RETURNS_AN_HOUR = 3
"""How many returns of a tag to an earlier digest are believed within an hour."""

_HOUR = timedelta(hours=1)
_REMEMBERED_DIGESTS = 20
_KEPT_EXPECTATIONS = 20
_WITHOUT_DOUBT: dict[str, Any] = {"doubted": None, "doubted_at": None, "missed_at": None, "absent": False}


class Expectation(Struct, frozen=True, kw_only=True):
    """A digest that an event named and the registry never returned: explains why a push was not examined."""

    digest: Digest
    event: str
    at: datetime


class Change(StrEnum):
    """How the registry's answer changes an observation."""

    NONE = "unchanged"
    NEW = "new digest"
    RETURNED = "returned to an earlier digest"
    DOUBTED = "an earlier digest was read, to be confirmed"
    SETTLED = "doubt resolved"
    MISSED = "missing, to be confirmed"
    ABSENT = "gone"
    BACK = "exists again with the same digest"

    @property
    def needs_promotion(self) -> bool:
        """Whether there is a new digest to promote."""
        return self in (Change.NEW, Change.RETURNED)


class Observation(Row, frozen=True, kw_only=True):
    """A source tag: its digest when it was last read, the number of that change, and its time.

    `sequence` grows with each change and orders the promotions to the stable tag of the same name.
    `doubted` is an earlier digest that was read once: until a second reading nothing of this tag is promoted.
    `missed_at` is when the tag was first found missing, `absent` says that a second reading confirmed it.
    `by_event` and `by_sweep` count the changes that each has found; `unread` counts the digests that events named and
    that were never read. `hinted_at` is when a hint last had the tag read, `again_at` the time for which another such
    reading is queued: until then further hints cost nothing. `last_outcome` is the number of its last outcome.
    """

    key_fields = ("gate", "tag")

    gate: str
    tag: Tag
    digest: Digest | None = None
    sequence: int = 0
    first_seen: datetime | None = None
    earlier: tuple[Digest, ...] = ()
    doubted: Digest | None = None
    doubted_at: datetime | None = None
    returned_at: tuple[datetime, ...] = ()
    missed_at: datetime | None = None
    absent: bool = False
    by_event: int = 0
    by_sweep: int = 0
    unread: int = 0
    expectations: tuple[Expectation, ...] = ()
    hinted_at: datetime | None = None
    again_at: datetime | None = None
    last_outcome: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether another reading of the same digest changes nothing."""
        return self.doubted is None and self.missed_at is None

    def is_flapping(self, now: datetime) -> bool:
        """Whether the tag has returned to earlier digests too often within an hour."""
        return len(self._returned_lately(now)) >= RETURNS_AN_HOUR

    def read(
        self, digest: Digest | None, now: datetime, interval_seconds: float, expected: Digest | None = None
    ) -> tuple[Self, Change]:
        """The observation after the registry's answer, and the change; `with_sequence` sets the sequence.

        1. No such tag: missed at first, absent when a later reading confirms it.
        2. The same digest: a doubt or an absence ends.
        3. A digest that the tag had before: believed when it is read again after a full interval, or immediately if an
           event named it or the tag was forgotten. No return of a flapping tag is believed: the newest digest stays.
        4. Any other digest is new.
        """
        if digest is None:  # 1
            return self._missing(now)
        if digest == self.digest:  # 2
            if self.is_settled and not self.absent:
                return self, Change.NONE
            return replace(self, **_WITHOUT_DOUBT), Change.BACK if self.absent else Change.SETTLED
        if digest in self.earlier:  # 3
            return self._returned(digest, now, interval_seconds, expected)
        return self._taken(digest, now), Change.NEW  # 4

    def with_sequence(self, sequence: int) -> Self:
        """The same digest with a new sequence: it is promoted again."""
        return replace(self, sequence=sequence)

    def forgotten(self) -> Self:
        """The tag after its rule was removed: its digest will count as a return. Its sequence continues."""
        return replace(self, digest=None, first_seen=None, earlier=self._with_earlier(), doubted=None, doubted_at=None)

    def with_expectation(self, expectation: Expectation) -> Self:
        """The observation with another digest that an event named and that was never read."""
        kept = (*self.expectations, expectation)[-_KEPT_EXPECTATIONS:]
        return replace(self, expectations=kept, unread=self.unread + 1)

    def _missing(self, now: datetime) -> tuple[Self, Change]:
        if self.absent or self.digest is None:
            return self, Change.NONE
        if self.missed_at is None:
            return replace(self, missed_at=now), Change.MISSED
        if now <= self.missed_at:
            return self, Change.NONE
        return replace(self, absent=True, doubted=None, doubted_at=None), Change.ABSENT

    def _returned(
        self, digest: Digest, now: datetime, interval_seconds: float, expected: Digest | None
    ) -> tuple[Self, Change]:
        believed = digest == expected or self.digest is None
        if self.doubted == digest and self.doubted_at is not None:
            believed |= (now - self.doubted_at).total_seconds() >= interval_seconds
        if believed and not self.is_flapping(now):
            returned = replace(self, returned_at=(*self._returned_lately(now), now))
            return returned._taken(digest, now), Change.RETURNED
        if self.doubted == digest:
            return self, Change.NONE
        return replace(self, doubted=digest, doubted_at=now, missed_at=None), Change.DOUBTED

    def _returned_lately(self, now: datetime) -> tuple[datetime, ...]:
        return tuple(at for at in self.returned_at if now - at < _HOUR)

    def _with_earlier(self) -> tuple[Digest, ...]:
        """The digests that the tag has had, the current one last."""
        return tuple(dict.fromkeys((*self.earlier, *((self.digest,) if self.digest else ()))))

    def _taken(self, digest: Digest, now: datetime) -> Self:
        earlier = tuple(known for known in self._with_earlier() if known != digest)[-_REMEMBERED_DIGESTS:]
        return replace(self, digest=digest, first_seen=now, earlier=earlier, **_WITHOUT_DOUBT)
