"""Access to distribution's filesystem store.

The store is the only source of truth for repositories, tags, manifests and their times; none of it is duplicated.
distribution 2.8 has no operation that removes only a tag, none that lists manifests, and none that returns times.
Source: https://github.com/distribution/distribution/blob/v2.8.2/registry/storage/paths.go
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Entry:
    """A tag (`name` is the tag) or a manifest (`name` is the digest) of a repository."""

    name: str
    digest: str
    created: datetime
    updated: datetime


class Layout:
    """The content below one distribution process's root directory.

    Repository names, tags and digests must be validated by `sandbox.registry.names`: they become paths.
    """

    def __init__(self, data: Path) -> None:
        self._root = data / "docker" / "registry" / "v2"

    def repositories(self) -> list[str]:
        """The repositories that contain a manifest, in lexical order."""
        return sorted(name for name in self._files() if self.holds(name))

    def holds(self, repository: str) -> bool:
        """Whether a repository exists, that is, contains a manifest."""
        revisions = self._manifests(repository) / "revisions" / "sha256"
        return any((revisions / name / "link").exists() for name in _names(revisions))

    def tags(self, repository: str) -> list[Entry]:
        """The tags of a repository, in lexical order."""
        folder = self._manifests(repository) / "tags"
        names = _names(folder)
        return [entry for entry in (self.tag(repository, name) for name in names) if entry]

    def tag(self, repository: str, name: str) -> Entry | None:
        """One tag, or None."""
        folder = self._manifests(repository) / "tags" / name
        # The folder is modified only when the tag is created, the link whenever the tag moves.
        return _entry(name, folder, folder / "current" / "link")

    def manifests(self, repository: str) -> list[Entry]:
        """The manifests of a repository, tagged or not, in lexical order of their digests."""
        folder = self._manifests(repository) / "revisions" / "sha256"
        names = _names(folder)
        return [entry for entry in (self.manifest(repository, f"sha256:{name}") for name in names) if entry]

    def manifest(self, repository: str, digest: str) -> Entry | None:
        """One manifest, or None."""
        folder = self._manifests(repository) / "revisions" / digest.replace(":", "/")
        return _entry(digest, folder, folder / "link")

    def content(self, digest: str) -> bytes:
        """The bytes of a blob or manifest; empty if it does not exist."""
        value = digest.partition(":")[2]
        file = self._root / "blobs" / "sha256" / value[:2] / value / "data"
        return file.read_bytes() if file.exists() else b""

    def size(self) -> int:
        """The bytes of all blobs and manifests."""
        return sum(file.stat().st_size for file in self._root.glob("blobs/sha256/*/*/data"))

    def untag(self, repository: str, tag: str) -> None:
        """Remove a tag; its manifest is retained."""
        shutil.rmtree(self._manifests(repository) / "tags" / tag)

    def remove(self, repository: str) -> None:
        """Remove a repository, but not other repositories whose names begin with its name."""
        folder = self._root / "repositories" / repository
        for part in ("_manifests", "_layers", "_uploads"):
            shutil.rmtree(folder / part, ignore_errors=True)

    def _manifests(self, repository: str) -> Path:
        return self._root / "repositories" / repository / "_manifests"

    def _files(self) -> Iterator[str]:
        top = self._root / "repositories"
        for folder, inside, _ in os.walk(top):
            if "_manifests" in inside:
                yield Path(folder).relative_to(top).as_posix()
            inside[:] = [name for name in inside if not name.startswith("_")]


def read_stored(content: bytes, kind: type[T]) -> T:
    """What a stored manifest or configuration says; the defaults of `kind` for what is no such thing.

    Anything may be stored: distribution takes manifests with bytes that are not UTF-8, and with 10,000 nested lists.
    """
    with contextlib.suppress(ValueError, RecursionError):
        return msgspec.json.decode(content, type=kind)
    return kind()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _entry(name: str, folder: Path, link: Path) -> Entry | None:
    try:
        digest = link.read_text()
        return Entry(name, digest, _modified(folder), _modified(link))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
