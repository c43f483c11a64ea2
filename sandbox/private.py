"""Files that only their owner can read: secrets, settings and records."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def write_private(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write a file that only its owner can read (mode 0600). Its folder must exist; one thread writes it at a time.

    It is written beside the old one, as `.NAME.new`, and renamed over it: a process that is killed leaves the old or
    the new one, and perhaps that file, which the next write replaces. No link is followed.

    `durable`: when this returns, the file and its name are on disk, which takes some milliseconds.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(beside, path)  # noqa: PTH105 (documented as atomic on one file system)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if durable:
        _store_names(path.parent)


def _store_names(folder: Path) -> None:
    """Have the names of a folder on disk: fsync of a file does not include its name (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
