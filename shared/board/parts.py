"""The parts that the board's pages are made of: tones, facts, items and alarms."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from shared.board.buttons import Action
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.record import RecordSummary
from shared.queries.drift import AlarmItem


class Tone(StrEnum):
    """How something stands, for the eye, the loudest first; the word beside it says the same to everyone."""

    BAD = "bad"
    WAITING = "waiting"
    BUSY = "busy"
    GOOD = "good"
    IDLE = "idle"


_SEVERITIES = {
    **dict.fromkeys(("promoted", "live", "built", "passed"), Tone.GOOD),
    **dict.fromkeys(("failed", "rejected", "refused", "restored", "unknown"), Tone.BAD),
    **dict.fromkeys(("stalled", "awaiting approval", "held", "withdrawn"), Tone.WAITING),
    **dict.fromkeys(("superseded", "canceled", "vetoed", "rule removed"), Tone.IDLE),
}


def tone_of(state: str) -> Tone:
    """The tone of a record's or a verdict's state; what is not final is busy."""
    return _SEVERITIES.get(state, Tone.BUSY)


def loudest(tones: Iterable[Tone]) -> Tone:
    """What the whole is, of several: what is bad before what waits, and that before what is under way."""
    return min((Tone.GOOD, *tones), key=list(Tone).index)


class Fact(msgspec.Struct, frozen=True):
    """One line of facts."""

    name: str
    value: str


def facts(*known: tuple[str, str]) -> tuple[Fact, ...]:
    """Facts by their names, without those that have no value."""
    return tuple(Fact(name, value) for name, value in known if value)


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing on a page: what it is, how it stands and since when, why, what to do about it, and its buttons.

    `title` is its station, column or kind, `full` the whole of what `subject` shortens, `link` its page.
    """

    title: str = ""
    subject: str = "nothing yet"
    full: str = ""
    note: str = ""
    state: str = "none"
    tone: Tone = Tone.IDLE
    since: datetime | None = None
    reason: str = ""
    advice: str = ""
    link: str = ""
    actions: tuple[Action, ...] = ()


def item_of(record: RecordSummary, **shown: Any) -> Item:
    """An item with how its record stands, since when, and why; where all is well, nothing needs to be said."""
    tone = tone_of(record.state)
    busy = tone is Tone.BUSY
    since = record.created_at if busy else record.changed_at
    reason = record.last if busy else "" if tone is Tone.GOOD else record.reason
    return Item(**{"state": record.state, "tone": tone, "since": since, "reason": reason} | shown)


class Headed(msgspec.Struct, frozen=True, kw_only=True):
    """A page about everything: in one sentence and one tone, with the newest alarms; `more_alarms` are not shown."""

    headline: str
    tone: Tone
    alarms: tuple[Item, ...]
    more_alarms: int


Scoped = tuple[str, Alarm | AlarmItem]
"""An alarm with what it belongs to: `gates/node`, `apps/hello-world`, `registries/hub`, `stalls`."""

UPSTREAM, STABLE = "Upstream", "Stable tag"
IN_PLACE: dict[str, tuple[str, str]] = {
    AlarmKind.TAG_AWAY: (UPSTREAM, "cannot be read"),
    AlarmKind.TAG_FLAPS: (UPSTREAM, "comes and goes"),
    AlarmKind.STABLE_MOVED: (STABLE, "moved around the gate"),
    AlarmKind.UNRECORDED: (STABLE, "not on record"),
    AlarmKind.STABLE_VETOED: (STABLE, "vetoed"),
    AlarmKind.UNIQUE_CHANGED: (STABLE, "unique tag changed"),
    AlarmKind.UNLOCKED: (STABLE, "not locked"),
    AlarmKind.PROMOTED_GONE: (STABLE, "image deleted"),
    AlarmKind.CONTAINER: ("Container", "not the last good one"),
}
"""What an alarm is about, and what it says in the place of that, by its kind."""

_WARNINGS = frozenset(
    (AlarmKind.UPSTREAM_QUIET, AlarmKind.SECRET_EXPIRES, AlarmKind.NO_SUBSCRIPTION, AlarmKind.STALLED)
)
"""What is not wrong yet, or costs nothing but time."""

_PLACES = {"gates": "gate", "apps": "app", "registries": "registry", "stalls": "stalled records"}


def newest_first(alarms: Iterable[Scoped]) -> tuple[Item, ...]:
    """Alarms as they are shown, the newest first."""
    ordered = sorted(alarms, key=lambda scoped: scoped[1].since, reverse=True)
    return tuple(_alarm_item(scope, alarm) for scope, alarm in ordered)


def _alarm_item(scope: str, alarm: Alarm | AlarmItem) -> Item:
    kind, _, name = scope.partition("/")
    return Item(
        title=str(alarm.kind),
        subject=f"{_PLACES[kind]} {name}".rstrip(),
        full=alarm.subject,
        state="alarm",
        tone=Tone.WAITING if alarm.kind in _WARNINGS else Tone.BAD,
        since=alarm.since,
        reason=alarm.words,
        advice=alarm.plan,
        link=scope if kind in ("gates", "apps") else "",  # the others have no page of their own
    )


def marked(item: Item, alarm: Alarm | AlarmItem | None, *, why: bool) -> Item:
    """An item with what an alarm says in the place of how it stands, and why, if that stands nowhere else."""
    if alarm is None:
        return item
    state, reason = IN_PLACE[alarm.kind][1], alarm.words if why else ""
    return replace(item, state=state, tone=Tone.BAD, since=alarm.since, reason=reason)
