"""A ledger in memory that does not slow down as it fills, and the services around it."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

from shared.domain.errors import Conflict
from shared.ports import Change, R, Removal, Services, Stored
from tests.fakes import FakeLedger, World


class MemoryLedger(FakeLedger):
    """The fake with faster indexes for the benchmarks. Records are frozen, so they are stored as they are."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[tuple[str, str], list[str]] = {}
        self._stored: dict[tuple[str, str, str], Stored[Any]] = {}

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        """See `Ledger.load`."""
        return self._stored.get((kind.__name__, partition, row))

    def _commit(self, *both: Change | Removal) -> list[Stored[Any]]:
        """See `Ledger.commit`."""
        changes = [change for change in both if isinstance(change, Change)]
        for change in changes:
            found, stored = self._stored.get(_key(change.record)), change.stored
            if (found and found.etag) != (stored and stored.etag):
                raise Conflict(f"{_key(change.record)}: changed since it was read, or exists already")
        for removal in both:
            key = _key(removal.record)
            if isinstance(removal, Removal) and self._stored.pop(key, None) is not None:
                self._rows[key[:2]].remove(key[2])
        return [self._put(_key(change.record), change.record) for change in changes]

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        """See `Ledger.list`."""
        rows = self._rows.get((kind.__name__, partition), [])
        for index in range(bisect_left(rows, row_prefix), len(rows)):
            if not rows[index].startswith(row_prefix):
                return
            yield self._stored[kind.__name__, partition, rows[index]]

    def _put(self, key: tuple[str, str, str], record: R) -> Stored[R]:
        if key not in self._stored:
            insort(self._rows.setdefault(key[:2], []), key[2])
        self._version += 1
        self._stored[key] = Stored(record, str(self._version))
        return self._stored[key]


def services(world: World) -> Services:
    """A world's fakes and rules, with such a ledger."""
    return dataclasses.replace(world.services, ledger=MemoryLedger())


def _key(record: Any) -> tuple[str, str, str]:
    return type(record).__name__, record.partition, record.row
