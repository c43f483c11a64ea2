"""The lock for changes of a container group: one at a time, and a deletion cancels the one in progress."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from sandbox.web import Fault

T = TypeVar("T")


class Transition:
    """The lock of one group.

    A change acquires it with `begin`, does its long-running work with `run`, and releases it with `end`, possibly in
    another task. A `takeover` waits only for the clean end of the work in progress.
    """

    def __init__(self) -> None:
        self._taken = self._ending = False
        self._freed = asyncio.Event()
        self._work: asyncio.Task[Any] | None = None

    def begin(self, name: str) -> None:
        """Acquire the lock for a change of the group with that name.

        Raises:
            Fault: 409 ContainerGroupTransitioning if another change holds it.
        """
        if self._taken or self._ending:
            message = f"The container group '{name}' is still transitioning, please retry later."
            raise Fault(409, "ContainerGroupTransitioning", message)
        self._taken = True

    def end(self) -> None:
        """Release the lock."""
        self._taken, self._work = False, None
        self._freed.set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do a part of the change; only the holder of the lock may call this.

        Raises:
            Fault: 409 OperationPreempted if a takeover came before or meanwhile; also what the work raises.
        """
        if self._ending:
            work.close()
            raise _preempted()
        self._work = task = asyncio.get_running_loop().create_task(work)
        try:
            return await task
        except asyncio.CancelledError:
            if self._ending:
                raise _preempted() from None
            raise

    @contextlib.asynccontextmanager
    async def takeover(self) -> AsyncIterator[None]:
        """Cancel the change in progress, wait for its end, and hold the lock as long as the context lasts."""
        try:
            while self._taken:
                self._ending = True
                if self._work:
                    self._work.cancel()
                self._freed.clear()
                await self._freed.wait()
        finally:
            self._ending = False
        self._taken = True
        try:
            yield
        finally:
            self.end()


def _preempted() -> Fault:
    message = "The operation was ended before it was complete, because its container group is going away."
    return Fault(409, "OperationPreempted", message)
