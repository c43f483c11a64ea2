"""The drift page: upstream, ledger, stable tag, app and container side by side, and all alarms on top."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from shared.workflow.board import verbs
from shared.workflow.board.alarms import Scoped, newest_first
from shared.workflow.board.drift_models import DriftPage, DriftRow, GateTable
from shared.workflow.board.drift_rows import DIFFERS, app_row, mending, tag_row
from shared.workflow.board.models import AlarmView, Fact
from shared.workflow.board.tones import Tone, loudest
from shared.workflow.board.wording import age, ago, counted, duration
from shared.workflow.drift import Drift, GateDrift, Look

_ALARMS = 100
"""How many alarms are shown, the newest."""


def drift_page(drift: Drift, now: datetime) -> DriftPage:
    """The page of everything; what differs stands first."""
    alarms = newest_first(_alarms(drift), now)
    gates = tuple(_gate(gate, now) for gate in drift.gates)
    apps = tuple(app_row(app, now) for app in sorted(drift.apps, key=lambda app: (not app.alarms, app.same)))
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
    return sum(row.verdict == DIFFERS for row in rows)


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
        rows=tuple(tag_row(tag, gate.alarms, now) for tag in gate.tags),
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
    yield Fact("Drift", mending(mends=gate.mends))


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
