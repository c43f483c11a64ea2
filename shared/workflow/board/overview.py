"""What the overview is made of, read with four queries a gate, three an app and one a registry,
however long the ledger is."""

from collections.abc import Iterator

import msgspec
from msgspec import convert

from shared.domain.alarm import Alarm
from shared.domain.candidate import Candidate
from shared.domain.image import Digest
from shared.domain.policy import App, Gate
from shared.domain.promotion import Promotion
from shared.domain.rollout import AppRecord, Rollout
from shared.domain.stable_tag import StableTag
from shared.ports import Services, read
from shared.promotion.vetoes import Vetoes
from shared.workflow.alarms import Alarms
from shared.workflow.answers import CandidateSummary, PromotionSummary, RolloutSummary
from shared.workflow.report import source_of

RECENT = 100
"""How far back the overview goes for the newest promotion of each tag, and for what one may roll back to."""


class AppOverview(msgspec.Struct, frozen=True, kw_only=True):
    """An app: its rule, what runs, and its last rollout."""

    app: App
    record: AppRecord
    latest: RolloutSummary | None
    alarms: tuple[Alarm, ...] = ()


class TagOverview(msgspec.Struct, frozen=True, kw_only=True):
    """A stable tag: where it stands, its promotions (the newest first), and the apps on it.

    `candidate` is the last attempt at the digest of the newest promotion.
    """

    gate: str
    tag: str
    stable: StableTag | None
    promotions: tuple[PromotionSummary, ...]
    candidate: CandidateSummary | None
    apps: tuple[AppOverview, ...]
    alarms: tuple[Alarm, ...] = ()

    @property
    def newest(self) -> PromotionSummary | None:
        """The promotion of what the source tag is; None where the tag came back to what the stable tag stands on."""
        newest, stable = self.promotions[0] if self.promotions else None, self.stable
        if newest is None or stable is None or stable.moved_by or stable.sequence <= newest.sequence:
            return newest
        return None

    @property
    def observed(self) -> Digest | None:
        """What the source tag is, as far as the overview goes back."""
        return self.newest.digest if self.newest else self.stable.digest if self.stable else None


class GateOverview(msgspec.Struct, frozen=True, kw_only=True):
    """A gate: its rule, the names of its source and target, its tags, and its newest candidates."""

    gate: Gate
    source: str
    target: str
    tags: tuple[TagOverview, ...]
    candidates: tuple[CandidateSummary, ...]
    alarms: tuple[Alarm, ...] = ()


class OverviewReader:
    """Reads the ledger for the overview."""

    def __init__(self, services: Services) -> None:
        self._services, self._alarms = services, Alarms(services)

    def gates(self) -> Iterator[GateOverview]:
        """All gates of the rules."""
        return (self._gate(gate) for gate in self._services.policy.gates.values())

    def registries(self) -> Iterator[tuple[str, list[Alarm]]]:
        """All registries of the rules by name, with the alarms that stand for them."""
        return ((name, self._alarms.standing(f"registries/{name}")) for name in self._services.policy.registries)

    def _gate(self, gate: Gate) -> GateOverview:
        ledger = self._services.ledger
        stable: dict[str, StableTag] = {one.record.tag: one.record for one in ledger.list(StableTag, gate.name)}
        candidates = convert(ledger.page(Candidate, gate.name, RECENT, "").items, tuple[CandidateSummary, ...])
        promotions = convert(ledger.page(Promotion, gate.name, RECENT, "").items, tuple[PromotionSummary, ...])
        apps = [self._app(app) for app in self._services.policy.apps.values() if app.base.gate == gate.name]
        standing = [tag for tag, one in stable.items() if one.digest or one.hold]
        based = [overview.app.base.tag for overview in apps]
        alarms = tuple(self._alarms.standing(f"gates/{gate.name}"))

        def overview_of(tag: str) -> TagOverview:
            ours = sorted((one for one in promotions if one.tag == tag), key=lambda one: one.sequence, reverse=True)
            return TagOverview(
                gate=gate.name,
                tag=tag,
                stable=stable.get(tag),
                promotions=tuple(ours),
                candidate=next((one for one in candidates if ours and one.digest == ours[0].digest), None),
                apps=tuple(overview for overview in apps if overview.app.base.tag == tag),
                alarms=tuple(alarm for alarm in alarms if alarm.subject == tag),
            )

        tags = dict.fromkeys([*standing, *based, *(one.tag for one in promotions)])
        return GateOverview(
            gate=gate,
            source=source_of(gate, self._services),
            target=Vetoes(self._services).target(gate),
            tags=tuple(overview_of(tag) for tag in tags),
            candidates=candidates,
            alarms=alarms,
        )

    def _app(self, app: App) -> AppOverview:
        latest = convert(self._services.ledger.page(Rollout, app.name, 1, "").items, tuple[RolloutSummary, ...])
        return AppOverview(
            app=app,
            record=read(self._services.ledger, AppRecord(app=app.name)),
            latest=latest[0] if latest else None,
            alarms=tuple(self._alarms.standing(f"apps/{app.name}")),
        )
