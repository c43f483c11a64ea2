"""`Microsoft.ContainerInstance/containerGroups`: the operations on container groups.

Source: https://learn.microsoft.com/rest/api/container-instances/container-groups
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.body import region
from sandbox.arm.operations import Operations
from sandbox.arm.query import only
from sandbox.arm.surface import ResourceId, ResourceIndex
from sandbox.containers.backoff import Backoff
from sandbox.containers.deployment import Deployments
from sandbox.containers.images import HostingEngine, Images, Registries
from sandbox.containers.shapes import GroupBody, GroupRecord, TagsBody
from sandbox.containers.validation import validate
from sandbox.containers.view import KIND, PROVIDER, group_view, id_of
from sandbox.instance import SUBSCRIPTION
from sandbox.store import Collection
from sandbox.web import Call, Fault, Surface, json_answer

log = logging.getLogger(__name__)

VERSIONS = (
    "2021-09-01", "2021-10-01", "2022-09-01", "2022-10-01-preview", "2023-05-01", "2024-05-01-preview",
    "2024-09-01-preview", "2024-10-01-preview", "2024-11-01-preview", "2025-09-01",
)  # fmt: skip
_SUBSCRIPTION = f"/subscriptions/{{subscription}}/providers/{PROVIDER}/{KIND}"
_RESOURCE_GROUP = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{PROVIDER}/{KIND}"
_GROUP = _RESOURCE_GROUP + "/{name}"
_LOG_LIMIT_CHARACTERS = 4 * 1024 * 1024


class ContainerGroups:
    """The container groups of one instance.

    Args:
        file: stores the groups (with their secrets: only its owner may read it).
        operations: runs the long-running operations.
        index: lists the groups for other services, and provides the managed identities.
        engine: runs the containers; it must have been started before a group is created and before `start`.
        registries: issue the credentials if a group pulls with an identity.
        restarts: the poll interval and the restart delays of containers.
    """

    def __init__(
        self,
        file: Path,
        operations: Operations,
        index: ResourceIndex,
        engine: HostingEngine,
        registries: Registries,
        *,
        restarts: Backoff | None = None,
    ) -> None:
        self._operations, self._index = operations, index
        self._records = Collection(file, GroupRecord)
        self._deployments = Deployments(self._records, engine, Images(engine, registries), restarts or Backoff())
        index.register(f"{PROVIDER}/{KIND}", lambda: self._list_views(self._records.values()))

    async def start(self) -> None:
        """Start to restore the groups that ran when the sandbox stopped; returns before they run."""
        self._deployments.resume_all()

    async def stop(self) -> None:
        """Stop and remove the containers; the groups stay in the store."""
        await self._deployments.close_all()

    async def delete_group(self, group: str) -> None:
        """Delete the container groups of a resource group; changes in progress are cancelled first."""
        await self._deployments.delete_all(str(ResourceId(group, PROVIDER, KIND, "")))

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        arm.operation("GET", _SUBSCRIPTION, versions=VERSIONS)(self._list)
        arm.operation("GET", _RESOURCE_GROUP, versions=VERSIONS)(self._list)
        arm.operation("PUT", _GROUP, versions=VERSIONS)(self._put)
        arm.operation("GET", _GROUP, versions=VERSIONS)(self._get)
        arm.operation("PATCH", _GROUP, versions=VERSIONS)(self._patch)
        arm.operation("DELETE", _GROUP, versions=VERSIONS)(self._delete)
        arm.operation("POST", _GROUP + "/start", versions=VERSIONS)(self._start)
        arm.operation("POST", _GROUP + "/stop", versions=VERSIONS)(self._stop)
        arm.operation("POST", _GROUP + "/restart", versions=VERSIONS)(self._restart)
        arm.operation("GET", _GROUP + "/containers/{container}/logs", versions=VERSIONS)(self._logs)

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create a container group, or update it in place, which restarts it. Missing properties are reset."""
        only(call)
        body = await call.body(GroupBody)
        name = call.params["name"]
        properties = validate(name, body, self._index)
        requested = GroupRecord(
            group=call.params["group"],
            name=name,
            location=region(body.location),
            tags=body.tags,
            identity=body.identity,
            properties=properties,
            images={},
        )
        work = await self._deployments.prepare(requested)
        return self._accept(call, work, status=201, body=self._view(requested))

    async def _get(self, call: Call) -> web.StreamResponse:
        """One container group with the state of its containers."""
        only(call)
        record = self._require(call)
        await self._deployments.runtime(record).refresh()
        return json_answer(self._view(self._require(call)))  # it may have been deleted during the refresh

    async def _list(self, call: Call) -> web.StreamResponse:
        """The container groups of the subscription, or of one resource group, without instance views."""
        only(call)
        group = call.params.get("group", "").lower()
        records = (r for r in self._records.values() if group in ("", r.group.lower()))
        return json_answer({"value": list(self._list_views(records))})

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change a container group's tags."""
        only(call)
        body, record = await call.body(TagsBody), self._require(call)
        if body.zones:
            raise Fault(
                400, "NotInSandbox", "'zones' is a part of Azure Container Instances that the sandbox does not have."
            )
        if body.tags is not None:
            record = self._records.put(id_of(record), msgspec.structs.replace(record, tags=body.tags))
        return json_answer(self._view(record))

    async def _delete(self, call: Call) -> web.StreamResponse:
        """Delete a container group.

        A change in progress is cancelled first.
        """
        only(call)
        record = self._records.get(self._id(call))
        view = self._view(record) if record else None
        await self._deployments.delete(self._id(call))
        return json_answer(view) if view else web.Response(status=204)

    async def _start(self, call: Call) -> web.StreamResponse:
        """Start a stopped or ended container group as new, with the images that the registry has now."""
        only(call)
        record = self._require(call)
        if self._deployments.runs(record):
            return web.Response(status=204)
        return self._accept(call, await self._deployments.prepare(msgspec.structs.replace(record, stopped=False)))

    async def _stop(self, call: Call) -> web.StreamResponse:
        """Stop a container group: containers and logs are removed, its definition stays. An ended one is unchanged."""
        only(call)
        await self._deployments.halt(self._require(call))
        return web.Response(status=204)

    async def _restart(self, call: Call) -> web.StreamResponse:
        """Restart all containers in place. As observed in Azure, no image is pulled."""
        only(call)
        await self._deployments.restart(self._require(call))
        return web.Response(status=204)

    async def _logs(self, call: Call) -> web.StreamResponse:
        """The output of a container, the last `tail` lines of it."""
        only(call, "tail", "timestamps")
        tail, timestamps = _tail(call), _timestamps(call)
        record, name = self._require(call), call.params["container"]
        if name not in {container.name for container in record.properties.containers}:
            message = f"The container '{name}' in container group '{record.name}' was not found."
            raise Fault(404, "ContainerNotFound", message)
        running = self._deployments.runtime(record).containers.get(name)
        content = await running.logs(tail, timestamps=timestamps) if running else ""
        return json_answer({"content": content[-_LOG_LIMIT_CHARACTERS:]})

    def _accept(
        self, call: Call, work: Coroutine[Any, Any, None], *, status: int = 202, body: object = None
    ) -> web.Response:
        return self._operations.accept(call, PROVIDER, work, status=status, body=body)

    def _id(self, call: Call) -> str:
        scope = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{call.params['group']}"
        return f"{scope}/providers/{PROVIDER}/{KIND}/{call.params['name']}"

    def _require(self, call: Call) -> GroupRecord:
        record = self._records.get(self._id(call))
        if record is None:
            resource = f"{PROVIDER}/{KIND}/{call.params['name']}"
            message = f"The Resource '{resource}' under resource group '{call.params['group']}' was not found."
            raise Fault(404, "ResourceNotFound", message)
        return record

    def _view(self, record: GroupRecord) -> dict[str, Any]:
        stored = self._records.get(id_of(record)) or record
        return group_view(stored, self._deployments.runtime(stored), self._index, instance=True)

    def _list_views(self, records: Iterable[GroupRecord]) -> Iterable[dict[str, Any]]:
        for record in records:
            yield group_view(record, self._deployments.runtime(record), self._index, instance=False)


def _tail(call: Call) -> int | None:
    text = call.query.get("tail", "")
    if text and not (text.isdigit() and int(text) > 0):
        raise Fault(400, "InvalidLogTail", f"The log tail '{text}' is not a positive whole number.")
    return int(text) if text else None


def _timestamps(call: Call) -> bool:
    text = call.query.get("timestamps", "false")
    if text.lower() not in ("true", "false"):
        raise Fault(400, "InvalidLogTimestamps", f"The timestamps '{text}' are neither 'true' nor 'false'.")
    return text.lower() == "true"
