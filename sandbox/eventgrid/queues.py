"""Delivery queues: one per subscription, so that a slow endpoint delays only its own events."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from sandbox.eventgrid.outbox import Pending

log = logging.getLogger(__name__)

_CONCURRENT = 16
_LONGEST_REST_SECONDS = 3600.0

Work = Callable[[list[Pending]], Awaitable[None]]
Limits = Callable[[], tuple[int, int]]


class DeliveryQueue:
    """Processes the due events of one subscription, several at once; the order is not guaranteed.

    Args:
        work: processes a batch; it must not raise.
        limits: returns the current maximum number of events and of bytes in a batch.
    """

    def __init__(self, work: Work, limits: Limits) -> None:
        self._work, self._limits = work, limits
        self._heap: list[tuple[datetime, int, Pending]] = []
        self._count = itertools.count()
        self._wake, self._slots = asyncio.Event(), asyncio.Semaphore(_CONCURRENT)
        self._working: set[asyncio.Task[None]] = set()
        self._runner = asyncio.get_running_loop().create_task(self._run())

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, pending: Pending) -> None:
        """Add an event, which is processed when it is due."""
        heapq.heappush(self._heap, (pending.due, next(self._count), pending))
        self._wake.set()

    async def stop(self) -> None:
        """Stop the queue; deliveries in progress are cancelled and stay pending."""
        tasks = [self._runner, *self._working]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._slots.acquire()
            while not (batch := self._take()):
                await self._rest()
            task = asyncio.get_running_loop().create_task(self._finish(batch))
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _finish(self, batch: list[Pending]) -> None:
        try:
            await self._work(batch)
        except Exception:
            # An error in one delivery must not stop the queue; the event stays in the outbox for the next start.
            log.exception("The delivery of %d events failed unexpectedly", len(batch))
        finally:
            self._slots.release()

    def _take(self) -> list[Pending]:
        """Take the next batch of due events within the limits: either all to be attempted or all to be dead-lettered.
        It is never empty if an event is due."""
        batch: list[Pending] = []
        now, size, (most, most_bytes) = datetime.now(UTC), 0, self._limits()
        while self._heap and self._heap[0][0] <= now and len(batch) < most:
            pending = self._heap[0][2]
            if most > 1:
                size += len(msgspec.json.encode(pending.event))
            if batch and (size > most_bytes or bool(pending.given_up) != bool(batch[0].given_up)):
                break
            heapq.heappop(self._heap)
            batch.append(pending)
        return batch

    async def _rest(self) -> None:
        self._wake.clear()
        seconds = _LONGEST_REST_SECONDS
        if self._heap:
            seconds = min(seconds, (self._heap[0][0] - datetime.now(UTC)).total_seconds())
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return
