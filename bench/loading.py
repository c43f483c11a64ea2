"""Filling a ledger in whole transactions, through the app's own adapter, so that the rows are those of the app."""

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
    """Stands in for the table while records are put in: it gathers what the adapter writes into whole transactions."""

    table: TableClient
    waiting: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def submit_transaction(self, operations: list[tuple[Any, ...]]) -> list[dict[str, str]]:
        """Gather; every row is a new one, so that nothing needs to be looked up."""
        rows = [("create", operation[1]) for operation in operations]
        if len(self.waiting) + len(rows) > _TRANSACTION_LIMIT or self._is_elsewhere(rows):
            self.flush()
        self.waiting += rows
        return [{"etag": ""}]

    def flush(self) -> None:
        """Write what was gathered."""
        if self.waiting:
            self.table.submit_transaction(self.waiting)
            self.waiting = []

    def _is_elsewhere(self, rows: list[tuple[str, dict[str, Any]]]) -> bool:
        """Whether they are of another partition than those that wait: a transaction takes one."""
        return bool(self.waiting) and self.waiting[0][1]["PartitionKey"] != rows[0][1]["PartitionKey"]


@contextlib.contextmanager
def in_bulk(ledger: TableLedger) -> Iterator[None]:
    """Let new records go into the ledger a hundred at a time. Only `insert` may be used meanwhile."""
    table = ledger._table
    loading = Loading(table)
    vars(ledger)["_table"] = loading
    try:
        yield
        loading.flush()
    finally:
        vars(ledger)["_table"] = table
