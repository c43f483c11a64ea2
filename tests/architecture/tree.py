"""What is in the repository: the files that a fresh clone has, read from the working tree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = ("functions", "shared", "sandbox", "basegate_cli", "demo", "tests")
"""The import names at the root of `sys.path`."""

_NOT_OURS = frozenset(("__pycache__", "node_modules"))


@cache
def _all() -> tuple[Path, ...]:
    """All files, sorted; hidden folders are not entered: what is installed there is a hundred times as much."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [one for one in folders if one not in _NOT_OURS and not one.startswith(".")]
        found += [Path(folder, one) for one in names if one not in _NOT_OURS and not one.startswith(".")]
    return tuple(sorted(found))


def files(suffix: str, *roots: str) -> Iterator[Path]:
    """The files under some roots (all of the repository by default) whose name ends so; hidden folders are skipped."""
    for root in roots or (".",):
        start = ROOT / root
        if start.is_file():
            yield start
        else:
            yield from (file for file in _all() if file.name.endswith(suffix) and file.is_relative_to(start))


def name(file: Path) -> str:
    """A file as the documents name it."""
    return file.relative_to(ROOT).as_posix()
