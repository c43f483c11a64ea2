"""The rows of the drift page: a tag or an app, with what stands side by side and whether it is the same."""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.domain.alarm import AlarmKind
from shared.workflow.board.alarms import IN_PLACE
from shared.workflow.board.drift_models import DriftRow
from shared.workflow.board.models import Stage
from shared.workflow.board.tones import Tone, tone_of
from shared.workflow.board.wording import age, ago, moment, short_digest, short_image
from shared.workflow.drift import AlarmLine, AppDrift, TagDrift

_UPSTREAM, _CANDIDATE, _STABLE = "Upstream", "Candidate", "Stable tag"
DIFFERS = "differs"
_CELLS: dict[str, str] = {
    AlarmKind.TAG_AWAY: _UPSTREAM,
    AlarmKind.STABLE_MOVED: _STABLE,
    AlarmKind.STABLE_VETOED: _STABLE,
    AlarmKind.UNIQUE_CHANGED: _STABLE,
    AlarmKind.PROMOTED_GONE: _STABLE,
}
"""Of which cell of a tag an alarm tells."""


def tag_row(tag: TagDrift, alarms: tuple[AlarmLine, ...], now: datetime) -> DriftRow:
    """A tag; what an alarm says of one of its cells stands there."""
    wrong = {_CELLS[alarm.kind]: alarm for alarm in alarms if alarm.subject == tag.tag and alarm.kind in _CELLS}
    cells = (_upstream(tag, now), _ledger(tag), _stable(tag, now))
    verdict, tone = (DIFFERS, Tone.BAD) if wrong else _verdict(tag)
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
    return DIFFERS, Tone.BUSY if busy else Tone.WAITING


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


def app_row(app: AppDrift, now: datetime) -> DriftRow:
    """An app; what an alarm says of its container stands in the place of that."""
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
        note=f"looked at {ago(app.look.looked_at, now)}; drift {mending(mends=app.mends)}",
        link=f"apps/{app.name}",
    )


def _verdict_of_app(app: AppDrift) -> tuple[str, Tone]:
    if app.alarms:
        return DIFFERS, Tone.BAD
    if app.stable is None and app.base is None:
        return "nothing yet", Tone.IDLE
    return ("same", Tone.GOOD) if app.same else (DIFFERS, Tone.WAITING)


def mending(*, mends: bool) -> str:
    """What becomes of drift."""
    return "is mended" if mends else "is reported only"
