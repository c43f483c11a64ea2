"""Referrers: the manifests of a repository whose `subject` is another one, such as signatures and SBOMs.

Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from sandbox.registry.layout import Layout, read_stored
from sandbox.registry.names import is_digest
from sandbox.registry.oci import OCI_INDEX, OCI_MANIFEST


class _Config(msgspec.Struct, rename="camel"):
    media_type: str | None = None


class _Subject(msgspec.Struct):
    digest: str | None = None


class _Manifest(msgspec.Struct, rename="camel"):
    media_type: str | None = None
    artifact_type: str | None = None
    config: _Config | None = None
    manifests: list[msgspec.Raw] | None = None
    annotations: dict[str, str] | None = None
    subject: _Subject | None = None


def subject_of(content: bytes) -> str | None:
    """The digest of the subject that a manifest refers to; None if it has none, or one that is no digest."""
    subject = read_stored(content, _Manifest).subject
    return subject.digest if subject and subject.digest and is_digest(subject.digest) else None


def referrers(layout: Layout, repository: str, digest: str) -> Iterator[dict[str, Any]]:
    """The descriptors of the manifests that refer to a digest, in lexical order of their own."""
    for referrer in by_subject(layout, repository).get(digest, ()):
        content = layout.content(referrer)
        yield _descriptor(read_stored(content, _Manifest), referrer, len(content))


def by_subject(layout: Layout, repository: str) -> dict[str, list[str]]:
    """The digests of all referrers of a repository, by the digest that they refer to."""
    found: dict[str, list[str]] = {}
    for entry in layout.manifests(repository):
        if subject := _stored_subject(layout, entry.digest):
            found.setdefault(subject, []).append(entry.digest)
    return found


@lru_cache(maxsize=10_000)
def _stored_subject(layout: Layout, digest: str) -> str | None:
    """The subject of a stored manifest. What a digest identifies never changes, so it is read once."""
    return subject_of(layout.content(digest))


def _descriptor(manifest: _Manifest, digest: str, size: int) -> dict[str, Any]:
    media_type = manifest.media_type or (OCI_MANIFEST if manifest.manifests is None else OCI_INDEX)
    # Without an artifactType, an image's is the media type of its configuration.
    artifact_type = manifest.artifact_type or (manifest.config.media_type if manifest.config else None)
    descriptor: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": size}
    if artifact_type:
        descriptor["artifactType"] = artifact_type
    if manifest.annotations:
        descriptor["annotations"] = manifest.annotations
    return descriptor
