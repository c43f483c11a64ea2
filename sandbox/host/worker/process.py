"""The worker process: loads the app, then runs the host's invocations concurrently."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import importlib
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from sandbox.host.worker import logs
from sandbox.host.worker.channel import Channel
from sandbox.host.worker.index import Indexed, index_app
from sandbox.host.worker.invocation import arguments, result

_DEFAULT_THREADS = "1000"
"""What the real host sets PYTHON_THREADPOOL_THREAD_COUNT to if the app does not."""


def serve(descriptor: int) -> None:
    """Serve on an inherited socket until the host disconnects. Never returns.

    `sys.exit()` in the app ends the process with every invocation in it, as with the real worker.
    """
    channel = Channel(descriptor)
    logs.install(channel)
    code = 1
    try:
        asyncio.run(_serve(channel))
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the pool's threads may block in the app's code forever


async def _serve(channel: Channel) -> None:
    try:
        functions = index_app()
    except Exception:  # noqa: BLE001 (any error of the app at import is sent to the host, which names the app)
        channel.send("broken", error=_trace())
        return
    channel.send("loaded", functions=[{"name": f.name, "bindings": f.bindings} for f in functions])
    await Dispatcher(channel, {f.name: f for f in functions}).run()


class Dispatcher:
    """Runs invocations: coroutine functions on the loop, the others in a pool of threads."""

    def __init__(self, channel: Channel, functions: dict[str, Indexed]) -> None:
        self._channel, self._functions = channel, functions
        threads = int(os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT") or _DEFAULT_THREADS)
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="invocation")
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Process messages until the host disconnects; then the process ends, even if invocations are running."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._receive, args=(loop,), daemon=True).start()
        await loop.create_future()

    def _receive(self, loop: asyncio.AbstractEventLoop) -> None:
        for message in self._channel.messages():
            loop.call_soon_threadsafe(self._start, message)
        os._exit(0)

    def _start(self, message: dict[str, Any]) -> None:
        task = asyncio.get_running_loop().create_task(self._invoke(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _invoke(self, message: dict[str, Any]) -> None:
        invocation = message["id"]
        logs.invocation_of_task.set(invocation)
        try:
            function = self._functions[message["function"]]
            given, outputs = arguments(function, message)
            returned = await self._call(function, invocation, given)
            self._channel.send("done", id=invocation, **result(function, returned, outputs))
        except Exception as error:  # noqa: BLE001 (any error of the app fails the invocation; the host is notified)
            text = f"{type(error).__name__}: {error}"
            self._channel.send("failed", id=invocation, error=text, trace=_trace())

    async def _call(self, function: Indexed, invocation: str, given: dict[str, Any]) -> Any:
        if function.signature.is_async:
            return await function.signature.call(**given)
        work = functools.partial(_call_in_thread, function, invocation, given)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _call_in_thread(function: Indexed, invocation: str, given: dict[str, Any]) -> Any:
    logs.invocation_of_thread.invocation_id = invocation
    try:
        return function.signature.call(**given)
    finally:
        logs.invocation_of_thread.invocation_id = None


def _trace() -> str:
    error = sys.exc_info()[1]
    assert error is not None
    crash = traceback.TracebackException.from_exception(error)
    own, imports, pool = (str(Path(module.__file__ or "").parent) for module in (logs, importlib, concurrent.futures))
    hidden = ("<frozen importlib", own, imports, pool)
    kept = [frame for frame in crash.stack if not frame.filename.startswith(hidden)]
    crash.stack = traceback.StackSummary.from_list(kept)  # begins with the app's own code
    return "".join(crash.format()).rstrip()
