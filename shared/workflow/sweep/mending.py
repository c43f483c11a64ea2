"""Mending what was done to the tags of a promotion around the gate."""

from __future__ import annotations

import msgspec

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import Candidate, CandidateState
from shared.domain.drift import TagDifference
from shared.domain.errors import BasegateError, Busy, Conflict, Gone, Rejected
from shared.domain.policy import Gate, PromoteBy
from shared.domain.track import Track
from shared.ports import Stored
from shared.workflow.find import Find
from shared.workflow.services import Services
from shared.workflow.sweep.alarms import Alarms
from shared.workflow.sweep.tour import Tour
from shared.workflow.tracks import Tracks
from shared.workflow.writing import save


class Mending:
    """Puts the tags of one gate back to what the ledger says."""

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self._tracks, self._alarms, self._find = Tracks(services), Alarms(services), Find(services)
        self._target = services.registry_rule(gate.promote.registry)

    def mend(self, tour: Tour, stored: Stored[Track], drift: TagDifference, alarm: Alarm) -> Alarm | None:
        """Mend one difference; returns the alarm that stays, None where nothing is wrong any more.

        What an operator has banned is never put back, wherever it stood.

        Raises:
            Busy: somebody is moving the tag.
        """
        digest = stored.record.digest
        assert digest is not None  # tracks without one are not looked at
        if (veto := self._find.veto(self._gate, digest)) is not None:
            why = f"not put back: {digest} is vetoed by {veto.actor} ({veto.reason}); roll back to another digest"
            return msgspec.structs.replace(alarm, plan=why)
        if tour.dry_run:
            self._alarms.mended(tour, alarm, "put back")
            return None
        try:
            self._put_back(stored, drift)
        except Gone:
            return self._promote_anew(tour, stored.record, alarm)
        except Rejected as refusal:
            return msgspec.structs.replace(alarm, plan=f"it cannot be put back, see to it: {refusal}")
        except Busy:
            raise
        except BasegateError as error:
            return msgspec.structs.replace(alarm, plan=f"it could not be put back, the next sweep tries again: {error}")
        self._alarms.mended(tour, alarm, "put back")
        return None

    def _put_back(self, stored: Stored[Track], drift: TagDifference) -> None:
        track, repository, registry = stored.record, self._gate.promote.repository, self._services.registry
        assert track.digest is not None  # tracks without one are not looked at
        if drift is TagDifference.STABLE:
            self._tracks.put_back(self._gate, stored)
            return
        if drift is not TagDifference.UNIQUE_UNLOCKED:
            registry.point(self._target, repository, track.unique, track.digest)
        if self._gate.promote.lock and self._gate.promote.by is PromoteBy.COPY:
            registry.lock(self._target, repository, track.unique, track.digest)

    def _promote_anew(self, tour: Tour, track: Track, alarm: Alarm) -> Alarm:
        """Promote a deleted image again, from its source and once; the alarm stands until that is done."""
        name = f"{self._target.login_server}/{self._gate.promote.repository}@{track.digest}"
        words = f"the promoted image {name} was deleted: {alarm.words}"
        gone = msgspec.structs.replace(alarm, kind=AlarmKind.PROMOTED_GONE, words=words)
        stored = self._services.ledger.load(Candidate, self._gate.name, track.candidate)
        if obstacle := self._obstacle(stored.record if stored else None, track):
            return msgspec.structs.replace(gone, plan=obstacle)
        if stored is not None and stored.record.finished:
            tour.note("promote again", name)
            self._promote_again(stored, track)
        return msgspec.structs.replace(gone, plan=f"promoted again from its source by candidate {track.candidate}")

    def _obstacle(self, record: Candidate | None, track: Track) -> str:
        """Why an image cannot be promoted again by itself, and what to do; "" where it can."""
        if record is None:
            return "no candidate is on record for it: roll back to another digest"
        if record.tag_index(track.tag) is None:
            return f"candidate {record.row} was never pushed as {track.tag}: roll back to another digest"
        if self._gate.promote.by is PromoteBy.TASK:
            return f"the gate's own task promotes: run candidate {record.row} again"
        if record.state is CandidateState.FAILED:
            return f"promoting it again failed ({record.reason}): roll back to another digest, or run it again"
        return ""

    def _promote_again(self, stored: Stored[Candidate], track: Track) -> None:
        record, index = stored.record, stored.record.tag_index(track.tag)
        assert index is not None  # that is an obstacle
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
