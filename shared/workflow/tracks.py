"""The stable tags: one mover at a time, never past a hold, and what the track says is what the tag is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from shared.domain.errors import BasegateError, Busy, Conflict, Rejected, Retry
from shared.domain.image import Digest, Tag
from shared.domain.policy import Gate
from shared.domain.standing import Veto, veto_row
from shared.domain.track import Track
from shared.ports import Stored
from shared.workflow.services import Services

MOVE_CLAIM_SECONDS = 330.0
"""How long a mover may hold a track: longer than any step (`functionTimeout`), so that only a dead one loses it."""

_TICK = timedelta(microseconds=1)
_SWEEP = "sweep"
"""Who has claimed a track that is put back; all other claims are those of the candidate that the tag is to stand on."""


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

    def move(
        self, gate: Gate, stored: Stored[Track], stand: Stand, confirm: Callable[[], object], **changes: object
    ) -> Track:
        """Point the stable tag at a digest that is in the target registry.

        1. Claim the track: Azure has no conditional tag move, so movers take turns. `confirm`, under the claim, raises
           where the tag is not to move any more; a veto that came meanwhile does too.
        2. Move the tag, and read it back.
        3. Record what it stands on now (and other `changes` of the track), and let it go. Who lost the claim
           meanwhile puts back what the track says.
        4. Read the tag once more: someone who lost the claim may have moved it between 2 and 3.

        Raises:
            Busy: someone else has the track.
            Rejected: the digest is not there or is vetoed, or the tag is locked.
            BasegateError: what `confirm` says.
            Retry: the tag does not stay where it was moved to.
        """
        tag = stored.record.tag
        claimed = self._claim(stored, stand.candidate)  # 1
        try:
            confirm()
            self._refuse_vetoed(gate, stand.digest)
            self._point(gate, tag, stand.digest)  # 2
        except BasegateError:
            self._let_go(claimed)
            raise
        try:
            settled = self.settle(claimed, stand, **changes)  # 3
        except Busy:
            self._put_back(gate, claimed.record)
            raise
        self._verify(gate, tag, stand.digest)  # 4
        return settled

    def put_back(self, gate: Gate, stored: Stored[Track]) -> None:
        """Point a stable tag that somebody moved around the gate at what its track says; the track stays as it is.

        Raises:
            Busy: somebody is moving it. Rejected: the digest is not there or is vetoed, or the tag is locked.
            Retry: the tag does not stay where it was moved to.
        """
        digest = stored.record.digest
        assert digest is not None  # a track that stands on nothing has nothing to be put back to
        claimed = self._claim(stored, _SWEEP)
        try:
            self._refuse_vetoed(gate, digest)
            self._point(gate, claimed.record.tag, digest)
        finally:
            self._let_go(claimed)

    def settle(self, stored: Stored[Track], stand: Stand, **changes: object) -> Track:
        """Record what a stable tag stands on. A later move has a later time, whatever the clocks say.

        Raises:
            Busy: someone else changed the track.
        """
        now, moved_at = self._services.clock.now(), stored.record.moved_at
        moved: dict[str, object] = {
            "digest": stand.digest,
            "pushed_at": stand.pushed_at,
            "candidate": stand.candidate,
            "unique": stand.unique,
            "moved_at": max(now, moved_at + _TICK) if moved_at else now,
            "moved_by": "",
            "moving": "",
            "moving_until": None,
        }
        settled = msgspec.structs.replace(stored.record, **(moved | changes))
        return self.save(stored, settled).record

    def _refuse_vetoed(self, gate: Gate, digest: Digest) -> None:
        if (veto := self._veto(gate, digest)) is not None:
            raise Rejected(veto.words)

    def _veto(self, gate: Gate, digest: Digest) -> Veto | None:
        stored = self._services.ledger.load(Veto, gate.name, veto_row(digest))
        return stored.record if stored is not None and stored.record.stands else None

    def _let_go(self, claimed: Stored[Track]) -> None:
        """Give up a claim, so that nobody waits for its end. The fault that led here is the one to tell."""
        with suppress(BasegateError):
            self.save(claimed, msgspec.structs.replace(claimed.record, moving="", moving_until=None))

    def _put_back(self, gate: Gate, claimed: Track) -> None:
        """Point a tag at what its track says, unless someone is moving it: they read it back themselves.

        An operator who has changed its hold is nobody who moves it: then the claim is still ours. What has been
        banned meanwhile is not put back; the tag is then moved on by whoever comes next.
        """
        stored = self.load(gate, claimed.tag)
        current = stored.record
        ours = current.moving == claimed.moving and current.hold != claimed.hold
        if current.digest is None or (current.moving and not ours) or self._veto(gate, current.digest) is not None:
            return
        self._point(gate, current.tag, current.digest)
        if ours:
            self._let_go(stored)

    def _claim(self, stored: Stored[Track], mover: str) -> Stored[Track]:
        now, track = self._services.clock.now(), stored.record
        if track.is_moving(now) and track.moving != mover:
            doing = "put back by the sweep" if track.moving == _SWEEP else f"moved to candidate {track.moving}"
            raise Busy(f"{track.tag} is being {doing}", delay_seconds=2.0)
        until = now + timedelta(seconds=MOVE_CLAIM_SECONDS)
        return self.save(stored, msgspec.structs.replace(track, moving=mover, moving_until=until))

    def _point(self, gate: Gate, tag: str, digest: Digest) -> None:
        registry, repository = self._services.registry, gate.promote.repository
        target = self._services.registry_rule(gate.promote.registry)
        if registry.digest_of(target, repository, tag) != digest:
            registry.point(target, repository, tag, digest)
        self._verify(gate, tag, digest)

    def _verify(self, gate: Gate, tag: str, digest: Digest) -> None:
        registry, repository = self._services.registry, gate.promote.repository
        target = self._services.registry_rule(gate.promote.registry)
        there = registry.digest_of(target, repository, tag)
        if there != digest:
            raise Retry(f"{target.login_server}/{repository}:{tag} was moved to {digest} and reads {there}")
