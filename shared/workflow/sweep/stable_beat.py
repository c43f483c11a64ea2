"""The stable beat: whether the tags of a gate's promotions are what the ledger says, and putting them back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import Candidate
from shared.domain.drift import TagDifference, TagState, read_tags
from shared.domain.errors import Busy, Malformed, Rejected
from shared.domain.image import Digest, short
from shared.domain.policy import Drift, Gate, PromoteBy
from shared.domain.standing import Veto
from shared.domain.track import Track
from shared.ports import Stored
from shared.workflow.services import Services
from shared.workflow.sweep.alarms import Alarms
from shared.workflow.sweep.mending import Mending
from shared.workflow.sweep.tour import Tour, in_slices
from shared.workflow.tracks import Tracks

_SLICE_TRACKS = 100
_FEW_TRACKS = 20
_LOCK_ROUNDS = 12
"""Every hour, where the sweep comes by every five minutes."""

_KINDS = {
    TagDifference.STABLE: AlarmKind.STABLE_MOVED,
    TagDifference.UNIQUE_GONE: AlarmKind.UNIQUE_CHANGED,
    TagDifference.UNIQUE_MOVED: AlarmKind.UNIQUE_CHANGED,
    TagDifference.UNIQUE_UNLOCKED: AlarmKind.UNIQUE_CHANGED,
}
_ALL_KINDS = frozenset((*_KINDS.values(), AlarmKind.PROMOTED_GONE, AlarmKind.STABLE_VETOED))

Seen = tuple[Digest | None, TagState | None]


class StableBeat:
    """Looks at the stable tags of one gate, and the unique tags behind them: one HEAD each.

    Whether a unique tag is locked, only the registry's own interface says, at four requests a tag: where there are many
    tags, every twelfth round asks.
    """

    every_seconds = 0.0

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self._tracks, self._alarms, self._mending = Tracks(services), Alarms(services), Mending(services, gate)
        self._target = services.registry_rule(gate.promote.registry)
        self._locks = gate.promote.lock and gate.promote.by is PromoteBy.COPY
        self.name, self.lane = f"stable.{gate.name}", f"target {self._target.login_server}"

    def slices(self, tour: Tour) -> Iterator[str]:
        """Sweep the tracks from the cursor on, which is the last tag that was looked at."""
        tracks = self._services.ledger.between(Track, self._gate.name, tour.record.after, "")
        standing = (
            stored.record for stored in tracks if stored.record.digest and stored.record.tag != tour.record.after
        )
        vetoes = {
            s.record.digest: s.record for s in self._services.ledger.list(Veto, self._gate.name) if s.record.stands
        }
        for piece in in_slices(standing, _SLICE_TRACKS):
            locks = len(piece) <= _FEW_TRACKS or tour.dry_run or tour.record.round % _LOCK_ROUNDS == 1
            looks = tour.spread(partial(self._look, locks=locks), piece)
            pairs = zip(piece, looks, strict=True)
            judged = [(track.tag, self._wrong(tour, track, look, vetoes)) for track, look in pairs]
            kinds = _ALL_KINDS if locks else _ALL_KINDS - {AlarmKind.UNIQUE_CHANGED}
            found = [alarm for _, alarms in judged for alarm in alarms or ()]
            looked_at = {(kind, tag) for tag, alarms in judged if alarms is not None for kind in kinds}
            self._alarms.settle(tour, self._scope, looked_at, found)
            tour.record = msgspec.structs.replace(tour.record, looked=tour.record.looked + len(piece))
            yield piece[-1].tag

    @property
    def _scope(self) -> str:
        return f"gates/{self._gate.name}"

    def _look(self, track: Track, *, locks: bool) -> Seen | Malformed | Rejected:
        """What the tags of a track are. One that the registry cannot tell of must not keep the others from a look."""
        try:
            return self._see(track, locks=locks)
        except (Malformed, Rejected) as refusal:
            return refusal

    def _see(self, track: Track, *, locks: bool = True) -> Seen:
        repository, tags = self._gate.promote.repository, self._services.tags
        stable = tags.digest_of(self._target, repository, track.tag)
        if not track.unique:
            return stable, None
        if locks:
            return stable, self._services.registry.tag_state(self._target, repository, track.unique)
        unique = tags.digest_of(self._target, repository, track.unique)
        return stable, TagState(unique, locked=None) if unique else None

    def _wrong(
        self, tour: Tour, track: Track, look: Seen | Malformed | Rejected, vetoes: Mapping[Digest, Veto]
    ) -> list[Alarm] | None:
        """What is wrong with a track: what was done around the gate, and what an operator has left half done."""
        alarms = self._judge(tour, track, look)
        stands = track.digest if isinstance(look, tuple) and look[0] == track.digest else None
        veto = vetoes.get(stands) if stands else None
        return alarms if alarms is None or veto is None else [*alarms, self._vetoed(track, veto)]

    def _vetoed(self, track: Track, veto: Veto) -> Alarm:
        name = f"{self._target.login_server}/{self._gate.promote.repository}:{track.tag}"
        words = f"{name} stands on sha256:{short(veto.digest)}, vetoed by {veto.actor}: {veto.reason}"
        alarm = self._alarm(track.tag, AlarmKind.STABLE_VETOED, words)
        return msgspec.structs.replace(alarm, plan="roll it back to another digest, or lift the veto")

    def _judge(self, tour: Tour, track: Track, look: Seen | Malformed | Rejected) -> list[Alarm] | None:
        """What is wrong with a track's tags and stays wrong; None where somebody is moving them, and nobody can tell.

        What differs is looked at again: a mover may have been at it.
        """
        if isinstance(look, Malformed | Rejected):
            return [self._alarm(track.tag, AlarmKind.STABLE_MOVED, f"it cannot be told where {track.tag} is: {look}")]
        if not list(read_tags(track, *look, locks=self._locks)):
            return []
        try:
            stored = self._tracks.load(self._gate, track.tag)
            if stored.record.digest is None or self._is_moving(stored.record):
                return None
            return list(self._differences(tour, stored, self._see(stored.record)))
        except Busy:
            return None

    def _is_moving(self, track: Track) -> bool:
        """Whether somebody is moving the tags; a gate's own task does so before the ledger knows of it."""
        if self._gate.promote.by is PromoteBy.TASK:
            under_way = (stored.record for stored in self._services.ledger.open(Candidate, self._gate.name))
            if any(not record.finished and record.tag_index(track.tag) is not None for record in under_way):
                return True
        return track.is_moving(self._services.clock.now())

    def _differences(self, tour: Tour, stored: Stored[Track], seen: Seen) -> Iterator[Alarm]:
        for drift in read_tags(stored.record, *seen, locks=self._locks):
            alarm = self._alarm(stored.record.tag, _KINDS[drift], self._words(stored.record, drift, seen))
            left = alarm if self._gate.drift is Drift.REPORT else self._mending.mend(tour, stored, drift, alarm)
            if left is not None:
                yield left
                if left.kind is AlarmKind.PROMOTED_GONE:  # with the image all its tags went
                    return

    def _words(self, track: Track, drift: TagDifference, seen: Seen) -> str:
        stable, unique = seen
        about = track.tag if drift is TagDifference.STABLE else track.unique
        name = f"{self._target.login_server}/{self._gate.promote.repository}:{about}"
        found = stable if drift is TagDifference.STABLE else unique.digest if unique else None
        now, was = (f"sha256:{short(digest)}" if digest else "gone" for digest in (found, track.digest))
        return {
            TagDifference.STABLE: f"{name} is {now}, not {was}, which was promoted",
            TagDifference.UNIQUE_GONE: f"{name} is gone; it was {was}",
            TagDifference.UNIQUE_MOVED: f"{name} is {now}, not {was}, which was promoted under it",
            TagDifference.UNIQUE_UNLOCKED: f"{name} is not locked any more",
        }[drift]

    def _alarm(self, tag: str, kind: AlarmKind, words: str) -> Alarm:
        plan = "reported only: the gate's rule says `drift: report`"
        if self._gate.drift is Drift.REPAIR:
            plan = "the next sweep looks again"
        return Alarm(
            scope=self._scope, kind=kind, subject=tag, words=words, plan=plan, since=self._services.clock.now()
        )
