"""The stable beat: whether the tags of a gate's promotions are what the ledger says, and putting them back."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import Candidate, CandidateState
from shared.domain.drift import TagDrift, TagState, read_tags
from shared.domain.errors import BasegateError, Busy, Conflict, Gone, Rejected
from shared.domain.image import Digest, short
from shared.domain.policy import Drift, Gate, PromoteBy
from shared.domain.track import Track
from shared.ports import Stored
from shared.workflow.services import Services
from shared.workflow.sweep.alarms import Alarms
from shared.workflow.sweep.tour import Tour, in_slices
from shared.workflow.tracks import Tracks
from shared.workflow.writing import save

_SLICE_TRACKS = 100
_KINDS = {
    TagDrift.STABLE: AlarmKind.STABLE_MOVED,
    TagDrift.UNIQUE_GONE: AlarmKind.UNIQUE_CHANGED,
    TagDrift.UNIQUE_MOVED: AlarmKind.UNIQUE_CHANGED,
    TagDrift.UNIQUE_UNLOCKED: AlarmKind.UNIQUE_CHANGED,
}

Seen = tuple[Digest | None, TagState | None]


class StableBeat:
    """Looks at the stable tags of one gate, and the unique tags behind them: two requests a track."""

    every_seconds = 0.0

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self._tracks, self._alarms = Tracks(services), Alarms(services)
        self._target = services.registry_rule(gate.promote.registry)
        self._locks = gate.promote.lock and gate.promote.by is PromoteBy.COPY
        self.name, self.lane = f"stable.{gate.name}", f"target {self._target.login_server}"

    def slices(self, tour: Tour) -> Iterator[str]:
        """Sweep the tracks from the cursor on, which is the last tag that was looked at."""
        tracks = self._services.ledger.between(Track, self._gate.name, tour.record.after, "")
        standing = (
            stored.record for stored in tracks if stored.record.digest and stored.record.tag != tour.record.after
        )
        for piece in in_slices(standing, _SLICE_TRACKS):
            seen = tour.spread(self._look, piece)
            found = [
                alarm for track, look in zip(piece, seen, strict=True) for alarm in self._differences(tour, track, look)
            ]
            looked_at = {(kind, track.tag) for track in piece for kind in {*_KINDS.values(), AlarmKind.PROMOTED_GONE}}
            self._alarms.settle(tour, self._scope, looked_at, found)
            tour.record = msgspec.structs.replace(tour.record, looked=tour.record.looked + len(piece))
            yield piece[-1].tag

    @property
    def _scope(self) -> str:
        return f"gates/{self._gate.name}"

    def _look(self, track: Track) -> Seen:
        repository = self._gate.promote.repository
        stable = self._services.tags.digest_of(self._target, repository, track.tag)
        unique = self._services.registry.tag_state(self._target, repository, track.unique) if track.unique else None
        return stable, unique

    def _differences(self, tour: Tour, track: Track, seen: Seen) -> Iterator[Alarm]:
        """What is wrong with a track's tags and stays wrong. What differs is looked at again: a mover may be at it."""
        if not list(read_tags(track, *seen, locks=self._locks)):
            return
        stored = self._tracks.load(self._gate, track.tag)
        track = stored.record
        if track.digest is None or track.is_moving(self._services.clock.now()):
            return
        seen = self._look(track)
        for drift in read_tags(track, *seen, locks=self._locks):
            alarm = self._alarm(track, drift, seen)
            if self._gate.drift is Drift.REPORT:
                yield alarm
            elif tour.dry_run:
                self._alarms.mended(tour, alarm, "put back")
            else:
                yield from self._mend(tour, stored, drift, alarm)

    def _mend(self, tour: Tour, stored: Stored[Track], drift: TagDrift, alarm: Alarm) -> Iterator[Alarm]:
        track = stored.record
        try:
            if drift is TagDrift.STABLE:
                self._tracks.put_back(self._gate, stored)
            else:
                self._restore_unique(track, drift)
        except Gone:
            yield self._promote_anew(tour, track, alarm)
        except Rejected as refusal:
            yield msgspec.structs.replace(alarm, plan=f"it cannot be put back, see to it: {refusal}")
        except Busy:
            return  # somebody is moving it: the next sweep looks again
        except BasegateError as error:
            yield msgspec.structs.replace(alarm, plan=f"it could not be put back, the next sweep tries again: {error}")
        else:
            self._alarms.mended(tour, alarm, "put back")

    def _restore_unique(self, track: Track, drift: TagDrift) -> None:
        assert track.digest is not None  # tracks without one are not looked at
        repository, registry = self._gate.promote.repository, self._services.registry
        if drift is not TagDrift.UNIQUE_UNLOCKED:
            registry.point(self._target, repository, track.unique, track.digest)
        if self._locks:
            registry.lock(self._target, repository, track.unique, track.digest)

    def _promote_anew(self, tour: Tour, track: Track, alarm: Alarm) -> Alarm:
        """Promote a deleted image again, from its source; the alarm stands until that is done."""
        name = f"{self._target.login_server}/{self._gate.promote.repository}@{track.digest}"
        gone = msgspec.structs.replace(
            alarm, kind=AlarmKind.PROMOTED_GONE, words=f"the promoted image {name} was deleted: {alarm.words}"
        )
        stored = self._services.ledger.load(Candidate, self._gate.name, track.candidate)
        if stored is None:
            return msgspec.structs.replace(gone, plan="no candidate is on record for it: roll back to another digest")
        if stored.record.finished:
            tour.note("promote again", name)
            self._promote_again(stored, track)
        return msgspec.structs.replace(gone, plan=f"promoted again from its source by candidate {track.candidate}")

    def _promote_again(self, stored: Stored[Candidate], track: Track) -> None:
        record = stored.record
        index = record.tag_index(track.tag)
        if index is None:
            return
        opened = record.with_tag(
            index,
            copy_operation="",
            copy_started_at=None,
            copy_attempts=0,
            copied_at=None,
            locked_at=None,
            moved_at=None,
            rolled_out_at=None,
            outcome=None,
        )
        opened = msgspec.structs.replace(opened, state=CandidateState.PROMOTING, announced=False)
        opened = opened.noting(self._services.clock.now(), "promoted again", "the promoted image was deleted")
        try:
            save(self._services, stored, opened)
        except Conflict:
            return  # somebody else has taken it up: the next sweep looks again

    def _alarm(self, track: Track, drift: TagDrift, seen: Seen) -> Alarm:
        stable, unique = seen
        about = track.tag if drift is TagDrift.STABLE else track.unique
        name = f"{self._target.login_server}/{self._gate.promote.repository}:{about}"
        found = stable if drift is TagDrift.STABLE else unique.digest if unique else None
        now, was = (f"sha256:{short(digest)}" if digest else "gone" for digest in (found, track.digest))
        words = {
            TagDrift.STABLE: f"{name} is {now}, not {was}, which was promoted",
            TagDrift.UNIQUE_GONE: f"{name} is gone; it was {was}",
            TagDrift.UNIQUE_MOVED: f"{name} is {now}, not {was}, which was promoted under it",
            TagDrift.UNIQUE_UNLOCKED: f"{name} is not locked any more",
        }[drift]
        return Alarm(
            scope=self._scope,
            kind=_KINDS[drift],
            subject=track.tag,
            words=words,
            plan="reported only: the gate's rule says `drift: report`",
            since=self._services.clock.now(),
        )
