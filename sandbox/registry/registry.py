"""One registry: every change of its manifests is made here, under its locks, and announced to its observers.

Pushes and deletes are observed here instead of through distribution's notifications: those contain no actor (only
the API in front knows the caller) and are lost if the process restarts while its listener is unavailable.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote, urlsplit

import msgspec

from sandbox.registry.distribution import Answer, Distribution
from sandbox.registry.layout import Layout, read_stored
from sandbox.registry.locks import Locks
from sandbox.registry.names import is_digest
from sandbox.registry.records import Origin, Push
from sandbox.registry.referrers import by_subject
from sandbox.web import Fault

_MANIFEST_LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Realm:
    """A registry's token service (`url`), the tokens' audience (`service`), the action that listing tags requires."""

    url: str
    service: str
    listing: str = "metadata_read"


@dataclass(frozen=True, slots=True)
class _Manifest:
    repository: str
    tag: str | None
    digest: str
    media_type: str
    size: int = 0


class _Stored(msgspec.Struct, rename="camel"):
    media_type: str | None = None
    manifests: list[msgspec.Raw] | None = None


@dataclass(eq=False)
class Registry:
    """A registry's process, content and locks, and whether anonymous pull is enabled.

    `allows` says whether its network rules admit a client with an IP address.
    """

    name: str
    realm: Realm
    distribution: Distribution
    layout: Layout
    locks: Locks
    announce: Callable[[Push], None]
    anonymous_pull: bool = False
    allows: Callable[[str], bool] = lambda address: True

    def __post_init__(self) -> None:
        # Held from the check of a lock to the write that it allows: neither may change in between.
        self._changing = asyncio.Lock()

    async def put_manifest(
        self, repository: str, reference: str, body: bytes, media_type: str, origin: Origin
    ) -> Answer:
        """Store a manifest under a tag or its digest; a 201 is announced.

        Raises:
            Fault: 405 if a lock forbids it, 413 if it is too large.
        """
        if len(body) > _MANIFEST_LIMIT_BYTES:
            raise Fault(413, "SIZE_INVALID", f"the manifest is larger than {_MANIFEST_LIMIT_BYTES} bytes")
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        subjects = [repository, f"{repository}@{digest}"]
        tag = None if is_digest(reference) else reference
        if tag:
            subjects.append(f"{repository}:{tag}")
        async with self._changing:
            self.locks.require_write(*subjects)
            target = f"/v2/{repository}/manifests/{reference}"
            answer = await self.distribution.call("PUT", target, body=body, headers={"Content-Type": media_type})
            if answer.status == 201:
                self._announce("push", _Manifest(repository, tag, digest, media_type, len(body)), origin)
        return answer

    async def delete_manifest(self, repository: str, digest: str, origin: Origin) -> Answer:
        """Delete a manifest, the tags that point at it, and its referrers that are not locked; a 202 is announced.

        A locked tag also protects its manifest: a deletion would remove the tag.
        Source: https://learn.microsoft.com/azure/container-registry/container-registry-manage-artifact

        Raises:
            Fault: 405 if a lock forbids it.
        """
        async with self._changing:
            self.locks.require_delete(repository)
            tags = self._tags_by_digest(repository)
            answer = await self._delete(repository, digest, tags, origin)
            if answer.status == 202:
                await self._delete_referrers(repository, digest, tags, origin)
        return answer

    async def _delete(self, repository: str, digest: str, tags: Mapping[str, list[str]], origin: Origin) -> Answer:
        subjects = [f"{repository}@{digest}", *(f"{repository}:{tag}" for tag in tags.get(digest, ()))]
        self.locks.require_delete(*subjects)
        manifest = _Manifest(repository, None, digest, self.media_type(digest))
        answer = await self.distribution.call("DELETE", f"/v2/{repository}/manifests/{digest}")
        if answer.status == 202:
            for subject in subjects:
                self.locks.forget(subject)
            self._announce("delete", manifest, origin)
        return answer

    async def _delete_referrers(
        self, repository: str, digest: str, tags: Mapping[str, list[str]], origin: Origin
    ) -> None:
        # All are listed once: a chain of them would take quadratic time otherwise, and nothing else changes meanwhile.
        referrers, gone = by_subject(self.layout, repository), [digest]
        while gone:
            for referrer in referrers.get(gone.pop(), ()):
                with contextlib.suppress(Fault):  # a locked one stays, as one whose process is away does
                    if (await self._delete(repository, referrer, tags, origin)).status == 202:
                        gone.append(referrer)

    def _tags_by_digest(self, repository: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for tag in self.layout.tags(repository):
            found.setdefault(tag.digest, []).append(tag.name)
        return found

    async def untag(self, repository: str, tag: str) -> None:
        """Remove only a tag. Azure raises no event for it.

        Raises:
            Fault: 404 TAG_UNKNOWN, 405 if a lock forbids it.
        """
        async with self._changing:
            if self.layout.tag(repository, tag) is None:
                raise Fault(404, "TAG_UNKNOWN", f"the tag '{tag}' does not exist in '{repository}'")
            self.locks.require_delete(repository, f"{repository}:{tag}")
            self.layout.untag(repository, tag)
            self.locks.forget(f"{repository}:{tag}")

    async def delete_repository(self, repository: str, origin: Origin) -> tuple[list[str], list[str]]:
        """Delete a repository and return its content (digests, tags); each digest is announced.

        Raises:
            Fault: 404 NAME_UNKNOWN, 405 if any lock in it forbids it.
        """
        async with self._changing:
            manifests, tags = self.layout.manifests(repository), self.layout.tags(repository)
            if not manifests:
                raise Fault(404, "NAME_UNKNOWN", f"the repository '{repository}' does not exist")
            inside = [f"{repository}@{m.name}" for m in manifests] + [f"{repository}:{t.name}" for t in tags]
            self.locks.require_delete(repository, *inside)
            self.layout.remove(repository)
            for subject in (repository, *inside):
                self.locks.forget(subject)
            for entry in manifests:
                gone = _Manifest(repository, None, entry.digest, self.media_type(entry.digest))
                self._announce("delete", gone, origin)
            return [m.name for m in manifests], [t.name for t in tags]

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a repository contains a blob."""
        return (await self.distribution.call("HEAD", f"/v2/{repository}/blobs/{digest}")).status == 200

    async def mount_blob(self, repository: str, digest: str, source: str) -> bool:
        """Mount a blob from another repository of this registry; False if it is not there."""
        target = f"/v2/{repository}/blobs/uploads/?mount={quote(digest)}&from={quote(source, safe='')}"
        return (await self.distribution.call("POST", target)).status == 201

    async def put_blob(self, repository: str, digest: str, content: bytes | AsyncIterator[bytes]) -> None:
        """Store a blob.

        Raises:
            Fault: the error of the process, 400 DIGEST_INVALID if the content has another digest.
        """
        opened = await self.distribution.call("POST", f"/v2/{repository}/blobs/uploads/")
        _expect(opened, 202, f"an upload to '{repository}'")
        location = urlsplit(opened.headers["Location"])
        target = f"{location.path}?{location.query}&digest={quote(digest)}"
        headers = {"Content-Type": "application/octet-stream"}
        _expect(await self.distribution.call("PUT", target, body=content, headers=headers), 201, f"the blob {digest}")

    def media_type(self, digest: str) -> str:
        """The media type of a stored manifest; the OCI type if the manifest does not declare one."""
        stored = read_stored(self.layout.content(digest), _Stored)
        kind = "manifest" if stored.manifests is None else "index"
        return stored.media_type or f"application/vnd.oci.image.{kind}.v1+json"

    def _announce(self, action: Literal["push", "delete"], manifest: _Manifest, origin: Origin) -> None:
        push = Push(
            id=str(uuid.uuid4()),
            request_id=str(uuid.uuid4()),
            registry=self.name,
            repository=manifest.repository,
            tag=manifest.tag,
            digest=manifest.digest,
            media_type=manifest.media_type,
            size=manifest.size,
            action=action,
            actor=origin.actor,
            method=origin.method,
            user_agent=origin.user_agent,
            timestamp=datetime.now(UTC),
        )
        self.announce(push)


def _expect(answer: Answer, status: int, what: str) -> None:
    if answer.status != status:
        detail = answer.body.decode(errors="replace")[:300]
        raise Fault(answer.status if answer.status >= 400 else 500, "UNKNOWN", f"{what} was refused: {detail}")
