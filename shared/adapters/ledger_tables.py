"""The ledger in Azure Table storage: one table, an ETag on every write.

A row is the record as JSON, in as many text properties as its length needs, and a few columns to filter by.
Limits: 64 KiB a property in UTF-16, where a character takes two or four bytes, and 1 MiB a row.
Source: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from shared.adapters.azure_errors import translated
from shared.domain.errors import Conflict
from shared.ports import R, Stored
from shared.settings import TABLE

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.data.tables import TableClient, TableEntity

_CHUNK_CHARACTERS = 16_000
_COLUMNS = ("state", "created_at")


class TableLedger:
    """Implements the port `Ledger`."""

    def __init__(self, endpoint: str, credential: Callable[[], TokenCredential]) -> None:
        self._endpoint, self._credential = endpoint, credential

    @cached_property
    def _table(self) -> TableClient:
        from azure.data.tables import TableServiceClient

        with translated(f"opening table {TABLE}", remedy="give the app Storage Table Data Contributor"):
            service = TableServiceClient(endpoint=self._endpoint, credential=self._credential())
            return service.create_table_if_not_exists(TABLE)

    def insert(self, record: R) -> Stored[R] | None:
        """Store a new record; None where one with its key is there already."""
        from azure.core.exceptions import ResourceExistsError

        with translated(f"writing {_name(record)} to the ledger"):
            try:
                metadata = self._table.create_entity(_entity(record))
            except ResourceExistsError:
                return None
        return Stored(record, str(metadata["etag"]))

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        """A record, or None."""
        from azure.core.exceptions import ResourceNotFoundError

        with translated(f"reading {kind.__name__} {partition}/{row} from the ledger"):
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
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError
        from azure.data.tables import UpdateMode

        with translated(f"writing {_name(record)} to the ledger"):
            try:
                metadata = self._table.update_entity(
                    _entity(record),
                    mode=UpdateMode.REPLACE,
                    etag=stored.etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            except (ResourceModifiedError, ResourceNotFoundError) as error:
                raise Conflict(f"{_name(record)} was changed since it was read") from error
        return Stored(record, str(metadata["etag"]))

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        """The records of a partition whose row begins with a prefix, in the order of their rows."""
        query, parameters = "PartitionKey eq @partition", {"partition": _partition(kind, partition)}
        if row_prefix:
            query += " and RowKey ge @low and RowKey lt @high"
            parameters |= {"low": row_prefix, "high": row_prefix[:-1] + chr(ord(row_prefix[-1]) + 1)}
        with translated(f"listing {kind.__name__} of {partition} in the ledger"):
            for entity in self._table.query_entities(query, parameters=parameters):
                yield _stored(kind, entity)


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


def _stored(kind: type[R], entity: TableEntity) -> Stored[R]:
    names = sorted(name for name in entity if name.startswith("body"))
    text = "".join(str(entity[name]) for name in names)
    return Stored(msgspec.json.decode(text, type=kind), str(entity.metadata["etag"]))
