"""The Event Grid webhook: responds to handshakes, and invokes a function once for each event.

Source: https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema and
https://github.com/cloudevents/spec/blob/v1.0/http-webhook.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from sandbox.host.functions import EventGridTrigger, Function
from sandbox.host.http_trigger import given_key
from sandbox.host.invoker import Outcome, Trigger
from sandbox.host.keys import EVENT_GRID_KEY, Keys, matches
from sandbox.host.messages import Datum
from sandbox.web import Call, Fault, Surface, decode_json, json_answer


class EventGridWebhook:
    """`/runtime/webhooks/eventgrid?functionName=F&code=K` for the app's Event Grid functions."""

    def __init__(
        self,
        functions: Mapping[str, Function],
        keys: Keys,
        invoke: Callable[[Function, Trigger], Awaitable[Outcome]],
    ) -> None:
        self._functions = {
            name.lower(): function
            for name, function in functions.items()
            if isinstance(function.trigger, EventGridTrigger) and not function.disabled
        }
        self._keys, self._invoke = keys, invoke

    def mount(self, surface: Surface) -> None:
        """Register the webhook's operations."""
        for path in ("/runtime/webhooks/eventgrid", "/runtime/webhooks/EventGridExtensionConfig"):
            surface.operation("OPTIONS", path)(self.allow)
            surface.operation("POST", path)(self.receive)

    async def allow(self, call: Call) -> web.StreamResponse:
        """CloudEvents abuse protection: allow an origin to send events."""
        self._function(call)
        origin = call.request.headers.get("WebHook-Request-Origin", "")
        if not origin:
            raise Fault(400, "BadRequest", "The header WebHook-Request-Origin is missing.")
        return web.Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})

    async def receive(self, call: Call) -> web.StreamResponse:
        """Receive handshakes and events from Event Grid."""
        function = self._function(call)
        kind = call.request.headers.get("aeg-event-type", "Notification").lower()
        if kind in ("subscriptiondeletion", "unsubscribe"):
            return web.Response(status=200)
        events = _events(decode_json(await call.request.read()))
        if kind == "subscriptionvalidation":
            return json_answer({"validationResponse": _validation_code(events)})
        if kind != "notification":
            raise Fault(400, "BadRequest", f"The aeg-event-type '{kind}' is unknown.")
        outcomes = await asyncio.gather(*(self._invoke(function, event_trigger(event)) for event in events))
        return web.Response(status=202 if all(outcome.succeeded for outcome in outcomes) else 500)

    def _function(self, call: Call) -> Function:
        given = given_key(call.request)
        if not any(matches(given, key) for key in (self._keys.master, self._keys.system[EVENT_GRID_KEY])):
            raise Fault(401, "Unauthorized", f"The key is not the system key '{EVENT_GRID_KEY}'.")
        name = call.query.get("functionName", "")
        function = self._functions.get(name.lower())
        if function is None:
            raise Fault(404, "NotFound", f"cannot find function: '{name}'")
        return function


def event_trigger(event: Mapping[str, Any]) -> Trigger:
    """The trigger of an Event Grid function for one event; `data` is also passed as metadata."""
    metadata = {"data": Datum("json", msgspec.json.encode(event.get("data")).decode())}
    return Trigger(
        Datum("json", msgspec.json.encode(event).decode()), f"Event Grid event {event.get('id', '')}", metadata
    )


def _events(body: Any) -> list[dict[str, Any]]:
    events = body if isinstance(body, list) else [body]
    if not events or not all(isinstance(event, dict) for event in events):
        raise Fault(400, "BadRequest", "The content is neither an event nor an array of events.")
    return events


def _validation_code(events: list[dict[str, Any]]) -> str:
    code = (events[0].get("data") or {}).get("validationCode")
    if not isinstance(code, str):
        raise Fault(400, "BadRequest", "The validation event has no data.validationCode.")
    return code
