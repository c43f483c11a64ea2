"""What the drift page shows, ready to be written down: no ledger, no clock, no HTML."""

from __future__ import annotations

import msgspec

from shared.workflow.board.actions import Action
from shared.workflow.board.models import AlarmView, Fact, Stage
from shared.workflow.board.tones import Tone


class DriftRow(msgspec.Struct, frozen=True, kw_only=True):
    """A tag or an app: what stands side by side, a cell a column, and whether it is the same. `link` is its page."""

    name: str
    cells: tuple[Stage, ...]
    verdict: str
    tone: Tone
    note: str = ""
    link: str = ""


class GateTable(msgspec.Struct, frozen=True, kw_only=True):
    """A gate: how its upstream was looked at, what keeps it from that, and its tags; `more` of them are not shown."""

    name: str
    source: str
    target: str
    looks: tuple[Fact, ...]
    trouble: str
    rows: tuple[DriftRow, ...]
    more: int


class DriftPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything side by side, alarms first (`more_alarms` older ones are not shown).

    `swept` is false as long as no sweep has come by.
    """

    swept: bool
    alarms: tuple[AlarmView, ...]
    more_alarms: int
    gates: tuple[GateTable, ...]
    apps: tuple[DriftRow, ...]
    sweep: Action
    headline: str
    tone: Tone
