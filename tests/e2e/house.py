"""A state folder with its own temporary folder, commands that run in it, and what they leave on the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from demo import scenario
from sandbox.testing import Sandbox

_SECONDS = 600


class House:
    """One instance of the sandbox from a user's view: used by commands only.

    `folder` is short: the engine uses another temporary folder if the path of this one has over 20 characters.
    """

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.instance = Sandbox(self.state)
        self._temporary = folder / "tmp"
        self._temporary.mkdir()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in the repository and with this house's temporary folder."""
        environment = {**os.environ, "TMPDIR": str(self._temporary)}
        return subprocess.run(
            command, cwd=scenario.ROOT, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )

    def python(self, *arguments: str) -> str:
        """Run a module; returns its output.

        Raises:
            AssertionError: it failed; with all of its output.
        """
        done = self.run(sys.executable, "-m", *arguments)
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def sandbox(self, *arguments: str) -> str:
        """Run a command of the sandbox."""
        return self.python("sandbox", "--state", str(self.state), *arguments)

    def down(self) -> None:
        """Stop the sandbox, if it runs."""
        self.sandbox("down")

    def pid(self) -> int:
        """The daemon's process id."""
        pid = self.instance.pid
        assert pid is not None, "the sandbox does not run"
        return pid

    def leftovers(self) -> list[str]:
        """What is left on the machine outside the state folder: processes, mounts, bridges, temporary files."""
        return [*self._processes(), *self._mounts(), *self._bridges(), *map(str, self._temporary.iterdir())]

    def _processes(self) -> Iterator[str]:
        marks = (f"{self.state}".encode(), f"{self._temporary}".encode())
        for folder in Path("/proc").glob("[0-9]*"):
            if folder.name == str(os.getpid()):
                continue
            process = {name: _read(folder / name) for name in ("cmdline", "environ")}
            if any(mark in text for mark in marks for text in process.values()):
                command = process["cmdline"].replace(b"\0", b" ").decode(errors="replace")
                yield f"process {folder.name}: {command}"

    def _mounts(self) -> Iterator[str]:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            place = line.split(" ")[1]
            if place.startswith((f"{self.state}/", f"{self._temporary}/")):
                yield f"mount {place}"

    def _bridges(self) -> Iterator[str]:
        for _, name in socket.if_nameindex():
            if self.instance.key in name:
                yield f"network interface {name}"


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has exited meanwhile
        return b""
