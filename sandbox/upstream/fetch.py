"""Packages from the npm registry, fetched by npm and held against digests that are written here."""

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
    """Something the stand-in is made of cannot be had; the text names it and what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package of the npm registry; `integrity` is the sha512 (base64) that the registry publishes for it."""

    name: str
    version: str
    integrity: str

    @property
    def file(self) -> str:
        """What `npm pack` calls it."""
        return f"{self.name}-{self.version}.tgz"


Fetch = Callable[[Package, Path], Path]
"""Has a package in a folder and returns its file. Raises `MissingPart`."""


def npm_pack(package: Package, folder: Path) -> Path:
    """Fetch a package with `npm pack`, unless it is there already.

    Raises:
        MissingPart: where npm is missing, has no way to its registry, or brought other bytes than expected.
    """
    kept = folder / package.file
    if kept.exists() and _integrity(kept) == package.integrity:
        return kept
    npm = find_program("npm")
    if not npm:
        raise MissingPart("npm is missing; install nodejs with npm, or put it on the PATH.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _pack(npm, package, scratch)
        fetched = Path(scratch, package.file)
        if not fetched.exists() or _integrity(fetched) != package.integrity:
            raise MissingPart(f"npm brought something else than {package.name}@{package.version}.")
        fetched.replace(kept)
    return kept


def unpack(file: Path, wanted: Callable[[str], bool]) -> dict[str, tuple[bytes, int]]:
    """Content and mode (0644 or 0755) of a package's regular files, by path without its first folder."""
    found = {}
    with tarfile.open(file) as archive:
        for member in archive:
            path = member.name.partition("/")[2]
            if member.isfile() and wanted(path) and (source := archive.extractfile(member)):
                found[path] = (source.read(), 0o755 if member.mode & 0o111 else 0o644)
    return found


def _pack(npm: str, package: Package, folder: str) -> None:
    command = [npm, "pack", "--silent", "--pack-destination", folder, f"{package.name}@{package.version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS, cwd=folder)
    except subprocess.TimeoutExpired as error:
        raise MissingPart(f"npm did not bring {package.name}@{package.version} within {_SECONDS} s.") from error
    if done.returncode:
        said = " ".join(done.stderr.split())[:200] or f"exit code {done.returncode}"
        raise MissingPart(f"npm cannot fetch {package.name}@{package.version}: {said}.")


def _integrity(file: Path) -> str:
    with file.open("rb") as content:
        return base64.b64encode(hashlib.file_digest(content, "sha512").digest()).decode()
