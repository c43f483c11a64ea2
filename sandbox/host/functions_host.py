"""The host of one app: its workers, triggers and HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sandbox.host.admin import Admin, Inventory
from sandbox.host.console import Console
from sandbox.host.errors import Misconfigured
from sandbox.host.eventgrid_trigger import EventGridWebhook
from sandbox.host.functions import EventGridTrigger, Function, QueueTrigger, TimerTrigger, read_functions
from sandbox.host.host_json import HostJson, read_host_json
from sandbox.host.http_trigger import HttpFrontDoor
from sandbox.host.invoker import Invoker
from sandbox.host.keys import Keys
from sandbox.host.listeners import Listeners
from sandbox.host.messages import Log
from sandbox.host.pool import Pool
from sandbox.host.queues.output import QueueOutputs
from sandbox.host.queues.service import Queues
from sandbox.host.queues.trigger import LEASE_SECONDS
from sandbox.host.routes import RouteTable
from sandbox.host.server import Server
from sandbox.host.settings import AppSettings
from sandbox.host.workers import Launch
from sandbox.web import Surface

KEYS_FILE = "keys.json"
ENDPOINT_FILE = "endpoint.json"
_SETTLE_SECONDS = 5.0


class Endpoint(msgspec.Struct, frozen=True):
    """The process id and port of a running host; stored in its state folder while it runs."""

    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class Options:
    """The host's options. `workers` None means FUNCTIONS_WORKER_PROCESS_COUNT, or 1; `drain_seconds` is how long `stop`
    waits for running invocations; `lease_seconds` is how long a queue message stays hidden after its host was killed.
    """

    app: Path
    name: str
    state: Path
    python: str
    port: int = 0
    workers: int | None = None
    drain_seconds: float = 10.0
    lease_seconds: float = LEASE_SECONDS


class FunctionsHost:
    """Serves one app. `queues` opens its storage queues (see `queues.service`)."""

    def __init__(self, options: Options, settings: AppSettings, queues: Queues, console: Console) -> None:
        self._options, self._settings, self._queues, self._console = options, settings, queues, console
        self._listeners = Listeners(console)
        self._pool: Pool | None = None
        self._server: Server | None = None
        self._invoker: Invoker | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port if self._server else 0

    async def start(self) -> None:
        """Load the app and serve it.

        Raises:
            Misconfigured: the app cannot be served; everything already started is stopped.
        """
        try:
            await self._start()
        except BaseException:  # a cancellation, too: workers must not outlive their host
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop listening, wait for running invocations, end the workers. Interrupted queue messages become visible."""
        with contextlib.suppress(FileNotFoundError):
            (self._options.state / ENDPOINT_FILE).unlink()
        if self._server:
            await self._server.stop_listening()
        await self._listeners.stop()
        await self._drain()
        if self._pool:
            await self._pool.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self._listeners.drain()
        if self._server:
            await self._server.stop()
        await self._queues.close()

    async def _start(self) -> None:
        began = time.monotonic()
        self._options.state.mkdir(parents=True, exist_ok=True)
        host_json = read_host_json(self._options.app)
        self._console.use_levels(host_json.log_levels)
        for warning in host_json.warnings:
            self._console.write("WARNING", warning)
        functions = await self._load(host_json)
        routes = RouteTable(functions, host_json.route_prefix)
        await self._serve(functions, routes)
        self._listeners.start(functions)
        for line in _functions_table(functions, routes, self.port):
            self._console.plain(line)
        took = time.monotonic() - began
        self._console.write("INFO", f"Ready on http://127.0.0.1:{self.port} after {took:.2f} s.")

    async def _load(self, host_json: HostJson) -> list[Function]:
        pool = self._pool = Pool(self._launch(), self._worker_count(), self._tell_worker)
        indexed = [msgspec.to_builtins(entry) for entry in await pool.start()]
        if not indexed:
            raise Misconfigured("The app has no functions.")
        if host_json.functions is not None:
            indexed = [entry for entry in indexed if entry["name"] in host_json.functions]
        functions = read_functions(indexed, self._settings, bundle=host_json.has_extension_bundle)
        outputs = QueueOutputs(self._queues, base64=host_json.queues.base64, on_sent=self._listeners.sent)
        for function in functions:
            outputs.prepare(function)
        timeout = host_json.function_timeout_seconds
        invoker = self._invoker = Invoker(pool, outputs.send, self._console, timeout)
        self._listeners.add_queues(
            functions, self._queues, host_json.queues, invoker, lease_seconds=self._options.lease_seconds
        )
        self._listeners.add_timers(functions, self._options.state, invoker)
        return functions

    async def _serve(self, functions: list[Function], routes: RouteTable) -> None:
        assert self._pool
        assert self._invoker
        keys = Keys(self._options.state / KEYS_FILE)
        by_name = {function.name: function for function in functions}
        for name in by_name:
            keys.of(name)
        own = Surface("Functions host", r".*")
        EventGridWebhook(by_name, keys, self._invoker.invoke).mount(own)
        paths = {route.function.name: route.template for route in routes.routes}
        inventory = Inventory(self._options.name, functions, paths, self._listeners.timers)
        Admin(inventory, keys, self._pool, self._invoker).mount(own)
        homepage = (self._settings.get("AzureWebJobsDisableHomepage") or "").lower() != "true"
        front_door = HttpFrontDoor(routes, keys, self._invoker.invoke)
        self._server = Server(self._options.name, front_door, own, homepage=homepage)
        await self._server.start(self._options.port)
        endpoint = Endpoint(os.getpid(), self._server.port)
        beside = self._options.state / f"{ENDPOINT_FILE}.new"
        beside.write_bytes(msgspec.json.encode(endpoint))
        beside.replace(self._options.state / ENDPOINT_FILE)

    def _launch(self) -> Launch:
        return Launch(
            python=self._options.python,
            app=self._options.app.resolve(),
            environment=self._settings.environment,
            on_log=self._log,
            on_output=lambda line: self._console.user("INFO", line, function="-", invocation=None),
        )

    def _worker_count(self) -> int:
        text = self._settings.get("FUNCTIONS_WORKER_PROCESS_COUNT") or "1"
        if self._options.workers is None and not text.isdigit():
            raise Misconfigured(f"FUNCTIONS_WORKER_PROCESS_COUNT must be a number, it is '{text}'.")
        return max(1, min(10, int(text) if self._options.workers is None else self._options.workers))

    async def _drain(self) -> None:
        deadline = time.monotonic() + self._options.drain_seconds
        while self._invoker and self._invoker.running and time.monotonic() < deadline:  # noqa: ASYNC110 (a counter)
            await asyncio.sleep(0.05)

    def _log(self, record: Log) -> None:
        if self._invoker:
            self._invoker.log(record)
        else:
            self._console.user(record.level, record.message, function="-", invocation=record.invocation)

    def _tell_worker(self, message: str) -> None:
        self._console.write("WARNING", message, category="Host.Worker")


def _functions_table(functions: Iterable[Function], routes: RouteTable, port: int) -> list[str]:
    """The lines that list the functions; they contain no keys."""
    base = f"http://127.0.0.1:{port}"
    urls = {
        route.function.name: f"[{','.join(route.trigger.methods) or 'ALL'}] {base}/{route.template}"
        f" ({route.trigger.auth_level})"
        for route in routes.routes
    }
    lines = ["Functions:"]
    for function in functions:
        about = urls.get(function.name) or _about(function, base)
        state = " (disabled)" if function.disabled else ""
        lines.append(f"    {function.name}: {function.trigger_type} {about}{state}")
    return lines


def _about(function: Function, base: str) -> str:
    trigger = function.trigger
    if isinstance(trigger, QueueTrigger):
        return f"queue '{trigger.queue_name}' of {trigger.connection}"
    if isinstance(trigger, TimerTrigger):
        return f"'{trigger.schedule}'"
    assert isinstance(trigger, EventGridTrigger)
    return f"{base}/runtime/webhooks/eventgrid?functionName={function.name}"
