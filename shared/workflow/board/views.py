"""The pages of the board, each from the ledger as it is now."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from shared.domain.alarm import Alarm
from shared.operations.lookup import Lookup
from shared.ports import Services
from shared.workflow.board.action_items import action_items
from shared.workflow.board.alarms import Scoped, newest_first
from shared.workflow.board.drift import drift_page
from shared.workflow.board.flow import gate_flow
from shared.workflow.board.histories import app_history, gate_history
from shared.workflow.board.models import DriftPage, Filter, GateFlow, History, Item, Overview, Story, Tone, loudest
from shared.workflow.board.overview import GateOverview, OverviewReader
from shared.workflow.board.stories import candidate_story, rollout_story
from shared.workflow.board.wording import counted
from shared.workflow.drift import DriftReport
from shared.workflow.report import promotions_for

_ALARMS = 5
"""How many alarms the overview tells; the drift page tells all."""


class Views:
    """Prepares pages. `now` is the moment that ages are counted to."""

    def __init__(self, services: Services, now: datetime) -> None:
        self._services, self._lookup, self._now = services, Lookup(services), now

    def overview(self) -> Overview:
        """The flow picture, and what needs a person."""
        reader = OverviewReader(self._services)
        gates = tuple(reader.gates())
        flows = tuple(gate_flow(gate) for gate in gates)
        items = action_items(gates, self._now)
        alarms = newest_first(_alarms(gates, reader.registries()))
        busy = sum(stage.tone is Tone.BUSY for stage in _stages(flows))
        tones = [*(item.tone for item in items), *(alarm.tone for alarm in alarms)]
        return Overview(
            action_items=items,
            alarms=alarms[:_ALARMS],
            more_alarms=len(alarms[_ALARMS:]),
            gates=flows,
            headline=_headline(items, len(alarms), busy),
            tone=loudest([*tones, Tone.BUSY] if busy else tones),
            running=busy > 0,
        )

    def drift(self) -> DriftPage:
        """Upstream, ledger, stable tag, app and container side by side, as the last sweep saw them."""
        return drift_page(DriftReport(self._services).drift(), self._now)

    def candidate(self, identifier: str) -> Story:
        """The page of a candidate. Raises `Malformed` or `NotThere`."""
        stored = self._lookup.candidate(identifier)
        return candidate_story(stored, promotions_for(self._services, stored.record), self._now)

    def rollout(self, identifier: str) -> Story:
        """The page of a rollout. Raises `Malformed` or `NotThere`."""
        stored = self._lookup.rollout(identifier)
        return rollout_story(stored, self._services.app(stored.record.app), self._now)

    def gate(self, name: str, shown: Filter, token: str) -> History:
        """A page of a gate's history.

        Raises:
            Malformed: there is no such state, or a time is none.
            NotThere: there is no such gate.
        """
        return gate_history(self._services, self._lookup.gate(name), shown, token)

    def app(self, name: str, shown: Filter, token: str) -> History:
        """A page of an app's history. Raises as `gate` does."""
        return app_history(self._services, self._lookup.app(name), shown, token)


def _stages(flows: tuple[GateFlow, ...]) -> list[Item]:
    return [stage for flow in flows for lane in flow.lanes for part in (lane, *lane.apps) for stage in part.stages]


def _alarms(gates: Iterable[GateOverview], registries: Iterable[tuple[str, list[Alarm]]]) -> Iterator[Scoped]:
    """All alarms that stand, each with what it belongs to."""
    for gate in gates:
        yield from ((f"gates/{gate.gate.name}", alarm) for alarm in gate.alarms)
        for app in (app for tag in gate.tags for app in tag.apps):
            yield from ((f"apps/{app.app.name}", alarm) for alarm in app.alarms)
    for name, alarms in registries:
        yield from ((f"registries/{name}", alarm) for alarm in alarms)


def _headline(items: tuple[Item, ...], alarms: int, busy: int) -> str:
    """The picture in one sentence, for the status line and for a screen reader."""
    parts = [f"{number} {state}" for state, number in Counter(item.state for item in items).items()]
    if alarms:
        parts.append(counted(alarms, "alarm"))
    if busy:
        parts.append(f"{busy} under way")
    return ", ".join(parts) or "All quiet"
