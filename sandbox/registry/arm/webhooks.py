"""The Azure Resource Manager operations on webhooks.

Source: Azure REST API specification, Microsoft.ContainerRegistry/registries/webhooks
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from sandbox.arm.body import region
from sandbox.arm.operations import Operations, nothing
from sandbox.registry.arm.bodies import WebhookBody, WebhookChange, WebhookProperties
from sandbox.registry.arm.limits import check_quota
from sandbox.registry.arm.properties import child_body
from sandbox.registry.arm.registries import REGISTRY, RegistryControl
from sandbox.registry.records import API_VERSIONS, PROVIDER, RegistryRecord, WebhookRecord
from sandbox.registry.webhooks import Webhooks
from sandbox.web import Call, Fault, Handler, Surface, json_answer

_WEBHOOK = REGISTRY + "/webhooks/{webhook}"
_NAME = re.compile(r"[A-Za-z0-9]{5,50}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS = frozenset(("content-length", "transfer-encoding", "host"))
_CHARACTERS = re.compile(r"[!-~]+")  # others are taken away, or encoded, by whoever reads a URI
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9-]+(\.[a-z0-9-]+)*")


class WebhookControl:
    """PUT, GET, PATCH, DELETE and list of webhooks, and their ping, events and configuration."""

    def __init__(self, control: RegistryControl, webhooks: Webhooks, operations: Operations) -> None:
        self._control, self._webhooks, self._operations = control, webhooks, operations

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        operations: list[tuple[str, str, Handler]] = [
            ("GET", REGISTRY + "/webhooks", self._list),
            ("GET", _WEBHOOK, self._get),
            ("PUT", _WEBHOOK, self._put),
            ("PATCH", _WEBHOOK, self._patch),
            ("DELETE", _WEBHOOK, self._delete),
            ("POST", _WEBHOOK + "/ping", self._ping),
            ("POST", _WEBHOOK + "/listEvents", self._list_events),
            ("POST", _WEBHOOK + "/getCallbackConfig", self._get_config),
        ]
        for method, pattern, handler in operations:
            arm.operation(method, pattern, versions=API_VERSIONS)(handler)

    async def _list(self, call: Call) -> web.StreamResponse:
        """The webhooks of a registry, without their URIs and headers."""
        record = self._control.require(call)
        return json_answer({"value": [_body(record, webhook) for webhook in self._webhooks.of(record.name)]})

    async def _get(self, call: Call) -> web.StreamResponse:
        """One webhook, without its URI and headers."""
        return json_answer(_body(*self._require(call)))

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create or replace a webhook, which is sent pushes and deletes from then on."""
        record, name = self._control.require(call), call.params["webhook"]
        body = await call.body(WebhookBody)
        known = self._webhooks.records.get(f"{record.name}/{name}")
        if not _NAME.fullmatch(name):
            raise Fault(400, "InvalidParameter", f"The webhook name '{name}' is invalid: 5 to 50 letters and digits.")
        if not body.properties.service_uri or not body.properties.actions:
            raise Fault(400, "InvalidParameter", "A webhook needs a serviceUri and actions.")
        if known is None:
            check_quota(record, webhooks=len(list(self._webhooks.of(record.name))) + 1, replications=0)
        webhook = WebhookRecord(
            registry=record.name,
            name=known.name if known else name,
            location=region(body.location),
            service_uri=body.properties.service_uri,
            actions=body.properties.actions,
            tags=body.tags or {},
        )
        return self._store(record, _changed(webhook, body.properties), 200 if known else 201)

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change a webhook."""
        record, webhook = self._require(call)
        change = await call.body(WebhookChange)
        if change.tags is not None:
            webhook = msgspec.structs.replace(webhook, tags=change.tags)
        return self._store(record, _changed(webhook, change.properties), 200)

    async def _delete(self, call: Call) -> web.StreamResponse:
        """Delete a webhook."""
        record = self._control.require(call)
        webhook = self._webhooks.records.get(f"{record.name}/{call.params['webhook']}")
        if webhook is None:
            return web.Response(status=204)
        self._webhooks.forget(webhook)
        return self._operations.accept(call, PROVIDER, nothing())

    async def _ping(self, call: Call) -> web.StreamResponse:
        """Send a ping to a webhook."""
        _, webhook = self._require(call)
        return json_answer({"id": await self._webhooks.ping(webhook)})

    async def _list_events(self, call: Call) -> web.StreamResponse:
        """The last 100 events of a webhook with its endpoint's responses; a restart forgets them."""
        _, webhook = self._require(call)
        return json_answer({"value": self._webhooks.events(webhook)})

    async def _get_config(self, call: Call) -> web.StreamResponse:
        """A webhook's URI and custom headers, with their secrets."""
        _, webhook = self._require(call)
        return json_answer({"serviceUri": webhook.service_uri, "customHeaders": webhook.custom_headers})

    def _require(self, call: Call) -> tuple[RegistryRecord, WebhookRecord]:
        record, name = self._control.require(call), call.params["webhook"]
        webhook = self._webhooks.records.get(f"{record.name}/{name}")
        if webhook is None:
            raise Fault(404, "WebhookNotFound", f"The registry '{record.name}' has no webhook '{name}'.")
        return record, webhook

    def _store(self, record: RegistryRecord, webhook: WebhookRecord, status: int) -> web.Response:
        _check(webhook)
        self._webhooks.records.put(f"{record.name}/{webhook.name}", webhook)
        return json_answer(_body(record, webhook), status)


def _check(webhook: WebhookRecord) -> None:
    """Refuse what cannot be sent, or would be sent where it must not be.

    Raises:
        Fault: 400 that says what is wrong, without the URI and the values of headers.
    """
    try:
        uri = urlsplit(webhook.service_uri)
        host, port = (uri.hostname or "").rstrip("."), uri.port
    except ValueError as error:  # of a port or an address, which its text may show
        raise Fault(400, "InvalidParameter", "The serviceUri is no URI.") from error
    if uri.scheme != "https":
        message = "The sandbox's webhooks reach hosts of the sandbox alone, so the serviceUri begins with https://."
        raise Fault(400, "NotInSandbox", message)
    plain = uri.username is None and not uri.fragment and port != 0
    if not (plain and _HOST.fullmatch(host) and _CHARACTERS.fullmatch(webhook.service_uri)):
        raise Fault(400, "InvalidParameter", "The serviceUri needs a host name, and no user, password or fragment.")
    if host == "management.azure.com":
        message = "The sandbox's webhooks do not call Azure Resource Manager, where one could ping itself."
        raise Fault(400, "NotInSandbox", message)
    for name, value in webhook.custom_headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS or not value.isprintable():
            raise Fault(400, "InvalidParameter", f"{name!r} is no custom header, or its value is not printable.")


def _changed(webhook: WebhookRecord, properties: WebhookProperties) -> WebhookRecord:
    names = ("service_uri", "custom_headers", "status", "scope", "actions")
    given = {name: value for name in names if (value := getattr(properties, name)) is not None}
    return msgspec.structs.replace(webhook, **given)


def _body(record: RegistryRecord, webhook: WebhookRecord) -> dict[str, Any]:
    properties = {
        "status": webhook.status,
        "scope": webhook.scope,
        "actions": webhook.actions,
        "provisioningState": "Succeeded",
    }
    body = child_body(record, "webhooks", webhook.name, properties)
    return body | {"location": webhook.location, "tags": webhook.tags}
