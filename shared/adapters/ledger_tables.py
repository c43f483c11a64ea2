"""The ledger in Azure Table storage: one table, an ETag on every write.

A row is the record as JSON, in as many text properties as its length needs, and a few columns to filter by. The records
of one gate, or of one app, share a partition, so that they can be written in one transaction; a row key begins with the
kind of the record. A listed record has a second row, keyed by time so that the newest sorts first, and while it is open
a third one: these index rows are written and deleted in the transaction of the record's own row.
Limits: 64 KiB a property in UTF-16, where a character takes two or four bytes, 1 KiB a key, 1 MiB a row, 4 MiB and 100
rows a transaction.
Source: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
and https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions

A page of a list is one query. The service scans some thousand rows for it, or for five seconds, and returns where it
stopped: a selective filter gives a short page, even an empty one, with a continuation token.
Source: https://learn.microsoft.com/rest/api/storageservices/query-timeout-and-pagination
"""

import base64
import binascii
import re
from collections.abc import Collection, Iterator, Mapping, MutableSequence, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.paging import ItemPaged
from azure.data.tables import TableClient, TableEntity, TableServiceClient

from shared.adapters.azure_calls import DEADLINES, Identity, expected, translated
from shared.domain.errors import Conflict, Malformed
from shared.domain.record import Record, Row, rows_before
from shared.domain.stable_tag import StableTag
from shared.ports import NO_FILTER, Change, Item, Listed, ListFilter, Page, R, Removal, Stored
from shared.settings import TABLE

_ROLE = "give the app Storage Table Data Contributor"
_CHANGED = (404, 409, 412)
_UNCHANGED = {"match_condition": MatchConditions.IfNotModified}
_KEYS_ONLY = ["PartitionKey", "RowKey"]
_FROM_ON = "PartitionKey eq @partition and RowKey ge @low"
_ROWS = f"{_FROM_ON} and RowKey lt @high"

_OF_GATES = ("Observation", "Candidate", "Promotion", "StableTag", "Numbers", "LeftOver")
_FAMILIES = dict.fromkeys(_OF_GATES, "gate") | {"Rollout": "app", "AppRecord": "app", "Delivery": ""}
"""The prefix of the partition by kind; a delivery names the whole partition. All other kinds have their own."""

_OPEN_ROWS, _TIME_ROWS = "}", "~"
"""The prefixes of index rows, of open records and of the list by time: they sort after every record."""

_TRANSACTION_LIMIT = 100
_KEY_LIMIT_BYTES = 1024
_BODY_LIMIT_BYTES = 1024 * 1024 - 16 * 1024
"""Of a row; the rest is for keys, columns and property names."""

_BODIES_LIMIT_BYTES = 3 * 1024 * 1024
"""Of a transaction; the rest is for the multipart body around the rows, and for list items."""

_CHUNK_CHARACTERS = 16_000
_COLUMNS = ("state", "created_at", "at")
_NO_KEY = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_TOKEN_LIMIT = 4096

_Operation = tuple[Any, ...]
"""One write in an SDK transaction."""


class TableLedger:
    """Implements the port `Ledger`."""

    def __init__(self, endpoint: str, credential: Identity) -> None:
        self._endpoint, self._credential = endpoint, credential

    @cached_property
    def _table(self) -> TableClient:
        with translated(f"opening table {TABLE}", remedy=_ROLE):
            service = TableServiceClient(endpoint=self._endpoint, credential=self._credential(), **DEADLINES)
            return service.create_table_if_not_exists(TABLE)

    def insert(self, record: R) -> Stored[R] | None:
        try:
            return self.commit(Change(record))[0]
        except Conflict:
            return None

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        keys = _partition_key(kind, partition), _row_key(kind, row)
        if not all(map(_is_key, keys)):
            return None
        doing = f"reading {kind.__name__} {partition}/{row} from the ledger"
        with translated(doing, remedy=_ROLE), expected(ResourceNotFoundError):
            return _stored(kind, self._table.get_entity(*keys))
        return None

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        return self.commit(Change(record, stored))[0]

    def commit(self, *changes: Change | Removal) -> list[Stored[Any]]:
        writes = _operations(changes)
        records = sum(isinstance(change, Change) or change.stored is not None for change in changes)
        name = " and ".join(name_of(change.record) for change in changes)
        changed = Conflict(f"{name}: changed since it was read, or exists already")
        with translated(f"writing {name} to the ledger", remedy=_ROLE), expected(*_CHANGED, instead=changed):
            etags = self._write(writes, records)
        kept = (change.record for change in changes if isinstance(change, Change))
        return [Stored(record, etag) for record, etag in zip(kept, etags, strict=False)]

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        return self._range(kind, partition, _ROWS, _row_key(kind, row_prefix))

    def between(self, kind: type[R], partition: str, first: str, last: str) -> Iterator[Stored[R]]:
        low = _row_key(kind, first)
        if last:
            return self._range(kind, partition, f"{_FROM_ON} and RowKey le @high", low, _row_key(kind, last))
        return self._range(kind, partition, _ROWS, low, _behind(_row_key(kind, "")))

    def _range(self, kind: type[R], partition: str, query: str, low: str, high: str = "") -> Iterator[Stored[R]]:
        with translated(f"listing {kind.__name__} of {partition} in the ledger", remedy=_ROLE):
            for entity in _found(self._table.query_entities(query, parameters=_keys(kind, partition, low, high))):
                yield _stored(kind, entity)

    def open(self, kind: type[R], partition: str) -> Iterator[Stored[R]]:
        low = _row_key(kind, "", _OPEN_ROWS)
        with translated(f"listing the open {kind.__name__} of {partition} in the ledger", remedy=_ROLE):
            found = self._table.query_entities(_ROWS, parameters=_keys(kind, partition, low), select=["RowKey"])
            rows = [str(entity["RowKey"]).removeprefix(low) for entity in _found(found)]
        for row in rows:
            stored = self.load(kind, partition, row)
            if stored is not None:
                yield stored

    def page(
        self, kind: type[Listed[Item]], partition: str, limit: int, token: str = "", only: ListFilter = NO_FILTER
    ) -> Page[Item]:
        all_rows, place = _row_key(kind, "", _TIME_ROWS), _place_of(token) if token else None
        newest = _row_key(kind, rows_before(only.until), _TIME_ROWS) if only.until else all_rows
        high = _row_key(kind, rows_before(only.since), _TIME_ROWS) if only.since else _behind(all_rows)
        query, keys = _ROWS, _keys(kind, partition, newest, high)
        if only.state:
            query, keys["state"] = f"{query} and state eq @state", only.state
        with translated(f"listing {kind.__name__} of {partition} in the ledger", remedy=_ROLE):
            found = self._table.query_entities(query, parameters=keys, results_per_page=limit, select=["summary"])
            pages = found.by_page(place)  # type: ignore[arg-type]  # a mapping, as the service returned it
            with expected(*((400,) if token else ()), instead=_no_token()):
                items = [msgspec.json.decode(str(entity["summary"]), type=kind.item) for entity in next(pages, ())]
            stopped_at = pages.continuation_token  # type: ignore[attr-defined]
        return Page(items=tuple(items), next=_token_of(stopped_at) if stopped_at else "")

    def purge(self, kind: type[Row], partition: str, before: datetime, limit: int) -> int:
        """They are deleted in one transaction on their ETags: if one was changed meanwhile, none is.

        The service may return an empty page with a continuation token: only the last page is the end.
        """
        query, size = f"{_ROWS} and at lt @before", min(limit, _TRANSACTION_LIMIT)
        keys = _keys(kind, partition, _row_key(kind, "")) | {"before": before}
        with translated(f"removing old {kind.__name__} from the ledger", remedy=_ROLE):
            found = self._table.query_entities(query, parameters=keys, results_per_page=size, select=_KEYS_ONLY)
            old = next(filter(None, map(list, found.by_page())), [])
            doomed = [("delete", entity, _UNCHANGED | {"etag": entity.metadata["etag"]}) for entity in old]
            with expected(*_CHANGED):
                return len(self._table.submit_transaction(doomed)) if doomed else 0
        return 0

    def purge_moves(self, partition: str, before: datetime, kept: Collection[str]) -> Iterator[int]:
        low, high = _row_key(StableTag, rows_before(before), _TIME_ROWS), _behind(_row_key(StableTag, "", _TIME_ROWS))
        lines, keys = {_row_key(StableTag, row, _TIME_ROWS) for row in kept}, _keys(StableTag, partition, low, high)
        with translated(f"removing old moves of {partition} from the ledger", remedy=_ROLE):
            found = _found(self._table.query_entities(_ROWS, parameters=keys, select=_KEYS_ONLY))
            old = [("delete", dict(entity)) for entity in found if entity["RowKey"] not in lines]
            for first in range(0, len(old), _TRANSACTION_LIMIT):
                writes = old[first : first + _TRANSACTION_LIMIT]
                self._write(list(writes), 0)
                yield len(writes)

    def _write(self, writes: MutableSequence[_Operation], records: int) -> Sequence[str]:
        """Write in one transaction; returns the ETags of the rows, those of `records` first. It is no error if an index
        row that is to be deleted is gone already.
        """
        while writes:
            try:
                return [str(answer.get("etag")) for answer in self._table.submit_transaction(writes)]
            except HttpResponseError as error:
                place = getattr(error, "index", None)
                if error.status_code != 404 or place is None or place < records or writes[place][0] != "delete":
                    raise
                del writes[place]
        return ()


def _found(query: ItemPaged[TableEntity]) -> Iterator[TableEntity]:
    """The entities of a query.

    The SDK's pages refer to themselves, so that the last one would stay in memory: a whole sweep's pages may add up
    before the garbage collector runs.
    """
    pages = query.by_page()
    try:
        for page in pages:
            yield from page
    finally:
        vars(pages).clear()


def _partition_key(kind: type, partition: str) -> str:
    """The partition of a record."""
    return f"{_FAMILIES.get(kind.__name__, kind.__name__.lower())}:{partition}".removeprefix(":")


def _row_key(kind: type, row: str, mark: str = "") -> str:
    """The row key of a record, or with a mark that of its index row."""
    return f"{mark}{kind.__name__.lower()}:{row}"


def _keys(kind: type, partition: str, low: str, high: str = "") -> dict[str, Any]:
    """The parameters of `_ROWS`: rows from `low` to before `high`, by default all rows with the prefix `low`."""
    return {"partition": _partition_key(kind, partition), "low": low, "high": high or _behind(low)}


def _behind(key: str) -> str:
    """The first key after all keys with a prefix."""
    return key[:-1] + chr(ord(key[-1]) + 1)


def name_of(record: Any) -> str:
    """The name of a record in errors."""
    return f"{type(record).__name__} {record.partition}/{record.row}"


def _is_key(key: str) -> bool:
    """Whether the service accepts a key."""
    return _NO_KEY.search(key) is None and _bytes(key) <= _KEY_LIMIT_BYTES


def check(changes: Sequence[Change | Removal], bodies: Sequence[bytes]) -> None:
    """Validate a transaction: changes, with each record as JSON (of a deleted one, b"").

    Raises:
        Malformed: the service would reject it; names the record.
    """
    partition, rows, first = _partition(changes[0].record), list[str](), name_of(changes[0].record)
    for change, body in zip(changes, bodies, strict=True):
        own, name = _rows(change), name_of(change.record)
        if _partition(change.record) != partition:
            raise Malformed(name, f"cannot be written together with {first}")
        if not all(map(_is_key, (partition, *own))):
            raise Malformed(name, "not a valid key of the ledger: / \\ # ?, a control character, or over 1 KiB")
        if len(body) * 2 > _BODY_LIMIT_BYTES and _bytes(body.decode()) > _BODY_LIMIT_BYTES:
            raise Malformed(name, f"too large for the ledger: {len(body)} bytes as JSON")
        rows += own
    if len(rows) > _TRANSACTION_LIMIT or sum(map(len, bodies)) > _BODIES_LIMIT_BYTES:
        size = f"too large for the ledger: {len(rows)} rows, {sum(map(len, bodies))} bytes as JSON"
        raise Malformed(f"a transaction that begins with {first}", size)
    if len(set(rows)) < len(rows):
        raise Malformed(first, f"written twice in one transaction: {', '.join(rows)}")


def _operations(changes: Sequence[Change | Removal]) -> list[_Operation]:
    """The writes of a transaction: each record is replaced or deleted on its ETag; index rows follow their record.

    Raises:
        Malformed: the service would reject them.
    """
    bodies = [body_of(change) for change in changes]
    check(changes, bodies)
    records, removals, besides = list[_Operation](), list[_Operation](), list[_Operation]()
    for change, body in zip(changes, bodies, strict=True):
        as_read = {"etag": change.stored.etag, **_UNCHANGED} if change.stored else {}
        if isinstance(change, Removal):
            place = {"PartitionKey": _partition(change.record), "RowKey": _rows(change)[0]}
            (removals if change.stored else besides).append(("delete", place, as_read))
        else:
            entity = _entity(change.record, body.decode())
            records.append(("update", entity, {"mode": "replace", **as_read}) if as_read else ("create", entity))
        besides += [_beside(change, row) for row in _rows(change)[1:]]
    return records + removals + besides


def body_of(change: Change | Removal) -> bytes:
    """A record as JSON; empty for a deletion."""
    return msgspec.json.encode(change.record) if isinstance(change, Change) else b""


def _stored(kind: type[R], entity: Any) -> Stored[R]:
    """The record of a row."""
    names = sorted(name for name in entity if name.startswith("body"))
    text = "".join(str(entity[name]) for name in names)
    return Stored(msgspec.json.decode(text, type=kind), str(entity.metadata["etag"]))


def _token_of(place: Mapping[str, str]) -> str:
    """The service's continuation token, encoded for a URL."""
    content = msgspec.json.encode((place["PartitionKey"], place["RowKey"]))
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _place_of(token: str) -> dict[str, str]:
    """The position of a page token. It cannot leave the partition, which the query names.

    Raises:
        Malformed: the token is invalid.
    """
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        partition, row = msgspec.json.decode(content, type=tuple[str, str])
    except (binascii.Error, ValueError) as error:
        raise _no_token() from error
    if len(token) > _TOKEN_LIMIT or not (partition + row).isascii() or not (partition + row).isprintable():
        raise _no_token()
    return {"PartitionKey": partition, "RowKey": row}


def _no_token() -> Malformed:
    """The error about an invalid page token."""
    return Malformed("token", "is not a page token")


def _partition(record: Any) -> str:
    return _partition_key(type(record), record.partition)


def _rows(change: Change | Removal) -> list[str]:
    """The rows that a change writes or deletes: that of its record, and its index rows."""
    record, kind = change.record, type(change.record)
    rows = [_row_key(kind, record.row)]
    if time_row := getattr(record, "time_row", ""):
        rows.append(_row_key(kind, time_row, _TIME_ROWS))
    if isinstance(record, Record):
        is_open = isinstance(change, Change) and not record.settled
        was_open = change.stored is not None and not change.stored.record.settled
        rows += [_row_key(kind, record.row, _OPEN_ROWS)] if is_open != was_open else []
    return rows


def _beside(change: Change | Removal, row: str) -> _Operation:
    """The write of an index row; the one by time holds the list item of the record."""
    record, entity = change.record, {"PartitionKey": _partition(change.record), "RowKey": row}
    if isinstance(change, Removal):
        return ("delete", entity)
    if row.startswith(_TIME_ROWS):
        entity["summary"] = msgspec.json.encode(record.summary()).decode()
        entity |= {"state": record.state_name} if hasattr(record, "state_name") else {}
    elif record.settled:
        return ("delete", entity)
    return ("upsert", entity, {"mode": "replace"})


def _entity(record: Any, text: str) -> dict[str, Any]:
    chunks = [text[i : i + _CHUNK_CHARACTERS] for i in range(0, len(text), _CHUNK_CHARACTERS)]
    entity: dict[str, Any] = {"PartitionKey": _partition(record), "RowKey": _row_key(type(record), record.row)}
    entity |= {f"body{index:02}": chunk for index, chunk in enumerate(chunks)}
    return entity | {name: getattr(record, name) for name in _COLUMNS if hasattr(record, name)}


def _bytes(text: str) -> int:
    """The size of a text as the service stores it."""
    return len(text) * 2 if text.isascii() else len(text.encode("utf-16-le"))
