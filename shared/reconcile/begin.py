"""Saving a record and having it worked on: how operations and sweep jobs begin, change and end records."""

from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from typing import TypeVar

import msgspec

from shared.domain.effect import Effect
from shared.domain.errors import Retry
from shared.domain.record import Record, WorkItem
from shared.ports import Change, Services, Stored
from shared.reconcile.engine import controllers
from shared.records.outbox import Outbox

R = TypeVar("R", bound=Record)

_INSURANCE_SECONDS = 30.0
"""When the work item comes that makes up for one that could not be queued: after the write, whatever happened to it."""


class Done(msgspec.Struct, frozen=True):
    """What was done: the path of the record to read (below `/api/v1`), and what was in flight against it by then."""

    location: str
    in_flight: tuple[Effect, ...] = ()


def save(services: Services, record: R, stored: Stored[R] | None = None) -> Done:
    """Save a record, and have it worked on: a change of what was read, or a new one, unless it is there already.

    What its end is to announce is written with it, and sent by that work.

    Raises:
        Conflict: someone else has changed it.
    """
    services.queue.send(record.work_item, _INSURANCE_SECONDS)
    if stored is not None:
        said = controllers(services)[record.work_item.kind].outcome
        record, written = Outbox(services).put_for_change(stored.record, record, said)
        services.ledger.commit(Change(record, stored), *written)
    else:
        services.ledger.insert(record)
    enqueue(services, (record.work_item,))
    return Done(f"{record.work_item.kind}s/{record.id}")


def enqueue(services: Services, items: Iterable[WorkItem]) -> None:
    """Have records worked on that were written just now. What cannot be queued is found by the sweep."""
    with suppress(Retry):  # what was asked for is done
        for item in items:
            services.queue.send(item, 0)


def cancel(services: Services, stored: Stored[R], state: StrEnum, who: object) -> Done:
    """End a record for an operator: nothing is planned any more.

    Raises:
        Conflict: someone else has changed it.
    """
    ended = msgspec.structs.replace(
        stored.record,
        state=state,
        reason=f"canceled by {who}",
        failures=0,
        failing_since=None,
        stall=None,
        next_step_at=None,
    )
    return save(services, ended.noting(services.clock.now(), "canceled", str(who)), stored)
