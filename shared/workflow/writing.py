"""Writing a record from outside its chain of looks, so that the look it needs does not get lost with the process."""

from __future__ import annotations

from contextlib import suppress
from typing import TypeVar

from shared.domain.errors import Retry
from shared.domain.record import Record
from shared.ports import Stored
from shared.workflow.services import Services

R = TypeVar("R", bound=Record)

INSURANCE_SECONDS = 30.0
"""When the look comes that makes up for one that could not be queued: after the write, whatever happened to it."""


def save(services: Services, stored: Stored[R], record: R) -> None:
    """Save a change of a record, and have it looked at.

    Raises:
        Conflict: someone else has changed it.
    """
    services.queue.send(record.look, INSURANCE_SECONDS)
    services.ledger.save(stored, record)
    _look_now(services, record)


def insert(services: Services, record: Record) -> bool:
    """Store a new record, and have it looked at. False where one with its key is there already."""
    services.queue.send(record.look, INSURANCE_SECONDS)
    inserted = services.ledger.insert(record) is not None
    _look_now(services, record)
    return inserted


def _look_now(services: Services, record: Record) -> None:
    with suppress(Retry):  # what was asked for is done, and the other look comes
        services.queue.send(record.look, 0)
