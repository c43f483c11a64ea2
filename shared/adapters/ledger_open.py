"""Which records of a partition are open: a row each, which comes and goes with the record's last line of work.

Without it the open ones would have to be looked for among everything that ever happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from shared.domain.record import Record

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.data.tables import TableClient

OPEN_ROWS = "}"
"""These rows begin with it; it sorts behind every row of a record, and before the rows of the list by time."""

_BEHIND_OPEN_ROWS = "~"
_NOT_FOUND = 404


def open_row_change(partition: str, record: object, before: object | None) -> list[tuple[Any, ...]]:
    """What must be written beside a record, in the same transaction: nothing, its row, or the end of its row."""
    is_open = isinstance(record, Record) and record.is_open
    was_open = isinstance(before, Record) and before.is_open
    if is_open == was_open:
        return []
    key = {"PartitionKey": partition, "RowKey": f"{OPEN_ROWS}{getattr(record, 'row', '')}"}
    return [("upsert", key, {"mode": "replace"})] if is_open else [("delete", key)]


def is_gone_already(error: HttpResponseError, operations: list[tuple[Any, ...]]) -> bool:
    """Whether a transaction failed for nothing but an open row that was not there to be removed."""
    failed_at = getattr(error, "index", None)
    return error.status_code == _NOT_FOUND and failed_at == len(operations) - 1 and operations[-1][0] == "delete"


def open_rows(table: TableClient, partition: str) -> Iterator[str]:
    """The rows of a partition's open records."""
    parameters = {"partition": partition, "low": OPEN_ROWS, "high": _BEHIND_OPEN_ROWS}
    query = "PartitionKey eq @partition and RowKey ge @low and RowKey lt @high"
    for entity in table.query_entities(query, parameters=parameters, select=["RowKey"]):
        yield str(entity["RowKey"]).removeprefix(OPEN_ROWS)
