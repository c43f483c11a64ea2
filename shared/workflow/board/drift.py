"""The drift page: upstream, ledger, stable tag, app and container side by side, and all alarms on top."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from shared.domain.alarm import AlarmKind
from shared.workflow.alarms import STALLS
from shared.workflow.board import verbs
from shared.workflow.board.alarms import IN_PLACE, STABLE, UPSTREAM, Scoped, newest_first
from shared.workflow.board.models import DriftPage, DriftRow, Fact, GateTable, Item, Tone, facts, loudest, tone_of
from shared.workflow.board.wording import age, ago, counted, duration, short_digest, short_image
from shared.workflow.drift import AlarmLine, AppDrift, Drift, GateDrift, SweepProgress, TagDrift

_ALARMS = 100
"""How many alarms are shown, the newest."""

_DIFFERS = "differs"


def drift_page(drift: Drift, now: datetime) -> DriftPage:
    """The page of everything; what differs stands first."""
    alarms = newest_first(_alarms(drift))
    gates = tuple(_gate(gate, now) for gate in drift.gates)
    apps = tuple(_app(app, now) for app in sorted(drift.apps, key=lambda app: (not app.alarms, app.same)))
    swept = bool(alarms) or any(one.sweep.last_at for part in (drift.gates, drift.apps) for one in part)
    tags = [row for gate in gates for row in gate.rows]
    tone = loudest([*(alarm.tone for alarm in alarms), *(row.tone for row in (*tags, *apps))])
    return DriftPage(
        swept=swept,
        alarms=alarms[:_ALARMS],
        more_alarms=len(alarms[_ALARMS:]),
        gates=gates,
        apps=apps,
        sweep=verbs.sweep(),
        headline=_headline(len(alarms), _differing(tags), _differing(apps)) if swept else "Not swept yet",
        tone=tone if swept else Tone.IDLE,
    )


def _alarms(drift: Drift) -> Iterator[Scoped]:
    for scope, parts in (("gates", drift.gates), ("apps", drift.apps), ("registries", drift.registries)):
        for part in parts:
            yield from ((f"{scope}/{part.name}", alarm) for alarm in part.alarms)
    yield from ((STALLS, alarm) for alarm in drift.stalls)


def _headline(alarms: int, tags: int, apps: int) -> str:
    """The page in one sentence, for the status line and for a screen reader."""
    parts = [counted(alarms, "alarm")] if alarms else []
    parts += [counted(tags, "tag differs", "tags differ")] if tags else []
    parts += [counted(apps, "app differs", "apps differ")] if apps else []
    return ", ".join(parts) or "No drift"


def _differing(rows: Iterable[DriftRow]) -> int:
    return sum(row.verdict == _DIFFERS for row in rows)


def _gate(gate: GateDrift, now: datetime) -> GateTable:
    rows = tuple(_tag(tag, gate.alarms, now) for tag in gate.tags)
    return GateTable(gate=gate, facts=_facts(gate, now), trouble=_trouble(gate, now), rows=rows)


def _facts(gate: GateDrift, now: datetime) -> tuple[Fact, ...]:
    sweep, changes = gate.sweep, gate.completeness
    recovery = now + timedelta(seconds=changes.recovery_seconds) if changes.recovery_seconds else None
    return facts(
        ("Read", ago(sweep.last_at, now)),
        ("Read next", _next(sweep, now)),
        ("Tags", f"{sweep.subjects:,} so far" if sweep.problem else f"{len(gate.tags) + gate.more:,}"),
        ("Known by event", f"{changes.by_event:,}"),
        ("Found by sweep", f"{changes.by_sweep:,}"),
        ("Slowest recovery", age(now, recovery) if recovery else ""),
        ("Pulls left", "" if gate.pulls_left is None else f"{gate.pulls_left:,}"),
        ("Drift", _repairing(repairs=gate.repairs)),
    )


def _next(sweep: SweepProgress, now: datetime) -> str:
    if sweep.next_at is None or sweep.next_at <= now:
        return "with the next sweep"
    return f"in {age(now, sweep.next_at)}"


def _repairing(*, repairs: bool) -> str:
    """What becomes of drift."""
    return "is repaired" if repairs else "is reported only"


def _trouble(gate: GateDrift, now: datetime) -> str:
    """What keeps the sweep from reading it: a pause with its reason, or why the last round did not come to its end."""
    if gate.paused_until is not None and gate.paused_until > now:
        server = gate.source.partition("/")[0]
        return f"{server} is left alone for {duration(now, gate.paused_until)} more: {gate.pause_reason}"
    return f"The last round did not come to its end: {gate.sweep.problem}" if gate.sweep.problem else ""


def _tag(tag: TagDrift, alarms: tuple[AlarmLine, ...], now: datetime) -> DriftRow:
    """A tag; what an alarm says of one of its cells stands there."""
    wrong = {IN_PLACE[one.kind][0]: one for one in alarms if one.subject == tag.tag and one.kind in IN_PLACE}
    cells = tuple(_marked(cell, wrong.get(cell.title)) for cell in (_upstream(tag), _candidate(tag), _stable(tag)))
    verdict, tone = (_DIFFERS, Tone.BAD) if wrong else _verdict(tag)
    return DriftRow(name=tag.tag, cells=cells, verdict=verdict, tone=tone, note=_unread(tag, now))


def _unread(tag: TagDrift, now: datetime) -> str:
    """Why a push was not examined: the last digest that an event named and the tag was not when it was asked for."""
    if not tag.expectations:
        return ""
    last = tag.expectations[-1]
    pushes = counted(tag.unread, "digest was named by an event and never read", "digests were named and never read")
    return f"{pushes}, the last {short_digest(last.digest)}, {ago(last.at, now)}, event {last.event}"


def _marked(cell: Item, alarm: AlarmLine | None) -> Item:
    if alarm is None:
        return cell
    return replace(cell, state=IN_PLACE[alarm.kind][1], tone=Tone.BAD, since=alarm.since, reason="")


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
        title=UPSTREAM,
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
    return Item(title=STABLE, subject=subject, full=full, since=tag.stable_since, state=state, tone=tone)


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
            _marked(runs, wrong),
        ),
        verdict=verdict,
        tone=tone,
        note=f"checked {ago(app.sweep.last_at, now)}; drift {_repairing(repairs=app.repairs)}",
        link=f"apps/{app.name}",
    )


def _verdict_of_app(app: AppDrift) -> tuple[str, Tone]:
    if app.alarms:
        return _DIFFERS, Tone.BAD
    if app.stable is None and app.base is None:
        return "nothing yet", Tone.IDLE
    return ("same", Tone.GOOD) if app.same else (_DIFFERS, Tone.WAITING)
