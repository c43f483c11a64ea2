"""The worker pool of an app: invocations go to the least busy worker; a worker that ends is restarted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sandbox.host.errors import Misconfigured
from sandbox.host.messages import Done, Failed, IndexedFunction, Invoke
from sandbox.host.workers import Launch, Worker

_FIRST_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 10.0
_WAIT_FOR_WORKER_SECONDS = 30.0

NO_WORKER = "No worker process became ready in time."


class Pool:
    """A pool of `size` workers of one app."""

    def __init__(self, launch: Launch, size: int, on_event: Callable[[str], None]) -> None:
        self._launch, self._size, self._on_event = launch, size, on_event
        self._workers: list[Worker] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._ready = asyncio.Event()

    @property
    def workers(self) -> list[Worker]:
        """The workers that are loaded now."""
        return [worker for worker in self._workers if worker.alive]

    async def start(self) -> list[IndexedFunction]:
        """Start the workers and return the app's functions.

        Raises:
            Misconfigured: the app does not load.
        """
        first = await Worker.start(self._launch)
        self._add(first)
        self._keepers.append(asyncio.create_task(self._keep(first)))
        self._keepers += [asyncio.create_task(self._keep(None)) for _ in range(self._size - 1)]
        return first.functions

    async def invoke(self, message: Invoke, timeout_seconds: float | None) -> Done | Failed:
        """Run a function on the least busy worker.

        An invocation over `timeout_seconds` fails, and its worker is killed with everything it runs, as in Azure:
        there is no other way to end a thread.
        """
        try:
            async with asyncio.timeout(_WAIT_FOR_WORKER_SECONDS):
                worker = await self._least_busy()
        except TimeoutError:
            return Failed(message.id, NO_WORKER, "")
        try:
            async with asyncio.timeout(timeout_seconds):
                return await worker.invoke(message)
        except TimeoutError:
            worker.alive = False
            await worker.kill()
            text = f"Timeout value of {timeout_seconds:g} s was exceeded by function: {message.function}"
            return Failed(message.id, text, "")

    async def stop(self) -> None:
        """Kill the workers."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self._workers))
        self._workers.clear()

    async def _least_busy(self) -> Worker:
        while not self.workers:
            self._ready.clear()
            await self._ready.wait()
        return min(self.workers, key=lambda candidate: candidate.busy)

    def _add(self, worker: Worker) -> None:
        self._workers.append(worker)
        self._ready.set()

    async def _keep(self, worker: Worker | None) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            if worker is None:
                worker = await self._try_start(backoff)
            if worker is not None:
                began = asyncio.get_running_loop().time()
                code = await worker.ended()
                self._workers.remove(worker)
                self._on_event(f"Worker process {worker.pid} ended with exit code {code}. It is restarted.")
                if asyncio.get_running_loop().time() - began > _MAX_BACKOFF_SECONDS:
                    backoff = _FIRST_BACKOFF_SECONDS
                worker = None
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)

    async def _try_start(self, backoff: float) -> Worker | None:
        try:
            worker = await Worker.start(self._launch)
        except Misconfigured as error:
            self._on_event(f"A worker process did not start; next attempt in {backoff:g} s. {error}")
            return None
        self._add(worker)
        return worker
