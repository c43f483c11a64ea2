"""The interface of a sweep job, and what a run of one is given: its record, an executor, and a list of effects."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, TypeVar

from shared.domain.alarm import Alarm, AlarmKind, Subject
from shared.domain.sweep import SweepRecord
from shared.ports import Services
from shared.reconcile.begin import Effect
from shared.records.alarms import Alarms

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 16
"""How many requests go to one registry at a time."""


class Executor(Protocol):
    """Applies one function to many items, in parallel or not; the results keep the order of the items."""

    def __call__(self, work: Callable[[T], R], items: Sequence[T], /) -> list[R]:
        """All results. Exceptions of the function propagate."""


def one_by_one(work: Callable[[T], R], items: Sequence[T], /) -> list[R]:
    """Sequentially, for simulations."""
    return [work(item) for item in items]


def in_threads(work: Callable[[T], R], items: Sequence[T], /) -> list[R]:
    """Up to 16 in parallel: the work waits for the network."""
    if len(items) < 2:
        return one_by_one(work, items)
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(items)), thread_name_prefix="sweep") as pool:
        return list(pool.map(work, items))


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of a fixed size, the last one shorter: at most one batch is in memory."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


@dataclass(slots=True)
class JobRun:
    """One run of a job. `record` holds its cursor; a dry run writes nothing and repairs nothing."""

    record: SweepRecord
    dry_run: bool = False
    executor: Executor = in_threads
    effects: list[Effect] = field(default_factory=list)

    def note(self, what: str, subject: Any, *, logged: bool = False) -> None:
        """Record an effect (in a dry run: the effect that a run would have), and log it unless that was `logged`
        already.
        """
        self.effects.append(Effect(what, str(subject)))
        if not self.dry_run and not logged:
            log.info("sweep: %s: %s", what, subject)


class SweepJob(ABC):
    """One part of the sweep. Jobs with the same concurrency key run sequentially, the others in parallel.

    `name` is the row of its record (`upstream.node`); `concurrency_key` the resource that it shares with other jobs,
    such as a registry; `scope` the scope of its alarms (`gates/node`); `interval_seconds` the minimum time between the
    beginnings of two rounds (0: a round in every sweep).
    """

    interval_seconds = 0.0

    def __init__(self, services: Services, name: str, concurrency_key: str, scope: str = "") -> None:
        self.name, self.concurrency_key = name, concurrency_key
        self._services, self._scope, self._alarms = services, scope, Alarms(services)

    @abstractmethod
    def batches(self, run: JobRun) -> Iterator[str]:
        """Sweep from `run.record.after` on; yields the cursor after each batch, where the run may be saved and stopped.

        Raises:
            Busy: it cannot continue now, which is no failure.
            BasegateError: it cannot continue, which is one.
        """

    def _alarm(self, kind: AlarmKind, subject: str, words: str, plan: str) -> Alarm:
        now = self._services.clock.now()
        return Alarm(scope=self._scope, kind=kind, subject=subject, words=words, plan=plan, since=now)

    def _settle(self, run: JobRun, checked: Collection[AlarmKind | Subject], found: Iterable[Alarm] = ()) -> None:
        for alarm in self._alarms.settle(self._scope, checked, list(found), dry_run=run.dry_run):
            run.note("alarm", alarm.words, logged=True)
