"""Timer triggers: sleep until due, run, note when; one run of a function at a time.

Source: TimerListener and ScheduleMonitor of https://github.com/Azure/azure-webjobs-sdk-extensions
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from sandbox.host.functions import Function, TimerTrigger
from sandbox.host.invoker import Outcome, Trigger
from sandbox.host.messages import Datum
from sandbox.host.schedule import Schedule
from sandbox.store import Collection

_LONGEST_SLEEP_SECONDS = 300.0
"""A clock that was set is noticed at the latest after this."""

_NEVER = datetime(1, 1, 1, tzinfo=UTC)


class ScheduleStatus(msgspec.Struct, frozen=True, rename="pascal"):
    """When a monitored timer ran last and is due next; kept across restarts."""

    last: datetime = _NEVER
    next: datetime = _NEVER
    last_updated: datetime = _NEVER


class TimerListener:
    """Runs one function by its schedule."""

    def __init__(
        self,
        function: Function,
        statuses: Collection[ScheduleStatus],
        invoke: Callable[[Function, Trigger], Awaitable[Outcome]],
    ) -> None:
        assert isinstance(function.trigger, TimerTrigger)
        self._function, self._trigger, self._statuses, self._invoke = function, function.trigger, statuses, invoke
        where = f"Function '{function.name}', binding '{function.trigger.name}'"
        self.schedule = Schedule(function.trigger.schedule, where)
        self._monitored = function.trigger.use_monitor and not self.schedule.is_frequent
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Run the function whenever it is due, until cancelled."""
        missed = self._missed()
        if self._trigger.run_on_startup:
            await self.fire("run on startup", past_due=missed)
        elif missed:
            await self.fire("past due: it was missed while the host was away", past_due=True)
        began = datetime.now(UTC)
        while True:
            await _sleep_until(self.schedule.next_after(began))
            began = datetime.now(UTC)
            await self.fire("timer", past_due=False)

    async def fire(self, reason: str, *, past_due: bool) -> Outcome:
        """Run the function now, after a run that is under way."""
        async with self._turn:
            now = datetime.now(UTC)
            outcome = await self._invoke(
                self._function,
                Trigger(self._input(past_due), reason, {"TimerTrigger": Datum("string", now.isoformat())}),
            )
            if self._monitored:
                status = ScheduleStatus(now, self.schedule.next_after(now), datetime.now(UTC))
                self._statuses.put(self._function.name, status)
            return outcome

    def _missed(self) -> bool:
        status = self._statuses.get(self._function.name) if self._monitored else None
        return status is not None and status.next < datetime.now(UTC)

    def _input(self, past_due: bool) -> Datum:
        status = self._statuses.get(self._function.name) or ScheduleStatus()
        told = msgspec.to_builtins(status) if self._monitored else None
        body = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": told, "IsPastDue": past_due}
        return Datum("json", json.dumps(body))


async def _sleep_until(due: datetime) -> None:
    while (remaining := (due - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110 (a clock tells no event)
        await asyncio.sleep(min(remaining, _LONGEST_SLEEP_SECONDS))
