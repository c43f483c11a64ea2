"""Getting what is missing: Debian packages with apt, Azurite with npm. What is done is said before it is done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sandbox.needs.machine import Machine
from sandbox.needs.wanted import Need, missing
from sandbox.storage import azurite_script

AZURITE_VERSION = "3.37.0"

Say = Callable[[str], None]

_POLICY = Path("/usr/sbin/policy-rc.d")
_LOG_TAIL_CHARACTERS = 1500
_APT_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive"}


class NeedError(Exception):
    """Something is missing and cannot be installed here; says what, why, and what to do."""


def ensure(tools: Path, *, say: Say, machine: Machine | None = None) -> None:
    """Make sure that everything is there; says nothing and does nothing where it is.

    Args:
        tools: the folder for what is not the system's: Azurite, and logs of the installation.
        say: told what is about to be installed.
        machine: this machine, if not given.

    Raises:
        NeedError: something is missing and cannot be installed.
    """
    machine = machine or Machine()
    if machine.system != "linux":
        raise NeedError("The sandbox runs containers of this machine's own kernel and needs Linux.")
    wanted = missing(machine)
    if wanted:
        _install_packages(machine, wanted, tools, say)
    if not machine.exists(azurite_script(tools)):
        _install_azurite(machine, tools, say)


def _install_packages(machine: Machine, wanted: Sequence[Need], tools: Path, say: Say) -> None:
    packages = sorted({package for need in wanted for package in need.packages})
    reasons = "\n".join(f"  {need.name}: {need.why}" for need in wanted)
    if not machine.which("apt-get") or not (machine.is_root or machine.which("sudo")):
        names = " ".join(packages)
        raise NeedError(f"This is missing:\n{reasons}\nInstall it (on Debian and Ubuntu: apt-get install {names}).")
    say(f"This is missing:\n{reasons}\ninstalling {' '.join(packages)}")
    prefix = () if machine.is_root else ("sudo", "--preserve-env=DEBIAN_FRONTEND")
    install = (*prefix, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)
    with _log(tools, "apt.log") as log, _no_services(machine):
        for command in ((*prefix, "apt-get", "update", "-qq"), install):
            if machine.run(command, log, _APT_ENVIRONMENT):
                raise NeedError(f"`{' '.join(command)}` failed:\n{_tail(tools / 'apt.log')}")
    still = missing(machine)
    if still:
        names = ", ".join(need.name for need in still)
        raise NeedError(f"{names} is still missing after the packages {' '.join(packages)} were installed.")


def _install_azurite(machine: Machine, tools: Path, say: Say) -> None:
    """Install beside and rename: a half-finished installation counts for nothing."""
    say(f"installing Azurite {AZURITE_VERSION} (npm) into {tools.name}/azurite")
    beside, target = tools / "azurite.new", tools / "azurite"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    command = ("npm", "install", "--no-fund", "--no-audit", "--silent", "--prefix", str(beside))
    with _log(tools, "npm.log") as log:
        if machine.run((*command, f"azurite@{AZURITE_VERSION}"), log):
            raise NeedError(f"npm cannot install azurite@{AZURITE_VERSION}:\n{_tail(tools / 'npm.log')}")
    shutil.rmtree(target, ignore_errors=True)
    beside.rename(target)


@contextmanager
def _no_services(machine: Machine) -> Iterator[None]:
    """Keep packages from starting services: docker-registry's would listen on port 5000 of every interface.

    Source: https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
    """
    ours = machine.is_root and not machine.exists(_POLICY)
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)


@contextmanager
def _log(tools: Path, name: str) -> Iterator[IO[bytes]]:
    tools.mkdir(parents=True, exist_ok=True)
    with (tools / name).open("wb") as file:
        yield file


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:].strip() or f"it said nothing ({log} is empty)"
