"""Machines to look for needs on: one that is made up, and this one with other programs in front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

from sandbox.needs import NEEDS, Machine
from sandbox.needs.apt import POLICY
from sandbox.needs.azurite import LOCK
from sandbox.storage import azurite_script


class FakeMachine(Machine):
    """A machine with chosen programs; apt and npm bring what they are asked for."""

    def __init__(self, tools: Path, *, without: Sequence[str] = (), root: bool = True, system: str = "linux") -> None:
        self.programs = {program for need in NEEDS for program in need.programs} | {"apt-get", "sudo", "systemctl"}
        self.programs -= set(without)
        self.files = {azurite_script(tools)}
        self._tools, self._root, self._system = tools, root, system
        self.commands: list[tuple[str, ...]] = []
        self.asked: list[str] = []
        self.failing = ""
        self.static = True
        self.terminal = False
        self.npm_brings_azurite = True
        self.azurite_lock = LOCK.read_text()
        self.policy: str | None = None
        self.versions = {"podman": "podman version 4.3.1", "node": "v18.20.4"}
        self.built_at = 1

    @property
    def system(self) -> str:
        return self._system

    @property
    def is_root(self) -> bool:
        return self._root

    @property
    def has_terminal(self) -> bool:
        return self.terminal

    def which(self, program: str) -> Path | None:
        return Path("/usr/bin") / program if program in self.programs else None

    def exists(self, path: Path) -> bool:
        return path in self.files

    def read(self, path: Path) -> str | None:
        if path == POLICY:
            return self.policy
        assert path == self._tools / "azurite" / LOCK.name
        return self.azurite_lock

    def changed_at(self, path: Path) -> int:
        return self.built_at

    def is_static(self, program: Path) -> bool:
        return self.static

    def answer(self, command: Sequence[str]) -> str:
        self.asked.append(Path(command[0]).name)
        return self.versions[self.asked[-1]]

    def run(self, command: Sequence[str], output: IO[bytes]) -> int:
        self.commands.append(tuple(command))
        if self.failing and self.failing in " ".join(command):
            output.write(b"E: it does not work")
            return 100
        if command[0] == "npm" and self.npm_brings_azurite:
            self.files.add(azurite_script(self._tools / "azurite.new"))
        if "apt-get" in command:
            self._bring(set(command))
        return 0

    def _bring(self, packages: set[str]) -> None:
        for need in NEEDS:
            if packages & set(need.packages):
                self.programs |= set(need.programs)
                self.static = True

    def lines(self) -> list[str]:
        """The commands that ran, each as one line."""
        return [" ".join(command) for command in self.commands]


class Unprivileged(Machine):
    """This machine, to somebody who is not root."""

    @property
    def is_root(self) -> bool:
        return False
