"""Reads chosen files out of an image's layers, without writing any of them to a disk.

What a layer removes or replaces is gone: its whiteouts, and every path that it has itself. Databases of packages are
found where links lead, inside the image's root; other files at their own paths.
Source: https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import gzip
import io
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from sandbox.scanner.errors import ScanError
from sandbox.scanner.links import LONGEST_TARGET, resolved

MOST_LAYERS = 127  # Docker has no more: https://github.com/moby/moby/blob/master/layer/layer_store.go
_MOST_MEMBERS = 1_000_000
_MOST_BYTES = 16 * 1024**3
_FILE_BYTES = 32 * 1024**2
_ALL_FILES_BYTES = 256 * 1024**2
_ALL_LINKS_CHARACTERS = 64 * 1024**2
_MOST_ALIASES = 1000
_MOST_PASSES = 5  # each finds what links of the one before lead to
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
    hidden, folders as such, its own files, the targets of its symbolic links, and those of hard links that are wanted
    and whose content was not read.
    """

    hidden: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)

    def hides(self, path: str) -> bool:
        """Whether a file or a link of a lower layer is gone."""
        above = list(_parents(path))
        gone = path in self.hidden or path in self.folders or not self.hidden.isdisjoint(above)
        return gone or not self.opaque.isdisjoint(above)


@dataclass(slots=True)
class _Budget:
    """What may still be read of an image."""

    members: int = _MOST_MEMBERS
    size: int = _MOST_BYTES
    files: int = _ALL_FILES_BYTES
    links: int = _ALL_LINKS_CHARACTERS

    def spend(self, member: tarfile.TarInfo) -> None:
        """Count a member. Raises `ScanError` if there are too many, or if they are too large."""
        if member.size < 0:  # `tarfile` would go back to a member that it has read, again and again (CVE-2025-8194)
            raise ScanError("a layer has a member with less than no content")
        self.members -= 1
        self.size -= member.size
        if self.members < 0 or self.size < 0:
            raise ScanError(f"the image has more than {_MOST_MEMBERS} files, or {_MOST_BYTES // 1024**3} GiB of them")

    def spend_kept(self, member: tarfile.TarInfo) -> None:
        """Count a file that is kept. Raises `ScanError` if they are too large together."""
        self.files -= member.size
        if self.files < 0:
            raise ScanError(f"the image has more than {_ALL_FILES_BYTES // 1024**2} MiB of files that tell of packages")

    def link(self, path: str, target: str) -> str:
        """Count a link, and return its target. Raises `ScanError` if it is too long, or if there are too many."""
        self.links -= len(path) + len(target)
        if len(target) > LONGEST_TARGET or self.links < 0:
            raise ScanError(f"the image has a link to more than {LONGEST_TARGET} characters, or too many links")
        return target


_OF_NO_PACKAGE_MANAGER = ("etc", "etc/os-release", "lib", "usr", "usr/lib", "usr/lib/os-release", "var", "var/lib")


@dataclass(slots=True)
class _Tree:
    """The files that were read of all layers together, and the links."""

    files: dict[str, Found] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)


def read_files(layers: Sequence[Layer], wanted: Callable[[str], bool], databases: Collection[str]) -> dict[str, Found]:
    """The files of an image whose paths (without a leading slash) are `wanted`, from its lowest layer to its highest.

    Those of package managers are at fixed paths, `databases` (files, or folders of files), and may be links or behind
    links, as for the package manager. The layers are read again where these lead to files that were not wanted.

    Raises:
        ScanError: a layer is no tar archive, is compressed in another way than gzip, or is too large; a database is a
            link to nothing, or in a circle: its packages would be missed.
    """
    more: set[str] = set()
    for _ in range(_MOST_PASSES):
        tree = _read_layers(layers, _or_below(more, wanted) if more else wanted)
        aliases = [alias for alias in _aliases(tree.links, databases) if wanted(alias.path) or alias.path in databases]
        if len(aliases) > _MOST_ALIASES:
            raise ScanError(f"the image has more than {_MOST_ALIASES} links in folders of package databases")
        missing = {place for place in (*(alias.place for alias in aliases), *tree.unread) if not wanted(place)} - more
        if not missing:
            found = {path: file for path, file in tree.files.items() if wanted(path)}
            return _through_links(tree, aliases, wanted) | found  # a file that a layer has there is newer than the link
        more |= missing
    raise ScanError("links of the image lead to links, again and again: packages would be missed")


def _or_below(more: Collection[str], wanted: Callable[[str], bool]) -> Callable[[str], bool]:
    places = frozenset(more)
    return lambda path: wanted(path) or not places.isdisjoint((path, *_parents(path)))


def _read_layers(layers: Sequence[Layer], wanted: Callable[[str], bool]) -> _Tree:
    tree, budget = _Tree(), _Budget()
    for layer in layers:
        with layer.open() as stream, as_tar(stream, f"layer {layer.diff_id}") as tar:
            change = _read(tar, wanted, budget)
        tree.files = {path: found for path, found in tree.files.items() if not change.hides(path)}
        tree.files |= {path: Found(content, layer) for path, content in change.files.items()}
        tree.links = {path: target for path, target in tree.links.items() if not change.hides(path)} | change.links
        tree.unread |= set(change.unread.values())
    return tree


@dataclass(frozen=True, slots=True)
class _Alias:
    """A path of a database, the place where links lead from it, and the first of these links."""

    path: str
    place: str
    link: str


def _aliases(links: Mapping[str, str], databases: Collection[str]) -> Iterator[_Alias]:
    """The databases that are links, or behind links; and links in a folder that is one."""
    for database in databases:
        place, followed = resolved(database, links)
        if followed:
            yield _Alias(database, place, followed[0])
        for link in links:
            if link.startswith(f"{place}/"):
                yield _Alias(database + link.removeprefix(place), resolved(link, links)[0], link)


def _through_links(tree: _Tree, aliases: Collection[_Alias], wanted: Callable[[str], bool]) -> dict[str, Found]:
    """The files of databases by their paths there.

    Raises:
        ScanError: a link leads to none, and not because no package manager of that kind is there.
    """
    files: dict[str, Found] = {}
    useless, used = dict[str, _Alias](), set(_OF_NO_PACKAGE_MANAGER)
    for alias in aliases:
        below = f"{alias.place}/"
        found = {path: file for path, file in tree.files.items() if path == alias.place or path.startswith(below)}
        names = {alias.path + path.removeprefix(alias.place): file for path, file in found.items()}
        files |= {path: file for path, file in names.items() if wanted(path)}
        if found:
            used.add(alias.link)
        else:
            useless.setdefault(alias.link, alias)
    for link, alias in useless.items():
        if link not in used:
            raise ScanError(f"{link} is a link to no file: the packages that {alias.path} tells of would be missed")
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
            change.links.pop(path, None)
        else:
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
    """Note what is no folder; keep it if it is a link, or a file that is wanted."""
    change.hidden.add(path)
    change.links.pop(path, None)
    change.files.pop(path, None)  # the last member of a name counts
    if member.issym():
        change.links[path] = budget.link(path, member.linkname)
    elif member.islnk():
        _take_linked(path, _plain(member.linkname) or "", change, wanted, budget)
    elif member.isreg() and wanted(path):
        change.files[path] = content_of(tar, member, _FILE_BYTES)
        budget.spend_kept(member)


def _take_linked(path: str, target: str, change: _Change, wanted: Callable[[str], bool], budget: _Budget) -> None:
    """Keep another name (a hard link) of what the layer has already.

    Raises:
        ScanError: it does not have it.
    """
    if target in change.links:
        change.links[path] = budget.link(path, change.links[target])
    elif not wanted(path):
        return
    elif target in change.files:
        change.files[path] = change.files[target]
    elif wanted(target) and target not in change.unread:
        raise ScanError(f"{path} is a link to {target[:200]!r}, which its layer does not have: it would be missed")
    else:
        change.unread[path] = budget.link(path, target)


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
