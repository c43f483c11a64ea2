"""Idempotent calls: a repeat of an acting call gets the first answer, and does nothing more."""

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from shared.domain.errors import BasegateError, Busy, Malformed, Misconfigured, Refused, Rejected, Retry
from shared.domain.retention import KEPT, IdempotentCall
from shared.ports import Services, Stored

log = logging.getLogger(__name__)

KEY_LIMIT = 200

PURGED_AT_ONCE = 20
"""How many old answers a new one removes at most: more than one, so that they get fewer."""

_UNDER_WAY = timedelta(minutes=2)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

Answer = tuple[int, str]
"""Status and JSON text."""


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
