"""Simulated time and its workers: greenlets, of which one runs at a time, switched at every outside call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any

from greenlet import getcurrent, greenlet

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Died(BaseException):
    """Represents SIGKILL: nothing may catch it."""


class TooLong(AssertionError):
    """A schedule does not end."""


class Worker:
    """One invocation: a message being handled, a sweep, or an operator's call.

    `rules` is the version of the rules that its process was started with, `skew` the offset of its clock, `notes` are
    the judge's records of its reads and claims. A dead one makes no more calls; `frailty` multiplies its probability to
    die, `paused` is called when it is paused.
    """

    def __init__(self, name: str, rules: int, skew: float) -> None:
        self.name, self.rules, self.skew = name, rules, skew
        self.dead, self.frailty = False, 1.0
        self.paused_until = 0.0
        self.paused: Callable[[], object] = lambda: None
        self.notes: dict[tuple[Any, ...], float] = {}
        self.greenlet: greenlet | None = None
        self.began_at = 0.0
        self.work: Callable[[], object] = lambda: None
        self.ended: Callable[[BaseException | None], None] = lambda error: None

    def forget(self) -> None:
        """Drop what refers to the worker itself, so that its memory is free without the garbage collector."""
        self.work = self.paused = self.ended = _nothing


def _nothing(*_: object) -> None:
    """What an ended worker does."""


class Scheduler:
    """A heap of moments; each resumes a worker or calls a function."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.current: Worker | None = None
        self.steps = 0
        self._end, self._limit = 0.0, 0
        self._asked, self._answer = 0.0, START
        self._heap: list[tuple[float, int, Worker | Callable[[], object]]] = []
        self._order = 0
        self._hub = getcurrent()
        self._living: set[Worker] = set()
        self._idle: list[greenlet] = []

    def now(self) -> datetime:
        """The time; a worker's clock is off by its skew."""
        worker = self.current
        moment = self.seconds if worker is None else self.seconds + worker.skew
        if moment != self._asked:
            self._asked, self._answer = moment, START + timedelta(0, moment)
        return self._answer

    def true_now(self) -> datetime:
        """The true time."""
        return START + timedelta(seconds=self.seconds)

    def after(self, seconds: float, what: Worker | Callable[[], object]) -> None:
        """Resume a worker or call a function after a time."""
        self._order += 1
        heappush(self._heap, (self.seconds + seconds, self._order, what))

    def spawn(self, worker: Worker, work: Callable[[], object], ended: Callable[[BaseException | None], None]) -> None:
        """Begin an invocation now; `ended` is called with the exception that it raised."""
        worker.work, worker.ended, worker.began_at = work, ended, self.seconds
        worker.greenlet = self._idle.pop() if self._idle else greenlet(self._serve, parent=self._hub)
        self._living.add(worker)
        self.after(0.0, worker)

    def _serve(self, worker: Worker) -> None:
        """Run one invocation after another: the stack of a new greenlet costs more than most of them."""
        while True:
            self._run(worker)
            self._idle.append(getcurrent())
            worker = self._hub.switch()

    def _run(self, worker: Worker) -> None:
        error: BaseException | None = None
        try:
            worker.work()
        except BaseException as raised:  # noqa: BLE001  the host handles whatever a worker raises
            error = raised
        worker.greenlet = None
        self._living.discard(worker)
        self.current = None
        worker.ended(error)
        worker.forget()
        del error  # its traceback has this frame

    def sleep(self, seconds: float) -> None:
        """Let others run while the current worker waits for a response."""
        worker = self.current
        if worker is None:
            return
        at, heap = self.seconds + seconds, self._heap
        if at <= self._end and self.steps < self._limit and not (heap and heap[0][0] <= at):
            self.seconds = at  # it would be the next one: no switch is needed
            self.steps += 1
            return
        self._order += 1
        heappush(heap, (at, self._order, worker))
        self._hub.switch()
        if worker.dead:
            raise Died

    @property
    def next_at(self) -> float | None:
        """The time of the next moment."""
        return self._heap[0][0] if self._heap else None

    def run_until(self, end: float, limit: int = 200_000) -> None:
        """Run everything up to a time."""
        heap = self._heap
        self._end, self._limit = end, limit
        while heap and heap[0][0] <= end:
            at, _, what = heappop(heap)
            self.seconds = max(self.seconds, at)
            self.steps += 1
            if self.steps > limit:
                raise TooLong(f"no end after {limit} steps")
            if isinstance(what, Worker):
                self.current = what
                if what.greenlet is not None:
                    what.greenlet.switch(what)
                self.current = None
            else:
                what()
        self.seconds = max(self.seconds, end)

    def close(self) -> None:
        """End the remaining workers."""
        for worker in list(self._living):
            worker.dead = True
            if worker.greenlet is not None:
                self.current = worker
                with suppress(Died):  # one that had not begun yet dies here
                    worker.greenlet.throw(Died)
        self.current = None
        for idle in self._idle:
            idle.throw()
