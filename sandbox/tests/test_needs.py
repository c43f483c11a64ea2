"""What is missing or too old is said, and installed where it can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.needs import Machine, NeedError, ensure, missing
from sandbox.storage import azurite_script
from sandbox.tests.needs_machines import FakeMachine


def silence(line: str) -> None:
    raise AssertionError(f"said: {line}")


def test_where_nothing_is_missing_nothing_is_done_or_said(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    ensure(tmp_path, say=silence, machine=machine)
    assert machine.commands == []


@pytest.mark.parametrize("absent", ["crun", "runc"])
def test_one_oci_runtime_is_enough(tmp_path: Path, absent: str) -> None:
    assert missing(FakeMachine(tmp_path, without=(absent,))) == []


def test_another_system_than_linux_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(NeedError, match="Linux"):
        ensure(tmp_path, say=silence, machine=FakeMachine(tmp_path, system="darwin"))


def test_this_machine_was_set_up_by_the_make_target() -> None:
    assert [need.name for need in missing(Machine())] == []


@pytest.mark.parametrize(
    ("program", "answer", "sentence"),
    [
        ("podman", "podman version 3.4.4", r"podman 4\.3 or newer is needed, /usr/bin/podman is 3\.4\.4: install"),
        ("node", "v12.22.9\n", r"node 18\.0 or newer is needed, /usr/bin/node is 12\.22\.9: install"),
        ("node", "", r"`/usr/bin/node --version` prints no version: install it again"),
    ],
)
def test_a_program_that_is_too_old_gets_a_sentence(tmp_path: Path, program: str, answer: str, sentence: str) -> None:
    machine = FakeMachine(tmp_path, without=("docker-registry",))
    machine.versions[program] = answer
    with pytest.raises(NeedError, match=sentence):
        ensure(tmp_path, say=silence, machine=machine)
    assert machine.commands == []


def test_what_is_newer_is_taken_whatever_its_first_number(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.versions = {"podman": "podman version 10.0.0-dev", "node": "v24.0.1"}
    ensure(tmp_path, say=silence, machine=machine)


def test_a_program_that_apt_brings_too_old_is_not_taken(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("podman",))
    machine.versions["podman"] = "podman version 3.4.4"
    with pytest.raises(NeedError, match=r"is 3\.4\.4"):
        ensure(tmp_path, say=lambda line: None, machine=machine)


def test_a_program_is_asked_for_its_version_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    for _ in range(2):
        ensure(tmp_path, say=silence, machine=machine)
    assert machine.asked == ["podman", "node"]
    machine.built_at = 2
    ensure(tmp_path, say=silence, machine=machine)
    assert machine.asked == ["podman", "node"] * 2


@pytest.mark.parametrize("stamp", ["", "[]", '{"/usr/bin/podman": 4}'])
def test_a_stamp_that_cannot_be_read_counts_for_nothing(tmp_path: Path, stamp: str) -> None:
    (tmp_path / "versions.json").write_text(stamp)
    machine = FakeMachine(tmp_path)
    ensure(tmp_path, say=silence, machine=machine)
    assert machine.asked == ["podman", "node"]


def test_azurite_is_installed_beside_and_renamed(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.files.clear()
    machine.programs.add("git-http-backend")
    (tmp_path / "azurite" / "half").mkdir(parents=True)
    ensure(tmp_path, say=lambda line: None, machine=machine)
    assert machine.commands[0][:3] == ("npm", "ci", "--ignore-scripts")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["azurite", "npm.log", "versions.json"]
    assert sorted(entry.name for entry in (tmp_path / "azurite").iterdir()) == ["package-lock.json", "package.json"]


def test_an_azurite_of_another_lock_file_is_replaced(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.azurite_lock = "{}"
    ensure(tmp_path, say=lambda line: None, machine=machine)
    assert [command[0] for command in machine.commands] == ["npm"]


@pytest.mark.parametrize(("failing", "says"), [("npm", "does not work\nnpm must reach"), ("", "did not install")])
def test_an_azurite_that_npm_does_not_bring_leaves_the_old_one_alone(tmp_path: Path, failing: str, says: str) -> None:
    machine = FakeMachine(tmp_path)
    machine.files.remove(azurite_script(tmp_path))
    machine.failing, machine.npm_brings_azurite = failing, False
    (tmp_path / "azurite" / "old").mkdir(parents=True)
    with pytest.raises(NeedError, match=says):
        ensure(tmp_path, say=lambda line: None, machine=machine)
    assert (tmp_path / "azurite" / "old").is_dir()
