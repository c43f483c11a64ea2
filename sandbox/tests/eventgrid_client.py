"""What the Event Grid tests stand on: the service on a live gateway, and a webhook that records what comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import requests
from aiohttp import web

from sandbox.entra import ARM_AUDIENCES
from sandbox.eventgrid import Event, EventGrid
from sandbox.instance import SUBSCRIPTION, Settings
from sandbox.tests.live import LiveGateway
from sandbox.web import Call, Fault, Surface, json_answer

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/demo"
REGISTRY = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/publicregistry"
TOPIC = f"{GROUP}/providers/Microsoft.EventGrid/topics/news"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/basegatestore"
EXTENSION = "/providers/Microsoft.EventGrid/eventSubscriptions"
HOOK_URL = "https://hook.example.test/events?code=s3cret"


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Poll until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.005)


@dataclass
class Received:
    """One request to the webhook."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: Any


@dataclass
class Hook:
    """A webhook: answers with the next of `responses` (200 once there are none), and consents unless told not to."""

    received: list[Received] = field(default_factory=list)
    validated: list[Received] = field(default_factory=list)
    responses: list[int] = field(default_factory=list)
    consent: str = "code"

    def surface(self, hosts: str) -> Surface:
        surface = Surface("Hook", hosts)
        surface.operation("POST", "/{path:rest}")(self._post)
        surface.operation("OPTIONS", "/{path:rest}")(self._options)
        return surface

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was accepted or refused, flat."""
        bodies = [one.body if isinstance(one.body, list) else [one.body] for one in self.received]
        return [event for body in bodies for event in body]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]

    async def _post(self, call: Call) -> web.StreamResponse:
        body = msgspec.json.decode(await call.request.read())
        one = Received({k.lower(): v for k, v in call.request.headers.items()}, call.query, body)
        if one.headers["aeg-event-type"] == "SubscriptionValidation":
            self.validated.append(one)
            if self.consent == "refuse":
                return web.Response(status=404)
            code = body[0]["data"]["validationCode"]
            return json_answer({"validationResponse": code} if self.consent == "code" else {})
        self.received.append(one)
        return web.Response(status=self.responses.pop(0) if self.responses else 200)

    async def _options(self, call: Call) -> web.StreamResponse:
        allowed = {} if self.consent == "refuse" else {"WebHook-Allowed-Origin": "eventgrid.azure.net"}
        return web.Response(headers=allowed)


@dataclass
class FakeStorage:
    """Keeps dead letters in memory; a container that is not in `containers` does not exist."""

    blobs: dict[str, Any] = field(default_factory=dict)
    containers: set[str] = field(default_factory=lambda: {"deadletters"})

    async def put_blob(self, container: str, blob: str, data: bytes, metadata: Mapping[str, str]) -> None:
        if container not in self.containers:
            raise Fault(404, "ContainerNotFound", container)
        self.blobs[f"{container}/{blob}"] = msgspec.json.decode(data)


class FakeKeys:
    """Knows the key of one function app."""

    def eventgrid_key(self, app: str) -> str | None:
        return "system-key" if app == "gateapp" else None


class EventGridClient:
    """The service, a webhook at hook.example.test (and as the function app `gateapp`), and a client of ARM."""

    def __init__(self, live: LiveGateway, time_scale: float) -> None:
        self.live, self.hook, self.storage = live, Hook(), FakeStorage()
        self.settings = Settings(time_scale=time_scale)
        live.index.register("Microsoft.ContainerRegistry/registries", lambda: [{"id": REGISTRY, "location": "eastus"}])
        self.grid = self._service()
        self.grid.mount(live.arm, live.operations, live.index)
        self.grid.mount_control(live.control)
        live.gateway.add(self.grid.surface())
        live.gateway.add(self.hook.surface(r"hook\.example\.test|gateapp\.azurewebsites\.net"))
        live.run(self.grid.start())

    def _service(self) -> EventGrid:
        live = self.live
        return EventGrid(
            live.instance,
            self.settings,
            live.issuer,
            live.gateway.outside,
            storage=self.storage,
            functions=FakeKeys(),
        )

    def restart(self) -> None:
        """Stop the service and start another one on the same folder (its ARM side is not mounted again)."""
        self.live.run(self.grid.stop())
        self.grid = self._service()
        self.live.run(self.grid.start())

    def close(self) -> None:
        self.live.run(self.grid.stop())

    def arm(self, method: str, path: str, body: Any = None, version: str = "2022-06-15") -> requests.Response:
        """One request to ARM."""
        headers = {"Authorization": f"Bearer {self.live.issuer.issue(ARM_AUDIENCES[0])}"}
        url = f"https://management.azure.com{path}"
        return requests.request(method, url, params={"api-version": version}, json=body, headers=headers, timeout=10)

    def outcome(self, answer: requests.Response) -> dict[str, Any]:
        """The final status document of a long-running operation."""
        url = answer.headers["Azure-AsyncOperation"]
        headers = {"Authorization": f"Bearer {self.live.issuer.issue(ARM_AUDIENCES[0])}"}
        document: dict[str, Any] = {}

        def done() -> bool:
            document.update(requests.get(url, headers=headers, timeout=10).json())
            return bool(document["status"] != "Pending")

        wait_until(done)
        return document

    def topic(self, schema: str = "EventGridSchema", name: str = "news") -> dict[str, Any]:
        """A custom topic, as ARM answers it."""
        path = f"{GROUP}/providers/Microsoft.EventGrid/topics/{name}"
        answer = self.arm("PUT", path, {"location": "eastus", "properties": {"inputSchema": schema}})
        assert answer.status_code == 201, answer.text
        topic: dict[str, Any] = answer.json()
        return topic

    def subscribe(self, scope: str = REGISTRY, name: str = "images", **properties: Any) -> dict[str, Any]:
        """Make an event subscription to the webhook and return the outcome."""
        properties = {"destination": webhook()} | properties
        collection = scope + ("/eventSubscriptions" if "/systemTopics/" in scope else EXTENSION)
        answer = self.arm("PUT", f"{collection}/{name}", {"properties": properties})
        assert answer.status_code == 201, answer.text
        assert answer.json()["properties"]["provisioningState"] in ("Creating", "Updating")
        return self.outcome(answer)

    def counts(self) -> dict[str, int]:
        """What became of the events so far."""
        counts: dict[str, int] = self.live.ask("GET", "/eventgrid/counts")[1]
        return counts


def webhook(url: str = HOOK_URL, **properties: Any) -> dict[str, Any]:
    """A webhook destination."""
    return {"endpointType": "WebHook", "properties": {"endpointUrl": url} | properties}


def dead_letters(container: str = "deadletters") -> dict[str, Any]:
    """A dead letter destination."""
    return {"endpointType": "StorageBlob", "properties": {"resourceId": STORAGE, "blobContainerName": container}}


def pushed(number: int = 1, repository: str = "node", tag: str = "15-alpine") -> Event:
    """A push as a registry tells it."""
    return Event(
        id=f"event-{number}",
        subject=f"{repository}:{tag}",
        event_type="Microsoft.ContainerRegistry.ImagePushed",
        event_time=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        data={"action": "push", "target": {"repository": repository, "tag": tag, "size": 42}},
        data_version="2.0",
    )
