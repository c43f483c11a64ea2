"""One sweep: every beat that is due, each from where it was left, until the time is up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from shared.domain.candidate import Candidate
from shared.domain.rollout import Rollout
from shared.domain.sweeping import SWEEPS, SweepRecord
from shared.workflow.services import Services
from shared.workflow.sweep.app_beat import AppBeat
from shared.workflow.sweep.reports import BeatReport, Standing, SweepReport
from shared.workflow.sweep.silence_beat import GateSilenceBeat, RegistrySilenceBeat
from shared.workflow.sweep.stable_beat import StableBeat
from shared.workflow.sweep.stalled_beat import OrphansBeat, StalledBeat
from shared.workflow.sweep.tour import Beat, Spread, in_threads
from shared.workflow.sweep.upstream_beat import UpstreamBeat
from shared.workflow.sweep.walk import Walk

_NEVER = datetime.min.replace(tzinfo=UTC)


class Sweep:
    """Sweeps. Two at once share the beats: each is swept by whoever holds its lease, and a dead one's lease ends."""

    def __init__(self, services: Services, spread: Spread = in_threads) -> None:
        self._services, self._spread = services, spread
        self._walk = Walk(services, spread)

    def run(self, until: datetime, *, dry_run: bool = False, at_once: bool = False) -> SweepReport:
        """Sweep every beat that is due (with `at_once`: every one), and begin no slice when `until` has passed.

        A beat that fails, or must wait, keeps its place and stops nothing else. The beats of a lane share the time,
        so that one with thousands of tags leaves some to the others; the one that came to its end longest ago begins,
        and goes a slice further however little time there is. A dry run begins each beat anew, writes nothing and
        mends nothing.

        Raises:
            Retry: the ledger is away.
        """
        beats, lanes, ended = list(self._beats()), dict[str, list[Beat]](), self._ended()
        for beat in sorted(beats, key=lambda beat: ended.get(beat.name) or _NEVER):
            lanes.setdefault(beat.lane, []).append(beat)

        def walk(lane: list[Beat]) -> list[BeatReport]:
            return list(self._lane(lane, until, dry_run=dry_run, at_once=at_once))

        walked = {report.beat: report for lane in self._spread(walk, list(lanes.values())) for report in lane}
        return SweepReport(dry_run=dry_run, beats=tuple(walked[beat.name] for beat in beats))

    def _lane(self, lane: list[Beat], until: datetime, *, dry_run: bool, at_once: bool) -> Iterator[BeatReport]:
        for place, beat in enumerate(lane):
            left = until - self._services.clock.now()
            if place and left <= timedelta():
                yield BeatReport(beat=beat.name, standing=Standing.GOES_ON)
            else:
                share = self._services.clock.now() + left / (len(lane) - place)
                yield self._walk.sweep(beat, share, dry_run=dry_run, at_once=at_once)

    def _ended(self) -> dict[str, datetime | None]:
        """When each beat came to the end of a round last."""
        return {s.record.beat: s.record.finished_at for s in self._services.ledger.list(SweepRecord, SWEEPS)}

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
