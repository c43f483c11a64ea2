"""The stable tags: one mover at a time, never past a hold, and what the track says is what the tag is."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from shared.domain.candidate import Track
from shared.domain.errors import Busy, Conflict, Retry
from shared.domain.image import Digest, Tag
from shared.domain.policy import Gate
from shared.ports import Stored
from shared.workflow.services import Services

MOVE_CLAIM_SECONDS = 120.0
"""How long a mover may hold a track: longer than any step, so that only a dead one loses it."""


class Stand(msgspec.Struct, frozen=True, kw_only=True):
    """What a stable tag is to stand on: the digest, the time of its push, the candidate, its unique tag."""

    digest: Digest
    pushed_at: datetime
    candidate: str
    unique: str


class Tracks:
    """The tracks of the gates. Every conflict here is about the track: it is `Busy`, never the end of a look."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def load(self, gate: Gate, tag: Tag) -> Stored[Track]:
        """The track of a stable tag, made when it is first asked for.

        Raises:
            Busy: another worker is making it.
        """
        ledger = self._services.ledger
        stored = ledger.load(Track, gate.name, tag) or ledger.insert(Track(gate=gate.name, tag=tag))
        if stored is None:
            raise Busy(f"another worker is making the track of {tag}", delay_seconds=1.0)
        return stored

    def save(self, stored: Stored[Track], track: Track) -> Stored[Track]:
        """Save a track.

        Raises:
            Busy: someone else changed it.
        """
        try:
            return self._services.ledger.save(stored, track)
        except Conflict:
            raise Busy(f"someone else changed the track of {track.tag}", delay_seconds=1.0) from None

    def move(self, gate: Gate, stored: Stored[Track], stand: Stand, **changes: object) -> Track:
        """Point the stable tag at a digest that is in the target registry.

        1. Claim the track: Azure has no conditional tag move, so movers take turns.
        2. Move the tag, and read it back.
        3. Record what it stands on now (and other `changes` of the track), and let it go. Who lost the claim
           meanwhile puts back what the track says.

        Raises:
            Busy: someone else has the track.
            Rejected: the digest is not there, or the tag is locked.
        """
        claimed = self._claim(stored, stand.candidate)  # 1
        self._point(gate, stored.record.tag, stand.digest)  # 2
        return self.settle(gate, claimed, stand, **changes)  # 3

    def settle(self, gate: Gate, stored: Stored[Track], stand: Stand, **changes: object) -> Track:
        """Record what a stable tag stands on; where the track was taken over meanwhile, put that back."""
        settled = msgspec.structs.replace(
            stored.record,
            digest=stand.digest,
            pushed_at=stand.pushed_at,
            candidate=stand.candidate,
            unique=stand.unique,
            moved_at=self._services.clock.now(),
            moving="",
            moving_until=None,
            **changes,
        )
        try:
            return self._services.ledger.save(stored, settled).record
        except Conflict:
            current = self._services.ledger.load(Track, gate.name, settled.tag)
            if current is not None and current.record.digest not in (None, stand.digest):
                self._point(gate, settled.tag, current.record.digest)
            raise Busy(f"someone else took the track of {settled.tag} over", delay_seconds=1.0) from None

    def _claim(self, stored: Stored[Track], mover: str) -> Stored[Track]:
        now, held = self._services.clock.now(), stored.record
        other = held.moving not in ("", mover)
        if other and held.moving_until is not None and held.moving_until > now:
            raise Busy(f"candidate {held.moving} is moving {held.tag}", delay_seconds=2.0)
        until = now + timedelta(seconds=MOVE_CLAIM_SECONDS)
        return self.save(stored, msgspec.structs.replace(held, moving=mover, moving_until=until))

    def _point(self, gate: Gate, tag: str, digest: Digest) -> None:
        registry, repository = self._services.registry, gate.promote.repository
        target = self._services.registry_rule(gate.promote.registry)
        if registry.digest_of(target, repository, tag) != digest:
            registry.point(target, repository, tag, digest)
        there = registry.digest_of(target, repository, tag)
        if there != digest:
            raise Retry(f"{target.login_server}/{repository}:{tag} was moved to {digest} and reads {there}")
