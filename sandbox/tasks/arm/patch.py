"""Merges the body of `PATCH …/tasks/{task}` into a task.

The result must be a valid task, so unknown fields are rejected. Fields that are absent or null are unchanged. Lists are
replaced, except triggers, which are merged by their name: Azure does not remove triggers by PATCH (`az acr task timer
remove` sends a PUT for that reason).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sandbox.arm.body import Body, convert
from sandbox.tasks.requests import Identity, TaskProperties

_NAMED = ("timerTriggers", "sourceTriggers")
# In these maps a null removes the entry.
_NULL_REMOVES = ("customRegistries", "userAssignedIdentities")


class TaskPatch(Body, frozen=True):
    """The body of a PATCH: the new tags (None: unchanged), and the changes to the identity and the properties."""

    tags: dict[str, str] | None = None
    identity: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None

    def merge(self, properties: TaskProperties) -> TaskProperties:
        """The properties of a task after the patch.

        Raises:
            Fault: 400 if the result is not a valid task (for example, a new trigger without a schedule).
        """
        old, new = msgspec.to_builtins(properties), self.properties or {}
        step, old_step = new.get("step"), old.get("step") or {}
        if isinstance(step, dict) and step.get("type") != old_step.get("type"):
            # Of a step of another type, only the context is reused.
            old["step"] = {name: old_step[name] for name in ("contextPath", "contextAccessToken") if name in old_step}
        return convert(_merge(old, new), TaskProperties, "task")

    def merge_identity(self, identity: Identity | None) -> Identity | None:
        """The identity of a task after the patch; without its last user-assigned identity it has no such type.

        Raises the same errors as `merge`.
        """
        if not self.identity:
            return identity
        merged = convert(_merge(msgspec.to_builtins(identity or Identity()), self.identity), Identity, "task")
        removes = None in (self.identity.get("userAssignedIdentities") or {}).values()
        if removes and not merged.user_assigned_identities:
            left = "SystemAssigned" if "SystemAssigned" in (merged.type or "") else "None"
            return msgspec.structs.replace(merged, type=left)
        return merged


def _merge(old: Any, new: Mapping[str, Any], null_removes: bool = False) -> dict[str, Any]:
    merged = dict(old) if isinstance(old, dict) else {}
    for name, value in new.items():
        if value is None:
            if null_removes:
                merged.pop(name, None)
        elif name in _NAMED and _are_named(value):
            merged[name] = _merge_named(merged.get(name) or [], value)
        elif isinstance(value, dict):
            merged[name] = _merge(merged.get(name), value, null_removes=name in _NULL_REMOVES)
        else:
            merged[name] = value
    return merged


def _are_named(items: Any) -> bool:
    return isinstance(items, list) and all(
        isinstance(item, dict) and isinstance(item.get("name"), str) for item in items
    )


def _merge_named(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_name = {item["name"]: item for item in old}
    for item in new:
        by_name[item["name"]] = _merge(by_name.get(item["name"]), item)
    return list(by_name.values())
