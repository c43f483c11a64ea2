"""The host's log; each line has the time, level, function, invocation and message."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

_RANKS = {"trace": 0, "debug": 10, "information": 20, "warning": 30, "error": 40, "critical": 50, "none": 99}
_NAMES = {"DEBUG": "debug", "INFO": "information", "WARNING": "warning", "ERROR": "error", "CRITICAL": "critical"}
_SHORT_ID = 8


class Console:
    """Writes log lines, filtered by host.json's `logging.logLevel`.

    The longest configured prefix of a record's category applies; categories are `Host.…`, `Function.NAME` (the host's
    records about a function) and `Function.NAME.User` (the records of the function itself).
    """

    def __init__(self, stream: TextIO | None = None, levels: Mapping[str, str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self._levels: dict[str, int] = {}
        self.use_levels(levels or {})

    def use_levels(self, levels: Mapping[str, str]) -> None:
        """Replace the log levels; an unknown level counts as Information."""
        self._levels = {name.lower(): _RANKS.get(level.lower(), 20) for name, level in levels.items()}

    def write(
        self, level: str, message: str, *, category: str = "Host", function: str = "-", invocation: str | None = None
    ) -> None:
        """Write one record; each line of a multi-line message gets the same prefix, so that it is self-contained.

        `level` is Python's name of the level.
        """
        rank = _RANKS[_NAMES.get(level, "information")]
        if rank < self._threshold(category.lower()):
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = f"{now} {level:<8} {function} {(invocation or '-')[:_SHORT_ID]} "
        self._stream.write("".join(f"{head}{line}\n" for line in message.splitlines() or [""]))
        self._stream.flush()

    def user(self, level: str, message: str, *, function: str, invocation: str | None) -> None:
        """Write a log record of a function."""
        category = f"Function.{function}.User" if function != "-" else "Worker"
        self.write(level, message, category=category, function=function, invocation=invocation)

    def plain(self, text: str) -> None:
        """Write a line unchanged."""
        self._stream.write(text + "\n")
        self._stream.flush()

    def _threshold(self, category: str) -> int:
        fitting = [name for name in self._levels if category == name or category.startswith(name + ".")]
        if fitting:
            return self._levels[max(fitting, key=len)]
        return self._levels.get("default", 20)


class ConsoleHandler(logging.Handler):
    """Writes the host process's own log records to a console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self._console.write(record.levelname, f"{record.name}: {self.format(record)}", category="Host")
