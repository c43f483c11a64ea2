"""The ARM view of a task, with or without its secrets."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from sandbox.tasks.records import TaskRecord
from sandbox.tasks.requests import (
    DEFAULT_TIMEOUT_SECONDS,
    Credentials,
    DockerStep,
    Step,
    TaskProperties,
    Triggers,
)


def task_answer(task: TaskRecord, *, secrets: bool = False) -> dict[str, Any]:
    """The task as an ARM resource.

    As in Azure, only `listDetails` returns secrets. Elsewhere secret values and arguments, access tokens and the
    contents of the credentials are omitted; of a custom registry only the name is shown. What was not given has Azure's
    defaults: every trigger is enabled, and a base image trigger shows that it has no update endpoint.
    Source: examples `TasksGet` and `TasksUpdate` of Microsoft.ContainerRegistry 2019-06-01-preview
    """
    shown = task.properties if secrets else _without_secrets(task.properties)
    properties = replace(
        shown,
        provisioning_state="Succeeded",
        creation_date=task.created,
        status=shown.status or "Enabled",
        timeout=shown.timeout or DEFAULT_TIMEOUT_SECONDS,
        trigger=shown.trigger and _with_defaults(shown.trigger),
        is_system_task=bool(shown.is_system_task),
    )
    if properties.step is not None:
        properties = replace(
            properties, step=replace(properties.step, base_image_dependencies=task.base_images or None)
        )
    answer = {
        "id": task.id,
        "name": task.name,
        "type": "Microsoft.ContainerRegistry/registries/tasks",
        "location": task.location,
        "tags": task.tags or {},
        "identity": task.identity,
        "properties": _with_endpoint(msgspec.to_builtins(properties)),
    }
    return {name: value for name, value in answer.items() if value is not None}


def _with_defaults(triggers: Triggers) -> Triggers:
    timers = [replace(one, status=one.status or "Enabled") for one in triggers.timer_triggers or ()]
    sources = [replace(one, status=one.status or "Enabled") for one in triggers.source_triggers or ()]
    base = triggers.base_image_trigger
    if base:
        payload = base.update_trigger_payload_type or "Default"
        base = replace(base, status=base.status or "Enabled", update_trigger_payload_type=payload)
    return Triggers(timer_triggers=timers or None, source_triggers=sources or None, base_image_trigger=base)


def _with_endpoint(properties: dict[str, Any]) -> dict[str, Any]:
    base = properties.get("trigger", {}).get("baseImageTrigger")
    if base:
        base.setdefault("updateTriggerEndpoint", None)
    return properties


def _without_secrets(properties: TaskProperties) -> TaskProperties:
    return replace(
        properties,
        step=properties.step and _plain_step(properties.step),
        trigger=properties.trigger and _plain_triggers(properties.trigger),
        credentials=properties.credentials and _plain_credentials(properties.credentials),
    )


def _plain_step(step: Step) -> Step:
    if isinstance(step, DockerStep):
        arguments = [item for item in step.arguments or () if not item.is_secret]
        return replace(step, arguments=arguments or None, context_access_token=None)
    values = [item for item in step.values or () if not item.is_secret]
    return replace(step, values=values or None, context_access_token=None)


def _plain_triggers(triggers: Triggers) -> Triggers:
    sources = [
        replace(trigger, source_repository=replace(trigger.source_repository, source_control_auth_properties=None))
        for trigger in triggers.source_triggers or ()
    ]
    return replace(triggers, source_triggers=sources or None)


def _plain_credentials(credentials: Credentials) -> Credentials:
    registries = credentials.custom_registries
    return replace(credentials, custom_registries=registries and dict.fromkeys(registries))
