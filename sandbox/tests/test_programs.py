"""Programs are found on the path and in the system folders, by everything that starts one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox import programs
from sandbox.engine.configuration import engine_environment, write_configuration
from sandbox.engine.machine import inspect_machine
from sandbox.programs import find_program, search_path


@pytest.fixture
def system_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only system folder there is, and it is on no path."""
    folder = tmp_path / "sbin"
    folder.mkdir()
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", (str(folder),))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return folder


def put(folder: Path, name: str) -> str:
    program = folder / name
    folder.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program)


def test_a_program_that_is_only_in_a_system_folder_is_found(system_folder: Path) -> None:
    assert find_program("setpriv") is None
    place = put(system_folder, "setpriv")
    assert find_program("setpriv") == place


def test_the_path_goes_first(system_folder: Path, tmp_path: Path) -> None:
    put(system_folder, "node")
    first = put(tmp_path / "bin", "node")
    assert find_program("node") == first


def test_the_path_is_read_when_it_is_needed(system_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/elsewhere")
    assert search_path() == os.pathsep.join(("/elsewhere", str(system_folder)))


def test_podman_is_told_where_the_runtimes_are_and_finds_its_helpers_there_too(system_folder: Path) -> None:
    crun = put(system_folder, "crun")
    files = write_configuration(system_folder.parent / "config", inspect_machine(), "crun")
    written = Path(files["CONTAINERS_CONF"]).read_text()
    assert f'crun = ["{crun}"]' in written
    assert "runc" not in written
    assert str(system_folder) in engine_environment({}, system_folder, files)["PATH"]
