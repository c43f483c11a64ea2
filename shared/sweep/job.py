"""What a sweep job is, and what it is given to run with: its record, an executor, and a list for what it does."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any, Protocol, Self, TypeVar

import msgspec

from shared.domain.alarm import Alarm, AlarmKind, Subject
from shared.operations.plan import Effect
from shared.ports import Services
from shared.workflow.alarms import Alarms

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

LEASE_SECONDS = 120.0
"""How long a sweep may be silent before it counts as dead. A batch that takes longer loses its lease."""

_SAVED_EVERY = timedelta(seconds=10)
"""A sweep that dies compares again what it compared since it was last saved, which changes nothing."""

_EARLY_SECONDS = 30.0
"""How much too early a round may begin: the timer does not tick evenly, and the next tick may be a whole period off."""

SWEEPS = "sweep"
"""The ledger partition of all jobs."""


class SweepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep job, e.g. `upstream.node`.

    The round of number `round` began at `began_at` and has come as far as `after`, in the job's own terms; the last
    whole one was `last_round`, from `last_began_at` to `finished_at`. `holder` runs it, until `held_until` at most.
    `checked` counts what this round has compared. Of the changes of upstream tags that no event brought, the slowest
    was found within `recovery_seconds`. The last list of tags had `left_out` names that are no tags, `left_out_name`
    for one.
    """

    job: str
    round: int = 0
    last_round: int = 0
    began_at: datetime | None = None
    last_began_at: datetime | None = None
    after: str = ""
    finished_at: datetime | None = None
    holder: str = ""
    held_until: datetime | None = None
    problem: str = ""
    checked: int = 0
    recovery_seconds: float = 0.0
    left_out: int = 0
    left_out_name: str = ""

    @property
    def partition(self) -> str:
        """The ledger partition: the sweep."""
        return SWEEPS

    @property
    def row(self) -> str:
        """The ledger row: the job."""
        return self.job

    @property
    def under_way(self) -> bool:
        """Whether a round was begun and has not come to its end, by whoever."""
        return self.round != self.last_round

    def held_by_another(self, holder: str, now: datetime) -> bool:
        """Whether somebody else runs it right now."""
        return self.holder not in ("", holder) and self.held_until is not None and self.held_until > now

    def is_due(self, now: datetime, every_seconds: float) -> bool:
        """Whether a round is to go on or to begin."""
        if self.under_way or self.began_at is None:
            return True
        early = min(_EARLY_SECONDS, every_seconds / 4)
        return (now - self.began_at).total_seconds() >= every_seconds - early

    def taken(self, holder: str, now: datetime) -> Self:
        """Taken by a holder: the round that was left goes on, else a new one begins."""
        lease = {"holder": holder, "held_until": now + timedelta(seconds=LEASE_SECONDS)}
        new = {} if self.under_way else {"round": self.round + 1, "began_at": now, "after": "", "checked": 0}
        return msgspec.structs.replace(self, **lease, **new)

    def advanced(self, after: str, now: datetime) -> Self:
        """A batch further."""
        return msgspec.structs.replace(self, after=after, held_until=now + timedelta(seconds=LEASE_SECONDS))

    def is_worth_saving(self, saved: Self) -> bool:
        """Whether a run has gone on for so long since it was last saved that it is to be saved again."""
        return self.held_until is None or saved.held_until is None or self.held_until - saved.held_until >= _SAVED_EVERY

    def released(self, problem: str = "") -> Self:
        """Let go with the round unfinished; whoever comes next goes on from `after`."""
        return msgspec.structs.replace(self, holder="", held_until=None, problem=problem)

    def finished(self, now: datetime) -> Self:
        """At the end of its round."""
        ended = msgspec.structs.replace(
            self, last_round=self.round, last_began_at=self.began_at, finished_at=now, after=""
        )
        return ended.released()


_AT_ONCE = 16
"""How many requests go to one registry at a time."""


class Executor(Protocol):
    """Does the same work on many items, in parallel or not; the results keep the order of the items."""

    def __call__(self, work: Callable[[T], R], items: Sequence[T], /) -> list[R]:
        """All results. What the work raises comes through."""
        ...


def one_by_one(work: Callable[[T], R], items: Sequence[T], /) -> list[R]:
    """One after the other, as simulations need it."""
    return [work(item) for item in items]


def in_threads(work: Callable[[T], R], items: Sequence[T], /) -> list[R]:
    """Up to 16 at a time: the work waits for the network."""
    if len(items) < 2:
        return one_by_one(work, items)
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(items)), thread_name_prefix="sweep") as pool:
        return list(pool.map(work, items))


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of a size, the last one shorter: never more than one batch is held."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def in_order(names: Iterable[str], at_once: int) -> Iterator[str]:
    """The names sorted, so many at a time: never more than those are held."""
    return chain.from_iterable(map(sorted, in_batches(names, at_once)))


@dataclass(slots=True)
class JobRun:
    """One run of a job. `record` is how far it has come; a dry run writes nothing and repairs nothing."""

    record: SweepRecord
    dry_run: bool = False
    executor: Executor = in_threads
    effects: list[Effect] = field(default_factory=list)

    def note(self, what: str, subject: Any, *, logged: bool = False) -> None:
        """Record what is found or done (in a dry run: would be done), and log it unless that was `logged` already."""
        self.effects.append(Effect(what, str(subject)))
        if not self.dry_run and not logged:
            log.info("sweep: %s: %s", what, subject)


class SweepJob(ABC):
    """One part of the sweep. Jobs of one concurrency key run one after the other, the others in parallel.

    `name` is the row of its record, `upstream.node`; `concurrency_key` what it shares with other jobs and must not
    crowd, a registry for one; `scope` what its alarms are about, `gates/node`; `interval_seconds` the time from the
    beginning of a round to the next one, at least (0: one with every sweep).
    """

    interval_seconds = 0.0

    def __init__(self, services: Services, name: str, concurrency_key: str, scope: str = "") -> None:
        self.name, self.concurrency_key = name, concurrency_key
        self._services, self._scope, self._alarms = services, scope, Alarms(services)

    @abstractmethod
    def batches(self, run: JobRun) -> Iterator[str]:
        """Sweep from `run.record.after` on; yields the cursor after each batch, a moment to save and to stop at.

        Raises:
            Busy: it cannot go on now, which is no failure. BasegateError: it cannot go on, which is one.
        """

    def _alarm(self, kind: AlarmKind, subject: str, words: str, plan: str) -> Alarm:
        now = self._services.clock.now()
        return Alarm(scope=self._scope, kind=kind, subject=subject, words=words, plan=plan, since=now)

    def _settle(self, run: JobRun, checked: Collection[AlarmKind | Subject], found: Iterable[Alarm] = ()) -> None:
        for alarm in self._alarms.settle(self._scope, checked, list(found), dry_run=run.dry_run):
            run.note("alarm", alarm.words, logged=True)
