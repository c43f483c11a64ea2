"""Container groups on real podman, with images from a real registry, through azure-mgmt-containerinstance."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.mgmt.containerinstance import ContainerInstanceManagementClient

from sandbox.containers import Backoff, ContainerGroups
from sandbox.engine import Podman
from sandbox.instance import SUBSCRIPTION
from sandbox.registry import OciImage, Registries
from sandbox.tests.live import LiveGateway
from sandbox.tests.registry_support import arm_client, make, running_registries
from sandbox.upstream import tiny_image

pytestmark = pytest.mark.containers

RG, NAME = "hello-world-aci-rg", "hello-world-aci"
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RG}/providers"
    "/Microsoft.ManagedIdentity/userAssignedIdentities/puller"
)


class World:
    """Podman, the registry `contoso`, container groups, and the SDK."""

    def __init__(self, live: LiveGateway, registries: Registries, client: ContainerInstanceManagementClient) -> None:
        self.live, self.registries, self.client = live, registries, client
        self.engine = Podman(live.instance.folder("engine"), live.instance.key, live.environment)
        identity = {"id": IDENTITY, "properties": {"clientId": "c", "principalId": "p"}}
        live.index.register("Microsoft.ManagedIdentity/userAssignedIdentities", lambda: [identity])
        self.groups = self.open()
        self.groups.mount(live.arm)

    def open(self) -> ContainerGroups:
        file, live = self.live.instance.root / "groups.json", self.live
        restarts = Backoff(poll=0.2, first=0.5, longest=1)
        return ContainerGroups(file, live.operations, live.index, self.engine, self.registries, restarts=restarts)

    def push(self, tag: str, color: str) -> None:
        record = self.registries.find("contoso")
        assert record is not None
        self.live.run(self.registries.push_image(record, "hello-world", tag, colored(color)))

    def create(self, tag: str, **container: Any) -> Any:
        return self.client.container_groups.begin_create_or_update(RG, NAME, definition(tag, **container)).result()

    def view(self) -> Any:
        return self.client.container_groups.get(RG, NAME).containers[0].instance_view

    def log(self, container: str, **options: Any) -> str:
        return self.client.containers.list_logs(RG, NAME, container, **options).content or ""


def colored(color: str) -> OciImage:
    """The tiny image with a colour, as a build on it would give."""
    tiny = tiny_image()
    config = json.loads(tiny.config)
    config["config"]["Env"].append(f"BACKGROUND_COLOR={color}")
    return OciImage(json.dumps(config).encode(), tiny.layers)


def definition(tag: str, name: str = "hello-world", **container: Any) -> Any:
    return {
        "location": "eastus",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}},
        "properties": {
            "containers": [
                {
                    "name": name,
                    "properties": {
                        "image": f"contoso.azurecr.io/hello-world:{tag}",
                        "ports": [{"port": 80}],
                        "resources": {"requests": {"cpu": 0.5, "memoryInGB": 0.25}},
                        **container,
                    },
                }
            ],
            "osType": "Linux",
            "imageRegistryCredentials": [{"server": "contoso.azurecr.io", "identity": IDENTITY}],
            "ipAddress": {"type": "Public", "ports": [{"port": 80}]},
        },
    }


def page(address: str, path: str = "/") -> str:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=1) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return ""


def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@pytest.fixture
def world(live: LiveGateway) -> Iterator[World]:
    with ExitStack() as stack:
        registries = stack.enter_context(running_registries(live))
        with arm_client() as arm:
            make(arm, "contoso")
        credential = stack.enter_context(DefaultAzureCredential())
        client = stack.enter_context(ContainerInstanceManagementClient(credential, SUBSCRIPTION, polling_interval=0))
        world = World(live, registries, client)
        live.run(world.engine.start())
        stack.callback(lambda: live.run(world.engine.close()))
        stack.callback(lambda: live.run(world.groups.stop()))
        yield world


def test_a_page_is_served_updated_in_place_and_back_after_a_restart_of_the_sandbox(world: World) -> None:
    world.push("ca1", "Orange")
    world.push("ca2", "Green")
    address = world.create("ca1").ip_address.ip
    until(lambda: "background:Orange" in page(address))
    assert page(address, "/healthz") == "ok\n"
    assert world.create("ca2").ip_address.ip == address
    until(lambda: "background:Green" in page(address))

    with pytest.raises(HttpResponseError, match=r"is not accessible\. Please check the image and registry credential"):
        world.create("ca3")
    assert "background:Green" in page(address)

    world.live.run(world.groups.stop())
    assert page(address) == ""
    again = world.open()
    world.live.run(again.start())
    until(lambda: "background:Green" in page(address))
    world.live.run(again.stop())


def test_a_container_that_fails_is_started_again_and_its_log_can_be_read(world: World) -> None:
    world.push("ca1", "Orange")
    script = 'echo "secret is $TOKEN long"; sleep 0.3; exit 7'
    world.create(
        "ca1",
        command=["/bin/sh", "-c", script],
        environmentVariables=[{"name": "TOKEN", "secureValue": "twenty"}],
    )
    until(lambda: world.view().restart_count >= 2)
    previous = world.view().previous_state
    assert previous.exit_code == 7
    assert previous.start_time < previous.finish_time
    assert {"Pulled", "Started", "BackOff"} <= {event.name for event in world.view().events}
    log = world.log("hello-world", tail=1)
    assert log == "secret is twenty long\n"
    dated = world.log("hello-world", timestamps=True)
    assert dated.startswith("20")


def test_a_command_that_is_not_there_fails_the_provisioning(world: World) -> None:
    world.push("ca1", "Orange")
    with pytest.raises(HttpResponseError, match="do not start: hello-world"):
        world.create("ca1", command=["/bin/nonsense"])
    assert world.client.container_groups.get(RG, NAME).provisioning_state == "Failed"
    assert "Failed" in {event.name for event in world.view().events}


def test_two_containers_of_a_group_meet_on_localhost(world: World) -> None:
    world.push("ca1", "Orange")
    body = definition("ca1")
    asks = ["/bin/sh", "-c", "until wget -qO- http://localhost/healthz; do sleep 0.1; done; exec sleep 600"]
    body["properties"]["containers"] += definition("ca1", "sidecar", command=asks)["properties"]["containers"]
    world.client.container_groups.begin_create_or_update(RG, NAME, body).result()
    until(lambda: "ok" in world.log("sidecar"))


@pytest.mark.attack("a container group", "a service of this machine on all addresses", "firewall rules")
def test_a_container_group_reaches_no_service_of_this_machine(world: World) -> None:
    world.push("ca1", "Orange")
    with socket.create_server(("0.0.0.0", 0)) as listener:
        listener.setblocking(False)
        machine = "$(ip -4 -o addr show dev eth0 | sed 's/.*inet //; s/[.][0-9]*[/].*/.1/')"
        script = f"nc -w 5 {machine} {listener.getsockname()[1]}; echo ended with $?; exec sleep 600"
        world.create("ca1", command=["/bin/sh", "-c", script])
        until(lambda: "ended with" in world.log("hello-world"))
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert "Connection refused" in world.log("hello-world")
    assert "ended with 1\n" in world.log("hello-world")
