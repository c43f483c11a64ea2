"""Unpacks the source code that a client uploads: into one folder, within limits, and never through a link.

`tarfile`'s own extraction follows links that it has made, and its filters had ways out of the folder (CVE-2025-4517 and
others). Here folders and files come first and links last, so that nothing is written behind one.
"""

from __future__ import annotations

import gzip
import io
import os
import posixpath
import shutil
import tarfile
from pathlib import Path
from typing import BinaryIO, cast

LIMIT_BYTES = 2 * 1024**3
LIMIT_MEMBERS = 200_000
_HEADER_LIMIT_BYTES = 1024 * 1024
_GZIP = b"\x1f\x8b"


class ArchiveError(Exception):
    """An archive cannot be unpacked, or is refused; the text says which member and why."""


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar archive, gzipped or not, into an empty folder. Owners and special permissions are not kept.

    Raises:
        ArchiveError: it is no tar archive, exceeds a limit, or has a member that leaves the folder or is no file,
            folder or link.
    """
    try:
        with archive.open("rb") as file:
            zipped = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            source = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if zipped else file
            with tarfile.open(fileobj=_Limited(source), mode="r:") as tar:
                _unpack(tar, target)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise ArchiveError(str(error) or type(error).__name__) from error


def _unpack(tar: tarfile.TarFile, target: Path) -> None:
    links: list[tuple[str, str]] = []
    left = LIMIT_BYTES
    for number, member in enumerate(tar):
        if member.size < 0:  # `tarfile` would go back to a member that it has read, again and again (CVE-2025-8194)
            raise ArchiveError(f"{member.name!r} has less than no content")
        left -= member.size
        if left < 0:
            raise ArchiveError(f"it has more than {LIMIT_BYTES // 1024**2} MiB when unpacked")
        if number >= LIMIT_MEMBERS:
            raise ArchiveError(f"it has more than {LIMIT_MEMBERS} members")
        name = _inside(member.name, member.name)
        if member.issym():
            _inside(posixpath.join(posixpath.dirname(name), member.linkname), member.name)
            links.append((name, member.linkname))
        else:
            _place(tar, member, target, target / name)
    for name, goal in links:
        _link(target, name, goal)
    for name, _ in links:  # a later link may have changed where an earlier one leads
        _require_inside(target, target / name, name)


def _place(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, path: Path) -> None:
    """Create a folder, a file, or another name of a file that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.islnk():
        os.link(target / _inside(member.linkname, member.name), path, follow_symlinks=False)
    elif content := tar.extractfile(member):
        with path.open("wb") as file:
            shutil.copyfileobj(content, file)
        path.chmod(0o755 if member.mode & 0o100 else 0o644)
    else:
        raise ArchiveError(f"{member.name!r} is no file, folder or link")


def _inside(path: str, member: str) -> str:
    """A path relative to the folder, without `..`: an absolute one, or one that leaves it, is refused."""
    plain = posixpath.normpath(path)
    if path.startswith("/") or plain.split("/")[0] == ".." or "\0" in path:
        raise ArchiveError(f"{member!r} leaves the folder")
    return plain


def _link(target: Path, name: str, goal: str) -> None:
    """Create a symbolic link. One on the way to it may lead elsewhere in the folder, but not out of it."""
    path = target / name
    for end in (path.parent, path.parent / goal):
        _require_inside(target, end, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(goal)


def _require_inside(target: Path, path: Path, member: str) -> None:
    found = Path(os.path.realpath(path))  # `Path.resolve` raises RuntimeError for links in a circle before Python 3.13
    if found.is_symlink():
        raise ArchiveError(f"{member!r} leads in a circle")
    if not found.is_relative_to(target.resolve()):
        raise ArchiveError(f"{member!r} leaves the folder")


class _Limited(io.RawIOBase):
    """A file whose reads are limited: `tarfile` reads a whole extended header at once, however large it says it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, LIMIT_BYTES + LIMIT_MEMBERS * 2048

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER_LIMIT_BYTES:
            raise ArchiveError("a header of it is too large")
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ArchiveError(f"it has more than {LIMIT_BYTES // 1024**2} MiB when unpacked")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
