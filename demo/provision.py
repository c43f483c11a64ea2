"""Provisions the scenario as in its article: registries, vault, tasks, tokens, events."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.keyvault.secrets import SecretClient
from azure.storage.queue import QueueClient

from demo import scenario
from demo.azure import Azure

_GROUPS, _VAULTS, _ACR = "2021-04-01", "2023-07-01", "2025-11-01"
_TASKS, _EVENTS = "2025-03-01-preview", "2022-06-15"
VAULT_URL = f"https://{scenario.VAULT}.vault.azure.net"
GIT_ACCESS = "github-token"
"""The vault's secret with access to the repositories, named as in the article."""

_TENANT = "00000000-0000-0000-0000-00000000000a"

Say = Callable[[str], None]


class Provisioning:
    """Creates the scenario's resources; existing ones are kept or put again with the same definition."""

    def __init__(self, azure: Azure) -> None:
        self._azure = azure
        self._secrets = SecretClient(VAULT_URL, azure.credential)

    def foundations(self, say: Say) -> None:
        """Resource groups, registries, the vault and the app's topic: everything but tasks and subscriptions."""
        registries = (scenario.PUBLIC, scenario.BASE, scenario.TEAM)
        groups = [f"{name}-rg" for name in registries]
        for group in (*groups, scenario.VAULT_GROUP, scenario.CONTAINER_GROUP_RG, scenario.APP_GROUP):
            self._azure.put(scenario.group_id(group), {"location": scenario.LOCATION}, _GROUPS)
        for name in registries:
            say(f"registry {name}.azurecr.io")
            body = {"location": scenario.LOCATION, "sku": {"name": "Premium"}, "properties": {}}
            self._azure.put(scenario.registry_id(name), body, _ACR)
        say(f"key vault {scenario.VAULT}")
        self._vault()
        say(f"topic {scenario.TOPIC}")
        self._topic()

    def tasks(self, say: Say) -> None:
        """The tokens of Git and of the registries as secrets, and the three tasks."""
        say("a Git token, stored in the vault")
        git_token = secrets.token_urlsafe(30)
        self._secrets.set_secret(GIT_ACCESS, git_token)
        say("pull tokens, stored in the vault")
        self._token(scenario.PUBLIC, "node")
        self._token(scenario.BASE, "node")
        self._token(scenario.TEAM, "hello-world")
        hub = self._values(REGISTRY_FROM_URL="docker.io/library/")
        gate = f"{scenario.PUBLIC}.azurecr.io/node:{scenario.STABLE}"
        base = f"{scenario.BASE}.azurecr.io/node:{scenario.STABLE}"
        tasks = (
            (scenario.PUBLIC, "node-public", scenario.BASE_IMAGE_NODE, hub, ()),
            (
                scenario.BASE,
                "base-import-node",
                scenario.IMPORT_BASEIMAGE_NODE,
                self._values(IMAGE=gate),
                (scenario.PUBLIC,),
            ),
            (scenario.TEAM, "hello-world", scenario.HELLO_WORLD, self._values(BASE_IMAGE=base), (scenario.BASE,)),
        )
        for registry, task, repository, values, reads in tasks:
            say(f"task {task} in {registry}")
            self._task(registry, task, _context(repository, values, git_token), reads)

    def scan_task(self, scanner: str) -> None:
        """The task that scans an image by digest, with a scanner's image; its task file is given with it."""
        content = (scenario.SAMPLES / "scan-baseimage" / "acr-task.yaml").read_bytes()
        values = self._values(SCANNER=scanner)
        step = {"type": "EncodedTask", "encodedTaskContent": base64.b64encode(content).decode(), "values": values}
        self._task(scenario.BASE, "scan-node", {"step": step}, (scenario.PUBLIC,))

    def subscriptions(self, say: Say) -> None:
        """Subscribe the app to pushes of every registry; it must run, because its endpoint is validated."""
        site = f"{scenario.group_id(scenario.APP_GROUP)}/providers/Microsoft.Web/sites/{scenario.APP}"
        for name in (scenario.PUBLIC, scenario.BASE, scenario.TEAM):
            say(f"pushes to {name} reach the app")
            body = {
                "properties": {
                    "destination": {
                        "endpointType": "AzureFunction",
                        "properties": {"resourceId": f"{site}/functions/registry-events", "maxEventsPerBatch": 1},
                    },
                    "filter": {
                        "includedEventTypes": [
                            "Microsoft.ContainerRegistry.ImagePushed",
                            "Microsoft.ContainerRegistry.ImageDeleted",
                        ]
                    },
                    "eventDeliverySchema": "EventGridSchema",
                }
            }
            scope = scenario.registry_id(name)
            self._azure.put(f"{scope}/providers/Microsoft.EventGrid/eventSubscriptions/basegate", body, _EVENTS)

    def _vault(self) -> None:
        vault = f"{scenario.group_id(scenario.VAULT_GROUP)}/providers/Microsoft.KeyVault/vaults/{scenario.VAULT}"
        properties = {
            "tenantId": _TENANT,
            "sku": {"family": "A", "name": "standard"},
            "enableRbacAuthorization": True,
        }
        self._azure.put(vault, {"location": scenario.LOCATION, "properties": properties}, _VAULTS)

    def _topic(self) -> None:
        topic = {"location": scenario.LOCATION, "properties": {"inputSchema": "CloudEventSchemaV1_0"}}
        self._azure.put(scenario.topic_id(), topic, _EVENTS)
        url = f"https://{scenario.STORAGE}.queue.core.windows.net"
        with QueueClient(url, scenario.OUTCOMES, credential=self._azure.credential) as queue:
            try:
                queue.create_queue()
            except ResourceExistsError:
                queue.clear_messages()
        destination = {"resourceId": scenario.storage_id(), "queueName": scenario.OUTCOMES}
        body = {
            "properties": {
                "destination": {"endpointType": "StorageQueue", "properties": destination},
                "eventDeliverySchema": "CloudEventSchemaV1_0",
            }
        }
        path = f"{scenario.topic_id()}/providers/Microsoft.EventGrid/eventSubscriptions/outcomes"
        self._azure.put(path, body, _EVENTS)

    def _token(self, registry: str, repository: str) -> None:
        """A token that may pull one repository; its name and password are stored as secrets."""
        name, scope = f"registry-{registry}-user", scenario.registry_id(registry)
        scope_map = f"{scope}/scopeMaps/pull-{repository}"
        actions = [f"repositories/{repository}/content/read", f"repositories/{repository}/metadata/read"]
        self._azure.put(scope_map, {"properties": {"actions": actions}}, _ACR)
        self._azure.put(f"{scope}/tokens/{name}", {"properties": {"scopeMapId": scope_map, "status": "enabled"}}, _ACR)
        token = {"tokenId": f"{scope}/tokens/{name}", "name": "password1"}
        answer = self._azure.post(f"{scope}/generateCredentials", _ACR, token)
        self._secrets.set_secret(name, name)
        self._secrets.set_secret(f"registry-{registry}-password", answer["passwords"][0]["value"])

    def _task(self, registry: str, task: str, context: dict[str, Any], reads: tuple[str, ...]) -> None:
        body = {
            "location": scenario.LOCATION,
            "identity": {"type": "SystemAssigned"},
            "properties": {
                "platform": {"os": "Linux", "architecture": "amd64"},
                **context,
                "credentials": {"customRegistries": {f"{name}.azurecr.io": _credential(name) for name in reads}},
            },
        }
        self._azure.put(f"{scenario.registry_id(registry)}/tasks/{task}", body, _TASKS)

    @staticmethod
    def _values(**values: str) -> list[dict[str, Any]]:
        return [{"name": name, "value": value, "isSecret": False} for name, value in values.items()]


def _context(repository: str, values: list[dict[str, Any]], git_token: str) -> dict[str, Any]:
    """The step and the trigger of a task: a repository's task file, on each commit, both with a Git token."""
    url = scenario.repository_url(repository)
    source = {
        "sourceControlType": "Github",
        "repositoryUrl": url,
        "branch": "main",
        "sourceControlAuthProperties": {"tokenType": "PAT", "token": git_token},
    }
    commit = {"name": "commit", "status": "Enabled", "sourceTriggerEvents": ["commit"], "sourceRepository": source}
    step = {
        "type": "FileTask",
        "taskFilePath": "acr-task.yaml",
        "contextPath": f"{url}#main",
        "contextAccessToken": git_token,
        "values": values,
    }
    return {"step": step, "trigger": {"sourceTriggers": [commit]}}


def _credential(registry: str) -> dict[str, Any]:
    """The credentials of a task for another registry: the names of secrets, never their values."""
    secrets = f"{VAULT_URL}/secrets/registry-{registry}"
    return {
        "userName": {"type": "Vaultsecret", "value": f"{secrets}-user"},
        "password": {"type": "Vaultsecret", "value": f"{secrets}-password"},
        "identity": "[system]",
    }
