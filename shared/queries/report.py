"""What operators read: everything at a glance, lists by time, and the whole story of one record.

The docstrings of the queries are what the HTTP interface says of them.
"""

from collections.abc import Iterator
from typing import TypeVar

import msgspec
from msgspec.structs import asdict, replace

from shared.domain.candidate import Candidate, CandidateSummary
from shared.domain.policy import App as AppRule
from shared.domain.policy import Gate as GateRule
from shared.domain.rollout import AppRecord, Rollout, RolloutSummary
from shared.domain.stable_tag import Move, StableTag, Veto
from shared.ports import NO_FILTER, Item, Listed, ListFilter, Page, Services, read
from shared.promotion.vetoes import Vetoes
from shared.queries import answers
from shared.queries.answers import Items, story_of
from shared.queries.lookup import Lookup

PAGE_LIMIT = 100
R = TypeVar("R", bound=msgspec.Struct)


class Report:
    """Reads the ledger for people and programs. A gate or an app that is asked for and not there is `NotFound`.

    A story comes with the ETag of its record.
    """

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)
        self._vetoes = Vetoes(services)

    def status(self) -> answers.Status:
        """All gates and apps at a glance."""
        return answers.Status(gates=self.gates().items, apps=self.apps().items)

    def gates(self) -> Items[answers.Gate]:
        """All gates at a glance."""
        return Items(items=tuple(map(self._gate, self._services.policy.gates.values())))

    def gate(self, name: str) -> answers.GateStory:
        """One gate: its rule, its stable tags with their holds, its vetoes.

        Of the values that its tasks get, only the names are answered.
        """
        gate = self._lookup.gate(name)
        checks = tuple(replace(one, task=one.task and _without_values(one.task, "values")) for one in gate.checks)
        vetoes = tuple(veto for veto in self._vetoes.all(gate) if veto.is_active)
        rule = replace(gate, checks=checks)
        return answers.GateStory(**asdict(self._gate(gate)), rule=rule, vetoes=vetoes)

    def apps(self) -> Items[answers.App]:
        """All apps at a glance."""
        return Items(items=tuple(map(self._app, self._services.policy.apps.values())))

    def app(self, name: str) -> answers.AppStory:
        """One app: its rule, what is live, what it stands on.

        Of the values that its build and its containers get, only the names are answered.
        """
        app = self._lookup.app(name)
        build, deploy = _without_values(app.build, "values"), app.deploy and _without_values(app.deploy, "environment")
        return answers.AppStory(**asdict(self._app(app)), rule=replace(app, build=build, deploy=deploy))

    def candidates(
        self, gate_name: str, limit: int, token: str, only: ListFilter = NO_FILTER
    ) -> Page[CandidateSummary]:
        """The candidates of a gate, by the time they were admitted, the newest first."""
        return self._page(Candidate, self._lookup.gate(gate_name).name, limit, token, only)

    def rollouts(self, app_name: str, limit: int, token: str, only: ListFilter = NO_FILTER) -> Page[RolloutSummary]:
        """The rollouts of an app, by the time they began, the newest first."""
        return self._page(Rollout, self._lookup.app(app_name).name, limit, token, only)

    def promotions(self, gate_name: str, limit: int, token: str, only: ListFilter = NO_FILTER) -> Page[Move]:
        """Every move of a gate's stable tags, rollbacks among them, the newest first."""
        return self._page(StableTag, self._lookup.gate(gate_name).name, limit, token, only)

    def holds(self) -> Items[answers.StandingHold]:
        """All holds that stand, the newest first."""
        items = (
            answers.StandingHold(gate=held.gate, tag=held.tag, digest=held.digest, **asdict(held.hold))
            for gate in self._services.policy.gates.values()
            for held in self._stable_tags(gate)
            if held.hold
        )
        return Items(items=tuple(sorted(items, key=lambda hold: hold.at, reverse=True)))

    def vetoes(self, lifted_too: bool) -> Items[Veto]:
        """The vetoes that stand, the newest first."""
        gates = self._services.policy.gates.values()
        vetoes = {veto for gate in gates for veto in self._vetoes.all(gate) if veto.is_active or lifted_too}
        return Items(items=tuple(sorted(vetoes, key=lambda veto: veto.at, reverse=True)))

    def candidate(self, identifier: str) -> tuple[answers.CandidateStory, str]:
        """The whole story of a candidate, with its evidence and what promotes its digest."""
        stored = self._lookup.candidate(identifier)
        found = self._lookup.promotions_for(stored.record)
        promotions = tuple(story_of(answers.PromotionStory, promotion) for promotion in found)
        return story_of(answers.CandidateStory, stored.record, promotions=promotions), stored.etag

    def rollout(self, identifier: str) -> tuple[answers.RolloutStory, str]:
        """The whole story of a rollout."""
        stored = self._lookup.rollout(identifier)
        return story_of(answers.RolloutStory, stored.record), stored.etag

    def _page(
        self, kind: type[Listed[Item]], partition: str, limit: int, token: str = "", only: ListFilter = NO_FILTER
    ) -> Page[Item]:
        return self._services.ledger.page(kind, partition, min(limit, PAGE_LIMIT), token, only)

    def _stable_tags(self, gate: GateRule) -> Iterator[StableTag]:
        return (stored.record for stored in self._services.ledger.list(StableTag, gate.name))

    def _gate(self, gate: GateRule) -> answers.Gate:
        return answers.Gate(
            name=gate.name,
            source=source_of(gate, self._services),
            target=self._vetoes.target(gate),
            stable=tuple(
                msgspec.convert(stable, answers.StableTagAnswer, from_attributes=True)
                for stable in self._stable_tags(gate)
                if stable.digest or stable.hold
            ),
            latest=next(iter(self._page(Candidate, gate.name, 1).items), None),
        )

    def _app(self, app: AppRule) -> answers.App:
        record = read(self._services.ledger, AppRecord(app=app.name))
        return answers.App(
            name=app.name,
            stands_on=app.base,
            live=str(record.live) if record.live else None,
            live_since=record.live_since,
            base=base_of(record),
            latest=next(iter(self._page(Rollout, app.name, 1).items), None),
        )


def source_of(gate: GateRule, services: Services) -> str:
    """The repository that a gate takes from, with its registry: `publicregistry.azurecr.io/node`."""
    return f"{services.registry_rule(gate.source.registry).login_server}/{gate.source.repository}"


def base_of(record: AppRecord) -> str | None:
    """The image that the live image of an app is built on, `unknown` where nobody knows; before one is live, the one
    that its first rollout is built on."""
    base = record.live.base if record.live else record.base
    return str(base) if base else "unknown" if record.live else None


def _without_values(rule: R, field: str) -> R:
    """A part of a rule with the names of the values that it gives to a task or a container, and not the values."""
    return replace(rule, **{field: dict.fromkeys(getattr(rule, field), "")})
