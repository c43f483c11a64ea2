"""Fetches packages from the npm registry with npm, and verifies them against pinned digests."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox.programs import find_program

_SECONDS = 180


class MissingPart(Exception):
    """A part of the stand-in is unavailable; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package of the npm registry; `integrity` is the sha512 (base64) that the registry publishes for it."""

    name: str
    version: str
    integrity: str

    @property
    def file(self) -> str:
        """The file name that `npm pack` creates."""
        return f"{self.name}-{self.version}.tgz"


Fetch = Callable[[Package, Path], Path]
"""Ensures that a folder contains a package and returns its file. Raises `MissingPart`."""


def npm_pack(package: Package, folder: Path) -> Path:
    """Fetch a package with `npm pack`, unless it exists already.

    Raises:
        MissingPart: npm is missing, cannot reach its registry, or fetched other bytes than expected.
    """
    cached = folder / package.file
    if cached.exists() and _integrity(cached) == package.integrity:
        return cached
    npm = find_program("npm")
    if not npm:
        raise MissingPart("npm is missing; install nodejs with npm, or put it on the PATH.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _pack(npm, package, scratch)
        fetched = Path(scratch, package.file)
        if not fetched.exists() or _integrity(fetched) != package.integrity:
            raise MissingPart(f"npm fetched other content than {package.name}@{package.version}.")
        fetched.replace(cached)
    return cached


def unpack(file: Path, selected: Callable[[str], bool]) -> dict[str, tuple[bytes, int]]:
    """Content and mode (0644 or 0755) of a package's selected regular files, by path without its first folder."""
    found = {}
    with tarfile.open(file) as archive:
        for member in archive:
            path = member.name.partition("/")[2]
            if member.isfile() and selected(path) and (source := archive.extractfile(member)):
                found[path] = (source.read(), 0o755 if member.mode & 0o111 else 0o644)
    return found


def _pack(npm: str, package: Package, folder: str) -> None:
    command = [npm, "pack", "--silent", "--pack-destination", folder, f"{package.name}@{package.version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS, cwd=folder)
    except subprocess.TimeoutExpired as error:
        raise MissingPart(f"npm did not fetch {package.name}@{package.version} within {_SECONDS} s.") from error
    if done.returncode:
        detail = " ".join(done.stderr.split())[:200] or f"exit code {done.returncode}"
        raise MissingPart(f"npm cannot fetch {package.name}@{package.version}: {detail}.")


def _integrity(file: Path) -> str:
    with file.open("rb") as content:
        return base64.b64encode(hashlib.file_digest(content, "sha512").digest()).decode()
