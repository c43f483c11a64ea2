"""What is missing is said, and installed where it can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest

from sandbox.needs import NEEDS, Machine, NeedError, ensure, missing
from sandbox.storage import azurite_script


class FakeMachine(Machine):
    """A machine with chosen programs; apt and npm bring what they are asked for."""

    def __init__(self, tools: Path, *, without: Sequence[str] = (), root: bool = True, system: str = "linux") -> None:
        self.programs = {program for need in NEEDS for program in need.programs} | {"apt-get", "sudo"}
        self.programs -= set(without)
        self._tools, self._root, self._system = tools, root, system
        self.commands: list[tuple[str, ...]] = []
        self.failing = ""
        self.static = True
        self.has_azurite = True

    @property
    def system(self) -> str:
        return self._system

    @property
    def is_root(self) -> bool:
        return self._root

    def which(self, program: str) -> Path | None:
        return Path("/usr/bin") / program if program in self.programs else None

    def exists(self, path: Path) -> bool:
        if path == azurite_script(self._tools):
            return self.has_azurite
        return path.name == "policy-rc.d"

    def is_static(self, program: Path) -> bool:
        return self.static

    def run(self, command: Sequence[str], output: IO[bytes], environment: Mapping[str, str] | None = None) -> int:
        self.commands.append(tuple(command))
        if self.failing and self.failing in command:
            output.write(b"E: Unable to locate package")
            output.flush()
            return 100
        for need in NEEDS:
            if set(need.packages) & set(command):
                self.programs |= set(need.programs)
                self.static = True
        return 0


def silence(line: str) -> None:
    raise AssertionError(f"said: {line}")


def test_where_nothing_is_missing_nothing_is_done_or_said(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    ensure(tmp_path, say=silence, machine=machine)
    assert machine.commands == []


def test_exactly_the_missing_packages_are_installed_and_said_before(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("podman", "docker-registry"))
    said: list[str] = []
    ensure(tmp_path, say=said.append, machine=machine)
    assert machine.commands[0] == ("apt-get", "update", "-qq")
    assert machine.commands[1][-2:] == ("docker-registry", "podman")
    assert "podman: builds images and runs containers" in said[0]


def test_a_busybox_that_needs_a_loader_does_not_count(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.static = False
    ensure(tmp_path, say=lambda line: None, machine=machine)
    assert machine.commands[1][-1] == "busybox-static"


def test_without_root_the_packages_are_installed_with_sudo(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("podman",), root=False)
    ensure(tmp_path, say=lambda line: None, machine=machine)
    assert machine.commands[0][0] == "sudo"


@pytest.mark.parametrize("gone", ["apt-get", "sudo"])
def test_a_machine_that_cannot_install_gets_a_sentence_with_what_to_do(tmp_path: Path, gone: str) -> None:
    machine = FakeMachine(tmp_path, without=("podman", gone), root=False)
    with pytest.raises(NeedError, match=r"apt-get install podman"):
        ensure(tmp_path, say=silence, machine=machine)
    assert machine.commands == []


def test_an_installation_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("podman",))
    machine.failing = "install"
    with pytest.raises(NeedError, match="Unable to locate package"):
        ensure(tmp_path, say=lambda line: None, machine=machine)


def test_azurite_is_installed_beside_and_renamed(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.has_azurite = False
    (tmp_path / "azurite" / "half").mkdir(parents=True)
    ensure(tmp_path, say=lambda line: None, machine=machine)
    assert machine.commands[0][-1] == "azurite@3.37.0"
    assert (tmp_path / "azurite").is_dir()
    assert not (tmp_path / "azurite" / "half").exists()
    assert not (tmp_path / "azurite.new").exists()


def test_another_system_than_linux_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(NeedError, match="Linux"):
        ensure(tmp_path, say=silence, machine=FakeMachine(tmp_path, system="darwin"))


def test_this_machine_was_set_up_by_the_make_target() -> None:
    assert [need.name for need in missing(Machine())] == []
