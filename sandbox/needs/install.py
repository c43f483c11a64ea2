"""Getting what is missing: Debian packages with apt, Azurite with npm. What is done is said before it is done."""

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
    """Make sure that everything is there; says nothing and changes nothing where it is.

    Args:
        tools: the folder for what is not the system's: Azurite, logs of the installation, versions that were seen.
        say: told what is about to be installed.
        machine: this machine, if not given.

    Raises:
        NeedError: something is missing or too old, and cannot be installed.
    """
    machine = machine or Machine()
    if machine.system != "linux":
        raise NeedError("The sandbox runs containers of this machine's own kernel and needs Linux.")
    _check_versions(machine, tools)
    try:
        _install(machine, tools, say)
    except PermissionError as error:
        raise NeedError(f"{error.filename or tools} belongs to somebody else: run this as root.") from error


def _install(machine: Machine, tools: Path, say: Say) -> None:
    wanted = missing(machine)
    azurite = not is_installed(machine, tools)
    if wanted:
        _install_packages(machine, wanted, tools, say, azurite=azurite)
        _check_versions(machine, tools)
    if azurite:
        say(f"installing Azurite into {tools.name}/azurite (npm, about a minute)")
        install_azurite(machine, tools)


def _check_versions(machine: Machine, tools: Path) -> None:
    if sentences := outdated(machine, tools):
        raise NeedError("\n".join(sentences))


def _install_packages(machine: Machine, wanted: Sequence[Need], tools: Path, say: Say, *, azurite: bool) -> None:
    advice = by_hand(wanted, azurite=azurite, root=machine.is_root)
    if not machine.which("apt-get") or not (machine.is_root or machine.which("sudo")):
        raise NeedError(advice)
    packages = package_names(wanted)
    apt = Apt(machine, tools / "apt.log")
    must_ask = apt.must_ask()
    if must_ask and not machine.has_terminal:
        raise NeedError(f"sudo asks for a password, and there is no terminal to give it on.\n{advice}")
    say(reasons(wanted, azurite=azurite))
    say(f"installing {' '.join(packages)} (minutes; the log is {tools.name}/apt.log)")
    if must_ask:
        say("sudo asks for your password")
        apt.sign_in()
    apt.install(packages)
    if still := missing(machine):
        names = ", ".join(need.name for need in still)
        raise NeedError(f"{names} is still missing after the packages {' '.join(packages)} were installed.")
