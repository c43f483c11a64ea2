"""importImage: copies an image into a registry, by digest, with all its platforms and without its referrers.

The source is read over the network by its real host name and with its own tokens, so that an import is refused
whenever a pull would be; the target is written through `Registry`, so that locks apply and events are raised.
Source: https://learn.microsoft.com/azure/container-registry/container-registry-import-images
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from aiohttp import ClientSession, web

from sandbox.arm.operations import Operations
from sandbox.arm.surface import ResourceId
from sandbox.registry.accounts import REFRESH_TOKEN_USER, Accounts
from sandbox.registry.arm.bodies import ImportImage, ImportSource
from sandbox.registry.arm.registries import REGISTRY, RegistryControl
from sandbox.registry.names import ImageReference, digest_name, repository_name
from sandbox.registry.oci import Manifest
from sandbox.registry.records import API_VERSIONS, PROVIDER, Origin, RegistryRecord
from sandbox.registry.registry import Registry
from sandbox.registry.source import SourceRepository, blobs, children
from sandbox.store import Collection
from sandbox.web import Call, Fault, Surface, json_answer

# https://learn.microsoft.com/azure/container-registry/container-registry-import-images#limitations
_MOST_MANIFESTS = 50


@dataclass(frozen=True, slots=True)
class _Plan:
    host: str
    image: ImageReference
    login: tuple[str, str] | None
    tags: tuple[tuple[str, str], ...]
    untagged: tuple[str, ...]
    force: bool
    origin: Origin

    @property
    def repositories(self) -> list[str]:
        return list(dict.fromkeys([*(repository for repository, _ in self.tags), *self.untagged]))


class ImportThrottle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PUT /registries/{registry}/imports`."""

    throttled: bool


class Imports:
    """The importImage operation of every registry.

    Args:
        control: finds the target registry of a call.
        records: the existing registries, to find a source by its resource id.
        accounts: issues the login for a source that is given by its resource id.
        at: returns the running registry of a host name.
        outside: returns a session that reaches every registry by its real host name.
        operations: runs the copy as a long-running operation.
    """

    def __init__(
        self,
        control: RegistryControl,
        records: Collection[RegistryRecord],
        accounts: Accounts,
        at: Callable[[str], Registry],
        outside: Callable[[], ClientSession],
        operations: Operations,
    ) -> None:
        self._control, self._records, self._accounts = control, records, accounts
        self._at, self._outside, self._operations = at, outside, operations
        self._throttled: set[str] = set()

    def mount(self, arm: Surface) -> None:
        """Add the operation to the ARM surface."""
        arm.operation("POST", REGISTRY + "/importImage", versions=API_VERSIONS)(self._import)

    def mount_control(self, local: Surface) -> None:
        """Add the operation that throttles imports to the sandbox's own surface."""

        @local.operation("PUT", "/registries/{registry}/imports")
        async def throttle_imports(call: Call) -> web.StreamResponse:
            """Reject every import into a registry with 429, or stop doing so."""
            name, body = call.params["registry"].lower(), await call.body(ImportThrottle)
            (self._throttled.add if body.throttled else self._throttled.discard)(name)
            return json_answer(body)

    async def _import(self, call: Call) -> web.StreamResponse:
        """Import an image from another registry."""
        record = self._control.require(call)
        if record.name.lower() in self._throttled:
            message = "The registry has received too many import requests. Please try again later."
            raise Fault(429, "TooManyRequests", message, {"Retry-After": "1"})
        plan = self._plan(await call.body(ImportImage), str(call.claims.get("oid", "")))
        return self._operations.accept(call, PROVIDER, self._run(self._at(record.login_server), plan))

    def _plan(self, requested: ImportImage, actor: str) -> _Plan:
        image = ImageReference.parse(requested.source.source_image)
        host, login = self._source(requested.source, image.repository, actor)
        targets = [ImageReference.parse(target) for target in requested.target_tags or ()]
        if any(target.digest for target in targets):
            raise Fault(400, "InvalidParameter", "targetTags take the form repository[:tag], without a digest.")
        untagged = tuple(map(repository_name, requested.untagged_target_repositories or ()))
        if not targets and not untagged:
            raise Fault(400, "InvalidParameter", "Give targetTags or untaggedTargetRepositories.")
        tags = tuple((target.repository, target.tag or image.tag or "latest") for target in targets)
        return _Plan(host, image, login, tags, untagged, requested.mode == "Force", Origin(actor, "PUT", "importImage"))

    def _source(self, source: ImportSource, repository: str, actor: str) -> tuple[str, tuple[str, str] | None]:
        if bool(source.registry_uri) == bool(source.resource_id):
            raise Fault(400, "InvalidParameter", "Give the source's registryUri or its resourceId, and not both.")
        if source.registry_uri:
            host = source.registry_uri.removeprefix("https://").rstrip("/").lower()
            given = source.credentials
            return host, (given.username or REFRESH_TOKEN_USER, given.password) if given else None
        resource = ResourceId.parse(source.resource_id or "")
        record = self._records.get(resource.name)
        if record is None or record.id.lower() != str(resource).lower():
            raise Fault(404, "SourceRegistryNotFound", f"The source registry '{source.resource_id}' was not found.")
        return record.login_server, self._accounts.issue(record.name, actor, {repository: ("pull",)})

    async def _run(self, target: Registry, plan: _Plan) -> None:
        _check_targets(target, plan)
        async with self._outside() as session:
            source = SourceRepository(session, plan.host, plan.image.repository, plan.login)
            manifests = await _collect(source, plan.image.reference)
            if plan.image.digest and manifests[-1].digest != plan.image.digest:
                message = f"The source registry gave {manifests[-1].digest} for {plan.image.digest}."
                raise Fault(400, "InvalidImage", message)
            mountable = plan.image.repository if target.realm.service == plan.host else None
            copy = _Copy(target, source, plan.origin, mountable)
            for repository in plan.repositories:
                await copy.into(repository, manifests)
        for repository in plan.untagged:
            await copy.point(repository, manifests[-1].digest, manifests[-1])
        for repository, tag in plan.tags:
            await copy.point(repository, tag, manifests[-1])


def _check_targets(target: Registry, plan: _Plan) -> None:
    # Checked before anything is copied: a refused import leaves nothing behind.
    for repository, tag in plan.tags:
        if not plan.force and target.layout.tag(repository, tag):
            raise Fault(409, "Conflict", f"Tag {repository}:{tag} already exists in target registry.")
        target.locks.require_write(repository, f"{repository}:{tag}")
    for repository in plan.untagged:
        target.locks.require_write(repository)


async def _collect(source: SourceRepository, reference: str, room: int = _MOST_MANIFESTS) -> list[Manifest]:
    """The manifests of an image, each after those that it references; the image's own is the last.

    Raises:
        Fault: 400 InvalidImage if there are more than `room` besides its own, however they are nested.
    """
    if room < 0:
        raise Fault(400, "InvalidImage", f"The image's index has more than {_MOST_MANIFESTS} manifests.")
    top = await source.manifest(reference)
    found: list[Manifest] = []
    for digest in children(top):
        found += await _collect(source, digest_name(digest), room - len(found) - 1)
    return [*found, top]


@dataclass(slots=True)
class _Copy:
    """Copies manifests and blobs from one source repository into repositories of a target.

    `mountable` is the source repository's name if source and target are the same registry.
    """

    target: Registry
    source: SourceRepository
    origin: Origin
    mountable: str | None
    _written: set[tuple[str, str]] = field(default_factory=set)

    async def into(self, repository: str, manifests: list[Manifest]) -> None:
        """Copy the blobs of all manifests, and all manifests but the last, which `point` writes."""
        for manifest in manifests:
            for digest in blobs(manifest):
                await self._blob(repository, digest_name(digest))
        for manifest in manifests[:-1]:
            if self.target.layout.manifest(repository, manifest.digest) is None:
                await self.point(repository, manifest.digest, manifest)

    async def point(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Write a manifest under a tag or its digest."""
        answer = await self.target.put_manifest(repository, reference, manifest.body, manifest.media_type, self.origin)
        if answer.status != 201:
            detail = answer.body.decode(errors="replace")[:300]
            raise Fault(400, "ImportFailed", f"{repository}:{reference} could not be written: {detail}")

    async def _blob(self, repository: str, digest: str) -> None:
        if (repository, digest) in self._written:
            return
        held = await self.target.has_blob(repository, digest)
        if not held and self.mountable:
            held = await self.target.mount_blob(repository, digest, self.mountable)
        if not held:
            await self.target.put_blob(repository, digest, self.source.blob(digest))
        self._written.add((repository, digest))
