"""What is in the repository: the files that a fresh clone has, read from the working tree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = ("functions", "shared", "sandbox", "basegate_cli", "demo", "tests")
"""The import names at the root of `sys.path`."""

_NOT_OURS = frozenset(("__pycache__", "node_modules"))


def files(suffix: str, *roots: str) -> Iterator[Path]:
    """The files under some roots (all of the repository by default) whose name ends so; hidden folders are skipped."""
    for root in roots or (".",):
        start = ROOT / root
        if start.is_file():
            yield start
            continue
        for file in sorted(start.rglob(f"*{suffix}")):
            parts = file.relative_to(ROOT).parts
            if not any(part in _NOT_OURS or part.startswith(".") for part in parts):
                yield file


def name(file: Path) -> str:
    """A file as the documents name it."""
    return file.relative_to(ROOT).as_posix()
