"""The body of `PATCH …/tasks/{task}`, and how it changes a task.

What is absent or null stays. Lists are replaced, except triggers, which are merged by their name: Azure takes no
trigger away by PATCH (`az acr task timer remove` sends a PUT for that reason).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from sandbox.tasks.requests import (
    AgentConfiguration,
    Body,
    Credentials,
    Identity,
    NamedValue,
    SourceControlAuth,
    Switch,
    TaskProperties,
    Timeout,
)
from sandbox.web import Call, Fault

T = TypeVar("T", bound=Body)

_NAMED = ("timerTriggers", "sourceTriggers")
# In these maps a null is a wish of its own: the entry goes.
_NULL_REMOVES = ("customRegistries", "userAssignedIdentities")


class _StepPatch(Body):
    type: Literal["FileTask", "EncodedTask", "Docker"]
    task_file_path: str | None = None
    values_file_path: str | None = None
    encoded_task_content: str | None = None
    encoded_values_content: str | None = None
    values: list[NamedValue] | None = None
    docker_file_path: str | None = None
    image_names: list[str] | None = None
    is_push_enabled: bool | None = None
    no_cache: bool | None = None
    target: str | None = None
    arguments: list[NamedValue] | None = None
    context_path: str | None = None
    context_access_token: str | None = None


class _PlatformPatch(Body):
    os: str | None = None
    architecture: str | None = None
    variant: str | None = None


class _SourceRepositoryPatch(Body):
    source_control_type: str | None = None
    repository_url: str | None = None
    branch: str | None = None
    source_control_auth_properties: SourceControlAuth | None = None


class _TimerTriggerPatch(Body):
    name: str
    schedule: str | None = None
    status: Switch | None = None


class _SourceTriggerPatch(Body):
    name: str
    source_repository: _SourceRepositoryPatch | None = None
    source_trigger_events: list[Literal["commit", "pullrequest"]] | None = None
    status: Switch | None = None


class _BaseImageTriggerPatch(Body):
    name: str
    base_image_trigger_type: Literal["All", "Runtime"] | None = None
    update_trigger_endpoint: str | None = None
    update_trigger_payload_type: Literal["Default", "Token"] | None = None
    status: Switch | None = None


class _TriggersPatch(Body):
    timer_triggers: list[_TimerTriggerPatch] | None = None
    source_triggers: list[_SourceTriggerPatch] | None = None
    base_image_trigger: _BaseImageTriggerPatch | None = None


class _PropertiesPatch(Body):
    status: Switch | None = None
    platform: _PlatformPatch | None = None
    agent_configuration: AgentConfiguration | None = None
    agent_pool_name: str | None = None
    timeout: Timeout | None = None
    step: _StepPatch | None = None
    trigger: _TriggersPatch | None = None
    credentials: Credentials | None = None
    log_template: str | None = None


class _TaskPatch(Body):
    identity: Identity | None = None
    properties: _PropertiesPatch | None = None
    tags: dict[str, str] | None = None


class TaskPatch(msgspec.Struct, frozen=True):
    """A checked PATCH: the new tags (None: as they were), identity and properties as sent."""

    tags: dict[str, str] | None
    identity: dict[str, Any]
    properties: dict[str, Any]

    @classmethod
    async def read(cls, call: Call) -> TaskPatch:
        """The request's body.

        Raises:
            Fault: 400 that names an unknown or unfit field.
        """
        checked = await call.body(_TaskPatch)
        sent = msgspec.json.decode(await call.request.read())
        return cls(checked.tags, sent.get("identity") or {}, sent.get("properties") or {})

    def merge(self, properties: TaskProperties) -> TaskProperties:
        """The properties of a task after the change.

        Raises:
            Fault: 400 where the result would be no task (a new trigger without a schedule, say).
        """
        old = msgspec.to_builtins(properties)
        step, old_step = self.properties.get("step") or {}, old.get("step") or {}
        if step and step["type"] != old_step.get("type"):  # of another kind of step only the context fits
            old["step"] = {name: old_step[name] for name in ("contextPath", "contextAccessToken") if name in old_step}
        return _convert(_merge(old, self.properties), TaskProperties)

    def merge_identity(self, identity: Identity | None) -> Identity | None:
        """The identity of a task after the change."""
        if not self.identity:
            return identity
        return _convert(_merge(msgspec.to_builtins(identity or Identity()), self.identity), Identity)


def _convert(merged: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(merged, kind)
    except msgspec.ValidationError as error:
        raise Fault(400, "InvalidRequestContent", f"The task after this change would be invalid: {error}") from error


def _merge(old: Mapping[str, Any], new: Mapping[str, Any], null_removes: bool = False) -> dict[str, Any]:
    merged = dict(old)
    for name, value in new.items():
        if value is None:
            if null_removes:
                merged.pop(name, None)
        elif name in _NAMED:
            merged[name] = _merge_named(merged.get(name) or [], value)
        elif isinstance(value, dict):
            merged[name] = _merge(merged.get(name) or {}, value, null_removes=name in _NULL_REMOVES)
        else:
            merged[name] = value
    return merged


def _merge_named(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_name = {item["name"]: item for item in old}
    for item in new:
        by_name[item["name"]] = _merge(by_name.get(item["name"], {}), item)
    return list(by_name.values())
