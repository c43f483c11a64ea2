"""Container groups on an engine in memory, behind a gateway, with the SDK that drives them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from azure.identity import DefaultAzureCredential
from azure.mgmt.containerinstance import ContainerInstanceManagementClient

from sandbox.containers import Backoff, ContainerGroups
from sandbox.instance import SUBSCRIPTION
from sandbox.tests.containers_fake import FakeHost, FakeRegistries
from sandbox.tests.live import LiveGateway

RG, NAME = "hello-world-aci-rg", "hello-world-aci"
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RG}/providers"
    "/Microsoft.ManagedIdentity/userAssignedIdentities/puller"
)
URL = (
    f"https://management.azure.com/subscriptions/{SUBSCRIPTION}/resourceGroups/{RG}"
    f"/providers/Microsoft.ContainerInstance/containerGroups/{NAME}?api-version=2023-05-01"
)
FAST = Backoff(poll=0.01, first=0.05, longest=0.1)


class World:
    """A gateway with container groups on a fake engine, and the SDK that drives it."""

    def __init__(self, live: LiveGateway) -> None:
        self.live, self.host, self.registries = live, FakeHost(), FakeRegistries()
        identity = {"id": IDENTITY, "properties": {"clientId": "c", "principalId": "p"}}
        live.index.register("Microsoft.ManagedIdentity/userAssignedIdentities", lambda: [identity])
        self.groups = self.open()
        self.groups.mount(live.arm)
        self.credential = DefaultAzureCredential()
        self.client = ContainerInstanceManagementClient(self.credential, SUBSCRIPTION, polling_interval=0)

    def open(self) -> ContainerGroups:
        file = self.live.instance.root / "containers" / "groups.json"
        live = self.live
        return ContainerGroups(file, live.operations, live.index, self.host, self.registries, restarts=FAST)

    def create(self, **changes: Any) -> Any:
        return self.client.container_groups.begin_create_or_update(RG, NAME, definition(**changes)).result()

    def get(self) -> Any:
        return self.client.container_groups.get(RG, NAME)

    def put(self, body: dict[str, Any]) -> requests.Response:
        return self.send("PUT", body=body)

    def send(self, method: str, path: str = "", query: str = "", body: Any = None) -> requests.Response:
        """A request on the group as no SDK would send it; `path` and `query` are added to the group's."""
        token = self.credential.get_token("https://management.azure.com/.default").token
        url = URL.replace("?", f"{path}?") + query
        return requests.request(method, url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=10)

    def begin(self, body: Any = None) -> str:
        """Put a group and return the URL that tells how that goes."""
        answer = self.put(body or definition())
        assert answer.status_code == 201, answer.text
        return answer.headers["Azure-AsyncOperation"]

    def outcome(self, url: str) -> Any:
        """What an operation has come to, once it has ended."""
        token = self.credential.get_token("https://management.azure.com/.default").token
        responses: list[Any] = []

        def ended() -> bool:
            responses.append(requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).json())
            return bool(responses[-1]["status"] != "Pending")

        until(ended)
        return responses[-1]

    def close(self) -> None:
        self.client.close()
        self.credential.close()
        self.live.run(self.groups.stop())


def definition(image: str = "contoso.azurecr.io/hello-world:ca1", **properties: Any) -> Any:
    """A body as Basegate sends it; `container` and `group` are merged over the defaults."""
    container = {
        "image": image,
        "ports": [{"port": 80}],
        "resources": {"requests": {"cpu": 1, "memoryInGB": 1.5}},
        "environmentVariables": [{"name": "SECRET", "secureValue": "hidden"}, {"name": "OPEN", "value": "seen"}],
    } | properties.pop("container", {})
    tags, identity = properties.pop("tags", {}), properties.pop("identity", None)
    body = {
        "containers": [{"name": "hello-world", "properties": container}],
        "osType": "Linux",
        "imageRegistryCredentials": [{"server": "contoso.azurecr.io", "username": "u", "password": "hush"}],
        "ipAddress": {"type": "Public", "ports": [{"port": 80}], "dnsNameLabel": "hello"},
    } | properties
    group = {"location": "eastus", "tags": tags, "properties": body}
    return group if identity is None else group | {"identity": identity}


def until(check: Callable[[], bool]) -> None:
    """Wait until something has come to pass."""
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


@pytest.fixture
def world(live: LiveGateway) -> Iterator[World]:
    world = World(live)
    yield world
    world.close()
