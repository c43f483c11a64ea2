"""Runs an installer: its output goes to a log, whose end is shown if it fails."""

from __future__ import annotations

from pathlib import Path

from sandbox.needs.errors import NeedError
from sandbox.needs.machine import Machine

_TAIL_CHARACTERS = 1500


class Installer:
    """Runs the commands of one installation with one log, which starts empty."""

    def __init__(self, machine: Machine, log: Path) -> None:
        self.machine, self.log = machine, log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")

    def attempt(self, *command: str) -> bool:
        """Run a command; returns whether it succeeded."""
        with self.log.open("ab") as output:
            return self.machine.run(command, output) == 0

    def run(self, *command: str, hint: str = "") -> None:
        """Run a command.

        Raises:
            NeedError: it failed; includes the end of the log, then `hint`.
        """
        if not self.attempt(*command):
            raise NeedError("\n".join(filter(None, (f"`{' '.join(command)}` failed:", self._tail(), hint))))

    def _tail(self) -> str:
        text = self.log.read_text(errors="replace")[-_TAIL_CHARACTERS:].strip()
        return text or f"it had no output ({self.log} is empty)"
