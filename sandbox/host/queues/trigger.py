"""Queue triggers: poll, run, then delete, release or move to the poison queue.

Source: QueueListener and QueueProcessor of the WebJobs SDK
(https://github.com/Azure/azure-sdk-for-net, sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Queues).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sandbox.host.console import Console
from sandbox.host.functions import Function, QueueTrigger
from sandbox.host.host_json import QueueOptions
from sandbox.host.invoker import Outcome, Trigger
from sandbox.host.queues.data import decode_body, trigger_input, trigger_metadata
from sandbox.host.queues.service import Queue, QueuedMessage

LEASE_SECONDS = 600.0
"""The real host's value; the message of a killed host becomes visible again after this time."""

_POISON_SUFFIX = "-poison"
_SHORTEST_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Source:
    """A queue with its function; `poison` is None for a queue that is itself a poison queue."""

    function: Function
    binding: QueueTrigger
    queue: Queue
    poison: Queue | None


def poison_name(queue_name: str) -> str | None:
    """The queue for messages that keep failing; None for a queue that is itself a poison queue."""
    return None if queue_name.endswith(_POISON_SUFFIX) else queue_name + _POISON_SUFFIX


class QueueListener:
    """Invokes one function for the messages of one queue, up to batch size + new batch threshold messages at a time."""

    def __init__(
        self,
        source: Source,
        options: QueueOptions,
        invoke: Callable[[Function, Trigger], Awaitable[Outcome]],
        console: Console,
        lease_seconds: float,
    ) -> None:
        self._source, self._options, self._invoke, self._console = source, options, invoke, console
        self._lease_seconds = lease_seconds
        self._running: set[asyncio.Task[None]] = set()
        self._awake = asyncio.Event()
        self.queue_name = source.binding.queue_name

    def notify(self) -> None:
        """Poll at once: the app itself has just sent a message to this queue."""
        self._awake.set()

    async def run(self) -> None:
        """Poll until cancelled; messages in progress continue (see `drain`)."""
        backoff = RandomizedBackoff(self._options.max_polling_interval_seconds)
        created = False
        while True:
            self._awake.clear()
            try:
                if not created:
                    await self._source.queue.create()
                    created = True
                found = await self._take_batch()
            except Exception as error:  # noqa: BLE001 (the account may be unavailable; polling continues)
                self._warn(f"Queue '{self.queue_name}' cannot be read: {type(error).__name__}: {error}")
                found = False
            if found:
                backoff.reset()
                await self._below_threshold()
            else:
                await self._sleep(backoff.next_seconds())

    async def drain(self) -> None:
        """Wait for the messages in progress."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _take_batch(self) -> bool:
        messages = await self._source.queue.receive(self._options.batch_size, self._lease_seconds)
        for message in messages:
            task = asyncio.create_task(self._process(message))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return bool(messages)

    async def _below_threshold(self) -> None:
        while len(self._running) > self._options.new_batch_threshold:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._awake.wait()
        except TimeoutError:
            return

    async def _process(self, message: QueuedMessage) -> None:
        lease = Lease(self._source.queue, message, self._lease_seconds)
        try:
            if message.dequeue_count > self._options.max_dequeue_count and self._source.poison:
                await self._to_poison(message)
                return
            succeeded = await self._run(message)
            await self._complete(await lease.end(), succeeded=succeeded)
        except Exception as error:  # noqa: BLE001 (the message becomes visible again by itself; polling continues)
            self._warn(f"Message {message.id} of '{self.queue_name}' was not settled: {type(error).__name__}: {error}")
        finally:
            await lease.end()

    async def _run(self, message: QueuedMessage) -> bool:
        try:
            body = decode_body(message.text, base64_encoded=self._options.base64)
            given = trigger_input(self._source.binding, body)
        except ValueError as error:
            self._warn(f"Message {message.id} of '{self.queue_name}' cannot be read: {error}")
            return False
        reason = f"queue message {message.id}, attempt {message.dequeue_count}"
        trigger = Trigger(given, reason, trigger_metadata(message, body))
        return (await self._invoke(self._source.function, trigger)).succeeded

    async def _complete(self, message: QueuedMessage, *, succeeded: bool) -> None:
        if succeeded:
            await self._source.queue.delete(message)
        elif self._source.poison is None:
            return  # as in Azure, it stays hidden for the rest of its lease, which prevents a tight endless loop
        elif message.dequeue_count >= self._options.max_dequeue_count:
            await self._to_poison(message)
        else:
            await self._source.queue.hide(message, self._options.visibility_timeout_seconds)
            if not self._options.visibility_timeout_seconds:
                self.notify()

    async def _to_poison(self, message: QueuedMessage) -> None:
        assert self._source.poison
        self._warn(
            f"Message {message.id} has reached MaxDequeueCount of {self._options.max_dequeue_count}. "
            f"It moves to queue '{self.queue_name}{_POISON_SUFFIX}'."
        )
        await self._source.poison.send(message.text)
        await self._source.queue.delete(message)

    def _warn(self, message: str) -> None:
        name = self._source.function.name
        self._console.write("WARNING", message, category=f"Function.{name}", function=name)


class Lease:
    """The lease of a message, renewed after half of its duration until it is ended."""

    def __init__(self, queue: Queue, message: QueuedMessage, seconds: float) -> None:
        self._queue, self._message, self._seconds = queue, message, seconds
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._renew())

    async def end(self) -> QueuedMessage:
        """Stop renewing; returns the message with its latest pop receipt."""
        if self._task:
            async with self._lock:  # a renewal in progress must store its pop receipt first
                self._task.cancel()
            self._task = None
        return self._message

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 2)
            # A failed renewal is retried at the next interval; a lost lease is detected when the message is settled.
            async with self._lock:
                with contextlib.suppress(Exception):
                    self._message = await self._queue.hide(self._message, self._seconds)


class RandomizedBackoff:
    """Grows from 100 ms to `maximum_seconds`, doubling with up to 20 % jitter; reset after messages were found."""

    def __init__(self, maximum_seconds: float) -> None:
        self._maximum = max(maximum_seconds, _SHORTEST_POLL_SECONDS)
        self._failures = 0

    def reset(self) -> None:
        """Start again at 100 ms, after messages were found."""
        self._failures = 0

    def next_seconds(self) -> float:
        """The wait after another poll that found no messages."""
        delay = _SHORTEST_POLL_SECONDS
        if self._failures:
            jitter = random.uniform(0.8, 1.2)  # noqa: S311 (spreads polls, protects no secret)
            delay += _SHORTEST_POLL_SECONDS * jitter * 2.0 ** min(self._failures - 1, 30)
        if delay >= self._maximum:
            return self._maximum
        self._failures += 1
        return delay
