"""The pages of the board, each from the ledger as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from shared.domain.alarm import Alarm
from shared.workflow.board.alarms import Scoped, newest_first
from shared.workflow.board.concerns import concerns
from shared.workflow.board.drift_models import DriftPage
from shared.workflow.board.drift_screen import drift_page
from shared.workflow.board.flow import gate_flow
from shared.workflow.board.glance import GateGlance, Glances
from shared.workflow.board.histories import Histories
from shared.workflow.board.models import Concern, Filter, GateFlow, History, Overview, Stage, Story
from shared.workflow.board.stories import candidate_story, rollout_story
from shared.workflow.board.tones import Tone, loudest
from shared.workflow.board.wording import counted
from shared.workflow.drift import DriftReport
from shared.workflow.find import Find
from shared.workflow.services import Services

_ALARMS = 5
"""How many alarms the overview tells; the drift page tells all."""


class Views:
    """Prepares pages. `now` is the moment that ages are counted to."""

    def __init__(self, services: Services, now: datetime) -> None:
        self._services, self._now = services, now
        self._find, self._histories = Find(services), Histories(services, now)

    def overview(self) -> Overview:
        """The flow picture, and what wants a person."""
        read = Glances(self._services)
        glances = tuple(read.gates())
        flows = tuple(gate_flow(glance, self._now) for glance in glances)
        wanting = concerns(glances, self._now)
        alarms = newest_first(_alarms(glances, read.registries()), self._now)
        busy = sum(stage.tone is Tone.BUSY for stage in _stages(flows))
        tones = [*(concern.tone for concern in wanting), *(alarm.tone for alarm in alarms)]
        return Overview(
            concerns=wanting,
            alarms=alarms[:_ALARMS],
            more_alarms=len(alarms[_ALARMS:]),
            gates=flows,
            headline=_headline(wanting, len(alarms), busy),
            tone=loudest([*tones, Tone.BUSY] if busy else tones),
            running=busy > 0,
        )

    def drift(self) -> DriftPage:
        """Upstream, ledger, stable tag, app and container side by side, as the last sweep saw them."""
        return drift_page(DriftReport(self._services).drift(), self._now)

    def candidate(self, identifier: str) -> Story:
        """The page of a candidate. Raises `Malformed` or `NotThere`."""
        return candidate_story(self._find.candidate(identifier), self._now)

    def rollout(self, identifier: str) -> Story:
        """The page of a rollout. Raises `Malformed` or `NotThere`."""
        stored = self._find.rollout(identifier)
        return rollout_story(stored, self._services.app(stored.record.app), self._now)

    def gate(self, name: str, shown: Filter, token: str) -> History:
        """A page of a gate's history.

        Raises:
            Malformed: there is no such state, or a time is none.
            NotThere: there is no such gate.
        """
        return self._histories.gate(self._find.gate(name), shown, token)

    def app(self, name: str, shown: Filter, token: str) -> History:
        """A page of an app's history. Raises as `gate` does."""
        return self._histories.app(self._find.app(name), shown, token)


def _stages(flows: tuple[GateFlow, ...]) -> list[Stage]:
    lanes = [lane for flow in flows for lane in flow.lanes]
    apps = [app for lane in lanes for app in lane.apps]
    return [stage for lane in lanes for stage in lane.stages] + [stage for app in apps for stage in app.stages]


def _alarms(gates: Iterable[GateGlance], registries: Iterable[tuple[str, list[Alarm]]]) -> Iterator[Scoped]:
    """All alarms that stand, each with what it belongs to."""
    for gate in gates:
        yield from ((f"gates/{gate.gate.name}", alarm) for alarm in gate.alarms)
        for app in (app for tag in gate.tags for app in tag.apps):
            yield from ((f"apps/{app.app.name}", alarm) for alarm in app.alarms)
    for name, alarms in registries:
        yield from ((f"registries/{name}", alarm) for alarm in alarms)


def _headline(wanting: tuple[Concern, ...], alarms: int, busy: int) -> str:
    """The picture in one sentence, for the status line and for a screen reader."""
    counts: dict[str, int] = {}
    for concern in wanting:
        counts[concern.state] = counts.get(concern.state, 0) + 1
    parts = [f"{number} {state}" for state, number in counts.items()]
    if alarms:
        parts.append(counted(alarms, "alarm"))
    if busy:
        parts.append(f"{busy} under way")
    return ", ".join(parts) or "All quiet"
