"""The operations on `Microsoft.ContainerRegistry/registries/tasks`.

Source: https://learn.microsoft.com/rest/api/container-registry/tasks
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web
from cronsim import CronSim, CronSimError
from msgspec.structs import replace

from sandbox.arm.query import only
from sandbox.instance import TENANT
from sandbox.store import Collection
from sandbox.tasks.arm.patch import TaskPatch
from sandbox.tasks.arm.scope import REGISTRY, VERSIONS, refuse_pool, registry_of
from sandbox.tasks.arm.view import task_answer
from sandbox.tasks.ports import Principal, Registries, Registry
from sandbox.tasks.records import TaskRecord, timestamp
from sandbox.tasks.requests import Identity, TaskBody, TaskProperties, UserIdentity
from sandbox.web import Call, Fault, Surface, json_answer

_NAME = re.compile(r"[a-zA-Z0-9_-]{5,50}")
FindIdentity = Callable[[str], Principal | None]
"""Finds a user-assigned identity by its ARM id."""


class TaskResources:
    """Tasks as ARM resources."""

    def __init__(self, tasks: Collection[TaskRecord], registries: Registries, find_identity: FindIdentity) -> None:
        self._tasks, self._registries, self._find_identity = tasks, registries, find_identity

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        task = REGISTRY + "/tasks/{task}"
        arm.operation("GET", REGISTRY + "/tasks", versions=VERSIONS)(self._list)
        arm.operation("GET", task, versions=VERSIONS)(self._get)
        arm.operation("PUT", task, versions=VERSIONS)(self._put)
        arm.operation("PATCH", task, versions=VERSIONS)(self._patch)
        arm.operation("DELETE", task, versions=VERSIONS)(self._delete)
        arm.operation("POST", task + "/listDetails", versions=VERSIONS)(self._details)

    def find(self, registry: Registry, name: str) -> TaskRecord:
        """A task of a registry.

        Raises:
            Fault: 404 if there is no task of that name.
        """
        task = self._tasks.get(f"{registry.name}/{name}")
        if task is None:
            raise Fault(404, "TaskNotFound", f"The registry '{registry.name}' has no task '{name}'.")
        return task

    async def _list(self, call: Call) -> web.StreamResponse:
        """The tasks of a registry, without their secrets."""
        only(call)
        registry = registry_of(call, self._registries)
        return json_answer({"value": [task_answer(task) for task in self._tasks.values(f"{registry.name}/")]})

    async def _get(self, call: Call) -> web.StreamResponse:
        """One task, without its secrets."""
        only(call)
        return json_answer(task_answer(self._task(call)))

    async def _details(self, call: Call) -> web.StreamResponse:
        """One task with its secrets."""
        only(call)
        return json_answer(task_answer(self._task(call), secrets=True))

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create a task, or replace all of it except its identity's principal and its creation date."""
        only(call)
        registry, name = registry_of(call, self._registries), call.params["task"]
        body = await call.body(TaskBody)
        existing = self._tasks.get(f"{registry.name}/{name}")
        if existing is None and not _NAME.fullmatch(name):
            raise Fault(400, "InvalidTaskName", f"'{name}' is no task name: 5 to 50 letters, digits, '-' and '_'.")
        task = TaskRecord(
            id=f"{registry.id}/tasks/{existing.name if existing else name}",
            name=existing.name if existing else name,
            registry=registry.name,
            location=body.location,
            created=existing.created if existing else timestamp(datetime.now(UTC)),
            properties=_checked(body.properties),
            tags=body.tags,
            identity=_assign(body.identity, existing.identity if existing else None, self._find_identity),
            base_images=existing.base_images if existing else [],
        )
        self._tasks.put(task.key, task)
        return json_answer(task_answer(task), 200 if existing else 201)

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change parts of a task."""
        only(call)
        task, patch = self._task(call), await call.body(TaskPatch)
        identity = patch.merge_identity(task.identity)
        changed = replace(
            task,
            properties=_checked(patch.merge(task.properties)),
            tags=task.tags if patch.tags is None else patch.tags,
            identity=_assign(identity, task.identity, self._find_identity),
        )
        return json_answer(task_answer(self._tasks.put(changed.key, changed)))

    async def _delete(self, call: Call) -> web.StreamResponse:
        """Delete a task; its runs are kept."""
        only(call)
        registry = registry_of(call, self._registries)
        removed = self._tasks.remove(f"{registry.name}/{call.params['task']}")
        return web.Response(status=200 if removed else 204)

    def _task(self, call: Call) -> TaskRecord:
        return self.find(registry_of(call, self._registries), call.params["task"])


def _checked(properties: TaskProperties) -> TaskProperties:
    refuse_pool(properties.agent_pool_name)
    if properties.platform and properties.platform.os.lower() != "linux":
        raise Fault(400, "PlatformNotSupported", f"The sandbox runs Linux only, not '{properties.platform.os}'.")
    if properties.step is None and not properties.is_system_task:
        raise Fault(400, "InvalidRequestContent", "The request content was invalid: `$.properties.step` is missing.")
    base = properties.trigger and properties.trigger.base_image_trigger
    if base and base.update_trigger_endpoint:
        message = "The sandbox calls no 'updateTriggerEndpoint': what ACR sends to it is not published."
        raise Fault(400, "NotInSandbox", message)
    for timer in (properties.trigger and properties.trigger.timer_triggers) or ():
        _check_schedule(timer.schedule)
    step = properties.step and replace(properties.step, base_image_dependencies=None)
    return replace(properties, step=step, provisioning_state=None, creation_date=None)


def _check_schedule(schedule: str) -> None:
    reason = "it has another number of fields" if len(schedule.split()) != 5 else _cron_fault(schedule)
    if reason:
        message = f"'{schedule}' is no cron expression of five fields: {reason}."
        raise Fault(400, "InvalidCronExpression", message)


def _cron_fault(schedule: str) -> str | None:
    try:
        next(CronSim(schedule, datetime.now(UTC)))
    except CronSimError as error:
        return str(error)
    except StopIteration:
        return "it never comes"
    return None


def _assign(requested: Identity | None, existing: Identity | None, find: FindIdentity) -> Identity | None:
    """The identity of a task: a system-assigned one is created once and reused, user-assigned ones are looked up.

    Raises:
        Fault: 400 if a user-assigned identity does not exist, or the type and the list contradict each other.
    """
    if requested is None or requested.type in (None, "None"):
        return None
    assert requested.type is not None
    system = "SystemAssigned" in requested.type
    users = _users(requested, find) if "UserAssigned" in requested.type.replace("SystemAssigned", "") else None
    principal = (existing.principal_id if existing else None) or str(uuid.uuid4())
    return Identity(
        type=requested.type,
        principal_id=principal if system else None,
        tenant_id=TENANT if system else None,
        user_assigned_identities=users,
    )


def _users(requested: Identity, find: FindIdentity) -> dict[str, UserIdentity | None]:
    users: dict[str, UserIdentity | None] = {}
    for resource_id in requested.user_assigned_identities or {}:
        principal = find(resource_id)
        if principal is None:
            raise Fault(400, "FailedIdentityOperation", f"The identity '{resource_id}' does not exist.")
        users[resource_id] = UserIdentity(client_id=principal.client_id, principal_id=principal.principal_id)
    if not users:
        raise Fault(400, "InvalidIdentity", f"An identity of type '{requested.type}' needs userAssignedIdentities.")
    return users
