"""A build's own tree of its context, which nothing that runs beside the build can change.

The folders of a context are also in the containers of a run. One of them could replace a folder by a link after the
engine has been told its path, and the engine, which is root, would follow it out of the context.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path

from sandbox.engine.contract import EngineError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 200


def take_snapshot(folder: Path, target: Path) -> None:
    """Build the tree of `folder`, an absolute path without links, in the new folder `target`.

    Folders are new, everything else is a further hard link to what is there, or a copy on another file system. Each
    folder is opened below the one that is open, so no link is ever followed. What disappears meanwhile is left out.

    Raises:
        EngineError: the folder is or became a link, is too deep, or cannot be read.
    """
    target.mkdir(parents=True)
    try:
        with contextlib.closing(_Folder.of(folder)) as source, contextlib.closing(_Folder.of(target.resolve())) as goal:
            _fill(source, goal, 0)
    except OSError as error:
        raise EngineError(f"The context of the build cannot be read: {error}") from error


class _Folder:
    """An open folder."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def of(cls, path: Path) -> _Folder:
        """Open an absolute path from the root, one name at a time."""
        found = cls(os.open("/", _FOLDER))
        for name in path.parts[1:]:
            with contextlib.closing(found) as outer:
                found = outer.inner(name)
        return found

    def inner(self, name: str) -> _Folder:
        """Open a folder in this one. Raises `OSError` if it is none, or a link."""
        return _Folder(os.open(name, _FOLDER, dir_fd=self.descriptor))

    def close(self) -> None:
        os.close(self.descriptor)


def _fill(source: _Folder, goal: _Folder, depth: int) -> None:
    if depth > _DEEPEST:
        raise EngineError(f"The context of the build has more than {_DEEPEST} folders in each other.")
    with os.scandir(source.descriptor) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                if entry.is_dir(follow_symlinks=False):
                    _fill_inner(entry.name, source, goal, depth)
                else:
                    _link(entry.name, source, goal)
    _copy_attributes(source, goal)


def _fill_inner(name: str, source: _Folder, goal: _Folder, depth: int) -> None:
    with contextlib.closing(source.inner(name)) as inner:
        os.mkdir(name, dir_fd=goal.descriptor)
        with contextlib.closing(goal.inner(name)) as inner_goal:
            _fill(inner, inner_goal, depth + 1)


def _link(name: str, source: _Folder, goal: _Folder) -> None:
    try:
        os.link(name, name, src_dir_fd=source.descriptor, dst_dir_fd=goal.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without hard links
        _copy(name, source, goal)


def _copy(name: str, source: _Folder, goal: _Folder) -> None:
    try:
        reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=source.descriptor)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        os.symlink(os.readlink(name, dir_fd=source.descriptor), name, dir_fd=goal.descriptor)
        return
    with os.fdopen(reading, "rb") as file:
        mode = os.fstat(reading).st_mode
        if not stat.S_ISREG(mode):
            raise EngineError(f"{name} in the context of the build is no file, folder or link.")
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IMODE(mode), dir_fd=goal.descriptor)
        with os.fdopen(writing, "wb") as copy:
            shutil.copyfileobj(file, copy)


def _copy_attributes(source: _Folder, goal: _Folder) -> None:
    state = os.fstat(source.descriptor)
    os.fchown(goal.descriptor, state.st_uid, state.st_gid)
    os.fchmod(goal.descriptor, stat.S_IMODE(state.st_mode))
    os.utime(goal.descriptor, ns=(state.st_atime_ns, state.st_mtime_ns))
