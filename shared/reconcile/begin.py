"""Saves records and enqueues their work items: how operations and sweep jobs create, change and cancel records."""

from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from shared.domain.errors import Retry
from shared.domain.record import Record, WorkItem
from shared.ports import Change, Services, Stored
from shared.reconcile.engine import controllers
from shared.records.outbox import Outbox

R = TypeVar("R", bound=Record)

_FALLBACK_SECONDS = 30.0
"""The delay of the work item that is sent before the write: it replaces the one after the write if that is lost."""


class Effect(msgspec.Struct, frozen=True):
    """One effect: `what` is done to which `subject`."""

    what: str
    subject: str


class Done(msgspec.Struct, frozen=True):
    """The result of an operation: the path of the record to read (below `/api/v1`), and what it found in flight."""

    location: str
    in_flight: tuple[Effect, ...] = ()


def save(services: Services, record: R, stored: Stored[R] | None = None) -> Done:
    """Save a change of a stored record, or insert a new one unless it exists, and enqueue it.

    The outcome of a record that ends is written in the same transaction, and sent when the work item is handled.

    Raises:
        Conflict: another worker changed the record.
    """
    services.queue.send(record.work_item, _FALLBACK_SECONDS)
    if stored is not None:
        outcome_of = controllers(services)[record.work_item.kind].outcome
        record, written = Outbox(services).put_for_change(stored.record, record, outcome_of)
        services.ledger.commit(Change(record, stored), *written)
    else:
        services.ledger.insert(record)
    enqueue(services, (record.work_item,))
    return Done(f"{record.work_item.kind}s/{record.id}")


def enqueue(services: Services, items: Iterable[WorkItem]) -> None:
    """Enqueue records that were just written. The sweep finds those that could not be enqueued."""
    with suppress(Retry):  # the records are saved
        for item in items:
            services.queue.send(item, 0)


def cancel(services: Services, stored: Stored[R], state: StrEnum, who: object) -> Done:
    """End a record on an operator's request; its planned work is dropped.

    Raises:
        Conflict: another worker changed the record.
    """
    record, reason = stored.record, f"canceled by {who}"
    ended = replace(record, state=state, reason=reason, failures=0, failing_since=None, stall=None, next_step_at=None)
    return save(services, ended.noting(services.clock.now(), "canceled", str(who)), stored)
