"""An in-memory file system that is packed into an image layer; the same content always results in the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from sandbox.registry.oci import OciImage

_FASTEST = 1
_GZIP = 31  # zlib's window bits for a gzip stream, whose header then has no time and no name


@dataclass(frozen=True, slots=True)
class File:
    """A regular file."""

    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class Folder:
    """An explicit folder; the parent folders of other entries are added implicitly."""

    mode: int = 0o755


Entry = File | Link | Folder
Tree = Mapping[str, Entry]
"""Entries by path, without a leading slash."""


def make_image(
    tree: Tree,
    *,
    architecture: str,
    environment: Mapping[str, str],
    command: Sequence[str],
    entrypoint: Sequence[str] = (),
) -> OciImage:
    """Pack a tree into an image of one layer."""
    archive = _archive(tree)
    entry = {"Entrypoint": list(entrypoint)} if entrypoint else {}
    variables = [f"{name}={value}" for name, value in environment.items()]
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Env": variables, **entry, "Cmd": list(command)},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(archive).hexdigest()]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "basegate sandbox"}],
    }
    packer = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP)
    layer = packer.compress(archive) + packer.flush()
    return OciImage(json.dumps(config, separators=(",", ":")).encode(), (layer,))


def _archive(tree: Tree) -> bytes:
    complete = {str(parent): Folder() for path in tree for parent in PurePosixPath(path).parents if str(parent) != "."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in sorted((complete | dict(tree)).items()):
            content = entry.content if isinstance(entry, File) else b""
            archive.addfile(_header(path, entry), io.BytesIO(content))
    return buffer.getvalue()


def _header(path: str, entry: Entry) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)  # owner and time are zero by default
    match entry:
        case File():
            header.size, header.mode = len(entry.content), entry.mode
        case Link():
            header.type, header.linkname, header.mode = tarfile.SYMTYPE, entry.target, 0o777
        case Folder():
            header.type, header.mode = tarfile.DIRTYPE, entry.mode
    return header
