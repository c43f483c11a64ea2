"""Writing a record from outside the engine, so that the work item it needs does not get lost with the process."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

import msgspec

from shared.domain.errors import Retry
from shared.domain.record import Record, WorkItem
from shared.ports import Stored
from shared.ports.services import Services

R = TypeVar("R", bound=Record)

INSURANCE_SECONDS = 30.0
"""When the work item comes that makes up for one that could not be queued: after the write, whatever happened to it."""


def save(services: Services, stored: Stored[R], record: R) -> None:
    """Save a change of a record, and have it worked on.

    Raises:
        Conflict: someone else has changed it.
    """
    services.queue.send(record.work_item, INSURANCE_SECONDS)
    services.ledger.save(stored, record)
    bring_up(services, (record.work_item,))


def insert(services: Services, record: Record) -> bool:
    """Store a new record, and have it worked on. False where one with its key is there already."""
    services.queue.send(record.work_item, INSURANCE_SECONDS)
    inserted = services.ledger.insert(record) is not None
    bring_up(services, (record.work_item,))
    return inserted


def bring_up(services: Services, items: Iterable[WorkItem]) -> None:
    """Have records worked on that were written just now. What cannot be queued is found by the sweep."""
    with suppress(Retry):  # what was asked for is done
        for item in items:
            services.queue.send(item, 0)


def canceled(record: R, state: object, now: datetime, who: object) -> R:
    """The record as an operator ends it: nothing is planned any more, and its outcome is to be announced."""
    ended = msgspec.structs.replace(
        record,
        state=state,
        reason=f"canceled by {who}",
        failures=0,
        failing_since=None,
        stall=None,
        next_step_at=None,
        announced=False,
        announce_error="",
    )
    return ended.noting(now, "canceled", str(who))
