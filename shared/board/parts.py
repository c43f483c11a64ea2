"""The parts of the board's pages: severities, facts, items and alarms; times, counts and digests as text."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from shared.board.buttons import Action
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.image import short
from shared.domain.record import RecordSummary
from shared.domain.stable_tag import TagScan
from shared.queries.drift import AlarmItem

_UNITS = (("d", 86400), ("h", 3600), ("min", 60))  # seconds


class Severity(StrEnum):
    """The severity of a state, the worst first. It is shown as a colour; the state beside it says the same in words."""

    BAD = "bad"
    WAITING = "waiting"
    BUSY = "busy"
    GOOD = "good"
    IDLE = "idle"


_SEVERITIES = {
    **dict.fromkeys(("promoted", "live", "built", "passed"), Severity.GOOD),
    **dict.fromkeys(("failed", "rejected", "refused", "restored"), Severity.BAD),
    **dict.fromkeys(("stalled", "awaiting approval", "held", "withdrawn", "unknown"), Severity.WAITING),
    **dict.fromkeys(("superseded", "canceled", "vetoed", "rule removed", "not started"), Severity.IDLE),
}


def severity_of(state: str) -> Severity:
    """The severity of the state of a record, a step or a verdict; a state that is not listed is busy."""
    return _SEVERITIES.get(state, Severity.BUSY)


def worst(severities: Iterable[Severity]) -> Severity:
    """The worst of several severities, good if there are none."""
    return min((Severity.GOOD, *severities), key=list(Severity).index)


def facts(known: Mapping[str, str]) -> dict[str, str]:
    """Names with their values, without those that have no value."""
    return {name: value for name, value in known.items() if value}


class Item(msgspec.Struct, frozen=True):
    """One thing on a page: its subject, its state and since when, the reason, what to do about it, and its buttons.

    `title` is its column or kind, `full` the text that `subject` shortens, `link` its page.
    """

    title: str = ""
    subject: str = "nothing yet"
    full: str = ""
    note: str = ""
    state: str = "none"
    severity: Severity = Severity.IDLE
    since: datetime | None = None
    reason: str = ""
    advice: str = ""
    link: str = ""
    actions: tuple[Action, ...] = ()


def item_of(record: RecordSummary, **shown: Any) -> Item:
    """An item with the state of its record, since when, and the reason; without a reason if the severity is good."""
    severity = severity_of(record.state)
    busy = severity is Severity.BUSY
    since = record.created_at if busy else record.changed_at
    reason = record.last if busy else "" if severity is Severity.GOOD else record.reason
    return Item(**{"state": record.state, "severity": severity, "since": since, "reason": reason} | shown)


class SummaryPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page about everything: a headline, its severity, and the newest alarms; `more_alarms` are not shown."""

    headline: str
    severity: Severity
    alarms: tuple[Item, ...]
    more_alarms: int


ScopedAlarm = tuple[str, Alarm | AlarmItem]
"""An alarm with its scope: `gates/node`, `apps/hello-world`, `registries/hub`, `stalls`."""

UPSTREAM, STABLE = "Upstream", "Stable tag"
ALARM_CELLS: dict[str, tuple[str, str]] = {
    AlarmKind.TAG_AWAY: (UPSTREAM, "cannot be read"),
    AlarmKind.TAG_FLAPS: (UPSTREAM, "flapping"),
    AlarmKind.STABLE_MOVED: (STABLE, "moved around the gate"),
    AlarmKind.UNRECORDED: (STABLE, "not recorded"),
    AlarmKind.STABLE_VETOED: (STABLE, "vetoed"),
    AlarmKind.UNIQUE_CHANGED: (STABLE, "unique tag changed"),
    AlarmKind.UNLOCKED: (STABLE, "not locked"),
    AlarmKind.PROMOTED_GONE: (STABLE, "image deleted"),
    AlarmKind.CONTAINER: ("Container", "not the last good image"),
}
"""The column that an alarm is about, and the state that it shows there, by its kind."""

_WARNINGS = frozenset(
    (
        AlarmKind.UPSTREAM_QUIET,
        AlarmKind.SECRET_EXPIRES,
        AlarmKind.NO_SUBSCRIPTION,
        AlarmKind.STALLED,
        AlarmKind.NOT_RESCANNED,
    )
)
"""Alarms about what is not wrong yet, or only delayed."""

_SCOPES = {"gates": "gate", "apps": "app", "registries": "registry", "stalls": "stalled records"}


def alarm_items(alarms: Iterable[ScopedAlarm]) -> tuple[Item, ...]:
    """Alarms as items, the newest first."""
    ordered = sorted(alarms, key=lambda scoped: scoped[1].since, reverse=True)
    return tuple(_alarm_item(scope, alarm) for scope, alarm in ordered)


def _alarm_item(scope: str, alarm: Alarm | AlarmItem) -> Item:
    kind, _, name = scope.partition("/")
    return Item(
        title=str(alarm.kind),
        subject=f"{_SCOPES[kind]} {name}".rstrip(),
        full=alarm.subject,
        state="alarm",
        severity=Severity.WAITING if alarm.kind in _WARNINGS else Severity.BAD,
        since=alarm.since,
        reason=alarm.words,
        advice=alarm.plan,
        link=scope if kind in ("gates", "apps") else "",  # the other scopes have no page
    )


def with_alarm(item: Item, alarm: Alarm | AlarmItem | None, *, why: bool) -> Item:
    """An item with the state of its alarm; `why`: and its reason, if the page does not show that elsewhere."""
    if alarm is None:
        return item
    state, reason = ALARM_CELLS[alarm.kind][1], alarm.words if why else ""
    return replace(item, state=state, severity=Severity.BAD, since=alarm.since, reason=reason)


def age(since: datetime | None, now: datetime) -> str:
    """A rounded time span: `now`, `40 s`, `3 min`, `5 h`, `2 d`; "" without a beginning."""
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    if seconds < 60:
        return f"{seconds // 10 * 10} s" if seconds >= 10 else "now"
    unit, size = next((unit, size) for unit, size in _UNITS if seconds >= size)
    return f"{seconds // size} {unit}"


def ago(at: datetime | None, now: datetime) -> str:
    """The time since something: `3 min ago`, `now`; `not yet` if it has not happened."""
    span = age(at, now)
    return f"{span} ago" if span not in ("", "now") else span or "not yet"


def scan_in_words(scan: TagScan, now: datetime) -> str:
    """What the newest report found, and its age: `2 critical, 5 high; scanned 3 h ago`. Lesser ones are one number.

    Of an image at risk it says first how many of those that fail are new.
    """
    if scan.scanned_at is None:
        return "no report of a scan"
    new = f"{scan.new} new, " if scan.new else ""
    risk = f"{new}{scan.failing} {'fails' if scan.failing == 1 else 'fail'}; " if scan.at_risk else ""
    return f"{risk}{_findings(scan.counts)}; scanned {ago(scan.scanned_at, now)}"


def scans_in_words(scans: Sequence[TagScan], now: datetime) -> str:
    """What the newest reports of several stable tags found, for one short line; "" without any."""
    times = [scan.scanned_at for scan in scans if scan.scanned_at is not None]
    if not times:
        return ""
    images = {scan.digest: scan.counts for scan in scans}  # several tags may be at one image
    found = sum(map(Counter, images.values()), Counter[str]())
    at_risk = sum(scan.at_risk for scan in scans)
    risk = f"{counted(at_risk, 'tag')} at risk; " if at_risk else ""
    oldest = f"scanned {ago(min(times), now)}" if len(times) == 1 else f"oldest scan {ago(min(times), now)}"
    return f"{risk}{_findings(found)}; {oldest}"


def _findings(counts: Mapping[str, int]) -> str:
    """Findings by severity: those that are critical or high, and the number of the others."""
    severe = [f"{counts[severity]} {severity}" for severity in ("critical", "high") if counts.get(severity)]
    lesser = sum(count for severity, count in counts.items() if severity not in ("critical", "high"))
    return ", ".join([*severe, *([f"{lesser} lesser"] if lesser else [])]) or "no findings"


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things: `1 alarm`, `2 alarms`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def duration(since: datetime | None, until: datetime) -> str:
    """An exact time span: `3 s`, `4 min 10 s`, `2 h 5 min`; "" without a beginning."""
    if since is None:
        return ""
    minutes, seconds = divmod(max(0, int((until - since).total_seconds())), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def moment(at: datetime | None) -> str:
    """A moment to the second: `2026-03-01T12:00:00Z`; "" for none."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else ""


def short_digest(digest: str | None) -> str:
    """The first digits of a digest, `nothing yet` for none."""
    return short(digest) if digest else "nothing yet"


def short_image(image: str | None) -> str:
    """An image without its registry, and with the first digits of its digest: `hello-world:cc3`, `node@7d8c…`."""
    if not image:
        return "nothing yet"
    name, _, digest = image.rpartition("/")[2].partition("@")
    return f"{name}@{short(digest)}" if digest else name
