"""The ledger in Azure Table storage: one table, an ETag on every write.

A row is the record as JSON, in as many text properties as its length needs, and a few columns to filter by.
A record that is listed has a second row in the same partition, keyed by time and written in the same transaction
(`ledger_pages.py` reads those), and as long as it is open a third one (`ledger_open.py`).
Limits: 64 KiB a property in UTF-16, where a character takes two or four bytes, and 1 MiB a row.
Source: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from shared.adapters.azure_errors import translated
from shared.adapters.ledger_open import OPEN_ROWS, is_gone_already, open_row_change, open_rows
from shared.adapters.ledger_pages import read_page, time_entity
from shared.domain.errors import Conflict
from shared.ports import EVERYTHING, Keyed, Listed, Only, Page, R, Stored
from shared.settings import TABLE

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.paging import ItemPaged
    from azure.data.tables import TableClient, TableEntity

_ROLE = "give the app Storage Table Data Contributor"
_CHUNK_CHARACTERS = 16_000
_COLUMNS = ("state", "created_at", "at")
_TRANSACTION_LIMIT = 100
"""How many writes Azure takes in one transaction."""

_EXISTS = 409
_CHANGED = frozenset((404, 412))


class TableLedger:
    """Implements the port `Ledger`."""

    def __init__(self, endpoint: str, credential: Callable[[], TokenCredential]) -> None:
        self._endpoint, self._credential = endpoint, credential

    @cached_property
    def _table(self) -> TableClient:
        from azure.data.tables import TableServiceClient

        with translated(f"opening table {TABLE}", remedy=_ROLE):
            service = TableServiceClient(endpoint=self._endpoint, credential=self._credential())
            return service.create_table_if_not_exists(TABLE)

    def insert(self, record: R) -> Stored[R] | None:
        """Store a new record; None where one with its key is there already."""
        from azure.core.exceptions import HttpResponseError

        with translated(f"writing {_name(record)} to the ledger", remedy=_ROLE):
            try:
                etag = self._write(record, None, ("create", _entity(record)))
            except HttpResponseError as error:
                if error.status_code == _EXISTS:
                    return None
                raise
        return Stored(record, etag)

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        """A record, or None."""
        from azure.core.exceptions import ResourceNotFoundError

        with translated(f"reading {kind.__name__} {partition}/{row} from the ledger", remedy=_ROLE):
            try:
                return _stored(kind, self._table.get_entity(_partition(kind, partition), row))
            except ResourceNotFoundError:
                return None

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        """Replace a record that nobody changed since `stored` was read.

        Raises:
            Conflict: somebody did, or removed it.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError
        from azure.data.tables import UpdateMode

        only_if = {"mode": UpdateMode.REPLACE, "etag": stored.etag, "match_condition": MatchConditions.IfNotModified}
        with translated(f"writing {_name(record)} to the ledger", remedy=_ROLE):
            try:
                etag = self._write(record, stored.record, ("update", _entity(record), only_if))
            except HttpResponseError as error:
                if error.status_code in _CHANGED:
                    raise Conflict(f"{_name(record)} was changed since it was read") from error
                raise
        return Stored(record, etag)

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        """The records of a partition whose row begins with a prefix, in the order of their rows."""
        high = row_prefix[:-1] + chr(ord(row_prefix[-1]) + 1) if row_prefix else OPEN_ROWS
        parameters = {"partition": _partition(kind, partition), "low": row_prefix, "high": high}
        query = "PartitionKey eq @partition and RowKey ge @low and RowKey lt @high"
        with translated(f"listing {kind.__name__} of {partition} in the ledger", remedy=_ROLE):
            for entity in _found(self._table.query_entities(query, parameters=parameters)):
                yield _stored(kind, entity)

    def between(self, kind: type[R], partition: str, first: str, last: str) -> Iterator[Stored[R]]:
        """The records of a partition whose rows are from `first` to `last` ("": to the end), in the order of rows."""
        parameters = {"partition": _partition(kind, partition), "first": first, "last": last or OPEN_ROWS}
        query = f"PartitionKey eq @partition and RowKey ge @first and RowKey {'le' if last else 'lt'} @last"
        with translated(f"listing {kind.__name__} of {partition} in the ledger", remedy=_ROLE):
            for entity in _found(self._table.query_entities(query, parameters=parameters)):
                yield _stored(kind, entity)

    def open(self, kind: type[R], partition: str) -> Iterator[Stored[R]]:
        """The records of a partition with which anything is left to do: one query, and one read each."""
        with translated(f"listing the open {kind.__name__} of {partition} in the ledger", remedy=_ROLE):
            rows = list(open_rows(self._table, _partition(kind, partition)))
        for row in rows:
            stored = self.load(kind, partition, row)
            if stored is not None:
                yield stored

    def page(self, kind: type[Listed], partition: str, limit: int, token: str, only: Only = EVERYTHING) -> Page:
        """A page of a partition's list, the newest first: one query, however many records there are.

        Raises:
            Malformed: the token is none of this ledger's.
        """
        with translated(f"listing {kind.__name__} of {partition} in the ledger", remedy=_ROLE):
            return read_page(self._table, _partition(kind, partition), limit, token, only)

    def purge(self, kind: type[Keyed], partition: str, before: datetime, limit: int) -> int:
        """Remove some of a partition's records whose `at` is before a moment, 100 at most; how many they were.

        They go in one transaction, each as it was read: where one was changed meanwhile, none goes.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        parameters = {"partition": _partition(kind, partition), "before": before}
        query = "PartitionKey eq @partition and at lt @before"
        number = min(limit, _TRANSACTION_LIMIT)
        only_if = {"match_condition": MatchConditions.IfNotModified}
        with translated(f"removing old {kind.__name__} from the ledger", remedy=_ROLE):
            found = self._table.query_entities(
                query, parameters=parameters, results_per_page=number, select=["PartitionKey", "RowKey"]
            )
            old = list(next(found.by_page(), ()))
            doomed = [("delete", entity, only_if | {"etag": entity.metadata["etag"]}) for entity in old]
            try:
                return len(self._table.submit_transaction(doomed)) if doomed else 0
            except HttpResponseError as error:
                if error.status_code in _CHANGED:
                    return 0
                raise

    def _write(self, record: Any, before: Any, operation: tuple[Any, ...]) -> str:
        """Write a record with the rows it has besides, all or none; returns its ETag."""
        from azure.core.exceptions import HttpResponseError

        partition = _partition(type(record), record.partition)
        operations = [operation]
        if getattr(record, "time_row", ""):
            operations.append(("upsert", time_entity(partition, record), {"mode": "replace"}))
        operations += open_row_change(partition, record, before)
        try:
            return str(self._table.submit_transaction(operations)[0]["etag"])
        except HttpResponseError as error:
            if is_gone_already(error, operations):
                return str(self._table.submit_transaction(operations[:-1])[0]["etag"])
            raise


def _name(record: Any) -> str:
    return f"{type(record).__name__} {record.partition}/{record.row}"


def _partition(kind: type, partition: str) -> str:
    return f"{kind.__name__.lower()}:{partition}"


def _entity(record: Any) -> dict[str, Any]:
    text = msgspec.json.encode(record).decode()
    chunks = [text[i : i + _CHUNK_CHARACTERS] for i in range(0, len(text), _CHUNK_CHARACTERS)]
    entity: dict[str, Any] = {"PartitionKey": _partition(type(record), record.partition), "RowKey": record.row}
    entity |= {f"body{index:02}": chunk for index, chunk in enumerate(chunks)}
    return entity | {name: getattr(record, name) for name in _COLUMNS if hasattr(record, name)}


def _found(query: ItemPaged[TableEntity]) -> Iterator[TableEntity]:
    """The entities of a query. The SDK's pages refer to themselves, so that the last one would stay for long: the
    garbage of a whole sweep may add up before Python looks for such circles."""
    pages = query.by_page()
    try:
        for page in pages:
            yield from page
    finally:
        vars(pages).clear()


def _stored(kind: type[R], entity: TableEntity) -> Stored[R]:
    names = sorted(name for name in entity if name.startswith("body"))
    text = "".join(str(entity[name]) for name in names)
    return Stored(msgspec.json.decode(text, type=kind), str(entity.metadata["etag"]))
