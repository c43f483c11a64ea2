"""Repositories, tags and manifests as Azure's registry API returns them.

Source: Azure REST API specification, Azure.ContainerRegistry 2021-07-01 (RepositoryAttributes, TagAttributesBase,
ManifestAttributesBase).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sandbox.registry.layout import Entry, read_stored
from sandbox.registry.names import is_digest
from sandbox.registry.records import timestamp
from sandbox.registry.registry import Registry


class _Platform(msgspec.Struct):
    architecture: str | None = None
    os: str | None = None


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    size: int = 0
    media_type: str = ""
    platform: _Platform | None = None


class _Manifest(msgspec.Struct):
    config: _Descriptor | None = None
    layers: list[_Descriptor] = []
    manifests: list[_Descriptor] = []


def repository_body(registry: Registry, host: str, name: str) -> dict[str, Any]:
    """A repository's attributes; its creation time is that of its oldest manifest."""
    manifests, tags = registry.layout.manifests(name), registry.layout.tags(name)
    return {
        "registry": host,
        "imageName": name,
        "createdTime": timestamp(min(entry.created for entry in manifests)),
        "lastUpdateTime": timestamp(max(entry.updated for entry in [*manifests, *tags])),
        "manifestCount": len(manifests),
        "tagCount": len(tags),
        "changeableAttributes": registry.locks.get(name),
    }


def tag_body(registry: Registry, repository: str, tag: Entry) -> dict[str, Any]:
    """A tag's attributes."""
    return {
        "name": tag.name,
        "digest": tag.digest,
        "createdTime": timestamp(tag.created),
        "lastUpdateTime": timestamp(tag.updated),
        "signed": False,
        "changeableAttributes": registry.locks.get(f"{repository}:{tag.name}"),
    }


def manifest_body(registry: Registry, repository: str, entry: Entry, tags: Sequence[Entry]) -> dict[str, Any]:
    """A manifest's attributes: platform and configuration of an image, references of an index.

    `tags` are all tags of the repository. An artifact whose configuration is not an image's has no platform.
    """
    content = registry.layout.content(entry.digest)
    manifest = read_stored(content, _Manifest)
    body: dict[str, Any] = {
        "digest": entry.digest,
        "imageSize": sum(d.size for d in (*manifest.layers, *manifest.manifests)) + len(content),
        "createdTime": timestamp(entry.created),
        "lastUpdateTime": timestamp(entry.updated),
        "mediaType": registry.media_type(entry.digest),
        "tags": [tag.name for tag in tags if tag.digest == entry.digest],
        "changeableAttributes": registry.locks.get(f"{repository}@{entry.digest}"),
    }
    if manifest.config and is_digest(manifest.config.digest):  # distribution does not look at that of a foreign layer
        platform = read_stored(registry.layout.content(manifest.config.digest), _Platform)
        body["imageSize"] += manifest.config.size
        body |= {"architecture": platform.architecture, "os": platform.os}
        body["configMediaType"] = manifest.config.media_type
    if manifest.manifests:
        body["references"] = [_reference(child) for child in manifest.manifests]
    return body


def _reference(child: _Descriptor) -> dict[str, Any]:
    platform = child.platform or _Platform()
    return {"digest": child.digest, "architecture": platform.architecture, "os": platform.os}
