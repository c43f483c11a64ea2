"""Azurite as pinned by the lock file beside this module, installed by npm into the folder of tools."""

from __future__ import annotations

import shutil
from pathlib import Path

from sandbox.needs.errors import NeedError
from sandbox.needs.logged import Installer
from sandbox.needs.machine import Machine
from sandbox.storage import azurite_script

LOCK = Path(__file__).with_name("package-lock.json")

# None of the packages needs its install script to serve storage, and a script would run as root here.
_INSTALL = ("npm", "ci", "--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error", "--prefix")


def is_installed(machine: Machine, tools: Path) -> bool:
    """Whether Azurite is installed from this lock file."""
    return machine.exists(azurite_script(tools)) and machine.read(tools / "azurite" / LOCK.name) == LOCK.read_text()


def install_azurite(machine: Machine, tools: Path) -> None:
    """Install into a temporary folder and rename it: an incomplete installation is never used.

    Raises:
        NeedError: npm fails, or installs something else.
    """
    beside = tools / "azurite.new"
    shutil.rmtree(beside, ignore_errors=True)
    prefix = beside / "azurite"
    prefix.mkdir(parents=True)
    for file in (LOCK, LOCK.with_name("package.json")):
        shutil.copy(file, prefix)
    installer = Installer(machine, tools / "npm.log")
    hint = "npm must reach its registry: it uses the proxy and registry settings of the current user."
    installer.run(*_INSTALL, str(prefix), hint=hint)
    if not machine.exists(azurite_script(beside)):
        raise NeedError(f"npm reported success, but did not install Azurite; see {installer.log}.")
    shutil.rmtree(tools / "azurite", ignore_errors=True)
    prefix.rename(tools / "azurite")
    beside.rmdir()
