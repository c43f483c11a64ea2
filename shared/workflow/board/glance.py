"""What the overview is made of, read with three queries a gate, three an app and one a registry,
however long the ledger is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import Candidate, CandidateState
from shared.domain.policy import App, Gate
from shared.domain.rollout import AppRecord, Rollout
from shared.domain.track import Track
from shared.workflow.board.lines import CandidateLine, RolloutLine, candidate_lines, rollout_lines
from shared.workflow.services import Services
from shared.workflow.sweep.alarms import Alarms

RECENT = 100
"""How far back the overview looks for the newest candidate of each tag, and for what one may roll back to."""


class AppGlance(msgspec.Struct, frozen=True, kw_only=True):
    """An app: its rule, what runs, and its last rollout."""

    app: App
    record: AppRecord
    latest: RolloutLine | None
    alarms: tuple[Alarm, ...] = ()

    def alarm(self, kind: AlarmKind) -> Alarm | None:
        """The alarm of a kind that stands for this app."""
        return next((alarm for alarm in self.alarms if alarm.kind is kind), None)


class TagGlance(msgspec.Struct, frozen=True, kw_only=True):
    """A stable tag: where it stands, its candidates (the newest first), and the apps on it."""

    gate: str
    tag: str
    track: Track | None
    candidates: tuple[CandidateLine, ...]
    apps: tuple[AppGlance, ...]
    alarms: tuple[Alarm, ...] = ()

    @property
    def newest(self) -> CandidateLine | None:
        """The candidate of the newest push."""
        return self.candidates[0] if self.candidates else None

    @property
    def promoted(self) -> Iterator[CandidateLine]:
        """Those that were promoted."""
        return (line for line in self.candidates if line.state is CandidateState.PROMOTED)


class GateGlance(msgspec.Struct, frozen=True, kw_only=True):
    """A gate: its rule, the names of its source and target, and its tags."""

    gate: Gate
    source: str
    target: str
    tags: tuple[TagGlance, ...]
    alarms: tuple[Alarm, ...] = ()


class Glances:
    """Reads the ledger for the overview."""

    def __init__(self, services: Services) -> None:
        self._services, self._alarms = services, Alarms(services)

    def gates(self) -> Iterator[GateGlance]:
        """All gates of the rules."""
        return (self._gate(gate) for gate in self._services.policy.gates.values())

    def registries(self) -> Iterator[tuple[str, list[Alarm]]]:
        """All registries of the rules by name, with the alarms that stand for them."""
        return ((name, self._alarms.standing(f"registries/{name}")) for name in self._services.policy.registries)

    def _gate(self, gate: Gate) -> GateGlance:
        ledger = self._services.ledger
        tracks: dict[str, Track] = {stored.record.tag: stored.record for stored in ledger.list(Track, gate.name)}
        recent = candidate_lines(ledger.page(Candidate, gate.name, RECENT, "").items)
        apps = [self._app(app) for app in self._services.policy.apps.values() if app.base.gate == gate.name]
        standing = [tag for tag, track in tracks.items() if track.digest or track.hold]
        based = [glance.app.base.tag for glance in apps]
        alarms = tuple(self._alarms.standing(f"gates/{gate.name}"))
        tags = dict.fromkeys([*standing, *based, *(tag for line in recent for tag in line.tags)])
        return GateGlance(
            gate=gate,
            source=source_of(gate, self._services),
            target=target_of(gate, self._services),
            tags=tuple(
                TagGlance(
                    gate=gate.name,
                    tag=tag,
                    track=tracks.get(tag),
                    candidates=_newest_first(recent, tag),
                    apps=tuple(glance for glance in apps if glance.app.base.tag == tag),
                    alarms=tuple(alarm for alarm in alarms if alarm.subject == tag),
                )
                for tag in tags
            ),
            alarms=alarms,
        )

    def _app(self, app: App) -> AppGlance:
        ledger, empty = self._services.ledger, AppRecord(app=app.name)
        stored = ledger.load(AppRecord, app.name, empty.row)
        latest = rollout_lines(ledger.page(Rollout, app.name, 1, "").items)
        return AppGlance(
            app=app,
            record=stored.record if stored else empty,
            latest=latest[0] if latest else None,
            alarms=tuple(self._alarms.standing(f"apps/{app.name}")),
        )


def source_of(gate: Gate, services: Services) -> str:
    """The repository that a gate takes from, with its registry: `publicregistry.azurecr.io/node`."""
    return f"{services.registry_rule(gate.source.registry).login_server}/{gate.source.repository}"


def target_of(gate: Gate, services: Services) -> str:
    """The repository that a gate promotes into, with its registry."""
    return f"{services.registry_rule(gate.promote.registry).login_server}/{gate.promote.repository}"


def _newest_first(lines: tuple[CandidateLine, ...], tag: str) -> tuple[CandidateLine, ...]:
    """The candidates of a tag by the time of their push: events, and with them records, may come out of order."""
    ours = [line for line in lines if tag in line.tags]
    return tuple(sorted(ours, key=lambda line: (_pushed_at(line, tag), line.created_at), reverse=True))


def _pushed_at(line: CandidateLine, tag: str) -> datetime:
    promotion = line.promotion(tag)
    return promotion.pushed_at if promotion else line.created_at
