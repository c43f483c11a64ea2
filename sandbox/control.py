"""The sandbox's own operations outside any service: health, the list of resources, repositories from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.surface import ResourceId, ResourceIndex
from sandbox.git import GitHub
from sandbox.web import Call, Fault, Surface, json_answer


class RepositoryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PUT /git/{owner}/{name}`: the folder with the files of the first commit."""

    source: str


class Listed(msgspec.Struct, frozen=True):
    """One resource as listed by `GET /resources`; the address is "" if it has none."""

    type: str
    group: str
    name: str
    address: str


def mount_control(local: Surface, github: GitHub, index: ResourceIndex) -> None:
    """Add the operations to the sandbox's own surface."""

    @local.operation("GET", "/health")
    async def health(call: Call) -> web.StreamResponse:
        """Readiness: responds only when everything is started."""
        return json_answer({"status": "ready"})

    @local.operation("GET", "/resources")
    async def list_resources(call: Call) -> web.StreamResponse:
        """All resources, with their addresses."""
        return json_answer([_listed(body) for body in index.list()])

    @local.operation("PUT", "/git/{owner}/{name}")
    async def create_repository(call: Call) -> web.StreamResponse:
        """Create a Git repository with a folder's files as its first commit; an existing one is not changed."""
        source = _folder((await call.body(RepositoryBody)).source)
        repository = f"{call.params['owner']}/{call.params['name']}"
        if github.exists(repository):
            return json_answer({"url": f"https://github.com/{repository}.git"})
        await github.create(repository, source)
        return json_answer({"url": f"https://github.com/{repository}.git"}, 201)


def _listed(body: Mapping[str, Any]) -> Listed:
    found = ResourceId.parse(body["id"])
    return Listed(found.type, found.group, found.name, _address(body.get("properties", {})))


def _address(properties: Mapping[str, Any]) -> str:
    """The address of a resource: each type has its own property for it."""
    if host := properties.get("defaultHostName"):
        return f"https://{host}"
    ip = (properties.get("ipAddress") or {}).get("ip")
    return str(properties.get("loginServer") or properties.get("vaultUri") or properties.get("endpoint") or ip or "")


def _folder(path: str) -> Path:
    folder = Path(path)
    if not folder.is_absolute() or not folder.is_dir():
        raise Fault(400, "InvalidSource", f"'{path}' is no absolute path of a folder.")
    return folder
