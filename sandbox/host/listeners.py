"""The queue and timer listeners of an app, created from its functions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from sandbox.host.console import Console
from sandbox.host.functions import Function, QueueTrigger, TimerTrigger
from sandbox.host.host_json import QueueOptions
from sandbox.host.invoker import Invoker
from sandbox.host.queues.service import Queues
from sandbox.host.queues.trigger import QueueListener, Source, poison_name
from sandbox.host.timer_trigger import ScheduleStatus, TimerListener
from sandbox.store import Collection


class Listeners:
    """Runs all listeners, except those of disabled functions."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.queues: list[QueueListener] = []
        self.timers: dict[str, TimerListener] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def add_queues(
        self,
        functions: Iterable[Function],
        queues: Queues,
        options: QueueOptions,
        invoker: Invoker,
        *,
        lease_seconds: float,
    ) -> None:
        """Create the queue listeners.

        Raises:
            Misconfigured: the settings do not define a connection.
        """
        for function in functions:
            trigger = function.trigger
            if isinstance(trigger, QueueTrigger) and not function.disabled:
                where = f"Function '{function.name}', binding '{trigger.name}'"
                queue = queues.open(trigger.connection, trigger.queue_name, where)
                name = poison_name(trigger.queue_name)
                poison = queues.open(trigger.connection, name, where) if name else None
                source = Source(function, trigger, queue, poison)
                self.queues.append(QueueListener(source, options, invoker.invoke, self._console, lease_seconds))

    def add_timers(self, functions: Iterable[Function], state: Path, invoker: Invoker) -> None:
        """Create the timer listeners; their status is stored in the state folder.

        Raises:
            Misconfigured: a schedule is invalid.
        """
        statuses = Collection(state / "timers.json", ScheduleStatus)
        for function in functions:
            if isinstance(function.trigger, TimerTrigger):
                self.timers[function.name] = TimerListener(function, statuses, invoker.invoke)

    def start(self, functions: Iterable[Function]) -> None:
        """Start listening, except for the timers of disabled functions."""
        disabled = {function.name for function in functions if function.disabled}
        timers = [timer for name, timer in self.timers.items() if name not in disabled]
        runs = [listener.run() for listener in self.queues] + [timer.run() for timer in timers]
        self._tasks = [asyncio.create_task(run) for run in runs]
        for task in self._tasks:
            task.add_done_callback(self._tell)

    def sent(self, queue_name: str) -> None:
        """Notify the listeners of a queue that the app has sent a message to it."""
        for listener in self.queues:
            if listener.queue_name == queue_name:
                listener.notify()

    async def stop(self) -> None:
        """Stop listening; messages in progress continue (see `drain`)."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drain(self) -> None:
        """Wait for the messages in progress."""
        await asyncio.gather(*(listener.drain() for listener in self.queues))

    def _tell(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._console.write("ERROR", f"A listener ended: {type(error).__name__}: {error}")
