"""Reads chosen files out of an image's layers, without writing any of them to a disk.

What a layer removes or replaces is gone: its whiteouts, and every path that it has itself.
Source: https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import gzip
import io
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from sandbox.scanner.errors import ScanError

MOST_LAYERS = 127  # Docker has no more: https://github.com/moby/moby/blob/master/layer/layer_store.go
_MOST_MEMBERS = 1_000_000
_MOST_BYTES = 16 * 1024**3
_FILE_BYTES = 32 * 1024**2
_ALL_FILES_BYTES = 256 * 1024**2
_READ_BYTES = 1024**2
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: the digest of its tar archive, that of the blob it is stored in ("": unknown), and how to open it."""

    diff_id: str
    digest: str
    open: Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True, slots=True)
class Found:
    """A file of an image, and the layer that it is from."""

    content: bytes
    layer: Layer


@dataclass(slots=True)
class _Change:
    """What a layer does to those below: paths that hide what is at them and below them, folders whose lower content is
    hidden, folders as such, and its own files.
    """

    hidden: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)

    def hides(self, path: str) -> bool:
        """Whether a file of a lower layer is gone."""
        above = list(_parents(path))
        gone = path in self.hidden or path in self.folders or not self.hidden.isdisjoint(above)
        return gone or not self.opaque.isdisjoint(above)


@dataclass(slots=True)
class _Budget:
    """What may still be read of an image."""

    members: int = _MOST_MEMBERS
    size: int = _MOST_BYTES
    files: int = _ALL_FILES_BYTES

    def spend(self, member: tarfile.TarInfo) -> None:
        """Count a member. Raises `ScanError` if there are too many, or if they are too large."""
        if member.size < 0:  # `tarfile` would go back to a member that it has read, again and again (CVE-2025-8194)
            raise ScanError("a layer has a member with less than no content")
        self.members -= 1
        self.size -= member.size
        if self.members < 0 or self.size < 0:
            raise ScanError(f"the image has more than {_MOST_MEMBERS} files, or {_MOST_BYTES // 1024**3} GiB of them")


DATABASES = frozenset(("var/lib/dpkg/status", "lib/apk/db/installed", "usr/lib/apk/db/installed"))
"""The package databases of Debian and Alpine."""


def read_files(layers: Iterable[Layer], wanted: Callable[[str], bool]) -> dict[str, Found]:
    """The files of an image whose paths (without a leading slash) are `wanted`, from its lowest layer to its highest.

    Raises:
        ScanError: a layer is no tar archive, is compressed in another way than gzip, or is too large.
    """
    files: dict[str, Found] = {}
    budget = _Budget()
    for layer in layers:
        with layer.open() as stream, as_tar(stream, f"layer {layer.diff_id}") as tar:
            change = _read(tar, wanted, budget)
        files = {path: found for path, found in files.items() if not change.hides(path)}
        files |= {path: Found(content, layer) for path, content in change.files.items()}
    return files


@contextmanager
def as_tar(stream: BinaryIO, name: str) -> Iterator[tarfile.TarFile]:
    """A tar archive, gzipped or not, for reading.

    Raises:
        ScanError: it is none, or damaged; also while it is used.
    """
    start = stream.read(4)
    stream.seek(0)
    if start == _ZSTD:
        raise ScanError(f"{name} is compressed with zstd, which this stand-in does not read")
    source = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if start.startswith(_GZIP) else stream
    try:
        with tarfile.open(fileobj=_Limited(source), mode="r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        raise ScanError(f"{name} is no readable tar archive: {error}") from error


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of an archive, none of which is kept: there may be very many."""
    kept: list[tarfile.TarInfo] = vars(tar)["members"]
    while (member := tar.next()) is not None:
        kept.clear()
        yield member


def content_of(tar: tarfile.TarFile, member: tarfile.TarInfo, limit_bytes: int) -> bytes:
    """The content of a regular file of an archive. Raises `ScanError` if it is larger than a limit."""
    if member.size > limit_bytes:
        raise ScanError(f"{member.name!r} has more than {limit_bytes} bytes")
    file = tar.extractfile(member)
    assert file is not None
    return b"".join(iter(lambda: file.read(64 * 1024), b""))


def _read(tar: tarfile.TarFile, wanted: Callable[[str], bool], budget: _Budget) -> _Change:
    change = _Change()
    for member in members(tar):
        budget.spend(member)
        path = _plain(member.name)
        if path is None:
            continue
        folder, name = posixpath.split(path)
        if name == _OPAQUE:
            change.opaque.add(folder)
        elif name.startswith(_WHITEOUT):
            change.hidden.add(posixpath.join(folder, name.removeprefix(_WHITEOUT)))
        elif member.isdir():
            change.folders.add(path)
        else:
            change.hidden.add(path)
            _take(tar, member, path, change, wanted, budget)
    return change


def _take(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    path: str,
    change: _Change,
    wanted: Callable[[str], bool],
    budget: _Budget,
) -> None:
    """Keep a regular file, and another name of one that is kept. Symbolic links are not followed: what they lead to is
    read at its own path.

    Raises:
        ScanError: a package database is a link to what is not read: its packages would be missed.
    """
    change.files.pop(path, None)  # the last member of a name counts
    if not wanted(path):
        return
    linked = change.files.get(_plain(member.linkname) or "") if member.islnk() else None
    if linked is not None:
        change.files[path] = linked
    elif path in DATABASES and (member.islnk() or member.issym()):
        raise ScanError(f"{path} is a link to {member.linkname[:200]!r}: the packages that it tells of would be missed")
    elif member.isreg():
        change.files[path] = content_of(tar, member, _FILE_BYTES)
        budget.files -= member.size
        if budget.files < 0:
            raise ScanError(f"the image has more than {_ALL_FILES_BYTES // 1024**2} MiB of files that tell of packages")


def _plain(name: str) -> str | None:
    """A path relative to the root, without `.`; None for the root itself, and for one that leaves it."""
    plain = posixpath.normpath(name.lstrip("/"))
    return None if plain == "." or plain.split("/")[0] == ".." else plain


def _parents(path: str) -> Iterator[str]:
    while path:
        path = posixpath.dirname(path)
        yield path


class _Limited(io.RawIOBase):
    """A file whose reads are limited: `tarfile` reads a whole extended header at once, however large it says it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Read. Raises `ScanError` for more than a MiB at once."""
        if not 0 <= size <= _READ_BYTES:
            raise ScanError("a header in a layer is too large")
        return self._file.read(size)

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Seek, as the file does."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()
