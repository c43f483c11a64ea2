"""The source registries as all workers share them: how they answer, their pauses, and how fast they may be asked."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Self

import msgspec

from shared.domain.errors import Busy, Retry, Throttled, Unreachable
from shared.domain.policy import Gate, RegistryRule
from shared.ports import Services, read, update

_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 3600.0
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)

_REPOSITORIES_IN_A_ROW = 3
"""How many repositories of a host begin to fail, with none answering in between, before it is the host that fails."""


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """What failed is left alone until `paused_until`, twice as long each time."""

    failures: int = 0
    problem: str = ""
    paused_until: datetime | None = None

    def seconds_left(self, now: datetime) -> float:
        """For how many seconds more it is left alone."""
        return max(0.0, (self.paused_until - now).total_seconds()) if self.paused_until else 0.0

    def failed(self, fault: Exception, now: datetime) -> Self:
        """After a failure. A pause that is asked for counts where it is longer than our own."""
        own = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(self.failures, 10))
        until = now + timedelta(seconds=max(own, fault.delay_seconds if isinstance(fault, Retry) else 0.0))
        return msgspec.structs.replace(self, failures=self.failures + 1, problem=str(fault), paused_until=until)


class UpstreamRecord(Backoff, frozen=True, kw_only=True):
    """One source registry. `server` is its host name, and its own back-off is the host's.

    One that is down costs the others nothing, and a sick repository (`repositories`) costs its neighbours nothing.
    `in_a_row` of them began to fail since one answered. `spent` requests of the sweep, and `hinted` on account of
    events, were sent in the minute that began at `minute`: a flood of events costs a registry no more than a quarter of
    its pace. `limit` and `remaining` are what the registry said of its own limit last (-1: nothing), in a window of
    `window_seconds`.
    """

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

    @property
    def partition(self) -> str:
        """The ledger partition: all source registries."""
        return "upstream"

    @property
    def row(self) -> str:
        """The ledger row: the host name; a port's colon is allowed in keys."""
        return self.server

    def backoff_of(self, repository: str) -> Backoff:
        """What leaves a repository alone for longer: the back-off of its host, or its own."""
        own = self.repositories.get(repository, Backoff())
        return own if own.paused_until and (not self.paused_until or own.paused_until > self.paused_until) else self

    def spend(self, wanted: int, pace: int, now: datetime, *, for_hints: bool) -> tuple[Self, int]:
        """The record after some requests were granted, and how many: of `pace` a minute, a quarter is for hints."""
        is_fresh = self.minute is not None and now - self.minute < _MINUTE
        fresh = self if is_fresh else msgspec.structs.replace(self, minute=now, spent=0, hinted=0)
        share = max(1, pace // 4)
        count, limit = ("hinted", share) if for_hints else ("spent", max(1, pace - share))
        used = getattr(fresh, count)
        granted = max(0, min(wanted, limit - used))
        return msgspec.structs.replace(fresh, **{count: used + granted}), granted

    def failed_at(self, repository: str, fault: Exception, now: datetime) -> Self:
        """After a failure: of the repository, unless it concerns the host.

        A throttle and a refused connection do, and repositories that begin to fail one after the other: one that is
        known to be sick says nothing new. What failed long ago is forgotten: its gate may be gone.
        """
        if isinstance(fault, Throttled | Unreachable):
            return self.failed(fault, now)
        sick = {name: one for name, one in self.repositories.items() if one.seconds_left(now - _DAY)}
        in_a_row = self.in_a_row + (repository not in sick)
        sick[repository] = sick.get(repository, Backoff()).failed(fault, now)
        if in_a_row < _REPOSITORIES_IN_A_ROW:
            return msgspec.structs.replace(self, repositories=sick, in_a_row=in_a_row)
        return msgspec.structs.replace(self.failed(fault, now), repositories=sick, in_a_row=0)

    def answered(self, repository: str, now: datetime) -> Self:
        """After a repository has answered, again or for the first time."""
        if self.answered_at is not None and not (self.failures or self.in_a_row or repository in self.repositories):
            return self
        others = {name: one for name, one in self.repositories.items() if name != repository}
        well: dict[str, object] = {"failures": 0, "problem": "", "paused_until": None, "in_a_row": 0}
        return msgspec.structs.replace(self, repositories=others, answered_at=now, **well)


class Upstreams:
    """Who may ask a source registry, and how much."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def check_backoff(self, gate: Gate) -> None:
        """See whether the source of a gate may be asked at all; nothing is written.

        Raises:
            Busy: its registry, or the repository alone, is left alone after a failure.
        """
        self._refuse(gate, read(self._services.ledger, UpstreamRecord(server=self._rule(gate).login_server)))

    def grant(self, gate: Gate, wanted: int = 1, *, for_hints: bool = False) -> int:
        """How many of the wanted requests may be sent now, at least one: the sweep and hints have a share each.

        Nothing is written where the registry's rule sets no `requests_per_minute`.

        Raises:
            Busy: the source is left alone after a failure, or its registry's pace is used up for this minute.
        """
        rule, now = self._rule(gate), self._services.clock.now()
        granted, pace = wanted, rule.requests_per_minute or 0

        def spend(record: UpstreamRecord) -> UpstreamRecord:
            nonlocal granted
            self._refuse(gate, record)
            spent, granted = record.spend(wanted, pace, now, for_hints=for_hints)
            if not granted:
                share = "the share of events in the" if for_hints else "the"
                why = f"{share} pace of {pace} requests a minute to {rule.login_server} is used up"
                raise Busy(why, delay_seconds=_MINUTE.total_seconds())
            return spent

        if pace:
            update(self._services.ledger, UpstreamRecord(server=rule.login_server), spend)
        else:
            self.check_backoff(gate)
        return granted

    def failed(self, gate: Gate, fault: Exception) -> None:
        """Leave the source of a gate alone for a while, or its registry."""
        now = self._services.clock.now()
        self._record(gate, lambda record: record.failed_at(gate.source.repository, fault, now))

    def answered(self, gate: Gate) -> None:
        """Record that a source answers (again), and what its registry says of its limit. Nothing new is not written."""
        said, now = self._services.tags.allowance(self._rule(gate)), self._services.clock.now()
        limits = {name: getattr(said, name) for name in ("limit", "remaining", "window_seconds")} if said else {}
        repository = gate.source.repository
        self._record(gate, lambda record: msgspec.structs.replace(record.answered(repository, now), **limits))

    def _refuse(self, gate: Gate, record: UpstreamRecord) -> None:
        backoff = record.backoff_of(gate.source.repository)
        if pause := backoff.seconds_left(self._services.clock.now()):
            what = record.server if backoff is record else f"{record.server}/{gate.source.repository}"
            raise Busy(f"{what} is backing off for {pause:.0f} s more: {backoff.problem}", delay_seconds=pause)

    def _record(self, gate: Gate, change: Callable[[UpstreamRecord], UpstreamRecord]) -> None:
        with suppress(Busy):  # many learn of it at this moment: enough of them have recorded it
            update(self._services.ledger, UpstreamRecord(server=self._rule(gate).login_server), change)

    def _rule(self, gate: Gate) -> RegistryRule:
        return self._services.registry_rule(gate.source.registry)
