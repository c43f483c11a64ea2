"""Standing alarms in words: what, where, since when, and what is done about it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from shared.domain.alarm import Alarm, AlarmKind
from shared.workflow.board.models import AlarmView
from shared.workflow.board.tones import Tone
from shared.workflow.board.wording import age, moment
from shared.workflow.drift import AlarmLine

Scoped = tuple[str, Alarm | AlarmLine]
"""An alarm with what it belongs to: `gates/node`, `apps/hello-world`, `registries/hub`."""

IN_PLACE: dict[str, str] = {
    AlarmKind.TAG_AWAY: "cannot be read",
    AlarmKind.STABLE_MOVED: "moved around the gate",
    AlarmKind.STABLE_VETOED: "vetoed",
    AlarmKind.UNIQUE_CHANGED: "unique tag changed",
    AlarmKind.PROMOTED_GONE: "image deleted",
    AlarmKind.CONTAINER: "not the last good one",
}
"""What an alarm says in the place of the very thing it is about, by its kind."""

_WARNINGS = frozenset((AlarmKind.UPSTREAM_QUIET, AlarmKind.SECRET_EXPIRES, AlarmKind.NO_SUBSCRIPTION))
"""What is not wrong yet, or costs nothing but time."""

_PLACES = {"gates": "gate", "apps": "app", "registries": "registry"}


def newest_first(alarms: Iterable[Scoped], now: datetime) -> tuple[AlarmView, ...]:
    """Alarms as they are shown, the newest first."""
    ordered = sorted(alarms, key=lambda scoped: scoped[1].since, reverse=True)
    return tuple(_view(scope, alarm, now) for scope, alarm in ordered)


def _view(scope: str, alarm: Alarm | AlarmLine, now: datetime) -> AlarmView:
    kind, _, name = scope.partition("/")
    return AlarmView(
        key=f"{scope} {alarm.kind} {alarm.subject}",
        kind=str(alarm.kind),
        tone=Tone.WAITING if alarm.kind in _WARNINGS else Tone.BAD,
        place=f"{_PLACES[kind]} {name}",
        link="" if kind == "registries" else scope,  # a registry has no page of its own
        words=alarm.words,
        plan=alarm.plan,
        age=age(alarm.since, now),
        at=moment(alarm.since),
    )
