"""Timers: tasks that run at the times of a cron expression.

Times are UTC and not scaled. What fell into a time when the sandbox was off is not made up for.
Source: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-scheduled
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cronsim import CronSim

from sandbox.store import Collection
from sandbox.tasks.ports import Clock
from sandbox.tasks.records import Cause, TaskRecord, TimerTriggerDescriptor
from sandbox.tasks.requests import TimerTrigger
from sandbox.tasks.triggers import Start

_LOOK_EVERY = timedelta(seconds=15)


class Timers:
    """Looks every 15 seconds which timers have come due since the last look."""

    def __init__(self, tasks: Collection[TaskRecord], start: Start, clock: Clock) -> None:
        self._tasks, self._start, self._clock = tasks, start, clock
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._looking = asyncio.create_task(self._look(self._clock.now()))

    async def stop(self) -> None:
        """Stop looking."""
        if self._looking:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self, last: datetime) -> None:
        while True:
            await self._clock.sleep(_LOOK_EVERY.total_seconds())
            now = self._clock.now()
            for task, trigger, occurrence in list(self._due(last, now)):
                descriptor = TimerTriggerDescriptor(
                    timer_trigger_name=trigger.name, schedule_occurrence=f"{occurrence:%Y-%m-%dT%H:%M:%SZ}"
                )
                self._start(task, Cause(timer_trigger=descriptor))
            last = now

    def _due(self, after: datetime, until: datetime) -> Iterator[tuple[TaskRecord, TimerTrigger, datetime]]:
        for task in self._tasks.values():
            timers = (task.properties.trigger and task.properties.trigger.timer_triggers) or ()
            for trigger in timers if task.enabled else ():
                if trigger.status != "Disabled":
                    for occurrence in _occurrences(trigger.schedule, after, until):
                        yield task, trigger, occurrence


def _occurrences(schedule: str, after: datetime, until: datetime) -> Iterator[datetime]:
    for occurrence in CronSim(schedule, after.astimezone(UTC)):
        if occurrence > until:
            return
        yield occurrence
