"""An acting call: a plan of its effects (the blast radius), the doing of it, and the first answer for repeats of it."""

import hashlib
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self, TypeVar

import msgspec

from shared.domain.errors import BasegateError, Busy, Malformed, Misconfigured, Refused, Rejected, Retry
from shared.domain.record import Record, WorkItem
from shared.ports import Services, Stored

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)

_REASON_LIMIT = 400

_INSURANCE_SECONDS = 30.0
"""When the work item comes that makes up for one that could not be queued: after the write, whatever happened to it."""

KEY_LIMIT = 200
KEPT = timedelta(days=7)
"""How long an answer is kept for a repeat."""

PURGED_AT_ONCE = 20
"""How many old answers a new one removes at most: more than one, so that they get fewer."""

_UNDER_WAY = timedelta(minutes=2)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

Answer = tuple[int, str]
"""Status and JSON text."""


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
    """What would be done, and how to do it. Making a plan writes nothing."""

    effects: tuple[Effect, ...]
    act: Callable[[], Done]


def save(services: Services, record: R, stored: Stored[R] | None = None) -> Done:
    """Save a record, and have it worked on: a change of what was read, or a new one, unless it is there already.

    Raises:
        Conflict: someone else has changed it.
    """
    services.queue.send(record.work_item, _INSURANCE_SECONDS)
    if stored is not None:
        services.ledger.save(stored, record)
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
    """End a record for an operator: nothing is planned any more, and its outcome is to be announced.

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
        announced=False,
        announce_error="",
    )
    return save(services, ended.noting(services.clock.now(), "canceled", str(who)), stored)


class IdempotentCall(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one call.

    `call` names what was asked for (method, path, and a digest of the query and the body), `answer` is the JSON of
    the first answer, "" while it is being worked on.
    """

    key: str
    call: str
    actor: str
    at: datetime
    status: int = 0
    answer: str = ""

    @property
    def partition(self) -> str:
        """The ledger partition: all calls, by the first digit of their key."""
        return self.key[:1]

    @property
    def row(self) -> str:
        """The ledger row: the key's digest."""
        return self.key


def checked_key(key: str) -> str:
    """A client's key.

    Raises:
        Malformed: it is too long.
    """
    if len(key) > KEY_LIMIT:
        raise Malformed("Idempotency-Key", f"is longer than {KEY_LIMIT} characters")
    return key


class IdempotentCalls:
    """Repeats of an acting call get the first answer.

    The key is the client's (`Idempotency-Key`), as in
    https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
    It is good for a week, then it is forgotten: whoever stores a new answer removes some old ones, so they stay few.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def once(self, key: str, call: str, actor: str, work: Callable[[], Answer]) -> Answer:
        """Do the work of a call, once for each key; without a key, every time. A call that failed may be repeated.

        Raises:
            Malformed: the key was used for another call.
            Refused: the first call with this key is still under way.
        """
        if not key:
            return work()
        stored = self._begin(key, call, actor)
        if stored.record.answer:
            return stored.record.status, stored.record.answer
        try:
            status, answer = work()
        except BasegateError:
            self._services.ledger.save(stored, msgspec.structs.replace(stored.record, at=_LONG_AGO))
            raise
        self._services.ledger.save(stored, msgspec.structs.replace(stored.record, status=status, answer=answer))
        return status, answer

    def _begin(self, key: str, call: str, actor: str) -> Stored[IdempotentCall]:
        """The call of a key: new, or taken up again after whoever began it died, or after its time."""
        ledger, now = self._services.ledger, self._services.clock.now()
        begun = IdempotentCall(key=hashlib.sha256(key.encode()).hexdigest(), call=call, actor=actor, at=now)
        stored = ledger.insert(begun)
        if stored is not None:
            self._purge(begun.partition, now - KEPT)
            return stored
        known = ledger.load(IdempotentCall, begun.partition, begun.row)
        if known is None:
            raise Busy("an old answer to this Idempotency-Key was just removed: ask again", delay_seconds=1.0)
        if known.record.at + KEPT < now:
            return ledger.save(known, begun)
        if known.record.call != call:
            raise Malformed("Idempotency-Key", "was used for another call: take a new one")
        if known.record.answer:
            return known
        if known.record.at + _UNDER_WAY < now:
            return ledger.save(known, begun)
        raise Refused("the first call with this Idempotency-Key is still under way: ask again in a moment")

    def _purge(self, partition: str, before: datetime) -> None:
        try:
            self._services.ledger.purge(IdempotentCall, partition, before, PURGED_AT_ONCE)
        except (Retry, Rejected, Misconfigured) as error:  # the call goes on: the next one removes them
            log.warning("old answers were not removed: %s", error)
