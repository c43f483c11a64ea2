"""The lease of a queue message: hidden from others while it is worked on."""

from __future__ import annotations

import asyncio
import contextlib

from sandbox.host.queue_service import Queue, QueuedMessage


class Lease:
    """Renewed at half time, until it is ended."""

    def __init__(self, queue: Queue, message: QueuedMessage, seconds: float) -> None:
        self._queue, self._message, self._seconds = queue, message, seconds
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._renew())

    async def end(self) -> QueuedMessage:
        """Stop renewing; the message with its latest pop receipt."""
        if self._task:
            async with self._lock:  # a renewal that is under way must tell its pop receipt first
                self._task.cancel()
            self._task = None
        return self._message

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 2)
            # A renewal that fails is tried again at the next half time; a lost lease shows when the message is settled.
            async with self._lock:
                with contextlib.suppress(Exception):
                    self._message = await self._queue.hide(self._message, self._seconds)
