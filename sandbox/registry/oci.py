"""Reproducible images as bytes: a configuration, layers, and the manifest that references them.

Source: https://github.com/opencontainers/image-spec/blob/main/manifest.md and
https://distribution.github.io/distribution/spec/manifest-v2-2/
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

_TYPES = {
    "oci": (OCI_MANIFEST, "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"),
    "docker": (
        DOCKER_MANIFEST,
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar",
    ),
}
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest's bytes with their media type."""

    body: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """The digest that identifies it in a registry."""
        return digest_of(self.body)


@dataclass(frozen=True, slots=True)
class OciImage:
    """An image of one platform; `config` is its configuration (JSON), `layers` are tar archives, gzipped or not."""

    config: bytes
    layers: tuple[bytes, ...]
    format: Literal["oci", "docker"] = "docker"

    @property
    def manifest(self) -> Manifest:
        """The manifest, determined by the parts alone."""
        media_type, config_type, layer_type = _TYPES[self.format]
        document = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": _descriptor(self.config, config_type),
            "layers": [_descriptor(layer, layer_type + self._suffix(layer)) for layer in self.layers],
        }
        return Manifest(_json(document), media_type)

    @property
    def platform(self) -> dict[str, str]:
        """The operating system and architecture in the configuration."""
        config = json.loads(self.config)
        return {"architecture": config.get("architecture", "amd64"), "os": config.get("os", "linux")}

    @property
    def blobs(self) -> tuple[tuple[bytes, str], ...]:
        """The blobs that the manifest references, each with its digest: the configuration, then the layers."""
        return tuple((content, digest_of(content)) for content in (self.config, *self.layers))

    def _suffix(self, layer: bytes) -> str:
        if not layer.startswith(_GZIP_MAGIC):
            return ""
        return "+gzip" if self.format == "oci" else ".gzip"


@dataclass(frozen=True, slots=True)
class OciIndex:
    """An image of several platforms."""

    images: tuple[OciImage, ...]
    format: Literal["oci", "docker"] = "oci"

    @property
    def manifest(self) -> Manifest:
        """The index of the images' manifests, determined by the parts alone."""
        media_type = OCI_INDEX if self.format == "oci" else DOCKER_LIST
        entries = []
        for image in self.images:
            manifest = image.manifest
            entries.append(_descriptor(manifest.body, manifest.media_type) | {"platform": image.platform})
        return Manifest(_json({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}), media_type)


def digest_of(content: bytes) -> str:
    """The sha256 digest that identifies content in a registry."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(content), "digest": digest_of(content)}


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
