"""The drift page: upstream, ledger, stable tag, app and container side by side, and all alarms on top."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import msgspec

from shared.domain.alarm import AlarmKind
from shared.workflow.board import verbs
from shared.workflow.board.alarms import IN_PLACE, Scoped, newest_first
from shared.workflow.board.drift_models import DriftPage, DriftRow, GateTable
from shared.workflow.board.models import AlarmView, Fact, Stage
from shared.workflow.board.tones import Tone, loudest, tone_of
from shared.workflow.board.wording import age, ago, counted, duration, moment, short_digest, short_image
from shared.workflow.drift import AlarmLine, AppDrift, Drift, GateDrift, Look, TagDrift

_ALARMS = 100
_UPSTREAM, _CANDIDATE, _STABLE = "Upstream", "Candidate", "Stable tag"
_DIFFERS = "differs"
_CELLS: dict[str, str] = {
    AlarmKind.TAG_AWAY: _UPSTREAM,
    AlarmKind.STABLE_MOVED: _STABLE,
    AlarmKind.UNIQUE_CHANGED: _STABLE,
    AlarmKind.PROMOTED_GONE: _STABLE,
}
"""Of which cell of a tag an alarm tells."""


def drift_page(drift: Drift, now: datetime) -> DriftPage:
    """The page of everything; what differs stands first."""
    alarms = newest_first(_alarms(drift), now)
    gates = tuple(_gate(gate, now) for gate in drift.gates)
    apps = tuple(_app(app, now) for app in sorted(drift.apps, key=lambda app: (not app.alarms, app.same)))
    looks = [*(gate.look for gate in drift.gates), *(app.look for app in drift.apps)]
    swept = bool(alarms) or any(look.looked_at for look in looks) or any(gate.rows for gate in gates)
    return DriftPage(
        swept=swept,
        alarms=alarms[:_ALARMS],
        more_alarms=len(alarms[_ALARMS:]),
        gates=gates,
        apps=apps,
        sweep=verbs.sweep(),
        headline=_headline(alarms, gates, apps) if swept else "Not swept yet",
        tone=_tone(alarms, gates, apps) if swept else Tone.IDLE,
    )


def _alarms(drift: Drift) -> Iterator[Scoped]:
    for scope, parts in (("gates", drift.gates), ("apps", drift.apps), ("registries", drift.registries)):
        for part in parts:
            yield from ((f"{scope}/{part.name}", alarm) for alarm in part.alarms)


def _headline(alarms: tuple[AlarmView, ...], gates: tuple[GateTable, ...], apps: tuple[DriftRow, ...]) -> str:
    """The page in one sentence, for the status line and for a screen reader."""
    tags = _differing(row for gate in gates for row in gate.rows)
    parts = [counted(len(alarms), "alarm")] if alarms else []
    parts += [counted(tags, "tag differs", "tags differ")] if tags else []
    parts += [counted(differing, "app differs", "apps differ")] if (differing := _differing(apps)) else []
    return ", ".join(parts) or "No drift"


def _differing(rows: Iterable[DriftRow]) -> int:
    return sum(row.verdict == _DIFFERS for row in rows)


def _tone(alarms: tuple[AlarmView, ...], gates: tuple[GateTable, ...], apps: tuple[DriftRow, ...]) -> Tone:
    rows = (*(row for gate in gates for row in gate.rows), *apps)
    return loudest([*(alarm.tone for alarm in alarms), *(row.tone for row in rows)])


def _gate(gate: GateDrift, now: datetime) -> GateTable:
    return GateTable(
        name=gate.name,
        source=gate.source,
        target=gate.target,
        looks=tuple(_looks(gate, now)),
        trouble=_trouble(gate, now),
        rows=tuple(_tag(tag, gate.alarms, now) for tag in gate.tags),
        more=gate.more,
    )


def _looks(gate: GateDrift, now: datetime) -> Iterator[Fact]:
    look, counts = gate.look, gate.completeness
    yield Fact("Looked at", ago(look.looked_at, now))
    yield Fact("Next look", _next(look, now))
    yield Fact("Tags", f"{look.looked:,} so far" if look.problem else f"{look.looked:,}")
    yield Fact("Told by events", f"{counts.told:,}")
    yield Fact("Found by sweep", f"{counts.found:,}")
    if counts.found:
        yield Fact("Slowest recovery", age(now, now + timedelta(seconds=counts.recovery_seconds)))
    if gate.pulls_left is not None:
        yield Fact("Pulls left", f"{gate.pulls_left:,}")
    yield Fact("Drift", _mending(mends=gate.mends))


def _next(look: Look, now: datetime) -> str:
    if look.next_at is None or look.next_at <= now:
        return "with the next sweep"
    return f"in {age(now, look.next_at)}"


def _trouble(gate: GateDrift, now: datetime) -> str:
    """What keeps the sweep from looking: a pause with its reason, or why the last round did not come to its end."""
    if gate.paused_until is not None and gate.paused_until > now:
        server = gate.source.partition("/")[0]
        return f"{server} is left alone for {duration(now, gate.paused_until)} more: {gate.pause_reason}"
    return f"The last look did not come to its end: {gate.look.problem}" if gate.look.problem else ""


def _tag(tag: TagDrift, alarms: tuple[AlarmLine, ...], now: datetime) -> DriftRow:
    """A tag; what an alarm says of one of its cells stands there."""
    wrong = {_CELLS[alarm.kind]: alarm for alarm in alarms if alarm.subject == tag.tag and alarm.kind in _CELLS}
    cells = (_upstream(tag, now), _ledger(tag), _stable(tag, now))
    verdict, tone = (_DIFFERS, Tone.BAD) if wrong else _verdict(tag)
    return DriftRow(
        name=tag.tag,
        cells=tuple(_marked(cell, wrong.get(cell.title), now) for cell in cells),
        verdict=verdict,
        tone=tone,
    )


def _marked(cell: Stage, alarm: AlarmLine | None, now: datetime) -> Stage:
    if alarm is None:
        return cell
    return msgspec.structs.replace(
        cell, state=IN_PLACE[alarm.kind], tone=Tone.BAD, age=age(alarm.since, now), at=moment(alarm.since), reason=""
    )


def _verdict(tag: TagDrift) -> tuple[str, Tone]:
    if tag.same:
        return "same", Tone.GOOD
    if tag.held:
        return "held", Tone.WAITING
    busy = bool(tag.state) and tone_of(tag.state) is Tone.BUSY and not tag.awaits_approval
    return _DIFFERS, Tone.BUSY if busy else Tone.WAITING


def _upstream(tag: TagDrift, now: datetime) -> Stage:
    return Stage(
        title=_UPSTREAM,
        subject=short_digest(tag.upstream),
        full=tag.upstream,
        age=age(tag.upstream_since, now),
        at=moment(tag.upstream_since),
        state="known by event" if tag.told else "found by sweep",
    )


def _ledger(tag: TagDrift) -> Stage:
    if not tag.candidate:
        return Stage(title=_CANDIDATE, subject="none on record", state=tag.state)
    return Stage(
        title=_CANDIDATE,
        subject=f"attempt {int(tag.candidate.rpartition('-')[2])}",
        full=tag.candidate,
        state="awaits approval" if tag.awaits_approval else tag.state,
        tone=Tone.WAITING if tag.awaits_approval else tone_of(tag.state),
        reason=tag.reason,
        link=f"candidates/{tag.candidate}",
    )


def _stable(tag: TagDrift, now: datetime) -> Stage:
    return Stage(
        title=_STABLE,
        subject=short_digest(tag.stable),
        full=tag.stable or "",
        age=age(tag.stable_since, now),
        at=moment(tag.stable_since),
        state="held" if tag.held else "",
        tone=Tone.WAITING if tag.held else Tone.IDLE,
    )


def _app(app: AppDrift, now: datetime) -> DriftRow:
    wrong = next((alarm for alarm in app.alarms if alarm.kind == AlarmKind.CONTAINER), None)
    runs = Stage(
        title="Runs",
        subject=short_image(app.live),
        full=app.live or "",
        age=age(app.live_since, now),
        at=moment(app.live_since),
        state="",
    )
    verdict, tone = _verdict_of_app(app)
    return DriftRow(
        name=app.name,
        cells=(
            Stage(title="Stands on", subject=f"{app.tag}, {short_digest(app.stable)}", full=app.stable or "", state=""),
            Stage(title="Built on", subject=short_image(app.base), full=app.base or "", state=""),
            _marked(runs, wrong, now),
        ),
        verdict=verdict,
        tone=tone,
        note=f"looked at {ago(app.look.looked_at, now)}; drift {_mending(mends=app.mends)}",
        link=f"apps/{app.name}",
    )


def _verdict_of_app(app: AppDrift) -> tuple[str, Tone]:
    if app.alarms:
        return _DIFFERS, Tone.BAD
    if app.stable is None and app.base is None:
        return "nothing yet", Tone.IDLE
    return ("same", Tone.GOOD) if app.same else (_DIFFERS, Tone.WAITING)


def _mending(*, mends: bool) -> str:
    return "is mended" if mends else "is reported only"
