"""What operators read: everything at a glance, lists by time, and the whole story of one record."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

import msgspec

from shared.domain.candidate import Candidate
from shared.domain.policy import App as AppRule
from shared.domain.policy import Gate as GateRule
from shared.domain.policy import TaskCheck
from shared.domain.promotion import Promotion, promotion_row, promotions_of
from shared.domain.rollout import AppRecord, Rollout
from shared.domain.stable_tag import StableTag, Veto
from shared.operations.lookup import Lookup
from shared.ports import EVERYTHING, Listed, Only, Services, read
from shared.promotion.vetoes import Vetoes
from shared.workflow import answers
from shared.workflow.answers import CandidateSummary, Items, Move, Page, RolloutSummary, StandingHold, story_of

PAGE_LIMIT = 100
PROMOTIONS_LIMIT = 100
"""How many promotions are read for the story of one candidate."""

S = TypeVar("S", CandidateSummary, RolloutSummary, Move)


class Report:
    """Reads the ledger for people and programs. A gate or an app that is asked for and not there is `NotThere`."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)
        self._vetoes = Vetoes(services)

    def status(self) -> answers.Status:
        """All gates and apps at a glance."""
        return answers.Status(gates=self.gates().items, apps=self.apps().items)

    def gates(self) -> Items[answers.Gate]:
        """All gates of the rules."""
        return Items(items=tuple(answers.Gate(**self._gate(gate)) for gate in self._services.policy.gates.values()))

    def gate(self, name: str) -> answers.GateStory:
        """One gate: its rule, its stable tags with their holds, its vetoes."""
        gate = self._lookup.gate(name)
        vetoes = tuple(veto for veto in self._vetoes.all(gate) if veto.stands)
        return answers.GateStory(**self._gate(gate), rule=_gate_without_values(gate), vetoes=vetoes)

    def apps(self) -> Items[answers.App]:
        """All apps of the rules."""
        return Items(items=tuple(answers.App(**self._app(app)) for app in self._services.policy.apps.values()))

    def app(self, name: str) -> answers.AppStory:
        """One app: its rule, what is live, what it stands on."""
        app = self._lookup.app(name)
        return answers.AppStory(**self._app(app), rule=_app_without_values(app))

    def candidates(self, gate_name: str, limit: int, token: str, only: Only = EVERYTHING) -> Page[CandidateSummary]:
        """The candidates of a gate by the time they were admitted, the newest first, a page at a time."""
        return self._page(CandidateSummary, Candidate, self._lookup.gate(gate_name).name, (limit, token, only))

    def rollouts(self, app_name: str, limit: int, token: str, only: Only = EVERYTHING) -> Page[RolloutSummary]:
        """The rollouts of an app by the time they began, the newest first, a page at a time."""
        return self._page(RolloutSummary, Rollout, self._lookup.app(app_name).name, (limit, token, only))

    def promotions(self, gate_name: str, limit: int, token: str, only: Only = EVERYTHING) -> Page[Move]:
        """The moves of a gate's stable tags, rollbacks among them, the newest first, a page at a time."""
        return self._page(Move, StableTag, self._lookup.gate(gate_name).name, (limit, token, only))

    def holds(self) -> Items[StandingHold]:
        """All holds that stand, the newest first."""
        gates = self._services.policy.gates.values()
        items = (
            StandingHold(gate=held.gate, tag=held.tag, digest=held.digest, **msgspec.structs.asdict(held.hold))
            for gate in gates
            for held in self._stable_tags(gate)
            if held.hold
        )
        return Items(items=tuple(sorted(items, key=lambda hold: hold.at, reverse=True)))

    def vetoes(self, *, lifted_too: bool) -> Items[Veto]:
        """The vetoes of all gates, the newest first; those that were lifted only if asked for."""
        gates = self._services.policy.gates.values()
        vetoes = {veto for gate in gates for veto in self._vetoes.all(gate) if veto.stands or lifted_too}
        return Items(items=tuple(sorted(vetoes, key=lambda veto: veto.at, reverse=True)))

    def candidate(self, identifier: str) -> tuple[answers.CandidateStory, str]:
        """The whole story of a candidate, with its evidence and what promotes its digest; and its ETag."""
        stored = self._lookup.candidate(identifier)
        promotions = tuple(
            story_of(answers.PromotionStory, one) for one in promotions_for(self._services, stored.record)
        )
        return story_of(answers.CandidateStory, stored.record, promotions=promotions), stored.etag

    def rollout(self, identifier: str) -> tuple[answers.RolloutStory, str]:
        """The whole story of a rollout, and its ETag."""
        stored = self._lookup.rollout(identifier)
        return story_of(answers.RolloutStory, stored.record), stored.etag

    def _page(self, summary: type[S], kind: type[Listed], partition: str, asked: tuple[int, str, Only]) -> Page[S]:
        limit, token, only = asked
        page = self._services.ledger.page(kind, partition, min(limit, PAGE_LIMIT), token, only)
        return Page(items=msgspec.convert(page.items, tuple[summary, ...]), next=page.token)  # type: ignore[valid-type]

    def _stable_tags(self, gate: GateRule) -> Iterator[StableTag]:
        return (stored.record for stored in self._services.ledger.list(StableTag, gate.name))

    def _gate(self, gate: GateRule) -> dict[str, Any]:
        latest = self._services.ledger.page(Candidate, gate.name, 1, "").items
        return {
            "name": gate.name,
            "source": source_of(gate, self._services),
            "target": self._vetoes.target(gate),
            "stable": tuple(
                msgspec.convert(stable, answers.StableTagAnswer, from_attributes=True)
                for stable in self._stable_tags(gate)
                if stable.digest or stable.hold
            ),
            "latest": msgspec.convert(latest[0], CandidateSummary) if latest else None,
        }

    def _app(self, app: AppRule) -> dict[str, Any]:
        record = read(self._services.ledger, AppRecord(app=app.name))
        latest = self._services.ledger.page(Rollout, app.name, 1, "").items
        return {
            "name": app.name,
            "stands_on": app.base,
            "live": str(record.live) if record.live else None,
            "live_since": record.live_since,
            "base": base_of(record),
            "latest": msgspec.convert(latest[0], RolloutSummary) if latest else None,
        }


def promotions_for(services: Services, candidate: Candidate) -> list[Promotion]:
    """What promotes, or promoted, a candidate's digest, the oldest first.

    It is found with four queries: those of the candidate's tag, the gate's newest promotions and those before the
    candidate's last change, and the stable tags that stand on the digest.
    """
    ledger, gate, digest = services.ledger, candidate.gate, candidate.digest
    tagged = (stored.record for stored in ledger.list(Promotion, gate, promotions_of(candidate.tag)))
    found = {one.row: one for one in tagged if one.digest == digest}
    rows = [stored.record.promotion for stored in ledger.list(StableTag, gate) if stored.record.digest == digest]
    last = candidate.history[-1].at if candidate.history else candidate.created_at
    for only in (EVERYTHING, Only(until=last + timedelta(seconds=1))):
        listed = ledger.page(Promotion, gate, PAGE_LIMIT, "", only).items
        rows += [promotion_row(one["tag"], one["sequence"]) for one in listed if one["digest"] == digest]
    for row in islice((row for row in dict.fromkeys(rows) if row and row not in found), PROMOTIONS_LIMIT):
        if (stored := ledger.load(Promotion, gate, row)) is not None:
            found[row] = stored.record
    return sorted(found.values(), key=lambda one: (one.created_at, one.row))


def source_of(gate: GateRule, services: Services) -> str:
    """The repository that a gate takes from, with its registry: `publicregistry.azurecr.io/node`."""
    return f"{services.registry_rule(gate.source.registry).login_server}/{gate.source.repository}"


def base_of(record: AppRecord) -> str | None:
    """The image that the live image of an app is built on, `unknown` where nobody knows; before one is live, the one
    that its first rollout is built on."""
    base = record.live.base if record.live else record.base
    return str(base) if base else "unknown" if record.live else None


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
