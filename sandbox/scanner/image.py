"""An image as a scan reads it, and the places where one can be: an archive, a folder, a registry.

Sources: https://github.com/opencontainers/image-spec/blob/main/image-layout.md,
https://github.com/moby/docker-image-spec
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from sandbox.scanner.errors import ScanError
from sandbox.scanner.layers import MOST_LAYERS, Layer, as_tar, content_of, members

DOCUMENT_BYTES = 4 * 1024**2
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_INDEX_TYPES = frozenset(
    ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
)
_MOST_FILES = 10_000
_CHUNK_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one platform. `digests` are those that it can be pulled by, of its index and of its manifest."""

    name: str
    repository: str
    digests: tuple[str, ...]
    config_digest: str
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]


class Blobs(Protocol):
    """Where the parts of an image are, by their digest. What is read is what the digest says."""

    def document(self, digest: str) -> bytes:
        """A small part: a manifest, a configuration."""

    def open(self, digest: str) -> AbstractContextManager[BinaryIO]:
        """A layer, for reading and seeking."""


def from_manifest(name: str, repository: str, digest: str, blobs: Blobs, platform: str) -> Image:
    """The image that a manifest or an index describes. Of an index it is the one for a platform (`linux/amd64`).

    Raises:
        ScanError: it is not readable, or has no image for the platform.
    """
    digests = [digest]
    manifest = _json(blobs.document(digest), f"manifest {digest}")
    if "manifests" in manifest:
        digests.append(_of_platform(manifest, platform))
        manifest = _json(blobs.document(digests[-1]), f"manifest {digests[-1]}")
    try:
        config_digest = _digest(manifest["config"]["digest"])
        config = _json(blobs.document(config_digest), "the image's configuration")
        places = [_digest(layer["digest"]) for layer in manifest["layers"]]
        diff_ids = [_digest(one) for one in config["rootfs"]["diff_ids"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ScanError(f"manifest {digests[-1]} is no image: {error!r}") from error
    openers = [_opener(blobs, place) for place in places]
    return Image(name, repository, tuple(digests), config_digest, config, _layers(diff_ids, places, openers))


def _opener(blobs: Blobs, digest: str) -> Callable[[], AbstractContextManager[BinaryIO]]:
    return lambda: blobs.open(digest)


def _layers(
    diff_ids: list[str], digests: list[str], openers: list[Callable[[], AbstractContextManager[BinaryIO]]]
) -> tuple[Layer, ...]:
    if not len(diff_ids) == len(openers) <= MOST_LAYERS:
        raise ScanError(f"the image has {len(openers)} layers and {len(diff_ids)} ids of them: {MOST_LAYERS} at most")
    return tuple(map(Layer, diff_ids, digests, openers))


def _of_platform(index: Mapping[str, Any], platform: str) -> str:
    system, _, architecture = platform.partition("/")
    try:
        for entry in index["manifests"]:
            place = entry.get("platform") or {}
            if (place.get("os"), place.get("architecture")) == (system, architecture):
                return _digest(entry["digest"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ScanError(f"the index is not readable: {error!r}") from error
    raise ScanError(f"the index has no image for {platform}")


class _Files(Protocol):
    """The files of an archive or a folder, by their path in it."""

    def names(self) -> frozenset[str]: ...

    def read(self, name: str) -> bytes: ...

    def open(self, name: str) -> AbstractContextManager[BinaryIO]: ...


@contextmanager
def opened(path: Path, platform: str) -> Iterator[Image]:
    """The image in a folder (OCI layout) or in an archive (an OCI layout, or what `docker save` writes).

    Raises:
        ScanError: there is none, there are several, or it is damaged.
    """
    with ExitStack() as stack:
        files: _Files
        if path.is_dir():
            files = _Folder(path)
        else:
            try:
                stream = stack.enter_context(path.open("rb"))
            except OSError as error:
                raise ScanError(f"there is no image in {path}: {error.strerror}") from error
            files = _Archive(stack, stream, str(path))
        if "index.json" in files.names():
            yield _from_layout(str(path), files, platform)
        elif "manifest.json" in files.names():
            yield _from_saved(str(path), files)
        else:
            raise ScanError(f"{path} has neither index.json nor manifest.json: it is no image")


def _from_layout(name: str, files: _Files, platform: str) -> Image:
    entries = _json(files.read("index.json"), "index.json").get("manifests")
    if not isinstance(entries, list) or len(entries) != 1:
        raise ScanError(f"{name} has not exactly one image")
    return from_manifest(name, "", _digest(_json_object(entries[0]).get("digest")), _LayoutBlobs(files), platform)


def _from_saved(name: str, files: _Files) -> Image:
    """An image that `docker save` wrote. It does not tell which digests that image has in registries."""
    entries = json.loads(files.read("manifest.json"))
    if not isinstance(entries, list) or len(entries) != 1:
        raise ScanError(f"{name} has not exactly one image")
    try:
        content = files.read(entries[0]["Config"])
        paths = [posixpath.normpath(path) for path in entries[0]["Layers"]]
        config = _json(content, "the image's configuration")
        diff_ids = [_digest(one) for one in config["rootfs"]["diff_ids"]]
    except (KeyError, TypeError) as error:
        raise ScanError(f"{name} is no image: {error!r}") from error
    openers = [_member_opener(files, path) for path in paths]
    config_digest = "sha256:" + hashlib.sha256(content).hexdigest()
    return Image(name, "", (), config_digest, config, _layers(diff_ids, [""] * len(paths), openers))


def _member_opener(files: _Files, name: str) -> Callable[[], AbstractContextManager[BinaryIO]]:
    return lambda: files.open(name)


class _Folder:
    """A folder on this machine. Only regular files in it are read, never through a link that leaves it."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def names(self) -> frozenset[str]:
        return frozenset(path.name for path in self._root.iterdir())

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            content = file.read(DOCUMENT_BYTES + 1)
        if len(content) > DOCUMENT_BYTES:
            raise ScanError(f"{name} has more than {DOCUMENT_BYTES} bytes")
        return content

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        path = Path(os.path.realpath(self._root / name))  # no exception for links in a circle, which are no file
        if not path.is_relative_to(self._root) or not path.is_file():
            raise ScanError(f"{self._root} has no file {name}")
        return path.open("rb")


class _Archive:
    """A tar archive, whose members are read in place."""

    def __init__(self, stack: ExitStack, stream: BinaryIO, name: str) -> None:
        self._tar, self._name = stack.enter_context(as_tar(stream, name)), name
        self._members = {}
        for member in members(self._tar):
            if member.isreg() and member.size >= 0:
                self._members[posixpath.normpath(member.name)] = member
            if member.size < 0 or len(self._members) > _MOST_FILES:
                raise ScanError(f"{name} has more than {_MOST_FILES} files, or one with less than no content")

    def names(self) -> frozenset[str]:
        return frozenset(self._members)

    def read(self, name: str) -> bytes:
        return content_of(self._tar, self._member(name), DOCUMENT_BYTES)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        file = self._tar.extractfile(self._member(name))
        assert file is not None
        with file:
            yield cast(BinaryIO, file)

    def _member(self, name: str) -> Any:
        if name not in self._members:
            raise ScanError(f"{self._name} has no file {name}")
        return self._members[name]


class _LayoutBlobs:
    """The blobs of an OCI layout."""

    def __init__(self, files: _Files) -> None:
        self._files = files

    def document(self, digest: str) -> bytes:
        content = self._files.read(_path(digest))
        require_digest(hashlib.sha256(content).hexdigest(), digest)
        return content

    @contextmanager
    def open(self, digest: str) -> Iterator[BinaryIO]:
        with self._files.open(_path(digest)) as stream:
            found = hashlib.sha256()
            while chunk := stream.read(_CHUNK_BYTES):
                found.update(chunk)
            require_digest(found.hexdigest(), digest)
            stream.seek(0)
            yield stream


def require_digest(found: str, digest: str) -> None:
    """Raise `ScanError` unless content with a sha256 (in hexadecimal) has a digest."""
    if f"sha256:{found}" != digest:
        raise ScanError(f"what should be {digest} is sha256:{found}")


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _digest(value: object) -> str:
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ScanError(f"{str(value)[:100]!r} is no digest (sha256:…)")
    return value


def _json(content: bytes, name: str) -> dict[str, Any]:
    try:
        return _json_object(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise ScanError(f"{name} is not readable: {error}") from error


def _json_object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ScanError("an object of JSON is expected")
    return value
