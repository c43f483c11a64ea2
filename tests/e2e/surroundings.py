"""A running scenario, read with all permissions: its secrets, and everything that was written."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from azure.data.tables import TableServiceClient
from azure.keyvault.secrets import SecretClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from demo import scenario
from demo.azure import Azure
from demo.provision import VAULT_URL
from sandbox.testing import Sandbox
from shared.settings import EVIDENCE_CONTAINER
from tests.e2e.canaries import Text, texts_in
from tests.served import routes_that_read

_MOST_PEEKED = 32


class Surroundings:
    """The contents of one scenario, through the SDKs and over HTTP.

    `state` is the sandbox's folder, `site` the app's URL.
    """

    def __init__(self, azure: Azure, state: Path, site: str) -> None:
        self._azure, self._state, self._site = azure, state, site
        self._keys = json.loads((state / "sites" / scenario.APP / "keys.json").read_text())
        self._host_key = str(self._keys["functionKeys"]["default"])

    def secrets(self) -> dict[str, str]:
        """Every secret of the scenario by description. The user names in the vault are not secret."""
        return {**self._vault(), **dict(_leaves("key", self._keys)), **Sandbox(self._state).secrets()}

    def evidence(self) -> Iterator[Text]:
        """The logs of runs that the app has stored."""
        return self._blobs(EVIDENCE_CONTAINER)

    def stored(self) -> Iterator[Text]:
        """Rows and messages: the app's records and work items, and the outcomes announced to a queue."""
        with TableServiceClient(_storage("table"), credential=self._azure.credential) as tables:
            for table in tables.list_tables():
                for row in tables.get_table_client(table.name).list_entities():
                    yield f"row {row['PartitionKey']}/{row['RowKey']} of {table.name}", texts_in(row)
        with QueueServiceClient(_storage("queue"), self._azure.credential) as queues:
            for queue in queues.list_queues():
                for message in queues.get_queue_client(queue.name).peek_messages(_MOST_PEEKED):
                    yield f"a message of {queue.name}", texts_in(message.content)

    def blobs(self) -> Iterator[Text]:
        """Every blob: ACR's own logs and the sources of runs are in other containers than the app's."""
        with BlobServiceClient(_storage("blob"), self._azure.credential) as blobs:
            for container in blobs.list_containers():
                yield from self._blobs(container.name)

    def _blobs(self, container: str) -> Iterator[Text]:
        with BlobServiceClient(_storage("blob"), self._azure.credential) as blobs:
            client = blobs.get_container_client(container)
            for blob in client.list_blobs():
                yield f"blob {container}/{blob.name}", client.download_blob(blob.name).readall()

    def served(self) -> Iterator[Text]:
        """Every response to a GET: of each function that has one, for every value of its path's parameters."""
        names = self._names()
        for pattern in routes_that_read():
            parts = pattern.split("/")
            choices = [names.get(part.strip("{}"), ["style.css"]) if part.startswith("{") else [part] for part in parts]
            for path in map("/".join, product(*choices)):
                yield path, self._get(path, {"x-functions-key": self._host_key})
                yield f"{path} with a key that is none", self._get(path, {"x-functions-key": "none"})
            if "fragments" not in pattern:
                yield f"{path} with the key in its URL", self._get(f"{path}?code={self._host_key}", {})

    def resources(self) -> Iterator[Text]:
        """The responses of Azure Resource Manager about tasks, runs and the container group."""
        group = f"{scenario.group_id(scenario.CONTAINER_GROUP_RG)}/providers/Microsoft.ContainerInstance"
        paths = [(f"{group}/containerGroups/{scenario.CONTAINER_GROUP}", "2023-05-01")]
        for registry in (scenario.PUBLIC, scenario.BASE, scenario.TEAM):
            paths += [(f"{scenario.registry_id(registry)}/{kind}", "2025-03-01-preview") for kind in ("tasks", "runs")]
        for path, version in paths:
            yield path, texts_in(self._azure.get(path, version))

    def read(self, path: str) -> Any:
        """A response of the HTTP interface."""
        return json.loads(self._get(path, {"x-functions-key": self._host_key}).partition(b"\n\n")[2])

    def fragment(self, path: str) -> str:
        """A part of the board."""
        return self._get(f"board/fragments/{path}", {"x-functions-key": self._host_key}).decode()

    def _names(self) -> dict[str, list[str]]:
        status = self.read("v1/status")
        gates = [str(gate["name"]) for gate in status["gates"]]
        apps = [str(app["name"]) for app in status["apps"]]
        candidates = [item["id"] for gate in gates for item in self._all(f"v1/gates/{gate}/candidates")]
        rollouts = [item["id"] for app in apps for item in self._all(f"v1/apps/{app}/rollouts")]
        return {"gate": gates, "app": apps, "candidate": candidates, "rollout": rollouts}

    def _all(self, path: str) -> Iterator[dict[str, Any]]:
        page = self.read(path)
        yield from page["items"]
        while page["next"]:
            page = self.read(f"{path}?token={page['next']}")
            yield from page["items"]

    def _get(self, path: str, headers: dict[str, str]) -> bytes:
        """Headers and body of a response, whatever its status."""
        try:
            answer = urllib.request.urlopen(
                urllib.request.Request(f"{self._site}/api/{path}", headers=headers), timeout=60
            )
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            body: bytes = answer.read()
            return str(answer.headers).encode().strip() + b"\n\n" + body

    def _vault(self) -> dict[str, str]:
        with SecretClient(VAULT_URL, self._azure.credential) as vault:
            names = [str(secret.name) for secret in vault.list_properties_of_secrets()]
            return {name: str(vault.get_secret(name).value) for name in names if not name.endswith("-user")}


def _storage(service: str) -> str:
    return f"https://{scenario.STORAGE}.{service}.core.windows.net"


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(f"{name} {key}", part)
    else:
        yield name, str(value)
