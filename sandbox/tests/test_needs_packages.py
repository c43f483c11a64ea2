"""Debian packages: installed as root or through sudo, without their services; and what is said where they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.needs import NeedError, apt, ensure
from sandbox.needs.apt import POLICY, POLICY_TEXT, Apt
from sandbox.storage import azurite_script
from sandbox.tests.needs_machines import FakeMachine, Unprivileged


def install(tools: Path, machine: FakeMachine) -> list[str]:
    said: list[str] = []
    ensure(tools, say=said.append, machine=machine)
    return said


def test_exactly_the_missing_packages_are_installed_and_said_before(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("podman", "docker-registry"))
    said = install(tmp_path, machine)
    (command,) = [line for line in machine.lines() if "apt-get install" in line]
    assert command.startswith("env DEBIAN_FRONTEND=noninteractive")
    assert command.endswith(" docker-registry podman")
    assert "podman: builds images and runs containers" in said[0]


def test_where_no_oci_runtime_is_both_are_installed(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("crun", "runc"))
    install(tmp_path, machine)
    assert any(line.endswith(" crun runc") for line in machine.lines())


def test_a_busybox_that_needs_a_loader_does_not_count(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.static = False
    install(tmp_path, machine)
    assert any(line.endswith(" busybox-static") for line in machine.lines())


def test_an_installation_that_fails_shows_the_end_of_its_log_and_who_has_the_packages(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("podman",))
    machine.failing = "apt-get install"
    with pytest.raises(NeedError, match=r"it does not work\nDebian 12, Ubuntu 24\.04"):
        install(tmp_path, machine)


def test_a_broken_package_source_is_no_failure_where_the_packages_are_found(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("podman",))
    machine.failing = "apt-get update"
    install(tmp_path, machine)


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("failing", ["", "apt-get install"])
def test_services_are_kept_from_starting_and_only_meanwhile(tmp_path: Path, failing: str, root: bool) -> None:
    machine = FakeMachine(tmp_path, without=("podman",), root=root)
    machine.failing = failing
    if failing:
        with pytest.raises(NeedError):
            install(tmp_path, machine)
    else:
        install(tmp_path, machine)
    sudo = "" if root else "sudo "
    lines = [line for line in machine.lines() if "-n true" not in line]
    assert lines[0].startswith(f"{sudo}install -m 755 ")
    assert lines[0].endswith(f" {POLICY}")
    assert lines[-1] == f"{sudo}rm -f {POLICY}"
    assert any(line.startswith(f"{sudo}env ") for line in lines[1:-1])


def test_without_the_policy_nothing_is_installed(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("docker-registry",))
    machine.failing = "install -m"
    with pytest.raises(NeedError):
        install(tmp_path, machine)
    assert not any("apt-get" in line for line in machine.lines())


def test_a_policy_of_the_machine_s_own_stays(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("podman",))
    machine.policy = "#!/bin/sh\nexit 101\n"
    install(tmp_path, machine)
    assert not any(str(POLICY) in line for line in machine.lines())


def test_a_policy_that_a_killed_installation_left_is_removed(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("podman",))
    machine.policy = POLICY_TEXT
    install(tmp_path, machine)
    assert machine.lines()[-1] == f"rm -f {POLICY}"


@pytest.mark.parametrize(("brought", "disabled"), [("docker-registry", True), ("podman", False)])
def test_the_registry_s_service_does_not_start_with_the_machine(tmp_path: Path, brought: str, disabled: bool) -> None:
    machine = FakeMachine(tmp_path, without=(brought,))
    install(tmp_path, machine)
    assert ("systemctl disable docker-registry.service" in machine.lines()) is disabled


def test_a_password_is_asked_for_on_a_terminal_and_said_before(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("podman",), root=False)
    machine.failing, machine.terminal = "sudo -n true", True
    assert install(tmp_path, machine)[-1] == "sudo asks for your password"
    assert machine.lines()[:2] == ["sudo -n true", "sudo -v"]


def test_a_password_that_nobody_can_give_ends_it_with_what_to_do(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, without=("podman",), root=False)
    machine.failing = "sudo -n true"
    with pytest.raises(NeedError, match=r"(?s)no terminal.*sudo apt-get update && sudo apt-get install .*podman"):
        install(tmp_path, machine)
    assert machine.lines() == ["sudo -n true"]


@pytest.mark.parametrize(("gone", "root"), [("apt-get", False), ("sudo", False), ("apt-get", True)])
def test_a_machine_that_cannot_install_is_told_everything_at_once(tmp_path: Path, gone: str, root: bool) -> None:
    machine = FakeMachine(tmp_path, without=("podman", "docker-registry", "npm", gone), root=root)
    machine.files.remove(azurite_script(tmp_path))
    with pytest.raises(NeedError) as error:
        install(tmp_path, machine)
    sudo = "" if root else "sudo "
    lines = [line.strip() for line in str(error.value).splitlines()]
    assert [line.partition(":")[0] for line in lines[1:5]] == ["podman", "docker-registry", "npm", "Azurite"]
    install_line = f"{sudo}apt-get install --no-install-recommends docker-registry npm podman"
    assert f"Debian, Ubuntu: {sudo}apt-get update && {install_line}" in lines
    assert f"Fedora: {sudo}dnf install nodejs-npm podman" in lines
    assert f"Arch: {sudo}pacman -S npm podman" in lines
    assert any("distribution/releases" in line for line in lines)
    assert machine.commands == []


def test_the_commands_do_what_they_should_on_a_real_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, seen = tmp_path / "policy-rc.d", tmp_path / "seen"
    monkeypatch.setattr(apt, "POLICY", policy)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name, text in {"sudo": 'exec "$@"', "apt-get": f'echo "$1 $({policy}; echo $?)" >> {seen}'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    Apt(Unprivileged(), tmp_path / "apt.log").install(["podman"])
    assert seen.read_text().splitlines() == ["update 101", "install 101"]
    assert not policy.exists()
