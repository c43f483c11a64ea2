"""An observation: what a source tag was when the registry was asked. Pure: others ask, and say what was answered.

Each tag has one linear history: whoever saves an observation does so on the ETag that was read before the registry
was asked, so two workers never put their answers in the wrong order, and no clock is compared.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

import msgspec

from shared.domain.image import Digest, Tag
from shared.domain.record import Row

RETURNS_AN_HOUR = 3
"""How often a tag may come back to an earlier digest and still be believed."""

_HOUR = timedelta(hours=1)
_REMEMBERED_DIGESTS = 20
_KEPT_EXPECTATIONS = 20


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """A digest that an event named and the registry never answered: for "why was my push not examined?"."""

    digest: Digest
    event: str
    at: datetime


class Change(StrEnum):
    """What an answer of the registry means for a tag."""

    NONE = "unchanged"
    NEW = "new digest"
    RETURNED = "returned to an earlier digest"
    DOUBTED = "an earlier digest was read, to be confirmed"
    SETTLED = "the doubt is over"
    MISSED = "not there, to be confirmed"
    ABSENT = "gone"
    BACK = "there again with the same digest"

    @property
    def needs_promotion(self) -> bool:
        """Whether there is a digest to promote."""
        return self in (Change.NEW, Change.RETURNED)


class Observation(Row, frozen=True, kw_only=True):
    """A source tag: the digest that it was last, the number of that change, and since when.

    `sequence` grows with each change and orders all that is promoted to the stable tag of the same name.
    `doubted` is an earlier digest that was read once: until a second look nothing of this tag is promoted.
    `missed_at` is when the tag was first found missing, `absent` that a second look confirmed it.
    `by_event` and `by_sweep` count how changes became known; `unread` the digests that events named and nobody read.
    `hinted_at` is when it was read last on account of a hint, `again_at` the moment for which a further such reading is
    queued already: until then a flood of hints costs nothing. `last_outcome` is the number of its last outcome.
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
        """Whether the next answer, if it is the same, changes nothing."""
        return self.doubted is None and self.missed_at is None

    def is_flapping(self, now: datetime) -> bool:
        """Whether the tag came back to earlier digests too often within an hour to be followed."""
        return len(self._returned_lately(now)) >= RETURNS_AN_HOUR

    def read(
        self, digest: Digest | None, now: datetime, interval_seconds: float, expected: Digest | None = None
    ) -> tuple[Self, Change]:
        """What the registry's answer makes of this observation; the sequence is raised by `renewed` or `taken`.

        1. No such tag: missed at first, absent when a later look finds the same.
        2. The same digest: a doubt or an absence is over.
        3. A digest that the tag had before: believed when read again after a full interval, or at once where an event
           named it or the tag was forgotten. Of a tag that flaps no return is believed: the digest that was first seen
           last stays.
        4. Any other is new.
        """
        if digest is None:  # 1
            return self._missing(now)
        if digest == self.digest:  # 2
            if self.is_settled and not self.absent:
                return self, Change.NONE
            seen = msgspec.structs.replace(self, doubted=None, doubted_at=None, missed_at=None, absent=False)
            return seen, Change.BACK if self.absent else Change.SETTLED
        if digest in self.earlier:  # 3
            return self._returned(digest, now, interval_seconds, expected)
        return self._taken(digest, now), Change.NEW  # 4

    def with_sequence(self, sequence: int) -> Self:
        """The same digest with a number of its own: it is to be promoted again."""
        return msgspec.structs.replace(self, sequence=sequence)

    def forgotten(self) -> Self:
        """The tag once its rule is gone: what it was is news again, as a return. Its numbers go on where they were."""
        return msgspec.structs.replace(
            self, digest=None, first_seen=None, earlier=self._with_earlier(), doubted=None, doubted_at=None
        )

    def with_expectation(self, expectation: Expectation) -> Self:
        """With one more digest that was named and never read."""
        kept = (*self.expectations, expectation)[-_KEPT_EXPECTATIONS:]
        return msgspec.structs.replace(self, expectations=kept, unread=self.unread + 1)

    def _missing(self, now: datetime) -> tuple[Self, Change]:
        if self.absent or self.digest is None:
            return self, Change.NONE
        if self.missed_at is None:
            return msgspec.structs.replace(self, missed_at=now), Change.MISSED
        if now <= self.missed_at:
            return self, Change.NONE
        return msgspec.structs.replace(self, absent=True, doubted=None, doubted_at=None), Change.ABSENT

    def _returned(
        self, digest: Digest, now: datetime, interval_seconds: float, expected: Digest | None
    ) -> tuple[Self, Change]:
        believed = digest == expected or self.digest is None
        if self.doubted == digest and self.doubted_at is not None:
            believed |= (now - self.doubted_at).total_seconds() >= interval_seconds
        if believed and not self.is_flapping(now):
            returned = msgspec.structs.replace(self, returned_at=(*self._returned_lately(now), now))
            return returned._taken(digest, now), Change.RETURNED
        if self.doubted == digest:
            return self, Change.NONE
        return msgspec.structs.replace(self, doubted=digest, doubted_at=now, missed_at=None), Change.DOUBTED

    def _returned_lately(self, now: datetime) -> tuple[datetime, ...]:
        return tuple(at for at in self.returned_at if now - at < _HOUR)

    def _with_earlier(self) -> tuple[Digest, ...]:
        """What the tag was before, and is now: the last one last."""
        return tuple(dict.fromkeys((*self.earlier, *((self.digest,) if self.digest else ()))))

    def _taken(self, digest: Digest, now: datetime) -> Self:
        earlier = tuple(known for known in self._with_earlier() if known != digest)
        return msgspec.structs.replace(
            self,
            digest=digest,
            first_seen=now,
            earlier=earlier[-_REMEMBERED_DIGESTS:],
            doubted=None,
            doubted_at=None,
            missed_at=None,
            absent=False,
        )
