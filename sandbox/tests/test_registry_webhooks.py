"""Webhooks and replications of a registry, through azure-mgmt-containerregistry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.containerregistry import ContainerRegistryManagementClient
from azure.mgmt.containerregistry import models as m

from sandbox.registry import Push, Registries, to_event
from sandbox.registry.records import Origin, RegistryRecord, WebhookRecord
from sandbox.registry.webhooks import Webhooks
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


@pytest.mark.attack(
    "an ARM client", "a webhook to another scheme or host, or with other headers", "its URI and headers"
)
def test_a_uri_or_a_header_that_a_webhook_cannot_have_is_refused_without_being_shown(world: World) -> None:
    for uri in (
        "https://", "https:///s3cret", "https://user:s3cret@hook.example.test/", "https://@hook.example.test/s3cret",
        "https://hook.example.test/#s3cret", "https://hook.example.test:0/s3cret", "https://hook.example.test:99999/s3cret",
        "https://[::1/s3cret", f"https://{'a' * 254}/s3cret", "https://hook.example.test\n/s3cret ", "https://h\u00f6ok/s3cret",
        "https://management.azure.com/s3cret", "https://MANAGEMENT.azure.com./s3cret",
    ):  # fmt: skip
        with pytest.raises(HttpResponseError) as refused:
            world.hook(service_uri=uri)
        assert refused.value.status_code == 400, uri
        assert "s3cret" not in str(refused.value)
    for name, value in (("Host", "x"), ("content-length", "5"), ("a b", "x"), ("", "x"), ("X-Key", "s3cret\r\nX: y")):
        with pytest.raises(HttpResponseError, match="custom header") as refused:
            world.hook(custom_headers={name: value})
        assert "s3cret" not in str(refused.value)
    assert list(world.arm.webhooks.list(GROUP, "contoso")) == []


def test_a_registry_has_as_many_webhooks_as_its_sku_allows(world: World) -> None:
    def use(sku: str) -> m.Registry:
        change = m.RegistryUpdateParameters(sku=m.Sku(name=sku))
        return world.arm.registries.begin_update(GROUP, "contoso", change).result()

    use("Basic")
    for name in ("hook1", "hook2", "hook2"):  # the last one is replaced
        world.hook(name)
    with pytest.raises(HttpResponseError, match="Quota exceeded for resource type webhooks for the registry SKU Basic"):
        world.hook("hook3")
    use("Standard")
    world.hook("hook3")
    with pytest.raises(HttpResponseError, match="webhooks for the registry SKU Basic: 3 of 2") as refused:
        use("Basic")
    assert refused.value.status_code == 403
    assert world.arm.registries.get(GROUP, "contoso").sku.name == "Standard"


def test_a_registry_with_replications_stays_premium(world: World) -> None:
    world.replicate("europe", "westeurope")
    smaller = m.Registry(location="eastus", sku=m.Sku(name="Standard"))
    with pytest.raises(HttpResponseError, match="replications for the registry SKU Standard"):
        world.arm.registries.begin_create(GROUP, "contoso", smaller).result()
    change = m.RegistryUpdateParameters(sku=m.Sku(name="Basic"))
    with pytest.raises(HttpResponseError, match="replications for the registry SKU Basic"):
        world.arm.registries.begin_update(GROUP, "contoso", change).result()
    assert world.arm.registries.get(GROUP, "contoso").sku.name == "Premium"
    world.arm.replications.begin_delete(GROUP, "contoso", "europe").result()
    assert world.arm.registries.begin_update(GROUP, "contoso", change).result().sku.name == "Basic"


def test_a_replication_has_a_sound_name_stays_where_it_is_and_is_none_of_the_own_region(world: World) -> None:
    world.replicate("europe", "westeurope")
    for name, location, reason in (
        ("eu", "northeurope", "5 to 50 letters and digits"),
        ("north-europe", "northeurope", "5 to 50 letters and digits"),
        ("europe", "northeurope", "is in 'westeurope', and stays there"),
        ("EastUS", "northeurope", "is in 'eastus' already"),
    ):
        with pytest.raises(HttpResponseError, match=reason):
            world.replicate(name, location)
    change = m.ReplicationUpdateParameters(tags={"a": "b"})
    with pytest.raises(HttpResponseError, match="own region 'eastus'"):
        world.arm.replications.begin_update(GROUP, "contoso", "eastus", change).result()
    assert world.regions() == ["eastus", "westeurope"]


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


RECORD = RegistryRecord(
    name="contoso", group=GROUP, location="eastus", sku="Premium", created="", admin_passwords=("a", "b")
)


class Wire:
    """Sessions of which every request waits for `opened`, and then raises `error` or is answered."""

    def __init__(self, error: Exception | None = None) -> None:
        self.opened, self.error = asyncio.Event(), error
        self.sent: list[str] = []
        self.at_once = self.most_at_once = 0

    def __call__(self) -> Any:
        return self

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    @asynccontextmanager
    async def post(self, uri: str, *, data: bytes, **_: Any) -> AsyncIterator[Any]:
        """Record the event, and answer when opened."""
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.opened.wait()
            if self.error:
                raise self.error
            self.sent.append(msgspec.json.decode(data)["id"])
            yield SimpleNamespace(status=200, reason="OK", headers={}, content=Nothing())
        finally:
            self.at_once -= 1


class Nothing:
    """A response without a body."""

    async def read(self, limit: int) -> bytes:
        """No bytes."""
        return b""


def pushed(number: int) -> Push:
    """One of several pushes."""
    return Push(
        id=str(number),
        request_id="r",
        registry="contoso",
        repository="node",
        tag="1",
        digest="sha256:" + "0" * 64,
        media_type="",
        size=1,
        action="push",
        actor="me",
        method="PUT",
        user_agent="",
        timestamp=datetime(2026, 11, 30, tzinfo=UTC),
    )


def hooks(tmp_path: Path, wire: Wire, count: int = 1) -> tuple[Webhooks, list[WebhookRecord]]:
    """Webhooks that send on a wire."""
    webhooks = Webhooks(tmp_path / "webhooks.json", wire)
    records = [
        WebhookRecord(registry="contoso", name=f"hook{n}", location="eastus", service_uri=URI, actions=("push",))
        for n in range(count)
    ]
    for record in records:
        webhooks.records.put(f"contoso/{record.name}", record)
    return webhooks, records


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def statuses(webhooks: Webhooks, webhook: WebhookRecord) -> list[tuple[str, str]]:
    """The status and reason of each kept event, the newest first."""
    responses = [event["eventResponseMessage"] for event in webhooks.events(webhook)]
    return [(response["statusCode"], response["reasonPhrase"]) for response in responses]


@pytest.mark.attack("an ARM client", "to fill the memory with events of a slow webhook", "a limit of events")
def test_events_are_sent_in_order_and_of_those_that_wait_too_many_are_not_sent(tmp_path: Path) -> None:
    async def play() -> None:
        wire = Wire()
        webhooks, (webhook,) = hooks(tmp_path, wire)
        for number in range(130):
            webhooks.announce(RECORD, pushed(number))
        assert statuses(webhooks, webhook) == [("0", "not sent: 100 events wait already")] * 30
        wire.opened.set()
        await soon(lambda: len(statuses(webhooks, webhook)) == 100)
        await soon(lambda: statuses(webhooks, webhook)[-1] == ("200", "OK"))
        assert wire.sent == [str(number) for number in range(100)]
        await webhooks.stop()

    asyncio.run(play())


@pytest.mark.attack("an ARM client", "all connections, with many webhooks", "a limit of requests")
def test_of_many_webhooks_only_some_are_sent_something_at_the_same_time(tmp_path: Path) -> None:
    async def play() -> None:
        wire = Wire()
        webhooks, _ = hooks(tmp_path, wire, count=60)
        webhooks.announce(RECORD, pushed(1))
        await soon(lambda: wire.at_once == 50)
        await asyncio.sleep(0)
        wire.opened.set()
        await soon(lambda: len(wire.sent) == 60)
        assert wire.most_at_once == 50
        await webhooks.stop()

    asyncio.run(play())


def test_a_webhook_that_is_deleted_meanwhile_is_sent_nothing_more_and_leaves_no_events(tmp_path: Path) -> None:
    async def play() -> None:
        wire = Wire()
        webhooks, (webhook,) = hooks(tmp_path, wire)
        for number in range(3):
            webhooks.announce(RECORD, pushed(number))
        ping = asyncio.create_task(webhooks.ping(webhook))
        await soon(lambda: wire.at_once == 2)
        webhooks.forget(webhook)
        wire.opened.set()
        pinged = await ping
        await soon(lambda: wire.at_once == 0)
        assert wire.sent == [pinged]
        webhooks.records.put("contoso/hook0", webhook)
        assert webhooks.events(webhook) == []

    asyncio.run(play())


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (aiohttp.InvalidURL(URI), ("0", "not reachable: InvalidURL")),
        (OSError(f"cannot reach {URI}"), ("0", "not reachable: OSError")),
        (UnicodeError(f"label too long: {URI}"), ("0", "not reachable: UnicodeError")),
        (TimeoutError(), ("504", "Gateway Timeout")),
    ],
)
def test_an_error_on_the_way_is_an_event_and_shows_no_uri(
    error: Exception, shown: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        wire = Wire(error)
        wire.opened.set()
        webhooks, (webhook,) = hooks(tmp_path, wire)
        webhooks.announce(RECORD, pushed(1))
        await soon(lambda: statuses(webhooks, webhook) == [shown])
        await webhooks.stop()

    asyncio.run(play())
    assert "s3cret" not in caplog.text
