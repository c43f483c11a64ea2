"""The source registries as all workers share them: how they answer, their pauses, and how fast they may be asked."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Self

import msgspec

from shared.domain.errors import Busy, Conflict, Retry
from shared.domain.policy import RegistryRule
from shared.ports import Services, get_or_create, read, update

_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 3600.0
_MINUTE = timedelta(minutes=1)


class UpstreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One source registry. `server` is its host name.

    After a failure it is left alone until `paused_until`, twice as long each time, so that one that is down costs the
    others nothing. `spent` requests of the sweep, and `hinted` on account of events, were sent in the minute that began
    at `minute`: a flood of events costs a registry no more than a quarter of its pace. `limit` and `remaining` are what
    the registry said of its own limit last (-1: nothing), in a window of `window_seconds`.
    """

    server: str
    failures: int = 0
    problem: str = ""
    paused_until: datetime | None = None
    answered_at: datetime | None = None
    minute: datetime | None = None
    spent: int = 0
    hinted: int = 0
    limit: int = -1
    remaining: int = -1
    window_seconds: int = 0

    @property
    def partition(self) -> str:
        """The ledger partition: all source registries."""
        return "upstream"

    @property
    def row(self) -> str:
        """The ledger row: the host name; a port's colon is allowed in keys."""
        return self.server

    def pause_left(self, now: datetime) -> float:
        """For how many seconds more it is left alone."""
        return max(0.0, (self.paused_until - now).total_seconds()) if self.paused_until else 0.0

    def spend(self, wanted: int, pace: int, now: datetime, *, for_hints: bool) -> tuple[Self, int]:
        """The record after some requests were granted, and how many: of `pace` a minute, a quarter is for hints."""
        is_fresh = self.minute is not None and now - self.minute < _MINUTE
        fresh = self if is_fresh else msgspec.structs.replace(self, minute=now, spent=0, hinted=0)
        share = max(1, pace // 4)
        count, limit = ("hinted", share) if for_hints else ("spent", max(1, pace - share))
        used = getattr(fresh, count)
        granted = max(0, min(wanted, limit - used))
        return msgspec.structs.replace(fresh, **{count: used + granted}), granted

    def failed(self, problem: str, delay_seconds: float, now: datetime) -> Self:
        """After a failure. What the registry itself asks for counts where it is longer than our own pause."""
        own = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(self.failures, 10))
        until = now + timedelta(seconds=max(own, delay_seconds))
        return msgspec.structs.replace(self, failures=self.failures + 1, problem=problem, paused_until=until)

    def answered(self, now: datetime) -> Self:
        """After it has answered, again or for the first time."""
        if not self.failures and self.answered_at is not None:
            return self
        return msgspec.structs.replace(self, failures=0, problem="", paused_until=None, answered_at=now)


class Upstreams:
    """Who may ask a source registry, and how much."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def refuse_while_paused(self, rule: RegistryRule) -> None:
        """See whether a source registry may be asked at all; nothing is written.

        Raises:
            Busy: it is left alone after a failure.
        """
        self._refuse(rule, read(self._services.ledger, UpstreamRecord(server=rule.login_server)))

    def grant(self, rule: RegistryRule, wanted: int = 1, *, for_hints: bool = False) -> int:
        """How many of the wanted requests may be sent now, at least one: the sweep and hints have a share each.

        Nothing is written where the rule sets no pace.

        Raises:
            Busy: it is left alone after a failure, or its pace is used up for this minute.
        """
        granted, pace, now = wanted, rule.pace or 0, self._services.clock.now()

        def spend(record: UpstreamRecord) -> UpstreamRecord:
            nonlocal granted
            self._refuse(rule, record)
            spent, granted = record.spend(wanted, pace, now, for_hints=for_hints)
            if not granted:
                share = "the share of events in the" if for_hints else "the"
                why = f"{share} pace of {pace} requests a minute to {rule.login_server} is used up"
                raise Busy(why, delay_seconds=_MINUTE.total_seconds())
            return spent

        if pace:
            update(self._services.ledger, UpstreamRecord(server=rule.login_server), spend)
        else:
            self.refuse_while_paused(rule)
        return granted

    def failed(self, rule: RegistryRule, error: Exception) -> None:
        """Leave a registry alone for a while."""
        delay, now = error.delay_seconds if isinstance(error, Retry) else 0.0, self._services.clock.now()
        self._take_down(rule, lambda record: record.failed(str(error), delay, now))

    def answered(self, rule: RegistryRule) -> None:
        """Take down that it answers (again), and what it says of its limit. Nothing new is not written."""
        said, now = self._services.tags.allowance(rule), self._services.clock.now()
        limits = {name: getattr(said, name) for name in ("limit", "remaining", "window_seconds")} if said else {}
        self._take_down(rule, lambda record: msgspec.structs.replace(record.answered(now), **limits))

    def _refuse(self, rule: RegistryRule, record: UpstreamRecord) -> None:
        if pause := record.pause_left(self._services.clock.now()):
            why = f"{rule.login_server} is backing off for {pause:.0f} s more: {record.problem}"
            raise Busy(why, delay_seconds=pause)

    def _take_down(self, rule: RegistryRule, change: Callable[[UpstreamRecord], UpstreamRecord]) -> None:
        stored = get_or_create(self._services.ledger, UpstreamRecord(server=rule.login_server))
        changed = change(stored.record)
        if changed != stored.record:
            with suppress(Conflict):  # another worker has just learned the same
                self._services.ledger.save(stored, changed)
