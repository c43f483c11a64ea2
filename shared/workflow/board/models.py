"""What a page shows, ready to be written down: no ledger, no clock, no HTML."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from shared.domain.image import short

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Tone(StrEnum):
    """How something stands, for the eye; the word beside it says the same to everyone."""

    GOOD = "good"
    BAD = "bad"
    BUSY = "busy"
    WAITING = "waiting"
    IDLE = "idle"


_TONES = {
    "promoted": Tone.GOOD,
    "live": Tone.GOOD,
    "built": Tone.GOOD,
    "passed": Tone.GOOD,
    "failed": Tone.BAD,
    "restored": Tone.BAD,
    "unknown": Tone.BAD,
    "held": Tone.WAITING,
    "superseded": Tone.IDLE,
    "canceled": Tone.IDLE,
}


def tone_of(state: str) -> Tone:
    """The tone of a candidate's, rollout's or verdict's state; what is not final is busy."""
    return _TONES.get(state, Tone.BUSY)


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A verb as a button: what is called, with which fixed fields, and what the dialog must still ask.

    `path` is below `/api/v1`; `choices` are what `to` may be (a rollback only); `etag` guards a stale view.
    """

    label: str
    path: str
    method: str = "POST"
    fields: dict[str, str] = {}
    choices: tuple[str, ...] = ()
    etag: str = ""
    grave: bool = False

    @property
    def body(self) -> str:
        """The fixed fields as JSON."""
        return msgspec.json.encode(self.fields).decode()

    @property
    def choices_json(self) -> str:
        """The choices as JSON."""
        return msgspec.json.encode(self.choices).decode()


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One station of the flow: what is there, how it stands, since when, and why it stands still."""

    title: str
    subject: str = "nothing yet"
    full: str = ""
    state: str = "none"
    tone: Tone = Tone.IDLE
    age: str = ""
    reason: str = ""
    link: str = ""


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One stable tag, from its source to what runs on it; `apps` are pairs of image and container."""

    tag: str
    stages: tuple[Stage, ...]
    apps: tuple[AppLane, ...] = ()
    actions: tuple[Action, ...] = ()


class AppLane(msgspec.Struct, frozen=True, kw_only=True):
    """An app on a stable tag: its image and its container."""

    name: str
    stages: tuple[Stage, ...]
    actions: tuple[Action, ...] = ()


class GateFlow(msgspec.Struct, frozen=True, kw_only=True):
    """One gate with its lanes."""

    name: str
    source: str
    target: str
    lanes: tuple[Lane, ...]


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One line of facts."""

    name: str
    value: str


class CheckView(msgspec.Struct, frozen=True, kw_only=True):
    """A check with its verdict and what it stands on."""

    kind: str
    state: str
    tone: Tone
    run: str = ""
    took: str = ""
    reason: str = ""
    status: str = ""
    log_tail: str = ""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a timeline."""

    at: str
    clock: str
    what: str
    why: str


class StoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """The page of one candidate or rollout. `log` is the path of the whole log ("" where none is kept)."""

    kind: str
    id: str
    heading: str
    state: str
    tone: Tone
    age: str
    running: bool
    reason: str
    facts: tuple[Fact, ...]
    checks: tuple[CheckView, ...]
    events: tuple[Event, ...]
    actions: tuple[Action, ...]
    log: str = ""
    parent: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a gate's history."""

    link: str
    digest: str
    full: str
    tags: str
    attempt: int
    state: str
    tone: Tone
    age: str
    reason: str


class VetoView(msgspec.Struct, frozen=True, kw_only=True):
    """A standing veto, with the button that lifts it."""

    digest: str
    full: str
    actor: str
    reason: str
    age: str
    lift: Action


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a gate's history; `token` leads to the next one ("" on the last)."""

    gate: str
    source: str
    target: str
    state: str
    states: tuple[str, ...]
    rows: tuple[Row, ...]
    vetoes: tuple[VetoView, ...]
    token: str
    running: bool


def moment(value: object) -> datetime | None:
    """A time as reports have it: one, its ISO text, or none."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value if isinstance(value, datetime) else None


def age(since: datetime | None, now: datetime) -> str:
    """A time span as people say it: `now`, `42 s`, `3 min`, `5 h`, `2 d`; "" where there is no beginning."""
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    if seconds < 10:
        return "now"
    if seconds < _MINUTE:
        return f"{seconds // 10 * 10} s"
    for unit, size, limit in (("min", _MINUTE, _HOUR), ("h", _HOUR, _DAY)):
        if seconds < limit:
            return f"{seconds // size} {unit}"
    return f"{seconds // _DAY} d"


def duration(since: datetime | None, until: datetime) -> str:
    """How long something took or has taken: `3 s`, `4 min 10 s`; "" where it has not begun."""
    if since is None:
        return ""
    minutes, seconds = divmod(max(0, int((until - since).total_seconds())), _MINUTE)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def short_digest(digest: str | None) -> str:
    """The first digits of a digest."""
    return short(digest) if digest else "nothing yet"
