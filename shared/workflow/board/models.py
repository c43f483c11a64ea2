"""What a page shows, ready to be written down: no ledger, no clock, no HTML."""

from __future__ import annotations

import msgspec

from shared.workflow.board.actions import Action
from shared.workflow.board.tones import Tone


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


class AlarmView(msgspec.Struct, frozen=True, kw_only=True):
    """A standing alarm: what is wrong, where (with that one's page, if it has one), since when, and the plan."""

    key: str
    kind: str
    tone: Tone
    place: str
    link: str
    words: str
    plan: str
    age: str
    at: str


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All gates, and what wants a person; of many alarms, `more_alarms` stand on the drift page alone."""

    concerns: tuple[Concern, ...]
    alarms: tuple[AlarmView, ...]
    more_alarms: int
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
    actions: tuple[Action, ...] = ()


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
