"""Drift on one screen: upstream, ledger, stable tag, app and container side by side, as the last sweep saw them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from shared.domain.alarm import Alarm
from shared.domain.candidate import Candidate
from shared.domain.image import Digest
from shared.domain.policy import App, Gate
from shared.domain.sighting import Sighting
from shared.domain.sweeping import SweepRecord
from shared.domain.track import Track
from shared.domain.upstream import UpstreamRecord
from shared.workflow.answers import Answer, Moment
from shared.workflow.dependents import AppRecords
from shared.workflow.find import Find, candidate_id
from shared.workflow.services import Services

TAGS_READ, TAGS_SHOWN = 1000, 100
"""How many tags of a gate are read for the screen at most, and how many are shown: what is wrong or differs first.
Of those beyond, only the number is told."""


class AlarmLine(Answer, frozen=True, kw_only=True):
    """Something that is wrong: since when, and what is done about it, and when."""

    kind: str
    subject: str
    words: str
    plan: str
    since: Moment


class Look(Answer, frozen=True, kw_only=True):
    """How the sweep of one thing stands.

    `looked_at` is the beginning of the last whole round, `next_at` when the next one is due (none: with the next
    sweep); `problem` is why the last round did not come to its end.
    """

    looked_at: Moment | None
    next_at: Moment | None
    problem: str
    looked: int


class Completeness(Answer, frozen=True, kw_only=True):
    """How changes upstream became known: events told of some, the sweep found others, in `recovery_seconds` at most."""

    told: int
    found: int
    recovery_seconds: float


class TagDrift(Answer, frozen=True, kw_only=True):
    """One tag: what it is upstream and since when, its candidate and its state, and what the stable tag stands on."""

    tag: str
    upstream: Digest
    upstream_since: Moment
    told: bool
    stable: Digest | None
    stable_since: Moment | None
    held: bool
    same: bool
    candidate: str
    state: str
    reason: str
    awaits_approval: bool


class GateDrift(Answer, frozen=True, kw_only=True):
    """A gate: how its upstream answers, its alarms, and its tags: with alarms, then differing, first.

    `more` tags are not shown. `pause_reason` is the last failure of the upstream, while it is left alone.
    """

    name: str
    source: str
    target: str
    mends: bool
    look: Look
    completeness: Completeness
    paused_until: Moment | None
    pause_reason: str
    pulls_left: int | None
    tags: tuple[TagDrift, ...]
    more: int
    alarms: tuple[AlarmLine, ...]


class AppDrift(Answer, frozen=True, kw_only=True):
    """An app: the base it ought to be built from, the one it was told of last, what ought to run, and its alarms."""

    name: str
    gate: str
    tag: str
    mends: bool
    base: str | None
    stable: Digest | None
    same: bool
    live: str | None
    live_since: Moment | None
    look: Look
    alarms: tuple[AlarmLine, ...]


class RegistryDrift(Answer, frozen=True, kw_only=True):
    """A registry with alarms of its own: a secret that runs out, events that reach nobody."""

    name: str
    server: str
    alarms: tuple[AlarmLine, ...]


class Drift(Answer, frozen=True, kw_only=True):
    """Everything side by side. `alarms` counts those that stand."""

    gates: tuple[GateDrift, ...]
    apps: tuple[AppDrift, ...]
    registries: tuple[RegistryDrift, ...]
    alarms: int


class DriftReport:
    """Reads what the sweeps saw; it looks at nothing itself."""

    def __init__(self, services: Services) -> None:
        self._services, self._find, self._records = services, Find(services), AppRecords(services)

    def drift(self) -> Drift:
        """The whole screen."""
        policy = self._services.policy
        gates = tuple(self._gate(gate) for gate in policy.gates.values())
        apps = tuple(self._app(app) for app in policy.apps.values())
        lines = ((rule, self._alarms(f"registries/{rule.name}")) for rule in policy.registries.values())
        registries = tuple(
            RegistryDrift(name=rule.name, server=rule.login_server, alarms=alarms) for rule, alarms in lines if alarms
        )
        counted = sum(len(alarms) for part in (gates, apps, registries) for alarms in (one.alarms for one in part))
        return Drift(gates=gates, apps=apps, registries=registries, alarms=counted)

    def _gate(self, gate: Gate) -> GateDrift:
        source, target = (self._services.registry_rule(name) for name in (gate.source.registry, gate.promote.registry))
        record = self._sweep_of(f"upstream.{gate.name}")
        upstream = self._services.ledger.load(UpstreamRecord, "upstream", source.login_server)
        known = upstream.record if upstream else UpstreamRecord(server=source.login_server)
        sightings = (stored.record for stored in self._services.ledger.list(Sighting, gate.name))
        seen = list(islice((sighting for sighting in sightings if gate.takes(sighting.tag)), TAGS_READ))
        span = (seen[0].tag, seen[-1].tag) if seen else ("", "")
        tracks = {s.record.row: s.record for s in self._services.ledger.between(Track, gate.name, *span)}
        alarms = self._alarms(f"gates/{gate.name}")
        shown = sorted(seen, key=_first({alarm.subject for alarm in alarms}, tracks))[:TAGS_SHOWN]
        return GateDrift(
            name=gate.name,
            source=f"{source.login_server}/{gate.source.repository}",
            target=f"{target.login_server}/{gate.promote.repository}",
            mends=gate.drift == "repair",
            look=_look(record, source.watch_seconds),
            completeness=Completeness(told=record.told, found=record.found, recovery_seconds=record.recovery_seconds),
            paused_until=known.paused_until,
            pause_reason=known.problem if known.paused_until else "",
            pulls_left=known.remaining if known.limit >= 0 else None,
            tags=tuple(self._tag(gate, sighting, tracks.get(sighting.tag)) for sighting in shown),
            more=max(len(seen), record.looked) - len(shown),
            alarms=alarms,
        )

    def _tag(self, gate: Gate, sighting: Sighting, track: Track | None) -> TagDrift:
        same = _same(sighting, track)
        candidate = None if same else self._latest(gate, sighting.digest)
        promoted = f"{gate.name}.{track.candidate}" if same and track and track.candidate else ""
        return TagDrift(
            tag=sighting.tag,
            upstream=sighting.digest,
            upstream_since=sighting.since,
            told=sighting.told,
            stable=track.digest if track else None,
            stable_since=track.moved_at if track else None,
            held=bool(track and track.hold),
            same=same,
            candidate=candidate_id(candidate) if candidate else promoted,
            state=candidate.state.value if candidate else "promoted" if same else "",
            reason=candidate.reason if candidate else "",
            awaits_approval=candidate is not None and candidate.open_check == "approval",
        )

    def _app(self, app: App) -> AppDrift:
        record = self._records.read(app.name)
        stored = self._services.ledger.load(Track, app.base.gate, app.base.tag)
        stable = stored.record.digest if stored else None
        return AppDrift(
            name=app.name,
            gate=app.base.gate,
            tag=app.base.tag,
            mends=app.drift == "repair",
            base=str(record.base) if record.base else None,
            stable=stable,
            same=(record.base.digest if record.base else None) == stable,
            live=str(record.live) if record.live else None,
            live_since=record.live_since,
            look=_look(self._sweep_of(f"app.{app.name}"), 0),
            alarms=self._alarms(f"apps/{app.name}"),
        )

    def _latest(self, gate: Gate, digest: Digest) -> Candidate | None:
        stored = self._find.latest(gate, digest)
        return stored.record if stored else None

    def _sweep_of(self, beat: str) -> SweepRecord:
        blank = SweepRecord(beat=beat)
        stored = self._services.ledger.load(SweepRecord, blank.partition, blank.row)
        return stored.record if stored else blank

    def _alarms(self, scope: str) -> tuple[AlarmLine, ...]:
        return tuple(sorted(self._standing(scope), key=lambda line: line.since))

    def _standing(self, scope: str) -> Iterator[AlarmLine]:
        for stored in self._services.ledger.list(Alarm, scope.replace("/", ".")):
            alarm = stored.record
            if alarm.stands:
                yield AlarmLine(
                    kind=alarm.kind.value, subject=alarm.subject, words=alarm.words, plan=alarm.plan, since=alarm.since
                )


def _same(sighting: Sighting, track: Track | None) -> bool:
    return track is not None and track.digest == sighting.digest


def _first(alarmed: set[str], tracks: dict[str, Track]) -> Callable[[Sighting], tuple[bool, bool]]:
    """The order of tags: those with an alarm, then those that differ."""
    return lambda sighting: (sighting.tag not in alarmed, _same(sighting, tracks.get(sighting.row)))


def _look(record: SweepRecord, every_seconds: int) -> Look:
    looked_at: datetime | None = record.last_began_at
    due = looked_at + timedelta(seconds=every_seconds) if looked_at and every_seconds else None
    return Look(looked_at=looked_at, next_at=due, problem=record.problem, looked=record.looked)
