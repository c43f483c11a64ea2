"""The temporary folder of an engine, in which it keeps what needs a short path; a file of the engine notes it."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

_PREFIX = "bg-"


def short_folder() -> Path:
    """A new temporary folder whose path is short enough for podman's run root (50 characters)."""
    base = tempfile.gettempdir()
    if len(base) > 20:
        base = "/tmp"  # noqa: S108  # only the private folder that mkdtemp creates in it is used
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
    return folder


def noted_folder(note: Path) -> Path | None:
    """The folder that a killed process has noted; None if it is not there any more.

    What the note says is used as root, and deleted. So it counts only if it is a folder of this user's with such a
    name, and no link: everyone may create one in the place of a folder that was deleted.
    """
    folder = Path(note.read_text(errors="replace"))
    try:
        found = folder.lstat()
    except (OSError, ValueError):  # ValueError: a zero character
        return None
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return folder if own and folder.is_absolute() and folder.name.startswith(_PREFIX) else None
