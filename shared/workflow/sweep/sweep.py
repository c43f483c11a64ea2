"""One sweep: every beat that is due, each from where it was left, until the time is up."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

import msgspec

from shared.domain.candidate import Candidate
from shared.domain.errors import BasegateError, Busy, Conflict
from shared.domain.rollout import Rollout
from shared.domain.sweeping import SweepRecord
from shared.ports import Stored
from shared.workflow.plan import Effect
from shared.workflow.services import Services
from shared.workflow.sweep.app_beat import AppBeat
from shared.workflow.sweep.silence_beat import GateSilenceBeat, RegistrySilenceBeat
from shared.workflow.sweep.stable_beat import StableBeat
from shared.workflow.sweep.stalled_beat import OrphansBeat, StalledBeat
from shared.workflow.sweep.tour import Beat, Spread, Tour, in_threads
from shared.workflow.sweep.upstream_beat import UpstreamBeat

log = logging.getLogger(__name__)


class Standing(StrEnum):
    """How far a beat came in this sweep."""

    DONE = "done"
    GOES_ON = "goes on with the next sweep"
    WAITS = "waits"
    TAKEN = "somebody else is sweeping it"
    NOT_DUE = "not due yet"
    FAILED = "failed"


class BeatReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one beat."""

    beat: str
    standing: Standing
    looked: int = 0
    problem: str = ""
    effects: tuple[Effect, ...] = ()


class SweepReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all beats, in the order of the rules."""

    dry_run: bool
    beats: tuple[BeatReport, ...]

    @property
    def effects(self) -> tuple[Effect, ...]:
        """All that was found or done (in a dry run: would be)."""
        return tuple(effect for beat in self.beats for effect in beat.effects)

    @property
    def unfinished(self) -> tuple[BeatReport, ...]:
        """The beats that did not come to the end of their round, and ought to have."""
        return tuple(beat for beat in self.beats if beat.standing not in (Standing.DONE, Standing.NOT_DUE))


class Sweep:
    """Sweeps. Two at once share the beats: each is swept by whoever holds its lease, and a dead one's lease ends."""

    def __init__(self, services: Services, spread: Spread = in_threads) -> None:
        self._services, self._spread = services, spread
        self._holder = secrets.token_hex(8)

    def run(self, until: datetime, *, dry_run: bool = False, at_once: bool = False) -> SweepReport:
        """Sweep every beat that is due (with `at_once`: every one), and stop after the slice in which `until` passes.

        A beat that fails, or must wait, keeps its place and stops nothing else. A dry run begins each beat anew,
        writes nothing and mends nothing.
        """
        lanes: dict[str, list[Beat]] = {}
        for beat in self._beats():
            lanes.setdefault(beat.lane, []).append(beat)

        def walk(lane: list[Beat]) -> list[BeatReport]:
            return [self._sweep(beat, until, dry_run=dry_run, at_once=at_once) for beat in lane]

        reports = [report for lane in self._spread(walk, list(lanes.values())) for report in lane]
        return SweepReport(dry_run=dry_run, beats=tuple(reports))

    def _beats(self) -> Iterator[Beat]:
        policy = self._services.policy
        for gate in policy.gates.values():
            yield UpstreamBeat(self._services, gate)
            yield StableBeat(self._services, gate)
            yield StalledBeat(self._services, Candidate, gate.name)
            yield OrphansBeat(self._services, gate)
            yield GateSilenceBeat(self._services, gate)
        for app in policy.apps.values():
            yield AppBeat(self._services, app)
            yield StalledBeat(self._services, Rollout, app.name)
        for registry in policy.registries.values():
            yield RegistrySilenceBeat(self._services, registry)

    def _sweep(self, beat: Beat, until: datetime, *, dry_run: bool, at_once: bool) -> BeatReport:
        if dry_run:
            tour = Tour(SweepRecord(beat=beat.name), dry_run=True, spread=self._spread)
            return self._walk(beat, tour, None, until)
        stored, now = self._load(beat), self._services.clock.now()
        if stored.record.held_by_another(self._holder, now):
            return BeatReport(beat=beat.name, standing=Standing.TAKEN)
        if not at_once and not stored.record.is_due(now, beat.every_seconds):
            return BeatReport(beat=beat.name, standing=Standing.NOT_DUE)
        try:
            stored = self._services.ledger.save(stored, stored.record.taken(self._holder, now))
            return self._walk(beat, Tour(stored.record, spread=self._spread), stored, until)
        except Conflict:
            return BeatReport(beat=beat.name, standing=Standing.TAKEN)

    def _walk(self, beat: Beat, tour: Tour, stored: Stored[SweepRecord] | None, until: datetime) -> BeatReport:
        """Walk a beat slice by slice; each slice saves how far it came, and renews the lease."""
        standing, problem = Standing.DONE, ""
        try:
            for after in beat.slices(tour):
                tour.record = tour.record.advanced(after, self._services.clock.now())
                if self._services.clock.now() >= until:
                    standing = Standing.GOES_ON
                    break
                stored = self._services.ledger.save(stored, tour.record) if stored else None
        except Conflict:
            raise
        except Busy as busy:
            standing, problem = Standing.WAITS, str(busy)
        except BasegateError as error:
            standing, problem = Standing.FAILED, str(error)
            log.warning("sweep of %s failed, the next one tries again: %s", beat.name, error)
        if stored is not None:
            self._services.ledger.save(stored, self._left(tour.record, standing, problem))
        return BeatReport(
            beat=beat.name, standing=standing, looked=tour.record.looked, problem=problem, effects=tuple(tour.effects)
        )

    def _left(self, record: SweepRecord, standing: Standing, problem: str) -> SweepRecord:
        if standing is Standing.DONE:
            return record.finished(self._services.clock.now())
        return record.released(problem)

    def _load(self, beat: Beat) -> Stored[SweepRecord]:
        ledger, record = self._services.ledger, SweepRecord(beat=beat.name)
        return ledger.load(SweepRecord, record.partition, record.row) or ledger.insert(record) or self._load(beat)
