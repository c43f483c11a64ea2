"""The cost of the board's overview on the server: with few candidates in the ledger, and with many."""

from __future__ import annotations

import statistics
import time
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import msgspec

from bench.figure import Figure
from bench.memory import MemoryLedger
from functions.board import page
from shared.board.overview import overview_page
from shared.domain.candidate import Candidate
from shared.domain.promotion import Promotion
from shared.domain.rollout import Rollout
from shared.ports import NO_FILTER, Item, Listed, ListFilter, Page, R, Stored
from tests.fakes import START, World, digest

_FEW, _MANY = 100, 10_000
_ROUNDS, _READS = 9, 5


def measure() -> list[Figure]:
    """The board's figures, measured by turns; the ledger is in memory, so only the app's own work is measured."""
    worlds = [_world(size) for size in (_FEW, _MANY)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for world, taken in zip(worlds, times, strict=True):
            taken.append(_milliseconds(world))
    few, many = (statistics.median(taken) for taken in times)
    queries = [_queries(world) for world in worlds]
    return [
        Figure("board_overview", "ms", f"{_FEW:,} candidates", few, f"{_MANY:,} candidates", many),
        Figure("board_queries", "queries", f"{_FEW:,} candidates", queries[0], f"{_MANY:,} candidates", queries[1]),
    ]


class ListingLedger(MemoryLedger):
    """Stores list items by time, as the table does: a page is read from its position on, and decoded from JSON."""

    def __init__(self) -> None:
        super().__init__()
        self._by_time: dict[tuple[str, str], list[str]] = {}
        self._lines: dict[tuple[str, str, str], bytes] = {}
        self.asked: Counter[str] = Counter()

    def _put(self, key: tuple[str, str, str], record: R) -> Stored[R]:
        if isinstance(record, Candidate | Promotion | Rollout):
            place = (*key[:2], record.time_row)
            if place not in self._lines:
                insort(self._by_time.setdefault(key[:2], []), record.time_row)
            self._lines[place] = msgspec.json.encode(record.summary())
        return super()._put(key, record)

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        """See `Ledger.load`."""
        self.asked["load"] += 1
        return super().load(kind, partition, row)

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        """See `Ledger.list`."""
        self.asked["list"] += 1
        return super().list(kind, partition, row_prefix)

    def page(
        self, kind: type[Listed[Item]], partition: str, limit: int, token: str = "", only: ListFilter = NO_FILTER
    ) -> Page[Item]:
        """See `Ledger.page`; the overview filters nothing."""
        assert only == NO_FILTER
        self.asked["page"] += 1
        rows = self._by_time.get((kind.__name__, partition), [])
        begin = bisect_right(rows, token)
        shown = rows[begin : begin + limit]
        items = [msgspec.json.decode(self._lines[kind.__name__, partition, row], type=kind.item) for row in shown]
        return Page(items=tuple(items), next=shown[-1] if begin + limit < len(rows) else "")


def _world(size: int) -> World:
    """The reference scenario with a number of finished candidates in the ledger, and an app on the newest."""
    world = World()
    world.ledger = ledger = ListingLedger()
    world.restart()
    world.push("15-alpine", digest("bench"))
    world.settle()
    (finished,) = world.candidates()
    for number in range(1, size):
        at = START - timedelta(minutes=number)
        ledger.insert(msgspec.structs.replace(finished, digest=digest(f"bench {number}"), created_at=at))
    return world


def _milliseconds(world: World) -> float:
    """Milliseconds of one overview, from the ledger to the HTML; the mean of a few in a row."""
    began = time.perf_counter()
    for _ in range(_READS):
        now = world.clock.now()
        page("overview.html", view=overview_page(world.services, now), now=now)
    return (time.perf_counter() - began) / _READS * 1e3


def _queries(world: World) -> float:
    ledger = world.ledger
    assert isinstance(ledger, ListingLedger)
    ledger.asked.clear()
    overview_page(world.services, world.clock.now())
    return float(ledger.asked.total())
