"""The app's own storage account: ledger, queues and archive."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

import msgspec

from shared.adapters.ledger_tables import body_of, check, name_of
from shared.domain.errors import Conflict, Malformed, Rejected
from shared.domain.event import Hint
from shared.domain.record import Record, Row, WorkItem, rows_before
from shared.ports import NO_FILTER, Change, Item, Listed, ListFilter, Page, QueueState, R, Removal, Stored
from tests.fakes.clock import FakeClock


class FakeLedger:
    """Records as bytes, so that what cannot be stored fails here too; ETags are a counter.

    A page scans at most `page_scan` lines of a list, as in the table service: it may be short and have a next page.
    Keys, sizes and transactions that the table service refuses are refused here. `before_save` is called with each
    record that is about to replace another or to be removed if unchanged, before its transaction compares ETags.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], tuple[bytes, str]] = {}
        self.lines: dict[tuple[str, str, str], tuple[bytes, str]] = {}
        self.before_save: Callable[[Any], None] | None = None
        self.page_scan = 1000
        self._version = 0
        self._partitions: dict[tuple[str, str], list[str]] = {}

    def insert(self, record: R) -> Stored[R] | None:
        try:
            return self._commit(Change(record))[0]
        except Conflict:
            return None

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        found = self.rows.get((kind.__name__, partition, row))
        return None if found is None else Stored(msgspec.json.decode(found[0], type=kind), found[1])

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        return self._commit(Change(record, stored))[0]

    def commit(self, *changes: Change | Removal) -> list[Stored[Any]]:
        return self._commit(*changes)

    def _commit(self, *both: Change | Removal) -> list[Stored[Any]]:
        check(both, [body_of(change) for change in both])
        changes = [change for change in both if isinstance(change, Change)]
        for one in both:
            if one.stored and self.before_save:
                self.before_save(one.record)
        for one in both:
            found, is_checked = self.rows.get(_key(one.record)), isinstance(one, Change) or one.stored
            if is_checked and (found[1] if found else None) != (one.stored.etag if one.stored else None):
                raise Conflict(f"{name_of(one.record)}: changed since it was read, or exists already")
        for removal in both:
            if isinstance(removal, Removal) and _key(removal.record) in self.rows:
                self._remove(removal.record)
        return [self._write(change.record, msgspec.json.encode(change.record)) for change in changes]

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        rows = self._partitions.get((kind.__name__, partition), [])
        names = rows[bisect_left(rows, row_prefix) :]
        for row in takewhile(lambda row: row.startswith(row_prefix), list(names)):
            found = self.load(kind, partition, row)
            if found is not None:
                yield found

    def between(self, kind: type[R], partition: str, first: str, last: str) -> Iterator[Stored[R]]:
        for stored in self.list(kind, partition):
            if first <= stored.record.row and (not last or stored.record.row <= last):
                yield stored

    def open(self, kind: type[R], partition: str) -> Iterator[Stored[R]]:
        for stored in list(self.list(kind, partition)):
            if isinstance(stored.record, Record) and not stored.record.settled:
                yield stored

    def page(
        self, kind: type[Listed[Item]], partition: str, limit: int, token: str = "", only: ListFilter = NO_FILTER
    ) -> Page[Item]:
        if token and not token.startswith("~"):
            raise Malformed("token", "is not a page token")
        newest = max(token, rows_before(only.until) if only.until else "~")
        behind = rows_before(only.since) if only.since else "~~"
        lines = sorted(
            (row, line) for (name, at, row), line in self.lines.items() if (name, at) == _list(kind, partition)
        )
        items: list[Item] = []
        for looked, (row, (summary, state)) in enumerate(line for line in lines if newest <= line[0] < behind):
            if len(items) == limit or looked == self.page_scan:
                return Page(items=tuple(items), next=row)
            if only.state in ("", state):
                items.append(msgspec.json.decode(summary, type=kind.item))
        return Page(items=tuple(items))

    def purge(self, kind: type[Row], partition: str, before: datetime, limit: int) -> int:
        old = [one.record for one in self.list(kind, partition) if one.record.at < before][:limit]  # type: ignore[attr-defined]
        for record in old:
            self._remove(record)
        return len(old)

    def purge_moves(self, partition: str, before: datetime, kept: Collection[str]) -> Iterator[int]:
        lines = [key for key in self.lines if key[:2] == ("StableTag", partition) and key[2] >= rows_before(before)]
        old = [key for key in lines if key[2] not in kept]
        for first in range(0, len(old), 100):
            for key in old[first : first + 100]:
                del self.lines[key]
            yield len(old[first : first + 100])

    def _remove(self, record: Any) -> Stored[Any]:
        key = _key(record)
        del self.rows[key]
        self._partitions[key[:2]].remove(key[2])
        self.lines.pop((*key[:2], getattr(record, "time_row", "")), None)
        return Stored(record, "")

    def _write(self, record: Any, body: bytes) -> Stored[Any]:
        self._version += 1
        key = _key(record)
        rows = self._partitions.setdefault(key[:2], [])
        if (place := bisect_left(rows, key[2])) == len(rows) or rows[place] != key[2]:
            rows.insert(place, key[2])
        self.rows[key] = (body, str(self._version))
        if time_row := getattr(record, "time_row", ""):
            summary = msgspec.json.encode(record.summary())
            self.lines[(*key[:2], time_row)] = (summary, str(getattr(record, "state_name", "")))
        return Stored(record, str(self._version))


def _key(record: Any) -> tuple[str, str, str]:
    return type(record).__name__, record.partition, record.row


def _list(kind: type, partition: str) -> tuple[str, str]:
    return kind.__name__, partition


QUEUE_SECONDS = 0.2
"""The minimum delay of a message: the host polls its queues every 100 to 250 ms."""


class FakeQueue:
    """Work items and hints, ordered by the time they become visible. What the service refuses is refused here."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self._order = clock, 0
        self.server_ahead, self.given_up = timedelta(), 0
        self.waiting: list[tuple[datetime, int, WorkItem | Hint]] = []

    def send(self, item: WorkItem, wait_seconds: float) -> None:
        self._send(item, wait_seconds)

    def send_hint(self, hint: Hint, wait_seconds: float) -> None:
        self._send(hint, wait_seconds)

    def _send(self, message: WorkItem | Hint, wait_seconds: float) -> None:
        if not 0 <= wait_seconds <= 7 * 86_400:
            raise Rejected(f"queueing {message}: 400 OutOfRangeQueryParameterValue: hidden for {wait_seconds} s")
        if len(msgspec.json.encode(message)) > 48 * 1024:  # 64 KiB in base64
            what = f"{message.kind} {message.row}" if isinstance(message, WorkItem) else "a hint"
            raise Rejected(f"queueing {what}: 413 RequestBodyTooLarge")
        self._order += 1
        due = self._clock.now() + timedelta(seconds=max(wait_seconds, QUEUE_SECONDS))
        heapq.heappush(self.waiting, (due, self._order, message))

    def check(self) -> QueueState:
        return QueueState(self._clock.now() + self.server_ahead, self.given_up)


class FakeArchive:
    """Texts by name."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def store(self, name: str, text: str) -> str:
        self.texts[name] = text
        return name

    def read(self, place: str) -> str:
        if place not in self.texts:
            raise Rejected(f"there is no {place}")
        return self.texts[place]

    def find(self, prefix: str) -> list[str]:
        return sorted(place for place in self.texts if place.startswith(prefix))

    def remove(self, place: str) -> None:
        self.texts.pop(place, None)

    def check(self) -> None:
        pass
