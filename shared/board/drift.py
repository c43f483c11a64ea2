"""The drift page: upstream, ledger, stable tag, app and container side by side, and all alarms on top."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import msgspec

from shared.board import buttons, parts
from shared.board.buttons import Action
from shared.board.parts import Fact, Headed, Item, Tone, marked, tone_of
from shared.board.wording import age, ago, counted, duration, short_digest, short_image
from shared.domain.alarm import STALLS, AlarmKind
from shared.queries.drift import AlarmItem, AppDrift, Drift, GateDrift, TagDrift

_ALARMS = 100
"""How many alarms are shown, the newest."""

_DIFFERS = "differs"
_BECOMES = {True: "is repaired", False: "is reported only"}
"""What becomes of drift, by whether it is repaired."""


class DriftRow(msgspec.Struct, frozen=True, kw_only=True):
    """A tag or an app: what stands side by side, an item a column, and whether it is the same. `link` is its page."""

    name: str
    cells: tuple[Item, ...]
    verdict: str
    tone: Tone
    note: str = ""
    link: str = ""


class GateTable(msgspec.Struct, frozen=True, kw_only=True):
    """A gate: how its upstream was read, what keeps it from that, and its tags."""

    gate: GateDrift
    facts: tuple[Fact, ...]
    trouble: str
    rows: tuple[DriftRow, ...]


class DriftPage(Headed, frozen=True, kw_only=True):
    """Everything side by side. `swept` is false as long as no sweep has come by."""

    swept: bool
    gates: tuple[GateTable, ...]
    apps: tuple[DriftRow, ...]
    sweep: Action


def drift_page(drift: Drift, now: datetime) -> DriftPage:
    """The page of everything; what differs stands first."""
    alarms = parts.newest_first(_alarms(drift))
    gates = tuple(_gate(gate, now) for gate in drift.gates)
    apps = tuple(_app(app, now) for app in sorted(drift.apps, key=lambda app: (not app.alarms, app.same)))
    swept = bool(alarms) or any(one.sweep.last_at for part in (drift.gates, drift.apps) for one in part)
    tags = [row for gate in gates for row in gate.rows]
    tone = parts.loudest([*(alarm.tone for alarm in alarms), *(row.tone for row in (*tags, *apps))])
    return DriftPage(
        swept=swept,
        alarms=alarms[:_ALARMS],
        more_alarms=len(alarms[_ALARMS:]),
        gates=gates,
        apps=apps,
        sweep=buttons.sweep(),
        headline=_headline(len(alarms), tags, apps) if swept else "Not swept yet",
        tone=tone if swept else Tone.IDLE,
    )


def _alarms(drift: Drift) -> Iterator[parts.Scoped]:
    for scope, kind in (("gates", drift.gates), ("apps", drift.apps), ("registries", drift.registries)):
        for part in kind:
            yield from ((f"{scope}/{part.name}", alarm) for alarm in part.alarms)
    yield from ((STALLS, alarm) for alarm in drift.stalls)


def _headline(alarms: int, *tables: Iterable[DriftRow]) -> str:
    """The page in one sentence, for the status line and for a screen reader."""
    tags, apps = (sum(row.verdict == _DIFFERS for row in rows) for rows in tables)
    told = ((alarms, "alarm"), (tags, "tag differs", "tags differ"), (apps, "app differs", "apps differ"))
    return ", ".join(counted(*one) for one in told if one[0]) or "No drift"


def _gate(gate: GateDrift, now: datetime) -> GateTable:
    sweep, changes = gate.sweep, gate.completeness
    recovery = now + timedelta(seconds=changes.recovery_seconds) if changes.recovery_seconds else None
    due = sweep.next_at if sweep.next_at is not None and sweep.next_at > now else None
    known = parts.facts(
        ("Read", ago(sweep.last_at, now)),
        ("Read next", f"in {age(now, due)}" if due else "with the next sweep"),
        ("Tags", f"{sweep.subjects:,} so far" if sweep.problem else f"{len(gate.tags) + gate.more:,}"),
        ("Known by event", f"{changes.by_event:,}"),
        ("Found by sweep", f"{changes.by_sweep:,}"),
        ("Slowest recovery", age(now, recovery) if recovery else ""),
        ("No tags", f"{changes.left_out:,} names, such as {changes.left_out_name}" if changes.left_out else ""),
        ("Pulls left", "" if gate.pulls_left is None else f"{gate.pulls_left:,}"),
        ("Drift", _BECOMES[gate.repairs]),
    )
    rows = tuple(_tag(tag, gate.alarms, now) for tag in gate.tags)
    return GateTable(gate=gate, facts=known, trouble=_trouble(gate, now), rows=rows)


def _trouble(gate: GateDrift, now: datetime) -> str:
    """What keeps the sweep from reading it: a pause with its reason, or why the last round did not come to its end."""
    if gate.paused_until is not None and gate.paused_until > now:
        server = gate.source.partition("/")[0]
        return f"{server} is left alone for {duration(now, gate.paused_until)} more: {gate.pause_reason}"
    return f"The last round did not come to its end: {gate.sweep.problem}" if gate.sweep.problem else ""


def _tag(tag: TagDrift, alarms: tuple[AlarmItem, ...], now: datetime) -> DriftRow:
    """A tag; what an alarm says of one of its cells stands there."""
    ours = (alarm for alarm in alarms if alarm.subject == tag.tag and alarm.kind in parts.IN_PLACE)
    wrong = {parts.IN_PLACE[alarm.kind][0]: alarm for alarm in ours}
    plain = (_upstream(tag), _candidate(tag), _stable(tag))
    verdict, tone = (_DIFFERS, Tone.BAD) if wrong else _verdict(tag)
    cells = tuple(marked(cell, wrong.get(cell.title), why=False) for cell in plain)
    return DriftRow(name=tag.tag, cells=cells, verdict=verdict, tone=tone, note=_unread(tag, now))


def _unread(tag: TagDrift, now: datetime) -> str:
    """Why a push was not examined: the last digest that an event named and the tag was not when it was asked for."""
    if not tag.expectations:
        return ""
    last = tag.expectations[-1]
    pushes = counted(tag.unread, "digest was named by an event and never read", "digests were named and never read")
    return f"{pushes}, the last {short_digest(last.digest)}, {ago(last.at, now)}, event {last.event}"


def _verdict(tag: TagDrift) -> tuple[str, Tone]:
    if tag.same:
        return "same", Tone.GOOD
    if tag.held:
        return "held", Tone.WAITING
    busy = bool(tag.state) and tone_of(tag.state) is Tone.BUSY
    return _DIFFERS, Tone.BUSY if busy else Tone.WAITING


def _upstream(tag: TagDrift) -> Item:
    state, reason = f"number {tag.sequence}", ""
    if tag.absent:
        state, reason = "withdrawn", "the tag is gone"
    elif tag.doubted:
        state, reason = "in doubt", f"it was read as {short_digest(tag.doubted)}, which it was before"
    return Item(
        title=parts.UPSTREAM,
        subject=short_digest(tag.upstream),
        full=tag.upstream or "",
        since=tag.upstream_since,
        state=state,
        tone=Tone.WAITING if reason else Tone.IDLE,
        reason=reason,
    )


def _candidate(tag: TagDrift) -> Item:
    if not tag.candidate:
        return Item(title="Candidate", subject="none on record", state=tag.state)
    return Item(
        title="Candidate",
        subject=f"attempt {int(tag.candidate.rpartition('-')[2])}",
        full=tag.candidate,
        state=tag.state,
        tone=tone_of(tag.state),
        reason=tag.reason,
        link=f"candidates/{tag.candidate}",
    )


def _stable(tag: TagDrift) -> Item:
    state, tone = ("held", Tone.WAITING) if tag.held else ("", Tone.IDLE)
    subject, full = short_digest(tag.stable), tag.stable or ""
    return Item(title=parts.STABLE, subject=subject, full=full, since=tag.stable_since, state=state, tone=tone)


def _app(app: AppDrift, now: datetime) -> DriftRow:
    """An app; what an alarm says of its container stands in the place of that."""
    wrong = next((alarm for alarm in app.alarms if alarm.kind == AlarmKind.CONTAINER), None)
    runs = Item(title="Runs", subject=short_image(app.live), full=app.live or "", since=app.live_since, state="")
    base, stable = f"{app.tag}, {short_digest(app.stable)}", app.stable or ""
    verdict, tone = _verdict_of_app(app)
    return DriftRow(
        name=app.name,
        cells=(
            Item(title="Stands on", subject=base, full=stable, state=""),
            Item(title="Built on", subject=short_image(app.base), full=app.base or "", state=""),
            marked(runs, wrong, why=False),
        ),
        verdict=verdict,
        tone=tone,
        note=f"checked {ago(app.sweep.last_at, now)}; drift {_BECOMES[app.repairs]}",
        link=f"apps/{app.name}",
    )


def _verdict_of_app(app: AppDrift) -> tuple[str, Tone]:
    if app.alarms:
        return _DIFFERS, Tone.BAD
    if app.stable is None and app.base is None:
        return "nothing yet", Tone.IDLE
    return ("same", Tone.GOOD) if app.same else (_DIFFERS, Tone.WAITING)
