"""A plan: what an operation would do (its blast radius), and the doing of it."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, TypeVar

import msgspec

from shared.domain.errors import Malformed, Retry
from shared.domain.record import Record, WorkItem
from shared.ports import Change, Services, Stored
from shared.reconcile.engine import controllers
from shared.workflow.outbox import Outbox

R = TypeVar("R", bound=Record)

_REASON_LIMIT = 400

_INSURANCE_SECONDS = 30.0
"""When the work item comes that makes up for one that could not be queued: after the write, whatever happened to it."""


class Who(msgspec.Struct, frozen=True):
    """Who acts, and why: both are recorded with what is done. `key` is the idempotency key of the call, or ""."""

    actor: str
    reason: str
    key: str = ""

    @classmethod
    def of(cls, actor: str, reason: object, key: str = "") -> Self:
        """An operator with a reason.

        Raises:
            Malformed: there is no reason, or it is too long.
        """
        text = reason.strip() if isinstance(reason, str) else ""
        if not 0 < len(text) <= _REASON_LIMIT:
            raise Malformed("reason", f"say why, in 1 to {_REASON_LIMIT} characters")
        return cls(actor, text, key)

    def __str__(self) -> str:
        return f"{self.actor}: {self.reason}"


class Effect(msgspec.Struct, frozen=True):
    """One thing that an operation does: `what` to which `subject`."""

    what: str
    subject: str


class Done(msgspec.Struct, frozen=True):
    """What was done: the path of the record to read (below `/api/v1`), and what was in flight against it by then."""

    location: str
    in_flight: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, and how to do it; `warnings` say what stays wrong though. Making a plan writes nothing."""

    effects: tuple[Effect, ...]
    act: Callable[[], Done]
    warnings: tuple[str, ...] = ()


def save(services: Services, record: R, stored: Stored[R] | None = None) -> Done:
    """Save a record, and have it worked on: a change of what was read, or a new one, unless it is there already.

    What its end is to announce is written with it, and sent by that work.

    Raises:
        Conflict: someone else has changed it.
    """
    services.queue.send(record.work_item, _INSURANCE_SECONDS)
    if stored is not None:
        said = controllers(services)[record.work_item.kind].outcome
        record, written = Outbox(services).put_ended(stored.record, record, said)
        services.ledger.commit(Change(record, stored), *written)
    else:
        services.ledger.insert(record)
    bring_up(services, (record.work_item,))
    return Done(f"{record.work_item.kind}s/{record.id}")


def bring_up(services: Services, items: Iterable[WorkItem]) -> None:
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
