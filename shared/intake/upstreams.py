"""The state of the source registries, shared by all workers: failures, back-offs, and request rates."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Self

import msgspec
from msgspec.structs import replace

from shared.domain.errors import Busy, Retry, Throttled, Unreachable
from shared.domain.policy import Gate, RegistryRule
from shared.domain.record import Row
from shared.ports import Services, read, update

_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 3600.0
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)

_REPOSITORIES_IN_A_ROW = 3
"""How many repositories of a host must begin to fail, with none answering in between, for the host to back off."""


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential back-off after failures: no requests until `paused_until`."""

    failures: int = 0
    problem: str = ""
    paused_until: datetime | None = None

    def seconds_left(self, now: datetime) -> float:
        """The seconds left until requests may be sent again."""
        return max(0.0, (self.paused_until - now).total_seconds()) if self.paused_until else 0.0

    def failed(self, fault: Exception, now: datetime) -> Self:
        """After a failure. A pause that the registry asks for applies if it is longer than our own."""
        own = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(self.failures, 10))
        until = now + timedelta(seconds=max(own, fault.delay_seconds if isinstance(fault, Retry) else 0.0))
        return replace(self, failures=self.failures + 1, problem=str(fault), paused_until=until)


class UpstreamRecord(Row, Backoff, frozen=True, kw_only=True):
    """One source registry. `server` is its host name; its own back-off applies to the whole host.

    Registries back off independently, and so do the failing `repositories` of one; `in_a_row` of them have begun to
    fail since one answered. In the minute that began at `minute`, `spent` requests were sent for the sweep and `hinted`
    for events: events get at most a quarter of the registry's rate. `limit` and `remaining` are the registry's own
    limit as last reported (-1: unknown), in a window of `window_seconds`.
    """

    one_partition, key_fields = "upstream", ("server", "server")  # a port's colon is allowed in keys

    server: str
    repositories: Mapping[str, Backoff] = {}
    in_a_row: int = 0
    answered_at: datetime | None = None
    minute: datetime | None = None
    spent: int = 0
    hinted: int = 0
    limit: int = -1
    remaining: int = -1
    window_seconds: int = 0

    def backoff_of(self, repository: str) -> Backoff:
        """The back-off that applies to a repository: its own or that of its host, the longer one."""
        own = self.repositories.get(repository, Backoff())
        return own if own.paused_until and (not self.paused_until or own.paused_until > self.paused_until) else self

    def spend(self, wanted: int, per_minute: int, now: datetime, *, for_hints: bool) -> tuple[Self, int]:
        """The record after requests were granted, and how many: of `per_minute`, a quarter is for hints."""
        is_fresh = self.minute is not None and now - self.minute < _MINUTE
        fresh = self if is_fresh else replace(self, minute=now, spent=0, hinted=0)
        share = max(1, per_minute // 4)
        count, limit = ("hinted", share) if for_hints else ("spent", max(1, per_minute - share))
        used = getattr(fresh, count)
        granted = max(0, min(wanted, limit - used))
        return replace(fresh, **{count: used + granted}), granted

    def failed_at(self, repository: str, fault: Exception, now: datetime) -> Self:
        """After a failure: of the repository, unless it concerns the host.

        Throttling and a refused connection concern the host, and so do several repositories that begin to fail in a
        row; a repository that was failing already does not count. Failures older than a day are dropped: their gate may
        be gone.
        """
        if isinstance(fault, Throttled | Unreachable):
            return self.failed(fault, now)
        failing = {name: one for name, one in self.repositories.items() if one.seconds_left(now - _DAY)}
        in_a_row = self.in_a_row + (repository not in failing)
        failing[repository] = failing.get(repository, Backoff()).failed(fault, now)
        if in_a_row < _REPOSITORIES_IN_A_ROW:
            return replace(self, repositories=failing, in_a_row=in_a_row)
        return replace(self.failed(fault, now), repositories=failing, in_a_row=0)

    def answered(self, repository: str, now: datetime) -> Self:
        """After a repository has answered."""
        if self.answered_at is not None and not (self.failures or self.in_a_row or repository in self.repositories):
            return self
        others = {name: one for name, one in self.repositories.items() if name != repository}
        healthy = replace(self, failures=0, problem="", paused_until=None, in_a_row=0)
        return replace(healthy, repositories=others, answered_at=now)


class Upstreams:
    """Decides which requests may be sent to the source registries, and how many."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def check_backoff(self, gate: Gate) -> None:
        """Check that requests may be sent to the source of a gate; nothing is written.

        Raises:
            Busy: its registry, or the repository alone, is backing off after a failure.
        """
        self._refuse(gate, read(self._services.ledger, UpstreamRecord(server=self._rule(gate).login_server)))

    def grant(self, gate: Gate, wanted: int = 1, *, for_hints: bool = False) -> int:
        """How many of the wanted requests may be sent now, at least one: sweep and hints have separate shares.

        Nothing is written where the registry's rule sets no `requests_per_minute`.

        Raises:
            Busy: the source is backing off after a failure, or the requests of this minute are used up.
        """
        rule, now = self._rule(gate), self._services.clock.now()
        granted, per_minute = wanted, rule.requests_per_minute or 0

        def spend(record: UpstreamRecord) -> UpstreamRecord:
            nonlocal granted
            self._refuse(gate, record)
            spent, granted = record.spend(wanted, per_minute, now, for_hints=for_hints)
            if not granted:
                share = "the share of events in " if for_hints else ""
                why = f"{share}the limit of {per_minute} requests a minute to {rule.login_server} is used up"
                raise Busy(why, delay_seconds=_MINUTE.total_seconds())
            return spent

        if per_minute:
            update(self._services.ledger, UpstreamRecord(server=rule.login_server), spend)
        else:
            self.check_backoff(gate)
        return granted

    def failed(self, gate: Gate, fault: Exception) -> None:
        """Record a failure of a gate's source: it backs off, or its registry does."""
        now = self._services.clock.now()
        self._record(gate, lambda record: record.failed_at(gate.source.repository, fault, now))

    def answered(self, gate: Gate) -> None:
        """Record that a source answers, and the rate limit that its registry reports, if either is new."""
        found, now = self._services.tags.allowance(self._rule(gate)), self._services.clock.now()
        limits = {name: getattr(found, name) for name in ("limit", "remaining", "window_seconds")} if found else {}
        self._record(gate, lambda record: replace(record.answered(gate.source.repository, now), **limits))

    def _refuse(self, gate: Gate, record: UpstreamRecord) -> None:
        backoff = record.backoff_of(gate.source.repository)
        if pause := backoff.seconds_left(self._services.clock.now()):
            what = record.server if backoff is record else f"{record.server}/{gate.source.repository}"
            raise Busy(f"{what} is backing off for {pause:.0f} s more: {backoff.problem}", delay_seconds=pause)

    def _record(self, gate: Gate, change: Callable[[UpstreamRecord], UpstreamRecord]) -> None:
        with suppress(Busy):  # many workers record it at this moment: enough of them have done so
            update(self._services.ledger, UpstreamRecord(server=self._rule(gate).login_server), change)

    def _rule(self, gate: Gate) -> RegistryRule:
        return self._services.registry_rule(gate.source.registry)
