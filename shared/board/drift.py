"""The drift page: all alarms, then upstream, ledger, stable tag, app and container side by side."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import msgspec

from shared.board import buttons, parts
from shared.board.buttons import Action
from shared.board.parts import STABLE, UPSTREAM, Item, Severity, SummaryPage, short_digest, short_image, with_alarm
from shared.domain.alarm import STALLS, AlarmKind
from shared.ports import Services
from shared.queries.drift import AlarmItem, AppDrift, Drift, DriftQuery, GateDrift, TagDrift

_ALARMS = 100
"""How many alarms are shown, the newest first."""

_DIFFERS = "differs"
_POLICY = {True: "repaired", False: "reported only"}
"""What is done about drift, by whether the rule has it repaired."""


class DriftRow(msgspec.Struct, frozen=True, kw_only=True):
    """A tag or an app: one item a column, and whether they match. `link` is its page."""

    name: str
    cells: tuple[Item, ...]
    status: str
    severity: Severity
    note: str = ""
    link: str = ""


class GateTable(msgspec.Struct, frozen=True, kw_only=True):
    """A gate: how its upstream was read, why it was not, and its tags."""

    gate: GateDrift
    facts: dict[str, str]
    trouble: str
    rows: tuple[DriftRow, ...]


class DriftPage(SummaryPage, frozen=True, kw_only=True):
    """The drift of everything. `swept` is false until the first sweep."""

    swept: bool
    gates: tuple[GateTable, ...]
    apps: tuple[DriftRow, ...]
    sweep: Action


def drift_page(services: Services, now: datetime) -> DriftPage:
    """The drift page; rows that differ come first."""
    drift = DriftQuery(services).drift()
    alarms = parts.alarm_items(_alarms(drift))
    gates = tuple(_gate(gate, now) for gate in drift.gates)
    apps = tuple(_app(app, now) for app in sorted(drift.apps, key=lambda app: (not app.alarms, app.same)))
    swept = bool(alarms) or any(one.sweep.last_at for part in (drift.gates, drift.apps) for one in part)
    tags = [row for gate in gates for row in gate.rows]
    severity = parts.worst([*(alarm.severity for alarm in alarms), *(row.severity for row in (*tags, *apps))])
    return DriftPage(
        swept=swept,
        alarms=alarms[:_ALARMS],
        more_alarms=len(alarms[_ALARMS:]),
        gates=gates,
        apps=apps,
        sweep=buttons.action("sweep"),
        headline=_headline(len(alarms), tags, apps) if swept else "No sweep yet",
        severity=severity if swept else Severity.IDLE,
    )


def _alarms(drift: Drift) -> Iterator[parts.ScopedAlarm]:
    for scope, kind in (("gates", drift.gates), ("apps", drift.apps), ("registries", drift.registries)):
        for part in kind:
            yield from ((f"{scope}/{part.name}", alarm) for alarm in part.alarms)
    yield from ((STALLS, alarm) for alarm in drift.stalls)


def _headline(alarms: int, *tables: Iterable[DriftRow]) -> str:
    """The summary for the status line and for screen readers."""
    tags, apps = (sum(row.status == _DIFFERS for row in rows) for rows in tables)
    counts = ((alarms, "alarm"), (tags, "tag differs", "tags differ"), (apps, "app differs", "apps differ"))
    return ", ".join(parts.counted(*one) for one in counts if one[0]) or "No drift"


def _gate(gate: GateDrift, now: datetime) -> GateTable:
    sweep, changes = gate.sweep, gate.completeness
    recovery = now + timedelta(seconds=changes.recovery_seconds) if changes.recovery_seconds else None
    due = sweep.next_at if sweep.next_at is not None and sweep.next_at > now else None
    known = {
        "Last read": parts.ago(sweep.last_at, now),
        "Next read": f"in {parts.age(now, due)}" if due else "with the next sweep",
        "Tags": f"{sweep.subjects:,} so far" if sweep.problem else f"{len(gate.tags) + gate.more:,}",
        "Reported by events": f"{changes.by_event:,}",
        "Found by the sweep": f"{changes.by_sweep:,}",
        "Slowest recovery": parts.age(now, recovery) if recovery else "",
        "Invalid tags": f"{changes.left_out:,} names, such as {changes.left_out_name}" if changes.left_out else "",
        "Pulls left": "" if gate.pulls_left is None else f"{gate.pulls_left:,}",
        "Drift": _POLICY[gate.repairs],
    }
    rows = tuple(_tag(tag, gate.alarms, now) for tag in gate.tags)
    return GateTable(gate=gate, facts=parts.facts(known), trouble=_trouble(gate, now), rows=rows)


def _trouble(gate: GateDrift, now: datetime) -> str:
    """Why the sweep does not read its upstream: it backs off, or the last round was incomplete."""
    if gate.paused_until is not None and gate.paused_until > now:
        server = gate.source.partition("/")[0]
        return f"Backing off from {server} for {parts.duration(now, gate.paused_until)}: {gate.pause_reason}"
    return f"The last round is incomplete: {gate.sweep.problem}" if gate.sweep.problem else ""


def _tag(tag: TagDrift, alarms: tuple[AlarmItem, ...], now: datetime) -> DriftRow:
    """A tag; cells with an alarm show its state."""
    ours = (alarm for alarm in alarms if alarm.subject == tag.tag and alarm.kind in parts.ALARM_CELLS)
    wrong = {parts.ALARM_CELLS[alarm.kind][0]: alarm for alarm in ours}
    plain = (_upstream(tag), _candidate(tag), _stable(tag))
    status, severity = (_DIFFERS, Severity.BAD) if wrong else _tag_status(tag)
    cells = tuple(with_alarm(cell, wrong.get(cell.title), why=False) for cell in plain)
    return DriftRow(name=tag.tag, cells=cells, status=status, severity=severity, note=_unread(tag, now))


def _unread(tag: TagDrift, now: datetime) -> str:
    """Why a push was not examined: the last digest that an event named, and that the tag never had when it was read."""
    if not tag.expectations:
        return ""
    last = tag.expectations[-1]
    unread = parts.counted(tag.unread, "digest of an event was never observed", "digests of events were never observed")
    return f"{unread}, last {short_digest(last.digest)}, {parts.ago(last.at, now)}, event {last.event}"


def _tag_status(tag: TagDrift) -> tuple[str, Severity]:
    if tag.same:
        return "same", Severity.GOOD
    if tag.held:
        return "held", Severity.WAITING
    busy = bool(tag.state) and parts.severity_of(tag.state) is Severity.BUSY
    return _DIFFERS, Severity.BUSY if busy else Severity.WAITING


def _upstream(tag: TagDrift) -> Item:
    state, reason = f"sequence {tag.sequence}", ""
    if tag.absent:
        state, reason = "withdrawn", "the tag does not exist any more"
    elif tag.doubted:
        state, reason = "in doubt", f"the earlier digest {short_digest(tag.doubted)} was read; it is to be confirmed"
    digest, at, severity = tag.upstream, tag.upstream_since, Severity.WAITING if reason else Severity.IDLE
    return Item(UPSTREAM, short_digest(digest), digest or "", since=at, state=state, severity=severity, reason=reason)


def _candidate(tag: TagDrift) -> Item:
    if not tag.candidate:
        return Item("Candidate", "none", state=tag.state)
    subject, link = f"attempt {int(tag.candidate.rpartition('-')[2])}", f"candidates/{tag.candidate}"
    severity = parts.severity_of(tag.state)
    return Item("Candidate", subject, tag.candidate, state=tag.state, severity=severity, reason=tag.reason, link=link)


def _stable(tag: TagDrift) -> Item:
    state, severity = ("held", Severity.WAITING) if tag.held else ("", Severity.IDLE)
    digest, at = tag.stable, tag.stable_since
    return Item(STABLE, short_digest(digest), digest or "", since=at, state=state, severity=severity)


def _app(app: AppDrift, now: datetime) -> DriftRow:
    """An app; its container shows the state of an alarm about it."""
    wrong = next((alarm for alarm in app.alarms if alarm.kind == AlarmKind.CONTAINER), None)
    base = Item("Base tag", f"{app.tag}, {short_digest(app.stable)}", app.stable or "", state="")
    built = Item("Built on", short_image(app.base), app.base or "", state="")
    running = Item("Running", short_image(app.live), app.live or "", since=app.live_since, state="")
    status, severity = _app_status(app)
    cells = (base, built, with_alarm(running, wrong, why=False))
    note = f"checked {parts.ago(app.sweep.last_at, now)}; drift is {_POLICY[app.repairs]}"
    return DriftRow(name=app.name, cells=cells, status=status, severity=severity, note=note, link=f"apps/{app.name}")


def _app_status(app: AppDrift) -> tuple[str, Severity]:
    if app.alarms:
        return _DIFFERS, Severity.BAD
    if app.stable is None and app.base is None:
        return "nothing yet", Severity.IDLE
    return ("same", Severity.GOOD) if app.same else (_DIFFERS, Severity.WAITING)
