"""What operators read: everything at a glance, lists by time, and the whole story of one record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from shared.domain.candidate import Candidate
from shared.domain.policy import App as AppRule
from shared.domain.policy import Gate as GateRule
from shared.domain.policy import TaskCheck
from shared.domain.rollout import Rollout
from shared.domain.standing import Veto
from shared.domain.track import Track
from shared.ports import EVERYTHING, Listed, Only
from shared.workflow.answers import (
    App,
    Apps,
    AppStory,
    CandidatePage,
    CandidateStory,
    CandidateSummary,
    Gate,
    Gates,
    GateStory,
    Holds,
    PromotionPage,
    RolloutPage,
    RolloutStory,
    RolloutSummary,
    StableTag,
    StandingHold,
    Status,
    Vetoes,
    story_of,
)
from shared.workflow.dependents import AppRecords
from shared.workflow.find import Find, candidate_id, rollout_id
from shared.workflow.services import Services

PAGE_LIMIT = 100
P = TypeVar("P", CandidatePage, RolloutPage, PromotionPage)


class Report:
    """Reads the ledger for people and programs. A gate or an app that is asked for and not there is `NotThere`."""

    def __init__(self, services: Services) -> None:
        self._services, self._find, self._records = services, Find(services), AppRecords(services)

    def status(self) -> Status:
        """All gates and apps at a glance."""
        return Status(gates=self.gates().items, apps=self.apps().items)

    def gates(self) -> Gates:
        """All gates of the rules."""
        return Gates(items=tuple(Gate(**self._gate(gate)) for gate in self._services.policy.gates.values()))

    def gate(self, name: str) -> GateStory:
        """One gate: its rule, its stable tags with their holds, its vetoes."""
        gate = self._find.gate(name)
        vetoes = tuple(veto for veto in self._vetoes(gate) if veto.stands)
        return GateStory(**self._gate(gate), rule=_gate_without_values(gate), vetoes=vetoes)

    def apps(self) -> Apps:
        """All apps of the rules."""
        return Apps(items=tuple(App(**self._app(app)) for app in self._services.policy.apps.values()))

    def app(self, name: str) -> AppStory:
        """One app: its rule, what is live, what it stands on."""
        app = self._find.app(name)
        return AppStory(**self._app(app), rule=_app_without_values(app))

    def candidates(self, gate_name: str, limit: int, token: str, only: Only = EVERYTHING) -> CandidatePage:
        """The candidates of a gate by the time they were admitted, the newest first, a page at a time."""
        return self._page(CandidatePage, Candidate, self._find.gate(gate_name).name, (limit, token, only))

    def rollouts(self, app_name: str, limit: int, token: str, only: Only = EVERYTHING) -> RolloutPage:
        """The rollouts of an app by the time they began, the newest first, a page at a time."""
        return self._page(RolloutPage, Rollout, self._find.app(app_name).name, (limit, token, only))

    def promotions(self, gate_name: str, limit: int, token: str, only: Only = EVERYTHING) -> PromotionPage:
        """The moves of a gate's stable tags, rollbacks among them, the newest first, a page at a time."""
        return self._page(PromotionPage, Track, self._find.gate(gate_name).name, (limit, token, only))

    def holds(self) -> Holds:
        """All holds that stand, the newest first."""
        gates = self._services.policy.gates.values()
        held = [track for gate in gates for track in self._tracks(gate) if track.hold]
        items = (_hold(track) for track in held)
        return Holds(items=tuple(sorted(items, key=lambda hold: hold.at, reverse=True)))

    def vetoes(self, *, lifted_too: bool) -> Vetoes:
        """The vetoes of all gates, the newest first; those that were lifted only if asked for."""
        gates = self._services.policy.gates.values()
        vetoes = [veto for gate in gates for veto in self._vetoes(gate) if veto.stands or lifted_too]
        return Vetoes(items=tuple(sorted(vetoes, key=lambda veto: veto.at, reverse=True)))

    def candidate(self, identifier: str) -> tuple[CandidateStory, str]:
        """The whole story of a candidate, in order, with its evidence; and its ETag."""
        stored = self._find.candidate(identifier)
        return story_of(CandidateStory, stored.record, candidate_id(stored.record)), stored.etag

    def rollout(self, identifier: str) -> tuple[RolloutStory, str]:
        """The whole story of a rollout, and its ETag."""
        stored = self._find.rollout(identifier)
        return story_of(RolloutStory, stored.record, rollout_id(stored.record)), stored.etag

    def _page(self, shape: type[P], kind: type[Listed], partition: str, asked: tuple[int, str, Only]) -> P:
        limit, token, only = asked
        page = self._services.ledger.page(kind, partition, min(limit, PAGE_LIMIT), token, only)
        return msgspec.convert({"items": page.items, "next": page.token}, shape)

    def _tracks(self, gate: GateRule) -> Iterator[Track]:
        return (stored.record for stored in self._services.ledger.list(Track, gate.name))

    def _vetoes(self, gate: GateRule) -> Iterator[Veto]:
        return (stored.record for stored in self._services.ledger.list(Veto, gate.name))

    def _gate(self, gate: GateRule) -> dict[str, Any]:
        source, target = (self._services.registry_rule(name) for name in (gate.source.registry, gate.promote.registry))
        latest = self._services.ledger.page(Candidate, gate.name, 1, "").items
        return {
            "name": gate.name,
            "source": f"{source.login_server}/{gate.source.repository}",
            "target": f"{target.login_server}/{gate.promote.repository}",
            "stable": tuple(_stable(track) for track in self._tracks(gate) if track.digest or track.hold),
            "latest": msgspec.convert(latest[0], CandidateSummary) if latest else None,
        }

    def _app(self, app: AppRule) -> dict[str, Any]:
        record = self._records.load(app.name).record
        latest = self._services.ledger.page(Rollout, app.name, 1, "").items
        return {
            "name": app.name,
            "stands_on": app.base,
            "live": str(record.live) if record.live else None,
            "live_since": record.live_since,
            "base": str(record.base) if record.base else None,
            "latest": msgspec.convert(latest[0], RolloutSummary) if latest else None,
        }


def _stable(track: Track) -> StableTag:
    return StableTag(
        tag=track.tag, digest=track.digest, unique=track.unique, moved_at=track.moved_at, hold=track.hold
    )  # fmt: skip


def _hold(track: Track) -> StandingHold:
    hold = track.hold
    assert hold is not None  # the caller passes held tracks only
    return StandingHold(
        gate=track.gate, tag=track.tag, digest=track.digest,
        actor=hold.actor, reason=hold.reason, at=hold.at, until=hold.until,
    )  # fmt: skip


def _gate_without_values(gate: GateRule) -> GateRule:
    """The rule of a gate with the names of the values that its tasks get, and not the values."""
    checks = tuple(
        msgspec.structs.replace(check, values=dict.fromkeys(check.values, ""))
        if isinstance(check, TaskCheck)
        else check
        for check in gate.checks
    )
    return msgspec.structs.replace(gate, checks=checks)


def _app_without_values(app: AppRule) -> AppRule:
    """The rule of an app with the names of the values that its build and its containers get, and not the values."""
    build = msgspec.structs.replace(app.build, values=dict.fromkeys(app.build.values, ""))
    deploy = app.deploy
    if deploy is not None:
        deploy = msgspec.structs.replace(deploy, environment=dict.fromkeys(deploy.environment, ""))
    return msgspec.structs.replace(app, build=build, deploy=deploy)
