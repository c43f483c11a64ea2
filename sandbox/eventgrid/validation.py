"""The handshake in which an endpoint agrees to receive events, before its subscription is created.

Sources: https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema,
https://learn.microsoft.com/azure/event-grid/end-point-validation-cloud-events-schema
"""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from sandbox.eventgrid.destinations import StorageQueue
from sandbox.eventgrid.event import render_time
from sandbox.eventgrid.sending import Reply, Sender, event_type_headers
from sandbox.eventgrid.subscription import Subscription
from sandbox.instance import LOCATION
from sandbox.web import Call, Fault, Surface

VALIDATION_HOST = f"rp-{LOCATION}"
_ORIGIN = "eventgrid.azure.net"
_MANUAL_SECONDS = 600.0
_STATUSES = frozenset(status.value for status in HTTPStatus)


class _Answer(msgspec.Struct, rename="camel"):
    validation_response: str


class Validation:
    """Performs the validation handshake with endpoints.

    Args:
        time_scale: divides the ten minutes in which an endpoint may be validated manually.
    """

    def __init__(self, sender: Sender, time_scale: float) -> None:
        self._sender, self._manual_seconds = sender, _MANUAL_SECONDS / time_scale
        self._by_hand: dict[str, asyncio.Event] = {}

    def mount(self, surface: Surface) -> None:
        """Add the validation URL that an endpoint may call instead of returning the code."""
        surface.operation("GET", "/eventsubscriptions/{name}/validate")(self._consent)

    async def handshake(self, subscription: Subscription) -> None:
        """Perform the handshake; return when the endpoint has agreed.

        Raises:
            Fault: 400 "Url validation" that describes what the endpoint did instead.
        """
        if isinstance(subscription.destination, StorageQueue):
            return
        if subscription.schema == "CloudEventSchemaV1_0":
            await self._ask_by_options(subscription)
        else:
            await self._ask_by_event(subscription)

    async def _ask_by_options(self, subscription: Subscription) -> None:
        headers = {"WebHook-Request-Origin": _ORIGIN, "aeg-subscription-name": subscription.name.upper()}
        reply = await self._sender.request("OPTIONS", self._sender.url(subscription), headers)
        if reply.status != 200:
            raise _failed(
                self._sender.url(subscription), f"Http OPTIONS request failed with response code {_word(reply)}"
            )
        allowed = next((v for k, v in reply.headers.items() if k.lower() == "webhook-allowed-origin"), "")
        if not {"*", _ORIGIN} & {origin.strip() for origin in allowed.split(",")}:
            message = f"Http OPTIONS response has no header WebHook-Allowed-Origin with the value {_ORIGIN} or *"
            raise _failed(self._sender.url(subscription), message)

    async def _ask_by_event(self, subscription: Subscription) -> None:
        code = str(uuid.uuid4()).upper()
        self._by_hand[code] = asyncio.Event()
        try:
            reply = await self._post(subscription, code)
            if not 200 <= reply.status < 300:
                raise _failed(
                    self._sender.url(subscription), f"Http POST request failed with response code {_word(reply)}"
                )
            if not _echoes(reply, code):
                await self._wait_for_hand(subscription, code)
        finally:
            del self._by_hand[code]

    async def _post(self, subscription: Subscription, code: str) -> Reply:
        query = urlencode({"id": code, "t": render_time(datetime.now(UTC)), "apiVersion": "2022-06-15"})
        url = f"https://{VALIDATION_HOST}.eventgrid.azure.net/eventsubscriptions/{subscription.name}/validate?{query}"
        event = {
            "id": str(uuid.uuid4()),
            "topic": subscription.source,
            "subject": "",
            "data": {"validationCode": code, "validationUrl": url},
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": render_time(datetime.now(UTC)),
            "metadataVersion": "1",
            "dataVersion": "2",
        }
        headers = event_type_headers(subscription, "SubscriptionValidation")
        headers |= {
            "aeg-delivery-count": "0",
            "aeg-data-version": "2",
            "Content-Type": "application/json; charset=utf-8",
        }
        return await self._sender.request("POST", self._sender.url(subscription), headers, msgspec.json.encode([event]))

    async def _wait_for_hand(self, subscription: Subscription, code: str) -> None:
        try:
            async with asyncio.timeout(self._manual_seconds):
                await self._by_hand[code].wait()
        except TimeoutError:
            message = (
                "Http POST request returned 2XX response with a response body without the validation code. When a "
                "validation request is accepted without validation code in the response body, Http GET is expected on "
                "the validation url included in the validation event (within 10 minutes)"
            )
            raise _failed(self._sender.url(subscription), message) from None

    async def _consent(self, call: Call) -> web.StreamResponse:
        """Validate an endpoint manually, by a call of its validation URL."""
        waiting = self._by_hand.get(call.query.get("id", ""))
        if waiting is None:
            raise Fault(400, "BadRequest", "The validation URL is not known or has expired.")
        waiting.set()
        return web.Response(text="Webhook successfully validated as a subscription endpoint.")


def _echoes(reply: Reply, code: str) -> bool:
    try:
        return reply.status == 200 and msgspec.json.decode(reply.body, type=_Answer).validation_response == code
    except (ValueError, RecursionError):
        return False


def _word(reply: Reply) -> str:
    """The .NET name of a status, which Azure uses in the error message."""
    return HTTPStatus(reply.status).phrase.replace(" ", "") if reply.status in _STATUSES else "Unknown"


def _failed(url: str, what: str) -> Fault:
    time = datetime.now(UTC).strftime("%m/%d/%Y %H:%M:%S")
    message = (
        f"Webhook validation handshake failed for {url.partition('?')[0]}. {what}. For troubleshooting, visit "
        f"https://aka.ms/esvalidation. Activity id:{uuid.uuid4()}, timestamp: {time} (UTC)."
    )
    return Fault(400, "Url validation", message)
