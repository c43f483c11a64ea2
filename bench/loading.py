"""Fills a ledger in full transactions, through the app's own adapter, so that the rows are those of the app."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from azure.data.tables import TableClient

from shared.adapters.ledger_tables import TableLedger

_TRANSACTION_LIMIT = 100


@dataclass
class Loading:
    """Replaces the table while records are inserted: collects the adapter's writes into full transactions."""

    table: TableClient
    waiting: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def submit_transaction(self, operations: list[tuple[Any, ...]]) -> list[dict[str, str]]:
        """Collect rows; every row is new, so nothing needs to be looked up."""
        rows = [("create", operation[1]) for operation in operations]
        if len(self.waiting) + len(rows) > _TRANSACTION_LIMIT or self._is_elsewhere(rows):
            self.flush()
        self.waiting += rows
        return [{"etag": ""}]

    def flush(self) -> None:
        """Write the collected rows."""
        if self.waiting:
            self.table.submit_transaction(self.waiting)
            self.waiting = []

    def _is_elsewhere(self, rows: list[tuple[str, dict[str, Any]]]) -> bool:
        """Whether they are of another partition than the collected ones: a transaction has only one."""
        return bool(self.waiting) and self.waiting[0][1]["PartitionKey"] != rows[0][1]["PartitionKey"]


@contextlib.contextmanager
def in_bulk(ledger: TableLedger) -> Iterator[None]:
    """Insert new records into the ledger a hundred at a time. Only `insert` may be used in the block."""
    table = ledger._table
    loading = Loading(table)
    vars(ledger)["_table"] = loading
    try:
        yield
        loading.flush()
    finally:
        vars(ledger)["_table"] = table
