"""Standing alarms in words: what, where, since when, and what is done about it."""

from collections.abc import Iterable

from shared.domain.alarm import Alarm, AlarmKind
from shared.workflow.board.models import Item, Tone
from shared.workflow.drift import AlarmLine

Scoped = tuple[str, Alarm | AlarmLine]
"""An alarm with what it belongs to: `gates/node`, `apps/hello-world`, `registries/hub`, `stalls`."""

UPSTREAM, STABLE = "Upstream", "Stable tag"
IN_PLACE: dict[str, tuple[str, str]] = {
    AlarmKind.TAG_AWAY: (UPSTREAM, "cannot be read"),
    AlarmKind.TAG_FLAPS: (UPSTREAM, "comes and goes"),
    AlarmKind.STABLE_MOVED: (STABLE, "moved around the gate"),
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
    return tuple(_item(scope, alarm) for scope, alarm in ordered)


def _item(scope: str, alarm: Alarm | AlarmLine) -> Item:
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
