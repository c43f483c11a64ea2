"""What the sweep saw of an upstream tag, and what to make of it. Pure: the registry and the ledger are asked before."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.image import Digest, Tag
from shared.domain.track import Track


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """The digest of an upstream tag as the last look found it, and how the stable tag stood then.

    `since` is when a look first found that digest; `told` whether an event had told of it before. While its candidate
    was still under way it is not `settled`: how that ends is looked at again. Written only when something is different,
    so that a sweep with nothing new writes nothing.
    """

    gate: str
    tag: Tag
    digest: Digest
    since: datetime
    stable: Digest | None = None
    held: bool = False
    told: bool = False
    settled: bool = True

    @property
    def partition(self) -> str:
        """The ledger partition: the gate."""
        return self.gate

    @property
    def row(self) -> str:
        """The ledger row: the tag."""
        return self.tag

    def covers(self, digest: Digest, track: Track | None) -> bool:
        """Whether nothing has changed since: neither upstream, nor the stable tag, nor a hold on it."""
        return self.settled and (self.digest, self.stable, self.held) == (digest, *standing(track))


class Reading(StrEnum):
    """What a digest under an upstream tag means."""

    NEW = "new digest"
    """The gate has never seen these bytes."""

    NEW_TAG = "new tag of a known digest"
    RETURNED = "came back to an earlier digest"
    """It passed before, and something else was promoted after it, or a hold kept it out that has ended since."""

    UNDER_WAY = "under way"
    KNOWN = "known"
    """Promoted, failed, held or canceled: the ledger says why the stable tag is what it is."""

    @property
    def is_news(self) -> bool:
        """Whether the gate must be told, as no event has."""
        return self in (Reading.NEW, Reading.NEW_TAG, Reading.RETURNED)


def read_sighting(tag: Tag, digest: Digest, latest: Candidate | None, track: Track | None) -> Reading:
    """What it means that an upstream tag is a digest, given the last attempt at that digest and the stable tag.

    A tag that an operator holds is never led back to what it was held away from: only a digest, or a tag of one,
    that the gate has not seen is taken up, and then waits for the hold like any other.
    """
    if latest is None:
        return Reading.NEW
    if latest.tag_index(tag) is None:
        return Reading.NEW_TAG
    if not latest.finished:
        return Reading.UNDER_WAY
    stable, held = standing(track)
    if held or stable == digest:
        return Reading.KNOWN
    was_promoted = latest.state in (CandidateState.PROMOTED, CandidateState.SUPERSEDED)
    if latest.state is CandidateState.HELD or (was_promoted and stable is not None):
        return Reading.RETURNED
    return Reading.KNOWN


def standing(track: Track | None) -> tuple[Digest | None, bool]:
    """The digest that a stable tag stands on by the ledger, and whether it is held."""
    return (track.digest, track.hold is not None) if track else (None, False)
