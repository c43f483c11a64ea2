"""Webhooks and replications of a registry, through azure-mgmt-containerregistry."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from aiohttp import web
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.containerregistry import ContainerRegistryManagementClient
from azure.mgmt.containerregistry import models as m

from sandbox.registry import Push, Registries, to_event
from sandbox.registry.records import Origin
from sandbox.testing import tiny_image
from sandbox.tests.live import LiveGateway
from sandbox.tests.registry_support import GROUP, arm_client
from sandbox.web import Call, Surface

PREMIUM = m.Registry(location="eastus", sku=m.Sku(name="Premium"))
URI = "https://hook.example.test/acr?code=s3cret"


@dataclass
class Endpoint:
    """Where webhooks point to: it records what comes, and answers `status`."""

    status: int = 200
    received: list[tuple[Mapping[str, str], Any]] = field(default_factory=list)

    async def post(self, call: Call) -> web.StreamResponse:
        """Take an event."""
        self.received.append((dict(call.request.headers), msgspec.json.decode(await call.request.read())))
        return web.Response(status=self.status)

    @property
    def actions(self) -> list[tuple[str, str | None]]:
        return [(event["action"], event.get("target", {}).get("tag")) for _, event in self.received]


@dataclass
class World:
    """The Premium registry contoso, its client, and an endpoint for its webhooks."""

    live: LiveGateway
    registries: Registries
    arm: ContainerRegistryManagementClient
    endpoint: Endpoint

    def push(self, repository: str, tag: str) -> str:
        record = self.registries.find("contoso")
        assert record
        return self.live.run(self.registries.push_image(record, repository, tag, tiny_image()))

    def delete(self, repository: str, digest: str) -> None:
        registry = self.registries.at("contoso.azurecr.io")
        self.live.run(registry.delete_manifest(repository, digest, Origin("me", "DELETE")))

    def hook(self, name: str = "gatehook", location: str = "eastus", **properties: Any) -> m.Webhook:
        settings: dict[str, Any] = {"service_uri": URI, "actions": ["push", "delete"]} | properties
        body = m.WebhookCreateParameters(location=location, properties=m.WebhookPropertiesCreateParameters(**settings))
        return self.arm.webhooks.begin_create(GROUP, "contoso", name, body).result()

    def events(self) -> list[m.Event]:
        return list(self.arm.webhooks.list_events(GROUP, "contoso", "gatehook"))

    def replicate(self, name: str, location: str) -> m.Replication:
        return self.arm.replications.begin_create(GROUP, "contoso", name, m.Replication(location=location)).result()

    def regions(self) -> list[str]:
        return [str(one.location) for one in self.arm.replications.list(GROUP, "contoso")]


@pytest.fixture
def world(live: LiveGateway, registries: Registries) -> Iterator[World]:
    endpoint = Endpoint()
    surface = Surface("Hook", r"hook\.example\.test")
    surface.operation("POST", "/acr")(endpoint.post)
    live.gateway.add(surface)
    with arm_client() as arm:
        arm.registries.begin_create(GROUP, "contoso", PREMIUM).result()
        yield World(live, registries, arm, endpoint)


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it did not come to pass within 5 s"
        time.sleep(0.01)


def test_a_webhook_is_told_of_pushes_and_deletes_with_its_headers(world: World) -> None:
    world.hook(custom_headers={"X-Key": "a-key"})
    digest = world.push("node", "1")
    eventually(lambda: world.endpoint.actions == [("push", "1")])
    headers, event = world.endpoint.received[0]
    assert (headers["X-Key"], headers["Content-Type"]) == ("a-key", "application/json; charset=utf-8")
    assert event["target"]["digest"] == digest
    assert event["request"]["host"] == "contoso.azurecr.io"
    assert event.keys() == {"id", "timestamp", "action", "target", "request"}
    eventually(lambda: bool(world.events()))  # it is kept once the endpoint has answered
    (kept,) = world.events()
    assert kept.event_request_message and kept.event_request_message.headers
    assert kept.event_request_message.headers["X-Key"] == "******"
    assert kept.event_request_message.request_uri == URI.partition("?")[0]
    assert kept.event_response_message and kept.event_response_message.status_code == "200"


@pytest.mark.parametrize(
    ("scope", "sent"),
    [
        ("", [("push", "1"), ("push", "latest"), ("delete", None)]),
        ("node:*", [("push", "1"), ("push", "latest"), ("delete", None)]),
        ("node:1", [("push", "1")]),
        ("node", [("push", "latest")]),
        ("other:*", []),
    ],
)
def test_a_webhook_is_told_of_what_is_in_its_scope(
    world: World, scope: str, sent: list[tuple[str, str | None]]
) -> None:
    world.hook(scope=scope)
    for tag in ("1", "latest"):
        digest = world.push("node", tag)
    world.delete("node", digest)
    world.hook("lasthook", scope="last:*")
    world.push("last", "end")
    eventually(lambda: ("push", "end") in world.endpoint.actions)
    wanted = [*sent, ("push", "end"), *([("push", "end")] if not scope else [])]
    eventually(lambda: sorted(world.endpoint.actions, key=str) == sorted(wanted, key=str))


def test_a_disabled_webhook_is_told_nothing_but_a_ping(world: World) -> None:
    world.hook()
    change = m.WebhookUpdateParameters(properties=m.WebhookPropertiesUpdateParameters(status="disabled"))
    changed = world.arm.webhooks.begin_update(GROUP, "contoso", "gatehook", change).result()
    assert changed.properties and changed.properties.status == "disabled"
    world.push("node", "1")
    world.endpoint.status = 500
    pinged = world.arm.webhooks.ping(GROUP, "contoso", "gatehook")
    assert [event["id"] for _, event in world.endpoint.received] == [pinged.id]
    (kept,) = world.events()
    assert kept.event_response_message and kept.event_response_message.status_code == "500"


def test_uri_and_headers_of_a_webhook_are_shown_by_its_configuration_alone(world: World) -> None:
    world.hook(custom_headers={"X-Key": "a-key"})
    config = world.arm.webhooks.get_callback_config(GROUP, "contoso", "gatehook")
    assert (config.service_uri, config.custom_headers) == (URI, {"X-Key": "a-key"})
    (listed,) = world.arm.webhooks.list(GROUP, "contoso")
    for shown in (listed, world.arm.webhooks.get(GROUP, "contoso", "gatehook")):
        assert "s3cret" not in str(shown.as_dict())
        assert "a-key" not in str(shown.as_dict())
    world.arm.webhooks.begin_delete(GROUP, "contoso", "gatehook").result()
    with pytest.raises(ResourceNotFoundError, match="no webhook 'gatehook'"):
        world.arm.webhooks.get(GROUP, "contoso", "gatehook")


def test_an_endpoint_that_is_not_reached_is_among_the_events(world: World) -> None:
    world.hook(service_uri="https://nowhere.example.test/acr")
    world.arm.webhooks.ping(GROUP, "contoso", "gatehook")
    (kept,) = world.events()
    assert kept.event_response_message and kept.event_response_message.status_code in ("0", "502")


def test_a_webhook_without_encryption_is_refused_in_a_sentence_that_names_the_sandbox(world: World) -> None:
    with pytest.raises(HttpResponseError, match="sandbox's webhooks"):
        world.hook(service_uri="http://hook.example.test/acr")


def test_a_replica_is_told_of_a_push_later_and_with_its_region(world: World) -> None:
    world.registries.replication_seconds = 0.2
    here: list[Push] = []
    there: list[Push] = []

    async def listen(push: Push) -> None:
        here.append(push)

    async def listen_there(push: Push) -> None:
        there.append(push)

    world.registries.on_push.append(listen)
    world.registries.on_replicated.append(listen_there)
    world.replicate("westeurope", "West Europe")
    world.hook(location="westeurope")
    began = time.monotonic()
    world.push("node", "1")
    eventually(lambda: bool(here))
    assert there == []
    eventually(lambda: bool(there) and bool(world.endpoint.received))
    assert time.monotonic() - began >= 0.2
    assert len(here) == len(there) == len(world.endpoint.received) == 1
    assert to_event(here[0]).data["location"] == "eastus"
    assert to_event(there[0]).data["location"] == "westeurope"
    assert (there[0].digest, there[0].tag) == (here[0].digest, "1")
    assert there[0].id != here[0].id


def test_a_registry_is_in_its_own_region_and_in_those_of_its_replicas(world: World) -> None:
    assert world.regions() == []
    made = world.replicate("europe", "westeurope")
    assert made.properties and made.properties.status and made.properties.status.display_status == "Ready"
    assert world.regions() == ["eastus", "westeurope"]
    properties = m.ReplicationUpdateParametersProperties(region_endpoint_enabled=False)
    change = m.ReplicationUpdateParameters(properties=properties)
    changed = world.arm.replications.begin_update(GROUP, "contoso", "europe", change).result()
    assert changed.properties and changed.properties.region_endpoint_enabled is False
    with pytest.raises(HttpResponseError, match="'eastus' already"):
        world.replicate("again", "East US")
    with pytest.raises(HttpResponseError, match="own region"):
        world.arm.replications.begin_delete(GROUP, "contoso", "eastus").result()
    world.arm.replications.begin_delete(GROUP, "contoso", "europe").result()
    assert world.regions() == []


def test_only_a_premium_registry_has_replicas(world: World) -> None:
    world.arm.registries.begin_create(GROUP, "small", m.Registry(location="eastus", sku=m.Sku(name="Basic"))).result()
    with pytest.raises(HttpResponseError, match="Premium"):
        world.arm.replications.begin_create(GROUP, "small", "europe", m.Replication(location="westeurope")).result()


def test_webhooks_and_replicas_go_with_their_registry(world: World) -> None:
    world.hook()
    world.replicate("europe", "westeurope")
    world.arm.registries.begin_delete(GROUP, "contoso").result()
    world.arm.registries.begin_create(GROUP, "contoso", PREMIUM).result()
    assert list(world.arm.webhooks.list(GROUP, "contoso")) == []
    assert world.regions() == []
