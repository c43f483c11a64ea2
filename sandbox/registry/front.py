"""The OCI distribution API (`/v2/`) in front of the processes: rights, locks and manifest events.

Blobs are streamed through; manifests are written by `Registry`; tags and the catalog are listed from the store.
Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from aiohttp import web

from sandbox.registry.auth import RegistryAuth
from sandbox.registry.names import digest_name, is_digest, repository_name, tag_name
from sandbox.registry.oci import OCI_INDEX
from sandbox.registry.paging import page
from sandbox.registry.pull_limit import PullLimit
from sandbox.registry.records import Origin
from sandbox.registry.referrers import referrers, subject_of
from sandbox.registry.registry import Registry
from sandbox.registry.rights import CATALOG, Principal
from sandbox.web import Call, Fault, Handler, Surface, json_answer

_FORWARDED = {"X-Forwarded-Proto": "https"}
_UPLOAD = re.compile(r"[0-9a-f-]{1,64}")
_API = {"Docker-Distribution-Api-Version": "registry/2.0"}


class DistributionApi:
    """`/v2/` of every registry that `find` returns for a host name; `limit`, if given, counts pulls."""

    def __init__(self, auth: RegistryAuth, find: Callable[[str], Registry], limit: PullLimit | None = None) -> None:
        self._auth, self._find, self._limit = auth, find, limit

    def mount(self, surface: Surface) -> None:
        """Add the operations to a surface."""
        operations: list[tuple[str, str, Handler]] = [
            ("GET HEAD", "/v2/", self._check),
            ("GET HEAD", "/v2", self._check),
            ("GET", "/v2/_catalog", self._catalog),
            ("GET", "/v2/{repository:rest}/tags/list", self._tags),
            ("GET HEAD", "/v2/{repository:rest}/manifests/{reference}", self._get_manifest),
            ("PUT", "/v2/{repository:rest}/manifests/{reference}", self._put_manifest),
            ("DELETE", "/v2/{repository:rest}/manifests/{reference}", self._delete_manifest),
            ("GET", "/v2/{repository:rest}/referrers/{digest}", self._referrers),
            ("POST", "/v2/{repository:rest}/blobs/uploads/", self._begin_upload),
            ("GET PATCH PUT DELETE", "/v2/{repository:rest}/blobs/uploads/{upload}", self._upload),
            ("GET HEAD", "/v2/{repository:rest}/blobs/{digest}", self._get_blob),
            ("DELETE", "/v2/{repository:rest}/blobs/{digest}", self._delete_blob),
        ]
        for methods, pattern, handler in operations:
            for method in methods.split():
                surface.operation(method, pattern)(handler)

    async def _check(self, call: Call) -> web.StreamResponse:
        """Check that the API is available and the caller is authenticated."""
        self._auth.authorize(call, self._find(call.host))
        return json_answer({}, headers=_API)

    async def _catalog(self, call: Call) -> web.StreamResponse:
        """List the repositories."""
        registry = self._find(call.host)
        self._auth.authorize(call, registry, CATALOG)
        names = [name for name in registry.layout.repositories() if registry.locks.get(name).list_enabled]
        names, headers = page(call, names)
        return json_answer({"repositories": names}, headers=headers | _API)

    async def _tags(self, call: Call) -> web.StreamResponse:
        """List the tags of a repository."""
        registry, repository, _ = self._enter(call, self._find(call.host).realm.listing)
        if not registry.layout.holds(repository):
            raise Fault(404, "NAME_UNKNOWN", f"the repository '{repository}' does not exist")
        tags = [entry.name for entry in registry.layout.tags(repository)]
        names, headers = page(call, [t for t in tags if registry.locks.get(f"{repository}:{t}").list_enabled])
        return json_answer({"name": repository, "tags": names}, headers=headers | _API)

    async def _get_manifest(self, call: Call) -> web.StreamResponse:
        """Get a manifest by tag or digest."""
        registry, repository, caller = self._enter(call, "pull")
        reference = _reference(call)
        tag = None if is_digest(reference) else registry.layout.tag(repository, reference)
        subjects = [f"{repository}:{tag.name}"] if tag else []
        registry.locks.require_read(repository, f"{repository}@{tag.digest if tag else reference}", *subjects)
        headers = self._limit.ask(call, caller) if self._limit else None
        return await registry.distribution.backend.forward(
            call.request, drop=("authorization",), add=_FORWARDED, tell=headers
        )

    async def _put_manifest(self, call: Call) -> web.StreamResponse:
        """Push a manifest under a tag or its digest."""
        registry, repository, caller = self._enter(call, "pull", "push")
        media_type = call.request.headers.get("Content-Type", "")
        body = await call.request.read()
        answer = await registry.put_manifest(repository, _reference(call), body, media_type, origin(call, caller))
        response = answer.response()
        if answer.status == 201 and (subject := subject_of(body)):
            response.headers["OCI-Subject"] = subject  # the client need not maintain a referrers tag
        return response

    async def _delete_manifest(self, call: Call) -> web.StreamResponse:
        """Delete a manifest by digest."""
        registry, repository, caller = self._enter(call, "delete")
        digest = digest_name(call.params["reference"])
        return (await registry.delete_manifest(repository, digest, origin(call, caller))).response()

    async def _referrers(self, call: Call) -> web.StreamResponse:
        """List the manifests whose subject is a digest, all or of one `artifactType`; empty for an unknown digest."""
        registry, repository, _ = self._enter(call, "pull")
        registry.locks.require_read(repository)
        wanted = call.query.get("artifactType")
        found = list(referrers(registry.layout, repository, digest_name(call.params["digest"])))
        chosen = [one for one in found if wanted is None or one.get("artifactType") == wanted]
        shown, headers = page(call, chosen, _digest_of)
        if wanted is not None:
            headers["OCI-Filters-Applied"] = "artifactType"
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": shown}
        return web.Response(body=msgspec.json.encode(body), content_type=OCI_INDEX, headers=headers | _API)

    async def _begin_upload(self, call: Call) -> web.StreamResponse:
        """Begin a blob upload, or mount a blob from another repository that the caller may pull from."""
        registry, _, caller = self._enter(call, "pull", "push")
        query = dict(parse_qsl(call.request.rel_url.raw_query_string))
        if "mount" in query and "pull" not in caller.rights.allowed(query.get("from", "")):
            query = {}  # per the specification, a mount that is not possible begins an upload
        return await self._forward(call, registry, query=urlencode(query))

    async def _upload(self, call: Call) -> web.StreamResponse:
        """Continue, query, finish or cancel a blob upload."""
        if not _UPLOAD.fullmatch(call.params["upload"]):
            raise Fault(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        registry, _, _ = self._enter(call, "pull", "push")
        return await self._forward(call, registry)

    async def _get_blob(self, call: Call) -> web.StreamResponse:
        """Get a blob."""
        registry, repository, _ = self._enter(call, "pull")
        digest_name(call.params["digest"])
        registry.locks.require_read(repository)
        return await self._forward(call, registry)

    async def _delete_blob(self, call: Call) -> web.StreamResponse:
        """Delete a blob."""
        registry, repository, _ = self._enter(call, "delete")
        digest_name(call.params["digest"])
        registry.locks.require_delete(repository)
        return await self._forward(call, registry)

    def _enter(self, call: Call, *actions: str) -> tuple[Registry, str, Principal]:
        registry = self._find(call.host)
        repository = repository_name(call.params["repository"])
        return registry, repository, self._auth.authorize(call, registry, repository, *actions)

    @staticmethod
    async def _forward(call: Call, registry: Registry, query: str | None = None) -> web.StreamResponse:
        backend = registry.distribution.backend
        return await backend.forward(call.request, query=query, drop=("authorization",), add=_FORWARDED)


def origin(call: Call, caller: Principal) -> Origin:
    """The origin of a request, for the events that it raises."""
    return Origin(caller.name, call.request.method, call.request.headers.get("User-Agent", ""))


def _digest_of(descriptor: dict[str, Any]) -> str:
    return str(descriptor["digest"])


def _reference(call: Call) -> str:
    raw = call.params["reference"]
    return digest_name(raw) if "sha256:" in raw.replace("%3A", ":") else tag_name(raw)
