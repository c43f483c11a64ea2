"""Create, read, update, delete and list: common to the resource types of all providers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from aiohttp import web

from sandbox.arm.operations import Operations
from sandbox.arm.surface import ResourceId
from sandbox.instance import SUBSCRIPTION
from sandbox.store import Collection
from sandbox.web import Call, Fault, Surface, json_answer


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A resource in a resource group, as stored."""

    id: str
    location: str
    tags: dict[str, str]

    @property
    def name(self) -> str:
        """The last part of its id."""
        return ResourceId.parse(self.id).name

    def answer(self) -> dict[str, Any]:
        """The resource as returned by ARM, without its properties."""
        found = ResourceId.parse(self.id)
        return {
            "id": self.id,
            "name": found.name,
            "type": found.type,
            "location": self.location,
            "tags": self.tags,
        }


R = TypeVar("R", bound=Record)


class Resources(ABC, Generic[R]):
    """The resources of one type: stored in a file by id, and served on the ARM surface.

    A subclass defines how PUT and PATCH apply a body; the docstrings of `_make` and `_change` are the summaries of
    these two operations.

    Args:
        file: where they are stored.
        record: the type of a stored resource.
        on_delete: called with the id of each deleted resource.
    """

    provider: ClassVar[str]
    kind: ClassVar[str]
    noun: ClassVar[str]
    versions: ClassVar[tuple[str, ...]]
    goes_along: ClassVar[str] = ""
    status_of_change: ClassVar[int] = 200

    def __init__(self, file: Path, record: type[R], on_delete: Callable[[str], Awaitable[None]] | None = None) -> None:
        self._records, self._on_delete = Collection(file, record), on_delete
        self._operations: Operations | None = None

    def get(self, resource_id: str) -> R | None:
        """The resource with an ARM id, or None."""
        return self._records.get(resource_id)

    def responses(self) -> Iterator[dict[str, Any]]:
        """All resources, as returned by ARM."""
        return (record.answer() for record in self._records.values())

    async def delete(self, resource_id: str) -> None:
        """Delete a resource and its dependents."""
        if self._records.remove(resource_id) and self._on_delete:
            await self._on_delete(resource_id)

    async def delete_group(self, group: str) -> None:
        """Delete the resources of a resource group."""
        for record in self._records.values(_scope(group)):
            await self.delete(record.id)

    def mount(self, arm: Surface, operations: Operations | None = None) -> None:
        """Add the operations to the ARM surface; with `operations`, a deletion is a long-running operation."""
        self._operations = operations
        type_ = f"providers/{self.provider}/{self.kind}"
        group = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/{type_}"
        listed = f"Every {self.noun} of the subscription, or of a resource group."
        for method, pattern, handler, summary in (
            ("GET", f"/subscriptions/{{subscription}}/{type_}", self._list, listed),
            ("GET", group, self._list, listed),
            ("PUT", group + "/{name}", self._put, self._make.__doc__),
            ("GET", group + "/{name}", self._get, f"One {self.noun}."),
            ("PATCH", group + "/{name}", self._patch, self._change.__doc__),
            ("DELETE", group + "/{name}", self._delete, f"Delete a {self.noun}{self.goes_along}."),
        ):
            arm.operation(method, pattern, versions=self.versions, summary=summary or "")(handler)

    @abstractmethod
    async def _make(self, call: Call, old: R | None) -> R:
        """The record that a PUT stores, replacing `old`."""

    @abstractmethod
    async def _change(self, call: Call) -> dict[str, Any]:
        """The fields of the record that a PATCH changes; None leaves a field unchanged."""

    def _require(self, call: Call) -> R:
        record = self.get(self._id(call))
        if record is None:
            message = f"The Resource '{self.provider}/{self.kind}/{call.params['name']}' was not found."
            raise Fault(404, "ResourceNotFound", message)
        return record

    def _id(self, call: Call) -> str:
        return str(ResourceId(call.params["group"], self.provider, self.kind, call.params["name"]))

    def _keep(self, record: R, **changes: Any) -> R:
        given = {name: value for name, value in changes.items() if value is not None}
        return self._records.put(record.id, msgspec.structs.replace(record, **given))

    async def _list(self, call: Call) -> web.StreamResponse:
        found = self._records.values(_scope(call.params.get("group", "")))
        return json_answer({"value": [record.answer() for record in found]})

    async def _get(self, call: Call) -> web.StreamResponse:
        return json_answer(self._require(call).answer())

    async def _put(self, call: Call) -> web.StreamResponse:
        old = self.get(self._id(call))
        record = self._keep(await self._make(call, old))
        return json_answer(record.answer(), self.status_of_change if old else 201)

    async def _patch(self, call: Call) -> web.StreamResponse:
        record = self._require(call)
        return json_answer(self._keep(record, **await self._change(call)).answer())

    async def _delete(self, call: Call) -> web.StreamResponse:
        record = self.get(self._id(call))
        if record is None:
            return web.Response(status=204)
        if self._operations:
            return self._operations.accept(call, self.provider, self.delete(record.id))
        await self.delete(record.id)
        return web.Response(status=200)


def _scope(group: str) -> str:
    """The prefix of the ids of a resource group's resources; for "", of all groups' resources."""
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/" + (f"{group}/" if group else "")
