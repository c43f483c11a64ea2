"""Installs what is missing: Debian packages with apt, Azurite with npm. Each step is printed before it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox.needs.advice import by_hand, package_names, reasons
from sandbox.needs.apt import Apt
from sandbox.needs.azurite import install_azurite, is_installed
from sandbox.needs.errors import NeedError
from sandbox.needs.machine import Machine
from sandbox.needs.versions import outdated
from sandbox.needs.wanted import Need, missing

Say = Callable[[str], None]


def ensure(tools: Path, *, say: Say, machine: Machine | None = None) -> None:
    """Install what is missing; if nothing is, print nothing and change nothing.

    Args:
        tools: the folder for Azurite, logs of the installation and cached versions: all that is not the system's.
        say: called with what is about to be installed.
        machine: defaults to this machine.

    Raises:
        NeedError: a dependency is missing or too old, and cannot be installed.
    """
    machine = machine or Machine()
    if machine.system != "linux":
        raise NeedError("The sandbox runs containers on this machine's own kernel and needs Linux.")
    _check_versions(machine, tools)
    try:
        _install(machine, tools, say)
    except PermissionError as error:
        raise NeedError(f"{error.filename or tools} belongs to another user: run this as root.") from error


def _install(machine: Machine, tools: Path, say: Say) -> None:
    needs = missing(machine)
    azurite = not is_installed(machine, tools)
    if needs:
        _install_packages(machine, needs, tools, say, azurite=azurite)
        _check_versions(machine, tools)
    if azurite:
        say(f"installing Azurite into {tools.name}/azurite (npm, about a minute)")
        install_azurite(machine, tools)


def _check_versions(machine: Machine, tools: Path) -> None:
    if sentences := outdated(machine, tools):
        raise NeedError("\n".join(sentences))


def _install_packages(machine: Machine, needs: Sequence[Need], tools: Path, say: Say, *, azurite: bool) -> None:
    advice = by_hand(needs, azurite=azurite, root=machine.is_root)
    if not machine.which("apt-get") or not (machine.is_root or machine.which("sudo")):
        raise NeedError(advice)
    packages = package_names(needs)
    apt = Apt(machine, tools / "apt.log")
    must_ask = apt.must_ask()
    if must_ask and not machine.has_terminal:
        raise NeedError(f"sudo asks for a password, and there is no terminal to enter it.\n{advice}")
    say(reasons(needs, azurite=azurite))
    say(f"installing {' '.join(packages)} (minutes; the log is {tools.name}/apt.log)")
    if must_ask:
        say("sudo asks for your password")
        apt.sign_in()
    apt.install(packages)
    if still := missing(machine):
        names = ", ".join(need.name for need in still)
        raise NeedError(f"{names} is still missing after the packages {' '.join(packages)} were installed.")
