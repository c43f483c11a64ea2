"""Referrers: the manifests of a repository whose `subject` is another one, such as signatures and SBOMs.

Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from sandbox.registry.layout import Layout
from sandbox.registry.oci import OCI_INDEX, OCI_MANIFEST


class _Config(msgspec.Struct, rename="camel"):
    media_type: str = ""


class _Subject(msgspec.Struct):
    digest: str = ""


class _Manifest(msgspec.Struct, rename="camel"):
    media_type: str = ""
    artifact_type: str = ""
    config: _Config | None = None
    manifests: list[msgspec.Raw] | None = None
    annotations: dict[str, str] | None = None
    subject: _Subject | None = None


def subject_of(content: bytes) -> str | None:
    """The digest of the subject that a manifest refers to, or None."""
    subject = _decoded(content).subject
    return subject.digest if subject and subject.digest else None


def referrers(layout: Layout, repository: str, digest: str) -> Iterator[dict[str, Any]]:
    """The descriptors of the manifests that refer to a digest, in lexical order of their own."""
    for entry in layout.manifests(repository):
        if _stored_subject(layout, entry.digest) == digest:
            content = layout.content(entry.digest)
            yield _descriptor(_decoded(content), entry.digest, len(content))


@lru_cache(maxsize=10_000)
def _stored_subject(layout: Layout, digest: str) -> str | None:
    """The subject of a stored manifest. What a digest identifies never changes, so it is read once."""
    return subject_of(layout.content(digest))


def _descriptor(manifest: _Manifest, digest: str, size: int) -> dict[str, Any]:
    media_type = manifest.media_type or (OCI_MANIFEST if manifest.manifests is None else OCI_INDEX)
    # Without an artifactType, an image's is the media type of its configuration.
    artifact_type = manifest.artifact_type or (manifest.config.media_type if manifest.config else "")
    descriptor: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": size}
    if artifact_type:
        descriptor["artifactType"] = artifact_type
    if manifest.annotations:
        descriptor["annotations"] = manifest.annotations
    return descriptor


def _decoded(content: bytes) -> _Manifest:
    with contextlib.suppress(msgspec.MsgspecError):
        return msgspec.json.decode(content, type=_Manifest)
    return _Manifest()
