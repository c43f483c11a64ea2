"""Timer schedules: NCRONTAB expressions of six fields, seconds first, in UTC.

Source: https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

from sandbox.host.errors import Misconfigured

_TIME_SPAN = re.compile(r"-?(\d+\.)?\d{1,2}:\d{2}(:\d{2})?(\.\d+)?")
_TERM = r"(?:\*|[A-Za-z]{3}|\d{1,2})(?:-(?:[A-Za-z]{3}|\d{1,2}))?(?:/\d{1,2})?"
_FIELD = re.compile(rf"{_TERM}(?:,{_TERM})*")
_SEVENTH_DAY = re.compile(r"(?<![/\d])7(?!\d)")
_FULL_NAMES = re.compile(
    r"(?i)\b(sun|mon|tues?|wednes|thurs?|fri|satur)day\b"
    r"|\b(january|february|march|april|june|july|august|september|october|november|december)\b"
)
_LATEST = datetime.max.replace(tzinfo=UTC)


class Schedule:
    """When a timer is due. Day of month and day of week must both match, unlike in cron."""

    def __init__(self, expression: str, where: str) -> None:
        """Parse an expression.

        Raises:
            Misconfigured: it is none, or never due; the error begins with `where`.
        """
        self.expression = expression
        if _TIME_SPAN.fullmatch(expression.strip()):
            raise Misconfigured(
                f"{where}: '{expression}' is a TimeSpan, which only App Service plans take. Give six NCRONTAB fields."
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
            raise Misconfigured(f"{where}: the schedule '{expression}' is no NCRONTAB expression: {error}.") from error
        if self.next_after(datetime.now(UTC)) == _LATEST:
            raise Misconfigured(f"{where}: the schedule '{expression}' is never due.")

    def next_after(self, moment: datetime) -> datetime:
        """The first time after `moment` that it is due."""
        for due in CronSim(self._dates, moment):
            if due.isoweekday() % 7 in self._weekdays:
                return due
        return _LATEST

    @property
    def is_frequent(self) -> bool:
        """Whether it is due more than once a minute; such a timer is not monitored."""
        first = self.next_after(datetime.now(UTC))
        return self.next_after(first) - first < timedelta(minutes=1)
