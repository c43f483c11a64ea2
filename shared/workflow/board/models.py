"""What a page shows, ready to be written down: no ledger, no clock, no HTML."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import msgspec

from shared.workflow.drift import GateDrift


class Tone(StrEnum):
    """How something stands, for the eye, the loudest first; the word beside it says the same to everyone."""

    BAD = "bad"
    WAITING = "waiting"
    BUSY = "busy"
    GOOD = "good"
    IDLE = "idle"


_SEVERITIES = {
    **dict.fromkeys(("promoted", "live", "built", "passed"), Tone.GOOD),
    **dict.fromkeys(("failed", "rejected", "refused", "restored", "unknown"), Tone.BAD),
    **dict.fromkeys(("stalled", "awaiting approval", "held", "withdrawn"), Tone.WAITING),
    **dict.fromkeys(("superseded", "canceled", "vetoed", "rule removed"), Tone.IDLE),
}


def tone_of(state: str) -> Tone:
    """The tone of a record's or a verdict's state; what is not final is busy."""
    return _SEVERITIES.get(state, Tone.BUSY)


def loudest(tones: Iterable[Tone]) -> Tone:
    """What the whole is, of several: what is bad before what waits, and that before what is under way."""
    return min((Tone.GOOD, *tones), key=list(Tone).index)


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


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing on a page: what it is, how it stands and since when, why, what to do about it, and its buttons.

    `title` is its station, column or kind, `full` the whole of what `subject` shortens, `link` its page.
    """

    title: str = ""
    subject: str = "nothing yet"
    full: str = ""
    note: str = ""
    state: str = "none"
    tone: Tone = Tone.IDLE
    since: datetime | None = None
    reason: str = ""
    advice: str = ""
    link: str = ""
    actions: tuple[Action, ...] = ()


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One stable tag, from its source to what runs on it, or one app on it: its image and its container."""

    name: str
    stages: tuple[Item, ...]
    actions: tuple[Action, ...]
    apps: tuple["Lane", ...] = ()


class GateFlow(msgspec.Struct, frozen=True, kw_only=True):
    """One gate with its lanes; `quiet` are those that are folded away."""

    name: str
    source: str
    target: str
    lanes: tuple[Lane, ...]
    quiet: tuple[Lane, ...] = ()


class Headed(msgspec.Struct, frozen=True, kw_only=True):
    """A page about everything: in one sentence and one tone, with the newest alarms; `more_alarms` are not shown."""

    headline: str
    tone: Tone
    alarms: tuple[Item, ...]
    more_alarms: int


class Overview(Headed, frozen=True, kw_only=True):
    """All gates, and what needs a person."""

    action_items: tuple[Item, ...]
    gates: tuple[GateFlow, ...]
    running: bool


class Fact(msgspec.Struct, frozen=True):
    """One line of facts."""

    name: str
    value: str


def facts(*known: tuple[str, str]) -> tuple[Fact, ...]:
    """Facts by their names, without those that have no value."""
    return tuple(Fact(name, value) for name, value in known if value)


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

    at: datetime
    what: str
    why: str


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """The page of one candidate or rollout.

    `log` is the path of the log below `/api/v1` ("" where none is kept or written).
    """

    kind: str
    heading: str
    state: str
    tone: Tone
    since: datetime
    reason: str
    running: bool
    facts: tuple[Fact, ...]
    steps: tuple[Step, ...]
    events: tuple[Event, ...]
    actions: tuple[Action, ...]
    parent: str
    parent_name: str
    log: str = ""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What of a history is asked for, as the query has it: one state, from one day or moment to another."""

    state: str = ""
    since: str = ""
    until: str = ""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the history of a gate or an app. `older` is the query of the next page ("" on the last)."""

    name: str
    source: str
    target: str
    shown: Filter
    states: tuple[str, ...]
    rows: tuple[Item, ...]
    older: str
    running: bool
    vetoes: tuple[Item, ...] = ()
    actions: tuple[Action, ...] = ()


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
