"""Which lines of a history are asked for: those of one state, from a span of time."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta

from shared.domain.errors import Malformed
from shared.ports import Only
from shared.workflow.board.models import Filter


def understood(shown: Filter, states: Collection[str]) -> Only:
    """A filter as a person gives it, for the ledger. A day counts in UTC, and `until` includes it.

    Raises:
        Malformed: there is no such state, or a time is none; `field` says which.
    """
    if shown.state and shown.state not in states:
        raise Malformed("state", f"must be one of {', '.join(states)}")
    since, until = _moment("since", shown.since), _moment("until", shown.until)
    if until is not None and _is_day(shown.until):
        until += timedelta(days=1)
    return Only(state=shown.state, since=since, until=until)


def _is_day(text: str) -> bool:
    return len(text) == len("2026-03-01")


def _moment(field: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.combine(date.fromisoformat(text), time()) if _is_day(text) else datetime.fromisoformat(text)
    except ValueError:
        raise Malformed(field, f"{text[:40]!r} is neither a day (2026-03-01) nor a time (2026-03-01T12:00Z)") from None
    return at.replace(tzinfo=at.tzinfo or UTC)
