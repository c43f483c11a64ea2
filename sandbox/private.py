"""Files that only their owner can read: secrets, settings and records."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_private(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write a file that only its owner can read (mode 0600). Its folder must exist.

    It is written beside the old one and renamed over it: a process that is killed leaves one or the other, and no link
    is followed. `durable`: it is also on disk when this returns, which takes some milliseconds.
    """
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(beside, path)  # noqa: PTH105 (documented as atomic on one file system)
    except BaseException:
        os.unlink(beside)  # noqa: PTH108
        raise


def has_content(path: Path) -> bool:
    """Whether a file exists and is not empty: a power failure may leave an empty one."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def stored_text(path: Path, create: Callable[[], str]) -> str:
    """The text of a private file. If it is missing or empty, `create` returns it, and it is stored first."""
    if not has_content(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, create(), durable=True)
    return path.read_text()
