"""The machine on which dependencies are detected and installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from sandbox.needs import elf
from sandbox.programs import find_program

_ANSWER_SECONDS = 20


class Machine:
    """This machine."""

    @property
    def system(self) -> str:
        """`linux`, `darwin`, …"""
        return sys.platform

    @property
    def is_root(self) -> bool:
        """Whether this process may install packages by itself."""
        return os.geteuid() == 0

    @property
    def has_terminal(self) -> bool:
        """Whether a user can be asked for a password."""
        return sys.stdin is not None and sys.stdin.isatty()

    def which(self, program: str) -> Path | None:
        """The path of a program, or None."""
        found = find_program(program)
        return Path(found) if found else None

    def exists(self, path: Path) -> bool:
        """Whether a file exists."""
        return path.exists()

    def read(self, path: Path) -> str | None:
        """The text of a file; None if it does not exist."""
        return path.read_text(errors="replace") if path.exists() else None

    def changed_at(self, path: Path) -> int:
        """When a file was changed, in nanoseconds since 1970; links are followed."""
        return path.stat().st_mtime_ns

    def is_static(self, program: Path) -> bool:
        """Whether a program needs no loader, so that it runs in an image that contains nothing else."""
        with program.open("rb") as file:
            return elf.is_static(file)

    def answer(self, command: Sequence[str]) -> str:
        """The standard output of a program; empty if it does not run, or does not end within 20 s."""
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_ANSWER_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout

    def run(self, command: Sequence[str], output: IO[bytes]) -> int:
        """Run a program to its end and return its exit code; 127 if there is no such program.

        Its standard input is empty, so that an invisible prompt ends it. sudo asks at the terminal itself.
        """
        try:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            ).returncode
        except FileNotFoundError:
            return 127
