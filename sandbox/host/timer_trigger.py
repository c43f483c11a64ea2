"""Timer triggers: sleep until due, run, store the time; one run of a function at a time.

Schedules are NCRONTAB expressions of six fields, seconds first, in UTC.
Source: TimerListener and ScheduleMonitor of https://github.com/Azure/azure-webjobs-sdk-extensions, and
https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec
from cronsim import CronSim, CronSimError

from sandbox.host.errors import Misconfigured
from sandbox.host.functions import Function, TimerTrigger
from sandbox.host.invoker import Outcome, Trigger
from sandbox.host.messages import Datum
from sandbox.store import Collection

_LONGEST_SLEEP_SECONDS = 300.0
"""A change of the system clock is noticed after this time at the latest."""

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_TIME_SPAN = re.compile(r"-?(\d+\.)?\d{1,2}:\d{2}(:\d{2})?(\.\d+)?")
_TERM = r"(?:\*|[A-Za-z]{3}|\d{1,2})(?:-(?:[A-Za-z]{3}|\d{1,2}))?(?:/\d{1,2})?"
_FIELD = re.compile(rf"{_TERM}(?:,{_TERM})*")
_SEVENTH_DAY = re.compile(r"(?<![/\d])7(?!\d)")
_FULL_NAMES = re.compile(
    r"(?i)\b(sun|mon|tues?|wednes|thurs?|fri|satur)day\b"
    r"|\b(january|february|march|april|june|july|august|september|october|november|december)\b"
)
_LATEST = datetime.max.replace(tzinfo=UTC)


class ScheduleStatus(msgspec.Struct, frozen=True, rename="pascal"):
    """The last run and the next due time of a monitored timer; persisted across restarts."""

    last: datetime = _NEVER
    next: datetime = _NEVER
    last_updated: datetime = _NEVER


class TimerListener:
    """Runs one function on its schedule."""

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
            await self.fire("past due: missed while the host was not running", past_due=True)
        began = datetime.now(UTC)
        while True:
            await _sleep_until(self.schedule.next_after(began))
            began = datetime.now(UTC)
            await self.fire("timer", past_due=False)

    async def fire(self, reason: str, *, past_due: bool) -> Outcome:
        """Run the function now, or after a run that is in progress."""
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
        status_view = msgspec.to_builtins(status) if self._monitored else None
        body = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status_view, "IsPastDue": past_due}
        return Datum("json", json.dumps(body))


async def _sleep_until(due: datetime) -> None:
    while (remaining := (due - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110 (a clock has no event)
        await asyncio.sleep(min(remaining, _LONGEST_SLEEP_SECONDS))


class Schedule:
    """The due times of a timer. Day of month and day of week must both match, unlike in cron."""

    def __init__(self, expression: str, where: str) -> None:
        """Parse an expression.

        Raises:
            Misconfigured: it is invalid or never due; the error begins with `where`.
        """
        self.expression = expression
        if _TIME_SPAN.fullmatch(expression.strip()):
            raise Misconfigured(
                f"{where}: '{expression}' is a TimeSpan, which only App Service plans support. Use six NCRONTAB fields."
            )
        fields = [_FULL_NAMES.sub(lambda match: match[0][:3], field) for field in expression.split()]
        if len(fields) != 6:
            raise Misconfigured(f"{where}: '{expression}' has {len(fields)} fields; a schedule has six, seconds first.")
        bad = [field for field in fields if not _FIELD.fullmatch(field)]
        if bad or _SEVENTH_DAY.search(fields[5]):
            raise Misconfigured(f"{where}: the schedule '{expression}' has a bad field: '{(bad or fields)[-1]}'.")
        self._dates = " ".join([*fields[:5], "*"])
        try:
            self._weekdays = CronSim(f"0 0 0 * * {fields[5]}", datetime.now(UTC)).weekdays
            CronSim(self._dates, datetime.now(UTC))
        except CronSimError as error:
            raise Misconfigured(f"{where}: the schedule '{expression}' is not valid NCRONTAB: {error}.") from error
        if self.next_after(datetime.now(UTC)) == _LATEST:
            raise Misconfigured(f"{where}: the schedule '{expression}' is never due.")

    def next_after(self, moment: datetime) -> datetime:
        """The first due time after `moment`."""
        for due in CronSim(self._dates, moment):
            if due.isoweekday() % 7 in self._weekdays:
                return due
        return _LATEST

    @property
    def is_frequent(self) -> bool:
        """Whether it is due more than once a minute; such a timer is not monitored."""
        first = self.next_after(datetime.now(UTC))
        return self.next_after(first) - first < timedelta(minutes=1)
