"""One beat, swept from where it was left: its lease, its slices, and how it is left."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime

from shared.domain.errors import BasegateError, Busy, Conflict
from shared.domain.sweeping import SweepRecord
from shared.ports import Stored
from shared.workflow.services import Services
from shared.workflow.sweep.reports import BeatReport, Standing
from shared.workflow.sweep.tour import Beat, Spread, Tour

log = logging.getLogger(__name__)


class Walk:
    """Sweeps beats, one at a call. Whatever goes wrong in one is told in its report and stops no other."""

    def __init__(self, services: Services, spread: Spread) -> None:
        self._services, self._spread = services, spread
        self._holder = secrets.token_hex(8)

    def sweep(self, beat: Beat, until: datetime, *, dry_run: bool, at_once: bool) -> BeatReport:
        """Sweep a beat if it is due (with `at_once`: anyway), and stop after the slice in which `until` passes."""
        try:
            if dry_run:
                tour = Tour(SweepRecord(beat=beat.name), dry_run=True, spread=self._spread)
                return self._walk(beat, tour, None, until)
            return self._take(beat, until, at_once=at_once)
        except Conflict:
            return BeatReport(beat=beat.name, standing=Standing.TAKEN)
        except Exception as error:  # noqa: BLE001  its row could not be read or written: see _problem
            return BeatReport(beat=beat.name, standing=Standing.FAILED, problem=_problem(beat, error))

    def _take(self, beat: Beat, until: datetime, *, at_once: bool) -> BeatReport:
        stored, now = self._load(beat), self._services.clock.now()
        if stored.record.held_by_another(self._holder, now):
            return BeatReport(beat=beat.name, standing=Standing.TAKEN)
        if not at_once and not stored.record.is_due(now, beat.every_seconds):
            return BeatReport(beat=beat.name, standing=Standing.NOT_DUE)
        stored = self._services.ledger.save(stored, stored.record.taken(self._holder, now))
        return self._walk(beat, Tour(stored.record, spread=self._spread), stored, until)

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
        except Exception as error:  # noqa: BLE001  a bug in one beat is that beat's: see _problem
            standing, problem = Standing.FAILED, _problem(beat, error)
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


def _problem(beat: Beat, error: Exception) -> str:
    """What went wrong, in words for the beat's row. Of what nobody foresaw only the log tells more."""
    if isinstance(error, BasegateError):
        log.warning("sweep of %s failed, the next one tries again: %s", beat.name, error)
        return str(error)
    log.error("sweep of %s failed on something that nobody foresaw", beat.name, exc_info=error)
    return f"{type(error).__name__}, which nobody foresaw: the log tells where"
