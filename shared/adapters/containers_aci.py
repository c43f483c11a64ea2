"""Azure Container Instances: whole definitions in, the state of the group out."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from shared.adapters.azure_errors import error_code, is_missing, readable, translated
from shared.adapters.deadlines import DEADLINES
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.domain.errors import NeedsRecreation, Retry
from shared.domain.policy import DeployRule, RegistryRule
from shared.domain.rollout import BuiltImage
from shared.ports import GroupState

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.exceptions import HttpResponseError
    from azure.mgmt.containerinstance import ContainerInstanceManagementClient
    from azure.mgmt.containerinstance.models import Container, ContainerGroup, Event, ImageRegistryCredential

_ROLE = "give the app Azure Container Instances Contributor Role on the resource group"
_CHANGING = frozenset(("Pending", "Creating", "Updating"))
_FLAKY_PULLS = frozenset(("InaccessibleImage", "RegistryErrorResponse"))
_NEEDS_RECREATION = frozenset(("InvalidContainerGroupUpdate", "ContainerGroupUpdateNotAllowed"))


class AciContainerRunner:
    """Implements the port `ContainerRunner`."""

    def __init__(self, credential: Callable[[], TokenCredential], secrets: VaultCredentials) -> None:
        self._credential, self._secrets = credential, secrets
        self._client = lru_cache(maxsize=None)(self._make_client)

    def put(self, rule: DeployRule, image: BuiltImage, registry: RegistryRule) -> None:
        """Send the whole definition: what is not sent, Azure resets.

        Raises:
            Transitioning: an earlier change goes on.
            NeedsRecreation: it cannot be changed in place.
            Retry: the image could not be pulled, which passes as often as not.
            Rejected: the definition is refused.
        """
        from azure.core.exceptions import HttpResponseError

        group = self._definition(rule, image, registry)
        with translated(f"deploying {image} to {rule.container_group}", remedy=_ROLE):
            try:
                groups = self._client(rule.subscription).container_groups
                groups.begin_create_or_update(rule.resource_group, rule.container_group, group, polling=False)
            except HttpResponseError as error:
                raise (_particular(error, rule, image) or error) from error

    def get(self, rule: DeployRule) -> GroupState | None:
        """What the group looks like, or None where there is none."""
        from azure.core.exceptions import HttpResponseError

        with translated(f"reading container group {rule.container_group}", remedy=_ROLE):
            try:
                group = self._client(rule.subscription).container_groups.get(rule.resource_group, rule.container_group)
            except HttpResponseError as error:
                if is_missing(error):
                    return None
                raise
        return _state(group)

    def delete(self, rule: DeployRule) -> None:
        """Delete a group; one that is gone already is fine."""
        from azure.core.exceptions import HttpResponseError

        with translated(f"deleting container group {rule.container_group}", remedy=_ROLE):
            try:
                self._client(rule.subscription).container_groups.begin_delete(
                    rule.resource_group, rule.container_group, polling=False
                )
            except HttpResponseError as error:
                if not is_missing(error):
                    raise

    def _definition(self, rule: DeployRule, image: BuiltImage, registry: RegistryRule) -> ContainerGroup:
        from azure.mgmt.containerinstance import models

        identity = models.ContainerGroupIdentity(
            type="UserAssigned", user_assigned_identities={rule.identity: models.UserAssignedIdentities()}
        )
        address = models.IpAddress(
            type="Public",
            ports=[models.Port(port=rule.port, protocol="TCP")],
            dns_name_label=rule.dns_label or None,
        )
        return models.ContainerGroup(
            location=rule.location,
            os_type="Linux",
            restart_policy=rule.restart_policy,
            containers=[_container(rule, image)],
            ip_address=address,
            image_registry_credentials=[self._pull_credential(rule, registry)],
            identity=identity if rule.identity else None,
        )

    def _pull_credential(self, rule: DeployRule, registry: RegistryRule) -> ImageRegistryCredential:
        from azure.mgmt.containerinstance.models import ImageRegistryCredential

        if rule.identity:
            return ImageRegistryCredential(server=registry.login_server, identity=rule.identity)
        user, password = self._secrets.of(registry)
        return ImageRegistryCredential(server=registry.login_server, username=user, password=password)

    def _make_client(self, subscription: str) -> ContainerInstanceManagementClient:
        from azure.mgmt.containerinstance import ContainerInstanceManagementClient

        return ContainerInstanceManagementClient(self._credential(), subscription, **DEADLINES)


def _container(rule: DeployRule, image: BuiltImage) -> Container:
    from azure.mgmt.containerinstance import models

    requests = models.ResourceRequests(cpu=rule.cpu, memory_in_gb=rule.memory_gb)
    return models.Container(
        name=rule.container_group,
        image=image.reference,
        ports=[models.ContainerPort(port=rule.port, protocol="TCP")],
        environment_variables=[models.EnvironmentVariable(name=n, value=v) for n, v in rule.environment.items()],
        resources=models.ResourceRequirements(requests=requests),
    )


def _particular(error: HttpResponseError, rule: DeployRule, image: BuiltImage) -> Exception | None:
    """The errors of a deployment that ask for something particular."""
    code = error_code(error)
    if code in _NEEDS_RECREATION:
        return NeedsRecreation(f"{rule.container_group}: {readable(error.message)}")
    if code in _FLAKY_PULLS:
        return Retry(f"{image} could not be pulled: {readable(error.message)}", delay_seconds=5.0)
    return None


def _state(group: ContainerGroup) -> GroupState:
    container = group.containers[0]
    view = container.instance_view
    current = view.current_state if view else None
    state = str((current.state if current else "") or "Waiting")
    settled = group.provisioning_state == "Succeeded"
    changing = group.provisioning_state in _CHANGING  # what is seen may still be the container before
    ip, ports = (group.ip_address.ip, group.ip_address.ports) if group.ip_address else (None, [])
    group_state = str((group.instance_view.state if group.instance_view else "") or "")
    return GroupState(
        image=container.image or "",
        running=settled and state == "Running",
        failed=not changing
        and (group_state == "Failed" or (state == "Terminated" and group.restart_policy == "Never")),
        stopped=not changing and group_state == "Stopped",
        restarts=(view.restart_count if view and not changing else 0) or 0,
        address=f"{ip}:{ports[0].port}" if ip and ports else "",
        detail=_detail(group, state),
    )


def _detail(group: ContainerGroup, state: str) -> str:
    """What the reader needs to know of a group that is not well, "" where it runs."""
    view = group.containers[0].instance_view
    if state == "Running":
        return ""
    current = view.current_state if view else None
    parts = [state.lower()]
    if current and current.exit_code is not None:
        parts.append(f"exit code {current.exit_code}")
    if current and current.detail_status:
        parts.append(current.detail_status)
    events: list[Event] = list((view.events if view else None) or [])
    failed = [event.message for event in events if event.name in ("Failed", "BackOff")]
    return "; ".join([*parts, *[readable(str(message)) for message in failed[-1:]]])
