"""Requests from Event Grid to a subscription's endpoint, by its real host name, like any external client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

import aiohttp
import msgspec

from sandbox.entra import STORAGE_AUDIENCES, Issuer
from sandbox.eventgrid.destinations import AzureFunction, StorageQueue, WebHook
from sandbox.eventgrid.event import lookup, render
from sandbox.eventgrid.outbox import Pending
from sandbox.eventgrid.policy import RESPONSE_SECONDS
from sandbox.eventgrid.subscription import Subscription

log = logging.getLogger(__name__)

_REPLY_LIMIT_BYTES = 64 * 1024
_QUEUE_VERSION = "2021-12-02"


class FunctionKeys(Protocol):
    """Provides the system keys of function apps."""

    def eventgrid_key(self, app: str) -> str | None:
        """The key `eventgrid_extension` of a function app; None if the app does not exist."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An endpoint's response; status 0 represents "no connection", 408 "no response in time"."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Sender:
    """Sends requests to endpoints over persistent connections; `start` before use, `stop` after."""

    def __init__(self, outside: Callable[[], aiohttp.ClientSession], issuer: Issuer, functions: FunctionKeys) -> None:
        self._outside, self._issuer, self._functions = outside, issuer, functions
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the client."""
        self._session = self._outside()

    async def stop(self) -> None:
        """Close the client and its connections."""
        if self._session:
            await self._session.close()

    def url(self, subscription: Subscription) -> str:
        """The URL that a subscription's events are sent to, with the secrets in its query."""
        destination = subscription.destination
        if isinstance(destination, WebHook):
            return destination.properties.endpoint_url or ""
        if isinstance(destination, AzureFunction):
            app, function = destination.target
            key = self._functions.eventgrid_key(app)
            query = urlencode({"functionName": function} | ({"code": key} if key else {}))
            return f"https://{app.lower()}.azurewebsites.net/runtime/webhooks/eventgrid?{query}"
        queue, life = destination.properties.queue_name, destination.properties.queue_message_time_to_live_in_seconds
        query = f"?messagettl={life}" if life else ""
        return f"https://{destination.account}.queue.core.windows.net/{queue}/messages{query}"

    async def deliver(self, subscription: Subscription, batch: Sequence[Pending]) -> Reply:
        """Send a batch of a subscription's events in one request."""
        events = [render(pending.event, pending.topic, subscription.schema) for pending in batch]
        if isinstance(subscription.destination, StorageQueue):
            return await self._enqueue(subscription, events[0])
        content, body = _content(subscription, events)
        headers = _notification(subscription, batch) | _attributes(subscription, events[0])
        headers |= {"Content-Type": content} | self._authorization(subscription)
        return await self.request("POST", self.url(subscription), headers, body)

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Send a request with Event Grid's response timeout; never raises for what the endpoint does."""
        assert self._session
        timeout = aiohttp.ClientTimeout(total=RESPONSE_SECONDS)
        try:
            async with self._session.request(
                method, url, headers=headers, data=body or None, timeout=timeout, allow_redirects=False
            ) as response:
                text = await response.content.read(_REPLY_LIMIT_BYTES)
                return Reply(response.status, text, dict(response.headers))
        except TimeoutError:
            return Reply(408)
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
            log.info("No response from %s: %s", url.partition("?")[0], type(error).__name__)
            return Reply(0)

    async def _enqueue(self, subscription: Subscription, event: Mapping[str, Any]) -> Reply:
        """Enqueue the event's plain JSON: Event Grid does not encode it in base64."""
        text = escape(msgspec.json.encode(event).decode())
        body = f'<?xml version="1.0" encoding="utf-8"?><QueueMessage><MessageText>{text}</MessageText></QueueMessage>'
        headers = {
            "Authorization": f"Bearer {self._issuer.issue(STORAGE_AUDIENCES[0])}",
            "Content-Type": "application/xml",
            "x-ms-version": _QUEUE_VERSION,
        }
        return await self.request("POST", self.url(subscription), headers, body.encode())

    def _authorization(self, subscription: Subscription) -> dict[str, str]:
        destination = subscription.destination
        if not isinstance(destination, WebHook):
            return {}
        audience = destination.properties.azure_active_directory_application_id_or_uri
        return {"Authorization": f"Bearer {self._issuer.issue(audience)}"} if audience else {}


def event_type_headers(subscription: Subscription, event_type: str) -> dict[str, str]:
    """The headers of every request for a subscription; Azure sends its name in upper case."""
    return {
        "aeg-subscription-name": subscription.name.upper(),
        "aeg-event-type": event_type,
        "aeg-metadata-version": "1",
    }


def _notification(subscription: Subscription, batch: Sequence[Pending]) -> dict[str, str]:
    headers = event_type_headers(subscription, "Notification")
    headers["aeg-delivery-count"] = str(max(pending.attempts for pending in batch))
    if subscription.schema == "EventGridSchema":
        headers["aeg-data-version"] = _header(batch[0].event.data_version)
    return headers


def _content(subscription: Subscription, events: Sequence[Mapping[str, Any]]) -> tuple[str, bytes]:
    if subscription.schema == "EventGridSchema":
        return "application/json; charset=utf-8", msgspec.json.encode(events)
    if subscription.batch[0] == 1:
        return "application/cloudevents+json; charset=utf-8", msgspec.json.encode(events[0])
    return "application/cloudevents-batch+json; charset=utf-8", msgspec.json.encode(events)


def _attributes(subscription: Subscription, event: dict[str, Any]) -> dict[str, str]:
    destination = subscription.destination
    if isinstance(destination, StorageQueue):
        return {}
    headers = {}
    for mapping in destination.properties.delivery_attribute_mappings:
        fixed = mapping.properties.value if mapping.type.lower() == "static" else None
        value = fixed if fixed is not None else lookup(event, mapping.properties.source_field or "")
        if value is not None:
            headers[mapping.name] = _header(str(value))
    return headers


def _header(value: str) -> str:
    """Return a value in a form that a header line can contain."""
    return value if value.isascii() and value.isprintable() else quote(value)
