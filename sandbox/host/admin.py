"""The host's own operations under `/admin`; all require the master key.

Source: https://learn.microsoft.com/azure/azure-functions/functions-manually-run-non-http
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from aiohttp import web

from sandbox.host.eventgrid_trigger import event_trigger
from sandbox.host.functions import EventGridTrigger, Function, HttpTrigger, QueueTrigger
from sandbox.host.http_trigger import given_key
from sandbox.host.invoker import Invoker, Outcome, Trigger
from sandbox.host.keys import Keys, matches
from sandbox.host.pool import Pool
from sandbox.host.queues.data import trigger_input, trigger_metadata
from sandbox.host.queues.service import QueuedMessage
from sandbox.host.timer_trigger import TimerListener
from sandbox.web import Call, Fault, Surface, json_answer


class RunByHand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /admin/functions/{name}`: the text of a queue message or an event; no input for a timer."""

    input: Any = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the host serves. `paths` are the HTTP functions' route templates."""

    name: str
    functions: Sequence[Function]
    paths: Mapping[str, str]
    timers: Mapping[str, TimerListener]


class Admin:
    """The host's operations for an operator."""

    def __init__(self, inventory: Inventory, keys: Keys, pool: Pool, invoker: Invoker) -> None:
        self._inventory, self._keys, self._pool, self._invoker = inventory, keys, pool, invoker
        self._by_hand: set[asyncio.Task[Any]] = set()

    def mount(self, surface: Surface) -> None:
        """Register the operations."""
        surface.operation("GET", "/admin/host/status")(self.status)
        surface.operation("GET", "/admin/host/workers")(self.workers)
        surface.operation("GET", "/admin/host/keys")(self.host_keys)
        surface.operation("GET", "/admin/host/systemkeys/{key}")(self.system_key)
        surface.operation("GET", "/admin/functions")(self.functions)
        surface.operation("GET", "/admin/functions/{function}")(self.function)
        surface.operation("POST", "/admin/functions/{function}")(self.run)

    async def status(self, call: Call) -> web.StreamResponse:
        """The status of the host."""
        self._check(call)
        return json_answer(
            {"id": self._inventory.name, "state": "Running", "running": self._invoker.running, "errors": []}
        )

    async def workers(self, call: Call) -> web.StreamResponse:
        """The worker processes that have loaded the app."""
        self._check(call)
        return json_answer([{"pid": worker.pid, "running": worker.busy} for worker in self._pool.workers])

    async def host_keys(self, call: Call) -> web.StreamResponse:
        """The host keys, valid for every function."""
        self._check(call)
        return json_answer({"keys": [{"name": name, "value": value} for name, value in self._keys.host.items()]})

    async def system_key(self, call: Call) -> web.StreamResponse:
        """The system key of an extension."""
        self._check(call)
        name = call.params["key"]
        if name not in self._keys.system:
            raise Fault(404, "NotFound", f"There is no system key '{name}'.")
        return json_answer({"name": name, "value": self._keys.system[name]})

    async def functions(self, call: Call) -> web.StreamResponse:
        """The app's functions."""
        self._check(call)
        return json_answer([self._described(function) for function in self._inventory.functions])

    async def function(self, call: Call) -> web.StreamResponse:
        """One function."""
        self._check(call)
        return json_answer(self._described(self._find(call)))

    async def run(self, call: Call) -> web.StreamResponse:
        """Run a function without an HTTP trigger; responds before the run has ended."""
        self._check(call)
        function = self._find(call)
        given = (await call.body(RunByHand)).input
        task = asyncio.create_task(self._start(function, given))
        self._by_hand.add(task)
        task.add_done_callback(self._by_hand.discard)
        return web.Response(status=202)

    def _check(self, call: Call) -> None:
        if not matches(given_key(call.request), self._keys.master):
            raise Fault(401, "Unauthorized", "The key is not the master key.")

    def _find(self, call: Call) -> Function:
        requested = call.params["function"].lower()
        function = next((f for f in self._inventory.functions if f.name.lower() == requested), None)
        if function is None:
            raise Fault(404, "NotFound", f"There is no function '{call.params['function']}'.")
        return function

    def _start(self, function: Function, given: Any) -> Coroutine[Any, Any, Outcome]:
        if isinstance(function.trigger, HttpTrigger):
            raise Fault(400, "BadRequest", f"The function '{function.name}' is run by a request to its URL.")
        if isinstance(function.trigger, QueueTrigger):
            return self._invoker.invoke(function, _message_trigger(function.trigger, given))
        if isinstance(function.trigger, EventGridTrigger):
            event = json.loads(given) if isinstance(given, str) else given
            if not isinstance(event, dict):
                raise Fault(400, "BadRequest", "The input of an Event Grid function is an event.")
            return self._invoker.invoke(function, event_trigger(event))
        return self._inventory.timers[function.name].fire("manual run", past_due=False)

    def _described(self, function: Function) -> dict[str, Any]:
        bindings = [msgspec.to_builtins(binding) for binding in (function.trigger, *function.queue_outputs)]
        shown = {"name": function.name, "isDisabled": function.disabled, "config": {"bindings": bindings}}
        if function.name in self._inventory.paths:
            shown["invokePath"] = f"/{self._inventory.paths[function.name]}"
        return shown


def _message_trigger(trigger: QueueTrigger, given: Any) -> Trigger:
    text = given if isinstance(given, str) else json.dumps(given)
    now, body = datetime.now(UTC), text.encode()
    message = QueuedMessage(str(uuid.uuid4()), "", text, 1, now, now + timedelta(days=7), now)
    return Trigger(trigger_input(trigger, body), "manual run", trigger_metadata(message, body))
