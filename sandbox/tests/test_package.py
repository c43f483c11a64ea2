"""What the package says of itself."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]


def test_the_package_depends_on_what_the_lock_is_made_from() -> None:
    lines = (FOLDER / "requirements.in").read_text().splitlines()
    wanted = [line.replace('"', "'") for line in lines if line and not line.startswith("#")]
    assert PROJECT["dependencies"] == wanted


def test_its_commands_are_there() -> None:
    for target in PROJECT["scripts"].values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
