"""The log of a schedule: what happened, by whom, in order; recorded only on request."""

from __future__ import annotations

import re
from typing import Any

from shared.domain.image import short
from shared.domain.record import Record
from tests.simulation.scheduler import Scheduler

LINES = 150
_DULL = frozenset(("SweepRecord", "UpstreamRecord"))
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


class Story:
    """A list of lines, empty unless `recorded`."""

    def __init__(self, scheduler: Scheduler, *, recorded: bool) -> None:
        self._scheduler, self.recorded = scheduler, recorded
        self.lines: list[str] = []
        self._names: dict[str, str] = {}

    def name(self, digest: str, name: str) -> None:
        """Set the readable name of a digest."""
        self._names[digest.removeprefix("sha256:")] = name

    def tell(self, what: str) -> None:
        """Add one line."""
        if self.recorded:
            worker = self._scheduler.current
            who = worker.name if worker else "-"
            self.lines.append(f"{self._scheduler.seconds:10.2f}  {who:<22} {self.readable(what)}")

    def call(self, port: str, method: str, arguments: tuple[Any, ...]) -> None:
        """Add a call with an effect."""
        if self.recorded and not any(type(getattr(one, "record", one)).__name__ in _DULL for one in arguments):
            self.tell(f"{port}.{method} {', '.join(filter(None, map(_shown, arguments)))}")

    def readable(self, text: str) -> str:
        """A text with digests replaced by their names."""
        return _DIGEST.sub(lambda match: self._names.get(match[1], short(f"sha256:{match[1]}")), text)

    def text(self, limit: int = LINES) -> str:
        """The last lines."""
        left = len(self.lines) - limit
        head = [f"... {left} lines before (all of them with --lines {len(self.lines)})"] if left > 0 else []
        return "\n".join([*head, *self.lines[-limit:]])


def _shown(argument: Any) -> str:
    record = getattr(argument, "record", None)
    if hasattr(argument, "etag"):
        return ""
    if record is not None:
        argument = record
    if isinstance(argument, Record):
        last = f" ({argument.history[-1].what}: {argument.history[-1].why[:90]})" if argument.history else ""
        return f"{type(argument).__name__} {argument.row} {argument.state_name}{last}"
    name = type(argument).__name__
    match name:
        case "StableTag":
            claim = f" claimed by {argument.claim.mover} for {argument.claim.digest}" if argument.claim else ""
            hold = f" held {argument.hold.until}" if argument.hold else ""
            return f"StableTag {argument.gate}/{argument.tag} {argument.digest} #{argument.sequence}{claim}{hold}"
        case "Observation":
            doubt = f" doubts {argument.doubted}" if argument.doubted else ""
            gone = " absent" if argument.absent else " missed" if argument.missed_at else ""
            return f"Observation {argument.gate}/{argument.tag} {argument.digest} #{argument.sequence}{doubt}{gone}"
        case "RegistryRule" | "AciRule":
            return str(argument.name)
        case "Veto" | "Alarm" | "AppRecord" | "SweepRecord" | "UpstreamRecord":
            return f"{name} {argument.partition}/{argument.row}"
    return str(argument)[:160]
