"""The ledger in Azure Table storage: one table, an ETag on every write. `ledger_rows.py` says what lies where.

A page of a list is one query. The table service looks at some thousand rows for it, or for five seconds, and says where
it stopped: a filter that few rows pass gives a short page, even an empty one, and a token to go on with.
Source: https://learn.microsoft.com/rest/api/storageservices/query-timeout-and-pagination
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from shared.adapters.azure_errors import translated
from shared.adapters.deadlines import DEADLINES
from shared.adapters.ledger_rows import (
    OPEN_ROWS,
    TIME_ROWS,
    TRANSACTION_LIMIT,
    Operation,
    behind,
    is_key,
    name_of,
    no_token,
    operations,
    partition_key,
    place_of,
    row_key,
    stored_from,
    token_of,
)
from shared.domain.errors import Conflict
from shared.domain.record import rows_before
from shared.ports import EVERYTHING, Change, Keyed, Listed, Only, Page, R, Stored
from shared.settings import TABLE

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.exceptions import HttpResponseError
    from azure.core.paging import ItemPaged
    from azure.data.tables import TableClient, TableEntity

_ROLE = "give the app Storage Table Data Contributor"
_REFUSED, _NOT_FOUND = 400, 404
_CHANGED = frozenset((404, 409, 412))


class TableLedger:
    """Implements the port `Ledger`."""

    def __init__(self, endpoint: str, credential: Callable[[], TokenCredential]) -> None:
        self._endpoint, self._credential = endpoint, credential

    @cached_property
    def _table(self) -> TableClient:
        from azure.data.tables import TableServiceClient

        with translated(f"opening table {TABLE}", remedy=_ROLE):
            service = TableServiceClient(endpoint=self._endpoint, credential=self._credential(), **DEADLINES)
            return service.create_table_if_not_exists(TABLE)

    def insert(self, record: R) -> Stored[R] | None:
        """Store a new record; None where one with its key is there already."""
        try:
            return self.commit(Change(record))[0]
        except Conflict:
            return None

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        """A record, or None."""
        from azure.core.exceptions import ResourceNotFoundError

        keys = partition_key(kind, partition), row_key(kind, row)
        if not all(map(is_key, keys)):
            return None
        with translated(f"reading {kind.__name__} {partition}/{row} from the ledger", remedy=_ROLE):
            try:
                return stored_from(kind, self._table.get_entity(*keys))
            except ResourceNotFoundError:
                return None

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        """Replace a record that nobody changed since `stored` was read.

        Raises:
            Conflict: somebody did, or removed it.
        """
        return self.commit(Change(record, stored))[0]

    def commit(self, *changes: Change) -> list[Stored[Any]]:
        """Write several records of one gate, or of one app, all or none.

        Raises:
            Conflict: one that is new is there already, or one that is replaced was changed since it was read.
            Malformed: one is too large, or has a key that the service does not take, or they are too many.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError
        from azure.data.tables import UpdateMode

        only_if = {"mode": UpdateMode.REPLACE, "match_condition": MatchConditions.IfNotModified}
        records, besides = operations(changes, only_if)
        name = " and ".join(name_of(change.record) for change in changes)
        with translated(f"writing {name} to the ledger", remedy=_ROLE):
            try:
                etags = self._write(records, besides)
            except HttpResponseError as error:
                if error.status_code in _CHANGED:
                    raise Conflict(f"{name}: changed since it was read, or there already") from error
                raise
        return [Stored(change.record, etag) for change, etag in zip(changes, etags, strict=True)]

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        """The records of a partition whose row begins with a prefix, in the order of their rows."""
        low = row_key(kind, row_prefix)
        return self._range(kind, partition, "RowKey ge @low and RowKey lt @high", low, behind(low))

    def between(self, kind: type[R], partition: str, first: str, last: str) -> Iterator[Stored[R]]:
        """The records of a partition whose rows are from `first` to `last` ("": to the end), in the order of rows."""
        high = row_key(kind, last) if last else behind(row_key(kind, ""))
        rows = f"RowKey ge @low and RowKey {'le' if last else 'lt'} @high"
        return self._range(kind, partition, rows, row_key(kind, first), high)

    def _range(self, kind: type[R], partition: str, rows: str, low: str, high: str) -> Iterator[Stored[R]]:
        parameters = {"partition": partition_key(kind, partition), "low": low, "high": high}
        with translated(f"listing {kind.__name__} of {partition} in the ledger", remedy=_ROLE):
            query = f"PartitionKey eq @partition and {rows}"
            for entity in _found(self._table.query_entities(query, parameters=parameters)):
                yield stored_from(kind, entity)

    def open(self, kind: type[R], partition: str) -> Iterator[Stored[R]]:
        """The records of a partition with which anything is left to do: one query, and one read each."""
        low = row_key(kind, "", OPEN_ROWS)
        parameters = {"partition": partition_key(kind, partition), "low": low, "high": behind(low)}
        query = "PartitionKey eq @partition and RowKey ge @low and RowKey lt @high"
        with translated(f"listing the open {kind.__name__} of {partition} in the ledger", remedy=_ROLE):
            found = _found(self._table.query_entities(query, parameters=parameters, select=["RowKey"]))
            rows = [str(entity["RowKey"]).removeprefix(low) for entity in found]
        for row in rows:
            stored = self.load(kind, partition, row)
            if stored is not None:
                yield stored

    def page(self, kind: type[Listed], partition: str, limit: int, token: str, only: Only = EVERYTHING) -> Page:
        """A page of a partition's list, the newest first: one query, however many records there are.

        Raises:
            Malformed: the token is none of this ledger's.
        """
        from azure.core.exceptions import HttpResponseError

        all_rows, place = row_key(kind, "", TIME_ROWS), place_of(token) if token else None
        parameters = {
            "partition": partition_key(kind, partition),
            "newest": row_key(kind, rows_before(only.until), TIME_ROWS) if only.until else all_rows,
            "behind": row_key(kind, rows_before(only.since), TIME_ROWS) if only.since else behind(all_rows),
            "state": only.state,
        }
        query = "PartitionKey eq @partition and RowKey ge @newest and RowKey lt @behind"
        query += " and state eq @state" if only.state else ""
        with translated(f"listing {kind.__name__} of {partition} in the ledger", remedy=_ROLE):
            found = self._table.query_entities(query, parameters=parameters, results_per_page=limit, select=["summary"])
            pages = found.by_page(place)  # type: ignore[arg-type]  # a mapping, as it gave it
            try:
                items = [msgspec.json.decode(str(entity["summary"])) for entity in next(pages, ())]
            except HttpResponseError as error:
                if token and error.status_code == _REFUSED:
                    raise no_token() from error
                raise
            stopped_at = pages.continuation_token  # type: ignore[attr-defined]
        return Page(items, token_of(stopped_at) if stopped_at else "")

    def purge(self, kind: type[Keyed], partition: str, before: datetime, limit: int) -> int:
        """Remove some of a partition's records whose `at` is before a moment, 100 at most; how many they were.

        They go in one transaction, each as it was read: where one was changed meanwhile, none goes.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        low = row_key(kind, "")
        keys = {"partition": partition_key(kind, partition), "low": low, "high": behind(low)}
        query = "PartitionKey eq @partition and RowKey ge @low and RowKey lt @high and at lt @before"
        only_if = {"match_condition": MatchConditions.IfNotModified}
        with translated(f"removing old {kind.__name__} from the ledger", remedy=_ROLE):
            found = self._table.query_entities(
                query,
                parameters={**keys, "before": before},
                results_per_page=min(limit, TRANSACTION_LIMIT),
                select=["PartitionKey", "RowKey"],
            )
            old = list(next(found.by_page(), ()))
            doomed = [("delete", entity, only_if | {"etag": entity.metadata["etag"]}) for entity in old]
            try:
                return len(self._table.submit_transaction(doomed)) if doomed else 0
            except HttpResponseError as error:
                if error.status_code in _CHANGED:
                    return 0
                raise

    def _write(self, records: Sequence[Operation], besides: Sequence[Operation]) -> Sequence[str]:
        """Write records with the rows they have besides, all or none; returns the records' ETags.

        A row besides that is to be removed may be gone already: that stops no record.
        """
        from azure.core.exceptions import HttpResponseError

        left = [*records, *besides]
        while True:
            try:
                answers = self._table.submit_transaction(left)
                return [str(answer["etag"]) for answer in answers[: len(records)]]
            except HttpResponseError as error:
                place = _gone_already(error, left)
                if place is None:
                    raise
                del left[place]


def _gone_already(error: HttpResponseError, writes: Sequence[Operation]) -> int | None:
    """The place of the write that a transaction failed at, where that removes a row that was gone already."""
    place = getattr(error, "index", None)
    if error.status_code != _NOT_FOUND or place is None or writes[place][0] != "delete":
        return None
    return int(place)


def _found(query: ItemPaged[TableEntity]) -> Iterator[TableEntity]:
    """The entities of a query. The SDK's pages refer to themselves, so that the last one would stay for long: the
    garbage of a whole sweep may add up before Python looks for such circles."""
    pages = query.by_page()
    try:
        for page in pages:
            yield from page
    finally:
        vars(pages).clear()
