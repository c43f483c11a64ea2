"""The managed identities of a task."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from sandbox.instance import TENANT
from sandbox.tasks.ports import Principal
from sandbox.tasks.requests import Identity, UserIdentity
from sandbox.web import Fault

FindIdentity = Callable[[str], Principal | None]
"""Finds a user-assigned identity by its ARM id."""


def assign(wanted: Identity | None, existing: Identity | None, find: FindIdentity) -> Identity | None:
    """The identity of a task: a system-assigned one is made once and kept, user-assigned ones are looked up.

    Raises:
        Fault: 400 where a user-assigned identity does not exist, or the type and the list contradict each other.
    """
    if wanted is None or wanted.type in (None, "None"):
        return None
    assert wanted.type is not None
    system = "SystemAssigned" in wanted.type
    users = _users(wanted, find) if "UserAssigned" in wanted.type.replace("SystemAssigned", "") else None
    principal = (existing.principal_id if existing else None) or str(uuid.uuid4())
    return Identity(
        type=wanted.type,
        principal_id=principal if system else None,
        tenant_id=TENANT if system else None,
        user_assigned_identities=users,
    )


def _users(wanted: Identity, find: FindIdentity) -> dict[str, UserIdentity | None]:
    users: dict[str, UserIdentity | None] = {}
    for resource_id in wanted.user_assigned_identities or {}:
        principal = find(resource_id)
        if principal is None:
            raise Fault(400, "FailedIdentityOperation", f"The identity '{resource_id}' does not exist.")
        users[resource_id] = UserIdentity(client_id=principal.client_id, principal_id=principal.principal_id)
    if not users:
        raise Fault(400, "InvalidIdentity", f"An identity of type '{wanted.type}' needs userAssignedIdentities.")
    return users
