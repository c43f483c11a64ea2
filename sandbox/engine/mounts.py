"""Mounts that an engine left below a folder."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from pathlib import Path

_MNT_DETACH = 2
_ESCAPED = re.compile(rb"\\([0-7]{3})")
"""A blank, tab, line end or backslash in a path; all other characters are as they are (getmntent(3))."""


def mounts_below(folder: Path) -> list[Path]:
    """Every mount point below a folder, the innermost first."""
    try:
        lines = Path("/proc/self/mounts").read_bytes().split(b"\n")
    except OSError:
        return []
    points = (_ESCAPED.sub(_unescaped, line.split(b" ")[1]) for line in lines if line)
    prefix = os.fsencode(folder.resolve()) + b"/"
    return [Path(os.fsdecode(point)) for point in sorted(points, reverse=True) if point.startswith(prefix)]


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8)])


def unmount_below(folder: Path) -> None:
    """Unmount everything below a folder."""
    libc = ctypes.CDLL(None, use_errno=True)
    for point in mounts_below(folder):
        if libc.umount2(os.fsencode(point), _MNT_DETACH):
            number = ctypes.get_errno()
            if point not in mounts_below(folder):
                continue  # the process that mounted it has unmounted it meanwhile
            raise OSError(number, os.strerror(number), str(point))


def remove_tree(folder: Path) -> None:
    """Unmount everything below a folder, then delete it, if it exists."""
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)
