"""What a page shows, ready to be written down: no ledger, no clock, no HTML."""

from __future__ import annotations

from enum import StrEnum

import msgspec


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


class Choice(msgspec.Struct, frozen=True):
    """One of the values that a dialog offers."""

    value: str
    label: str


class Ask(msgspec.Struct, frozen=True):
    """A field that the dialog of an action asks for, beside the reason."""

    name: str
    label: str
    choices: tuple[Choice, ...]


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A verb as a button: what is called, with which fixed fields, and what its dialog asks.

    `label` is the verb, `subject` what it acts on; `path` is below `/api/v1`; `etag` guards a stale view.
    """

    label: str
    subject: str
    path: str
    method: str = "POST"
    fields: dict[str, str | bool] = {}
    asks: tuple[Ask, ...] = ()
    etag: str = ""
    grave: bool = False

    @property
    def body(self) -> str:
        """The fixed fields as JSON."""
        return msgspec.json.encode(self.fields).decode()

    @property
    def asks_json(self) -> str:
        """What the dialog asks, as JSON."""
        return msgspec.json.encode(self.asks).decode()


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One station of the flow: what is there, how it stands, since when, and why it stands still."""

    title: str
    subject: str = "nothing yet"
    full: str = ""
    state: str = "none"
    tone: Tone = Tone.IDLE
    age: str = ""
    at: str = ""
    reason: str = ""
    link: str = ""


class AppLane(msgspec.Struct, frozen=True, kw_only=True):
    """An app on a stable tag: its image and its container."""

    name: str
    stages: tuple[Stage, ...]
    actions: tuple[Action, ...]


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One stable tag, from its source to what runs on it."""

    tag: str
    stages: tuple[Stage, ...]
    apps: tuple[AppLane, ...]
    actions: tuple[Action, ...]


class GateFlow(msgspec.Struct, frozen=True, kw_only=True):
    """One gate with its lanes; `quiet` are those that are folded away."""

    name: str
    source: str
    target: str
    lanes: tuple[Lane, ...]
    quiet: tuple[Lane, ...] = ()


class Concern(msgspec.Struct, frozen=True, kw_only=True):
    """Something that wants a person: what, since when, why, and what to do about it."""

    subject: str
    state: str
    tone: Tone
    age: str
    at: str
    reason: str
    advice: str
    link: str
    actions: tuple[Action, ...]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All gates, and what wants a person."""

    concerns: tuple[Concern, ...]
    gates: tuple[GateFlow, ...]
    headline: str
    tone: Tone
    running: bool


class Fact(msgspec.Struct, frozen=True):
    """One line of facts."""

    name: str
    value: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A check of a candidate or a step of a rollout, with its verdict and what that stands on."""

    kind: str
    state: str
    tone: Tone
    run: str = ""
    took: str = ""
    reason: str = ""
    status: str = ""
    log_tail: str = ""
    runs_now: bool = False


class Event(msgspec.Struct, frozen=True):
    """A line of a timeline."""

    at: str
    clock: str
    what: str
    why: str


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """The page of one candidate or rollout.

    `log` is the path of the log below `/api/v1` ("" where none is kept or written).
    """

    kind: str
    id: str
    heading: str
    state: str
    tone: Tone
    age: str
    at: str
    reason: str
    running: bool
    facts: tuple[Fact, ...]
    steps: tuple[Step, ...]
    events: tuple[Event, ...]
    actions: tuple[Action, ...]
    parent: str
    parent_name: str
    log: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a history."""

    link: str
    subject: str
    full: str
    note: str
    state: str
    tone: Tone
    age: str
    at: str
    reason: str


class VetoView(msgspec.Struct, frozen=True, kw_only=True):
    """A standing veto, with the button that lifts it."""

    digest: str
    full: str
    actor: str
    reason: str
    age: str
    at: str
    lift: Action
    tone: Tone = Tone.WAITING


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What of a history is asked for, as the query has it: one state, from one day or moment to another."""

    state: str = ""
    since: str = ""
    until: str = ""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the history of a gate or an app. `older` is the query of the next page ("" on the last)."""

    kind: str
    name: str
    source: str
    target: str
    shown: Filter
    states: tuple[str, ...]
    rows: tuple[Row, ...]
    older: str
    running: bool
    vetoes: tuple[VetoView, ...] = ()
    actions: tuple[Action, ...] = ()
