"""Azurite, fetched by npm into the folder of tools."""

from __future__ import annotations

import shutil
from pathlib import Path

from sandbox.needs.errors import NeedError
from sandbox.needs.logged import Installer
from sandbox.needs.machine import Machine
from sandbox.storage import azurite_script

AZURITE_VERSION = "3.37.0"


def install_azurite(machine: Machine, tools: Path) -> None:
    """Install beside and rename: a half-finished installation counts for nothing.

    Raises:
        NeedError: npm fails, or brings something else.
    """
    package, beside = f"azurite@{AZURITE_VERSION}", tools / "azurite.new"
    shutil.rmtree(beside, ignore_errors=True)
    prefix = beside / "azurite"
    prefix.mkdir(parents=True)
    installer = Installer(machine, tools / "npm.log")
    hint = "npm needs a way to its registry: its proxy and registry settings are those of the user who runs this."
    options = ("--no-fund", "--no-audit", "--loglevel=error", "--prefix", str(prefix))
    installer.run("npm", "install", *options, package, hint=hint)
    if not machine.exists(azurite_script(beside)):
        raise NeedError(f"npm reported success, but did not bring {package}; see {installer.log}.")
    shutil.rmtree(tools / "azurite", ignore_errors=True)
    prefix.rename(tools / "azurite")
    beside.rmdir()
