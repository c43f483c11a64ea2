"""The resources that every subscription has before any service adds to it."""

from __future__ import annotations

from sandbox.arm.groups import ResourceGroups
from sandbox.arm.managed_identities import ManagedIdentities
from sandbox.arm.operations import Operations
from sandbox.arm.providers import mount_providers
from sandbox.arm.resources import mount_resources
from sandbox.arm.roles.assignments import RoleAssignments
from sandbox.arm.roles.definitions import mount_role_definitions
from sandbox.arm.subscriptions import mount_subscriptions
from sandbox.arm.surface import ResourceIndex
from sandbox.instance import Instance
from sandbox.web import Surface


class Foundation:
    """Resource groups, managed identities and role assignments of one instance.

    Created before the ARM surface, which checks with `groups.check_path` that a path's group exists.
    """

    def __init__(self, instance: Instance, index: ResourceIndex) -> None:
        folder = instance.folder("arm")
        self._index = index
        self.groups = ResourceGroups(folder / "groups.json")
        self.identities = ManagedIdentities(folder / "identities.json", index)
        self.assignments = RoleAssignments(folder / "role-assignments.json")
        self.groups.on_delete += [self.identities.delete_group, self.assignments.delete_group]

    def mount(self, arm: Surface, operations: Operations) -> None:
        """Add all of these, and the subscription itself, to the ARM surface."""
        mount_subscriptions(arm)
        mount_providers(arm)
        mount_resources(arm, self._index, self.groups)
        mount_role_definitions(arm)
        self.groups.mount(arm, operations)
        self.identities.mount(arm)
        self.assignments.mount(arm)
