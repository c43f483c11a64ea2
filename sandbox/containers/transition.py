"""Whose turn it is to change a container group: one change at a time, and a deletion ends what is under way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from sandbox.web import Fault

T = TypeVar("T")


class Transition:
    """The turn of one group.

    A change takes it with `begin`, does what takes time with `run`, and gives it back with `end`, perhaps in another
    task than the one that began. A `takeover` waits for no more than the clean end of what runs.
    """

    def __init__(self) -> None:
        self._taken = self._ending = False
        self._freed = asyncio.Event()
        self._work: asyncio.Task[Any] | None = None

    def begin(self, name: str) -> None:
        """Take the turn for a change of the group of that name.

        Raises:
            Fault: 409 ContainerGroupTransitioning where somebody has it.
        """
        if self._taken or self._ending:
            message = f"The container group '{name}' is still transitioning, please retry later."
            raise Fault(409, "ContainerGroupTransitioning", message)
        self._taken = True

    def end(self) -> None:
        """Give the turn back."""
        self._taken, self._work = False, None
        self._freed.set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do a part of the change; whoever has the turn calls this.

        Raises:
            Fault: 409 OperationPreempted where a takeover came before or meanwhile; what the work raises.
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
        """Cancel the change under way, wait for its end, and have the turn as long as the context lasts."""
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
