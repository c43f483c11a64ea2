"""Azure Container Instances: puts whole definitions, and reads the state and health of a group."""

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import HttpResponseError
from azure.mgmt.containerinstance import ContainerInstanceManagementClient, models

from shared.adapters.azure_calls import Identity, error_code, expected, per_subscription, response_text, translated
from shared.adapters.redaction import readable
from shared.domain.errors import NeedsRecreation, Retry, Transitioning
from shared.domain.policy import RegistryRule
from shared.domain.rollout import BuiltImage
from shared.domain.targets.aci import AciRule
from shared.ports import DeploymentState, Secrets

_ROLE = "give the app Azure Container Instances Contributor Role on the resource group"
_CHANGING = frozenset(("Pending", "Creating", "Updating"))
_FLAKY_PULLS = frozenset(("InaccessibleImage", "RegistryErrorResponse"))
_NEEDS_RECREATION = frozenset(("InvalidContainerGroupUpdate", "ContainerGroupUpdateNotAllowed"))
_DELETE_FIRST = "you must delete it first"
"""In the service's message about changes of CPU, memory or restart policy; its code is not documented. Source:
https://learn.microsoft.com/azure/container-instances/container-instances-update#properties-that-require-container-delete"""


class AciContainerRunner:
    """Implements the port `DeploymentTarget`."""

    def __init__(self, credential: Identity, secrets: Secrets) -> None:
        self._client, self._secrets = per_subscription(ContainerInstanceManagementClient, credential), secrets

    def put(self, rule: AciRule, image: BuiltImage, registry: RegistryRule) -> None:
        """Put the whole definition: Azure resets properties that are left out."""
        group = self._definition(rule, image, registry)
        with _translated(f"deploying {image} to {rule.name}"):
            try:
                groups = self._client(rule.subscription).container_groups
                groups.begin_create_or_update(rule.resource_group, rule.name, group, polling=False)
            except HttpResponseError as error:
                code, message = error_code(error), readable(error.message)
                if code in _NEEDS_RECREATION or _DELETE_FIRST in error.message:
                    raise NeedsRecreation(f"{rule.name}: {message}") from error
                if code in _FLAKY_PULLS:  # often transient
                    raise Retry(f"{image} could not be pulled: {message}", delay_seconds=5.0) from error
                raise

    def get(self, rule: AciRule) -> DeploymentState | None:
        with _translated(f"reading {rule.place}"), expected(404):
            groups = self._client(rule.subscription).container_groups
            return _state(groups.get(rule.resource_group, rule.name))
        return None

    def delete(self, rule: AciRule) -> None:
        with _translated(f"deleting {rule.place}"), expected(404):
            groups = self._client(rule.subscription).container_groups
            groups.begin_delete(rule.resource_group, rule.name, polling=False)

    def _definition(self, rule: AciRule, image: BuiltImage, registry: RegistryRule) -> models.ContainerGroup:
        identities = {rule.identity: models.UserAssignedIdentities()}
        identity = models.ContainerGroupIdentity(type="UserAssigned", user_assigned_identities=identities)
        ports = [models.Port(port=rule.port, protocol="TCP")]
        requests = models.ResourceRequests(cpu=rule.cpu, memory_in_gb=rule.memory_gb)
        container = models.Container(
            name=rule.name,
            image=image.reference,
            ports=[models.ContainerPort(port=rule.port, protocol="TCP")],
            environment_variables=[models.EnvironmentVariable(name=n, value=v) for n, v in rule.environment.items()],
            resources=models.ResourceRequirements(requests=requests),
        )
        return models.ContainerGroup(
            location=rule.location,
            os_type="Linux",
            restart_policy=rule.restart,
            containers=[container],
            ip_address=models.IpAddress(type="Public", ports=ports, dns_name_label=rule.dns_label or None),
            image_registry_credentials=[self._pull_credential(rule, registry)],
            identity=identity if rule.identity else None,
        )

    def _pull_credential(self, rule: AciRule, registry: RegistryRule) -> models.ImageRegistryCredential:
        if rule.identity:
            return models.ImageRegistryCredential(server=registry.login_server, identity=rule.identity)
        user, password = self._secrets.credentials(registry)
        return models.ImageRegistryCredential(server=registry.login_server, username=user, password=password)


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Translates the SDK's errors within the block, including `Transitioning`, which only this service has."""
    with translated(doing, remedy=_ROLE):
        try:
            yield
        except HttpResponseError as error:
            if "transitioning" in error.message.lower():
                raise Transitioning(response_text(error, doing)) from error
            raise


def _state(group: models.ContainerGroup) -> DeploymentState:
    container = group.containers[0]
    view = container.instance_view
    current = view.current_state if view else None
    state = str((current.state if current else "") or "Waiting")
    settled = group.provisioning_state == "Succeeded"
    changing = group.provisioning_state in _CHANGING  # the state may still be that of the previous container
    ip, ports = (group.ip_address.ip, group.ip_address.ports) if group.ip_address else (None, [])
    group_state = str((group.instance_view.state if group.instance_view else "") or "")
    return DeploymentState(
        image=container.image or "",
        running=settled and state == "Running",
        failed=not changing
        and (group_state == "Failed" or (state == "Terminated" and group.restart_policy == "Never")),
        stopped=not changing and group_state == "Stopped",
        restarts=(view.restart_count if view and not changing else 0) or 0,
        address=f"{ip}:{ports[0].port}" if ip and ports else "",
        detail=_detail(state, view),
    )


def _detail(state: str, view: models.ContainerPropertiesInstanceView | None) -> str:
    """Why a group is not healthy, "" if it is running."""
    if state == "Running":
        return ""
    current = view.current_state if view else None
    parts = [state.lower()]
    if current and current.exit_code is not None:
        parts.append(f"exit code {current.exit_code}")
    if current and current.detail_status:
        parts.append(current.detail_status)
    events: list[models.Event] = list((view.events if view else None) or [])
    failed = [event.message for event in events if event.name in ("Failed", "BackOff")]
    return "; ".join([*parts, *[readable(str(message)) for message in failed[-1:]]])
