"""The source registries as all workers share them: their pauses, and the pace at which they may be asked."""

from __future__ import annotations

import msgspec

from shared.domain.errors import Busy, Conflict, Retry
from shared.domain.policy import RegistryRule
from shared.domain.upstream import UpstreamRecord
from shared.ports import Stored
from shared.ports.services import Services

_WRITE_ATTEMPTS = 5
_PACE_WAIT_SECONDS = 60.0


class Upstreams:
    """Who may ask a source registry, and how much."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def load(self, rule: RegistryRule) -> Stored[UpstreamRecord]:
        """The record of a source registry, made when it is first asked for."""
        ledger, record = self._services.ledger, UpstreamRecord(server=rule.login_server)
        stored = ledger.load(UpstreamRecord, record.partition, record.row) or ledger.insert(record)
        return stored or self.load(rule)

    def refuse_while_paused(self, rule: RegistryRule) -> None:
        """See whether a source registry may be asked at all; nothing is written.

        Raises:
            Busy: it is left alone after a failure.
        """
        stored = self._services.ledger.load(UpstreamRecord, "upstream", rule.login_server)
        if stored is not None:
            self._refuse(rule, stored.record)

    def grant(self, rule: RegistryRule, wanted: int) -> int:
        """How many of the wanted requests may be sent now, at least one.

        Raises:
            Busy: it is left alone after a failure, or its pace is used up for this minute.
        """
        for _ in range(_WRITE_ATTEMPTS):
            stored, now = self.load(rule), self._services.clock.now()
            self._refuse(rule, stored.record)
            spent, granted = stored.record.spend(wanted, rule.pace, now)
            if not granted:
                raise Busy(f"the pace of {rule.pace} requests a minute to {rule.login_server} is used up")
            if spent == stored.record or self._saved(stored, spent):
                return granted
        raise Busy(f"other workers are asking {rule.login_server} too", delay_seconds=_PACE_WAIT_SECONDS)

    def grant_hint(self, rule: RegistryRule) -> None:
        """Take one of the requests that are kept for hints. Nothing is written where the rule sets no pace.

        Raises:
            Busy: the registry is backing off, or the share of hints is used up for this minute.
        """
        if not rule.pace:
            self.refuse_while_paused(rule)
            return
        for _ in range(_WRITE_ATTEMPTS):
            stored, now = self.load(rule), self._services.clock.now()
            self._refuse(rule, stored.record)
            spent, granted = stored.record.spend_hint(rule.pace, now)
            if not granted:
                break
            if self._saved(stored, spent):
                return
        raise Busy(f"this minute's requests to {rule.login_server} for events are used up", _PACE_WAIT_SECONDS)

    def failed(self, rule: RegistryRule, error: Exception) -> None:
        """Leave a registry alone for a while."""
        delay = error.delay_seconds if isinstance(error, Retry) else 0.0
        stored = self.load(rule)
        self._saved(stored, stored.record.failed(str(error), delay, self._services.clock.now()))

    def answered(self, rule: RegistryRule) -> None:
        """Take down that it answers (again), and what it says of its limit. Nothing new is not written."""
        stored, said = self.load(rule), self._services.tags.allowance(rule)
        record = stored.record
        if record.failures or record.answered_at is None:
            record = record.answered(self._services.clock.now())
        if said is not None:
            record = msgspec.structs.replace(
                record, limit=said.limit, remaining=said.remaining, window_seconds=said.window_seconds
            )
        if record != stored.record:
            self._saved(stored, record)

    def _refuse(self, rule: RegistryRule, record: UpstreamRecord) -> None:
        pause = record.pause_left(self._services.clock.now())
        if pause:
            why = f"{rule.login_server} is backing off for {pause:.0f} s more: {record.problem}"
            raise Busy(why, delay_seconds=pause)

    def _saved(self, stored: Stored[UpstreamRecord], record: UpstreamRecord) -> bool:
        try:
            self._services.ledger.save(stored, record)
        except Conflict:
            return False
        return True
