"""Idempotent calls: a repeated call gets the first response and has no further effect."""

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from shared.domain.errors import BasegateError, Busy, Malformed, Misconfigured, Refused, Rejected, Retry
from shared.domain.retention import KEPT, IdempotentCall
from shared.ports import Services, Stored

log = logging.getLogger(__name__)

PURGE_LIMIT = 20
"""How many expired responses a new call removes at most: more than one, so that their number falls."""

_IN_PROGRESS = timedelta(minutes=2)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

KeptResponse = tuple[int, str]
"""Status and JSON text."""


class IdempotentCalls:
    """Answers repeated calls with the first response.

    The client's key is the header `Idempotency-Key`, as in
    https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
    A key is valid for a week. Each new call removes some expired responses.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def once(self, key: str, call: str, actor: str, work: Callable[[], KeptResponse]) -> KeptResponse:
        """Do the work of a call once for each key, or every time without a key. A call that failed may be repeated.

        Raises:
            Malformed: the key was used for another call.
            Refused: the first call with this key is still in progress.
        """
        if not key:
            return work()
        stored = self._begin(key, call, actor)
        if stored.record.answer:
            return stored.record.status, stored.record.answer
        try:
            status, answer = work()
        except BasegateError:
            self._services.ledger.save(stored, replace(stored.record, at=_LONG_AGO))
            raise
        self._services.ledger.save(stored, replace(stored.record, status=status, answer=answer))
        return status, answer

    def _begin(self, key: str, call: str, actor: str) -> Stored[IdempotentCall]:
        """The call of a key: new, or begun again if its worker died or the key has expired."""
        ledger, now = self._services.ledger, self._services.clock.now()
        begun = IdempotentCall(key=hashlib.sha256(key.encode()).hexdigest(), call=call, actor=actor, at=now)
        stored = ledger.insert(begun)
        if stored is not None:
            self._purge(begun.partition, now - KEPT)
            return stored
        known = ledger.load(IdempotentCall, begun.partition, begun.row)
        if known is None:
            raise Busy("the expired response for this Idempotency-Key was just removed: retry", delay_seconds=1.0)
        if known.record.at + KEPT < now:
            return ledger.save(known, begun)
        if known.record.call != call:
            raise Malformed("Idempotency-Key", "was used for another call: use a new key")
        if known.record.answer:
            return known
        if known.record.at + _IN_PROGRESS < now:
            return ledger.save(known, begun)
        raise Refused("the first call with this Idempotency-Key is still in progress: retry in a moment")

    def _purge(self, partition: str, before: datetime) -> None:
        try:
            self._services.ledger.purge(IdempotentCall, partition, before, PURGE_LIMIT)
        except (Retry, Rejected, Misconfigured) as error:  # the call continues: the next one removes them
            log.warning("expired responses not removed: %s", error)
