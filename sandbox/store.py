"""Durable collections of typed records, one JSON file each, written before the response is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from sandbox.private import write_private

T = TypeVar("T", bound=msgspec.Struct)


class Collection(Generic[T]):
    """Records by key; keys are case-insensitive, like ARM ids.

    A change is in the file when the method returns: it is written beside the old one and renamed over
    it, so a killed process leaves one or the other. Only its owner can read the file: many a record has a secret.
    """

    def __init__(self, file: Path, kind: type[T]) -> None:
        self._file, self._kind = file, kind
        self._records: dict[str, T] = {}
        if file.exists():
            self._records = msgspec.json.decode(file.read_bytes(), type=dict[str, kind])  # type: ignore[valid-type]

    def get(self, key: str) -> T | None:
        """The record with that key, or None."""
        return self._records.get(key.lower())

    def put(self, key: str, record: T) -> T:
        """Insert or replace a record, and return it."""
        self._records[key.lower()] = record
        self._save()
        return record

    def remove(self, key: str) -> T | None:
        """Remove a record and return it, or None if there was none."""
        record = self._records.pop(key.lower(), None)
        if record is not None:
            self._save()
        return record

    def values(self, prefix: str = "") -> Iterator[T]:
        """The records whose key begins with `prefix`, in the order of their first insertion."""
        prefix = prefix.lower()
        return iter([record for key, record in self._records.items() if key.startswith(prefix)])

    def __len__(self) -> int:
        return len(self._records)

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_private(self._file, msgspec.json.encode(self._records))
