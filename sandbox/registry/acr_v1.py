"""Azure's own registry API (`/acr/v1/`): repositories, tags and manifests with their attributes.

Source: Azure REST API specification, Azure.ContainerRegistry 2021-07-01.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from aiohttp import web

from sandbox.registry.auth import RegistryAuth
from sandbox.registry.describe import manifest_body, repository_body, tag_body
from sandbox.registry.front import origin
from sandbox.registry.layout import Entry
from sandbox.registry.locks import AttributesChange
from sandbox.registry.names import digest_name, repository_name, tag_name
from sandbox.registry.paging import page
from sandbox.registry.registry import Registry
from sandbox.registry.rights import CATALOG, DELETED_CATALOG, Principal
from sandbox.web import Call, Fault, Handler, Surface, json_answer


class MetadataApi:
    """`/acr/v1/` of every registry that `find` returns for a host name."""

    def __init__(self, auth: RegistryAuth, find: Callable[[str], Registry]) -> None:
        self._auth, self._find = auth, find

    def mount(self, surface: Surface) -> None:
        """Add the operations to a surface. Like Azure's, the API accepts any api-version or none."""
        operations: list[tuple[str, str, Handler]] = [
            ("GET", "/acr/v1/_catalog", self._catalog),
            ("GET", "/acr/v1/_deleted/_catalog", self._deleted_catalog),
            ("GET", "/acr/v1/_deleted/{repository:rest}/_tags", self._deleted_tags),
            ("GET", "/acr/v1/_deleted/{repository:rest}/_manifests", self._deleted_manifests),
            ("GET", "/acr/v1/{repository:rest}/_tags/{tag}", self._get_tag),
            ("PATCH", "/acr/v1/{repository:rest}/_tags/{tag}", self._change_tag),
            ("DELETE", "/acr/v1/{repository:rest}/_tags/{tag}", self._delete_tag),
            ("GET", "/acr/v1/{repository:rest}/_tags", self._tags),
            ("GET", "/acr/v1/{repository:rest}/_manifests/{digest}", self._get_manifest),
            ("PATCH", "/acr/v1/{repository:rest}/_manifests/{digest}", self._change_manifest),
            ("DELETE", "/acr/v1/{repository:rest}/_manifests/{digest}", self._delete_manifest),
            ("GET", "/acr/v1/{repository:rest}/_manifests", self._manifests),
            ("GET", "/acr/v1/{repository:rest}", self._get_repository),
            ("PATCH", "/acr/v1/{repository:rest}", self._change_repository),
            ("DELETE", "/acr/v1/{repository:rest}", self._delete_repository),
        ]
        for method, pattern, handler in operations:
            surface.operation(method, pattern)(handler)

    async def _catalog(self, call: Call) -> web.StreamResponse:
        """List the repositories."""
        registry = self._find(call.host)
        self._auth.authorize(call, registry, CATALOG)
        names = [name for name in registry.layout.repositories() if registry.locks.get(name).list_enabled]
        names, headers = page(call, names)
        return json_answer({"repositories": names}, headers=headers)

    async def _deleted_catalog(self, call: Call) -> web.StreamResponse:
        """The soft-deleted repositories: always empty, because soft delete cannot be enabled here."""
        self._auth.authorize(call, self._find(call.host), DELETED_CATALOG)
        return json_answer({"repositories": []})

    async def _deleted_tags(self, call: Call) -> web.StreamResponse:
        """The soft-deleted tags of a repository: always empty, because soft delete cannot be enabled here."""
        _, repository, _ = self._enter(call, "deleted_read")
        return json_answer({"registry": call.host, "imageName": repository, "tags": []})

    async def _deleted_manifests(self, call: Call) -> web.StreamResponse:
        """The soft-deleted manifests of a repository: always empty, because soft delete cannot be enabled here."""
        _, repository, _ = self._enter(call, "deleted_read")
        return json_answer({"registry": call.host, "imageName": repository, "manifests": []})

    async def _get_repository(self, call: Call) -> web.StreamResponse:
        """The attributes of a repository."""
        registry, repository, _ = self._existing(call, "metadata_read")
        return json_answer(repository_body(registry, call.host, repository))

    async def _change_repository(self, call: Call) -> web.StreamResponse:
        """Lock or unlock a repository."""
        registry, repository, _ = self._existing(call, "metadata_write")
        registry.locks.change(repository, await _change(call))
        return json_answer(repository_body(registry, call.host, repository))

    async def _delete_repository(self, call: Call) -> web.StreamResponse:
        """Delete a repository with all its content."""
        registry, repository, caller = self._enter(call, "delete")
        digests, tags = await registry.delete_repository(repository, origin(call, caller))
        return json_answer({"manifestsDeleted": digests, "tagsDeleted": tags}, 202)

    async def _tags(self, call: Call) -> web.StreamResponse:
        """List the tags of a repository with their attributes."""
        registry, repository, _ = self._existing(call, "metadata_read")
        digest = call.query.get("digest")
        tags = [tag for tag in registry.layout.tags(repository) if digest in (None, tag.digest)]
        tags = [tag for tag in tags if registry.locks.get(f"{repository}:{tag.name}").list_enabled]
        found, headers = page(call, _ordered(call, tags), _name)
        bodies = [tag_body(registry, repository, tag) for tag in found]
        return json_answer({"registry": call.host, "imageName": repository, "tags": bodies}, headers=headers)

    async def _get_tag(self, call: Call) -> web.StreamResponse:
        """The attributes of a tag."""
        return self._tag_answer(call, *self._tag(call, "metadata_read"))

    async def _change_tag(self, call: Call) -> web.StreamResponse:
        """Lock or unlock a tag."""
        registry, repository, tag = self._tag(call, "metadata_write")
        registry.locks.change(f"{repository}:{tag.name}", await _change(call))
        return self._tag_answer(call, registry, repository, tag)

    async def _delete_tag(self, call: Call) -> web.StreamResponse:
        """Remove a tag; its manifest is retained."""
        registry, repository, _ = self._enter(call, "delete")
        await registry.untag(repository, tag_name(call.params["tag"]))
        return web.Response(status=202)

    async def _manifests(self, call: Call) -> web.StreamResponse:
        """List the manifests of a repository with their attributes."""
        registry, repository, _ = self._existing(call, "metadata_read")
        manifests = registry.layout.manifests(repository)
        manifests = [m for m in manifests if registry.locks.get(f"{repository}@{m.digest}").list_enabled]
        found, headers = page(call, _ordered(call, manifests), _name)
        tags = registry.layout.tags(repository)
        bodies = [manifest_body(registry, repository, manifest, tags) for manifest in found]
        return json_answer({"registry": call.host, "imageName": repository, "manifests": bodies}, headers=headers)

    async def _get_manifest(self, call: Call) -> web.StreamResponse:
        """The attributes of a manifest."""
        return self._manifest_answer(call, *self._manifest(call, "metadata_read"))

    async def _change_manifest(self, call: Call) -> web.StreamResponse:
        """Lock or unlock a manifest."""
        registry, repository, manifest = self._manifest(call, "metadata_write")
        registry.locks.change(f"{repository}@{manifest.digest}", await _change(call))
        return self._manifest_answer(call, registry, repository, manifest)

    async def _delete_manifest(self, call: Call) -> web.StreamResponse:
        """Delete a manifest with its tags."""
        registry, repository, caller = self._enter(call, "delete")
        digest = digest_name(call.params["digest"])
        return (await registry.delete_manifest(repository, digest, origin(call, caller))).response()

    def _enter(self, call: Call, action: str) -> tuple[Registry, str, Principal]:
        registry = self._find(call.host)
        repository = repository_name(call.params["repository"])
        return registry, repository, self._auth.authorize(call, registry, repository, action)

    def _existing(self, call: Call, action: str) -> tuple[Registry, str, Principal]:
        registry, repository, caller = self._enter(call, action)
        if not registry.layout.holds(repository):
            raise Fault(404, "NAME_UNKNOWN", f"repository name not known to registry: '{repository}'")
        return registry, repository, caller

    def _tag(self, call: Call, action: str) -> tuple[Registry, str, Entry]:
        registry, repository, _ = self._existing(call, action)
        name = tag_name(call.params["tag"])
        tag = registry.layout.tag(repository, name)
        if tag is None:
            raise Fault(404, "TAG_UNKNOWN", f"the specified tag does not exist: '{repository}:{name}'")
        return registry, repository, tag

    def _manifest(self, call: Call, action: str) -> tuple[Registry, str, Entry]:
        registry, repository, _ = self._existing(call, action)
        digest = digest_name(call.params["digest"])
        manifest = registry.layout.manifest(repository, digest)
        if manifest is None:
            raise Fault(404, "MANIFEST_UNKNOWN", f"manifest {digest} is not found in '{repository}'")
        return registry, repository, manifest

    @staticmethod
    def _tag_answer(call: Call, registry: Registry, repository: str, tag: Entry) -> web.Response:
        body = tag_body(registry, repository, tag)
        return json_answer({"registry": call.host, "imageName": repository, "tag": body})

    @staticmethod
    def _manifest_answer(call: Call, registry: Registry, repository: str, manifest: Entry) -> web.Response:
        body = manifest_body(registry, repository, manifest, registry.layout.tags(repository))
        return json_answer({"registry": call.host, "imageName": repository, "manifest": body})


async def _change(call: Call) -> AttributesChange:
    change = await call.body(AttributesChange)
    if not any(value is not None for value in msgspec.structs.astuple(change)):
        raise Fault(400, "UNSUPPORTED", "the body changes no attribute")
    return change


def _ordered(call: Call, entries: Sequence[Entry]) -> Sequence[Entry]:
    order = call.query.get("orderby", "none")
    if order not in ("", "none", "timedesc", "timeasc"):
        raise Fault(400, "UNSUPPORTED", f"the orderby '{order}' is not one of none, timedesc, timeasc")
    if order.startswith("time"):
        return sorted(entries, key=lambda entry: entry.updated, reverse=order == "timedesc")
    return entries


def _name(entry: Entry) -> str:
    return entry.name
