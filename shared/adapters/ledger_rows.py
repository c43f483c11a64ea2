"""What lies where in the ledger's table, and what the service would refuse.

A row is the record as JSON, in as many text properties as its length needs, and a few columns to filter by. What
belongs to one gate, or to one app, shares a partition, so that it can be written in one transaction; its row key begins
with its kind. A record that is listed has a second row there, keyed by time so that the newest sorts first, and as long
as it is open a third one: both come and go with the record's own row, in the same transaction.
Limits: 64 KiB a property in UTF-16, where a character takes two or four bytes, 1 KiB a key, 1 MiB a row, 4 MiB and 100
rows a transaction.
Source: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
and https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shared.domain.errors import Malformed
from shared.domain.record import Record
from shared.ports import Change, R, Stored

_FAMILIES = {
    "Observation": "gate",
    "Candidate": "gate",
    "Promotion": "gate",
    "StableTag": "gate",
    "Rollout": "app",
    "AppRecord": "app",
}
"""What shares a partition. Every other kind has partitions of its own."""

OPEN_ROWS, TIME_ROWS = "}", "~"
"""The rows of open records and of the list by time begin with these: they sort behind every record."""

TRANSACTION_LIMIT = 100
_KEY_LIMIT_BYTES = 1024
_BODY_LIMIT_BYTES = 1024 * 1024 - 16 * 1024
"""Of a row; the rest is for its keys, its columns and the names of its properties."""

_BODIES_LIMIT_BYTES = 3 * 1024 * 1024
"""Of a transaction; the rest is for what a multipart body has around the rows, and lists show of them."""

_CHUNK_CHARACTERS = 16_000
_COLUMNS = ("state", "created_at", "at")
_NO_KEY = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_TOKEN_LIMIT = 4096

Operation = tuple[Any, ...]
"""One write, as the SDK's transactions take it."""


def partition_key(kind: type, partition: str) -> str:
    """The partition of a record."""
    return f"{_FAMILIES.get(kind.__name__, kind.__name__.lower())}:{partition}"


def row_key(kind: type, row: str, mark: str = "") -> str:
    """The row of a record, or with a mark that of what it has besides."""
    return f"{mark}{kind.__name__.lower()}:{row}"


def behind(key: str) -> str:
    """The first key behind all that begin with a key."""
    return key[:-1] + chr(ord(key[-1]) + 1)


def name_of(record: Any) -> str:
    """What errors call a record."""
    return f"{type(record).__name__} {record.partition}/{record.row}"


def is_key(key: str) -> bool:
    """Whether the service takes a key."""
    return _NO_KEY.search(key) is None and _bytes(key) <= _KEY_LIMIT_BYTES


def check(changes: Sequence[Change], bodies: Sequence[bytes]) -> None:
    """See whether the service takes a transaction: changes, with each record as JSON.

    Raises:
        Malformed: it does not; names the record.
    """
    partition, rows = _partition(changes[0].record), list[str]()
    for change, body in zip(changes, bodies, strict=True):
        own = _rows(change)
        if _partition(change.record) != partition:
            raise Malformed(name_of(change.record), f"cannot be written together with {name_of(changes[0].record)}")
        if not all(map(is_key, (partition, *own))):
            raise Malformed(
                name_of(change.record), "no key of the ledger: / \\ # ?, a control character, or over 1 KiB"
            )
        if len(body) * 2 > _BODY_LIMIT_BYTES and _bytes(body.decode()) > _BODY_LIMIT_BYTES:
            raise Malformed(name_of(change.record), f"too large for the ledger: {len(body)} bytes as JSON")
        rows += own
    if len(rows) > TRANSACTION_LIMIT or sum(map(len, bodies)) > _BODIES_LIMIT_BYTES:
        begins = f"a transaction that begins with {name_of(changes[0].record)}"
        raise Malformed(begins, f"too large for the ledger: {len(rows)} rows, {sum(map(len, bodies))} bytes as JSON")
    if len(set(rows)) < len(rows):
        raise Malformed(name_of(changes[0].record), f"written twice in one transaction: {', '.join(rows)}")


def operations(changes: Sequence[Change], only_if: Mapping[str, Any]) -> tuple[list[Operation], list[Operation]]:
    """The writes of a transaction: those of the records, each replaced `only_if` it is as read, and those besides.

    Raises:
        Malformed: the service would not take them.
    """
    bodies = [msgspec.json.encode(change.record) for change in changes]
    check(changes, bodies)
    records, besides = list[Operation](), list[Operation]()
    for change, body in zip(changes, bodies, strict=True):
        entity, stored = _entity(change.record, body.decode()), change.stored
        records.append(("update", entity, {**only_if, "etag": stored.etag}) if stored else ("create", entity))
        for row in _rows(change)[1:]:
            besides.append(_beside(change.record, row))
    return records, besides


def stored_from(kind: type[R], entity: Any) -> Stored[R]:
    """The record of a row."""
    names = sorted(name for name in entity if name.startswith("body"))
    text = "".join(str(entity[name]) for name in names)
    return Stored(msgspec.json.decode(text, type=kind), str(entity.metadata["etag"]))


def token_of(place: Mapping[str, str]) -> str:
    """Where the service stopped, as it said it, in letters that a URL takes."""
    content = msgspec.json.encode((place["PartitionKey"], place["RowKey"]))
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def place_of(token: str) -> dict[str, str]:
    """Where an earlier page stopped. It leads nowhere else: the query names the partition all the same.

    Raises:
        Malformed: the token is none that a list gave.
    """
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        partition, row = msgspec.json.decode(content, type=tuple[str, str])
    except (binascii.Error, ValueError) as error:
        raise no_token() from error
    if len(token) > _TOKEN_LIMIT or not (partition + row).isascii() or not (partition + row).isprintable():
        raise no_token()
    return {"PartitionKey": partition, "RowKey": row}


def no_token() -> Malformed:
    """The error about a token that no list gave."""
    return Malformed("token", "is none that a list gave")


def _partition(record: Any) -> str:
    return partition_key(type(record), record.partition)


def _rows(change: Change) -> list[str]:
    """The rows that a change writes or removes: its record's, and what that has besides."""
    record, kind = change.record, type(change.record)
    rows = [row_key(kind, record.row)]
    if time_row := getattr(record, "time_row", ""):
        rows.append(row_key(kind, time_row, TIME_ROWS))
    if isinstance(record, Record) and record.is_open != bool(change.stored and change.stored.record.is_open):
        rows.append(row_key(kind, record.row, OPEN_ROWS))
    return rows


def _beside(record: Any, row: str) -> Operation:
    """The write of a row that a record has besides; one by time holds what a list shows of it."""
    entity = {"PartitionKey": _partition(record), "RowKey": row}
    if row.startswith(TIME_ROWS):
        entity["summary"] = msgspec.json.encode(record.summary()).decode()
        entity |= {"state": record.state_name} if hasattr(record, "state_name") else {}
    elif not record.is_open:
        return ("delete", entity)
    return ("upsert", entity, {"mode": "replace"})


def _entity(record: Any, text: str) -> dict[str, Any]:
    chunks = [text[i : i + _CHUNK_CHARACTERS] for i in range(0, len(text), _CHUNK_CHARACTERS)]
    entity: dict[str, Any] = {"PartitionKey": _partition(record), "RowKey": row_key(type(record), record.row)}
    entity |= {f"body{index:02}": chunk for index, chunk in enumerate(chunks)}
    return entity | {name: getattr(record, name) for name in _COLUMNS if hasattr(record, name)}


def _bytes(text: str) -> int:
    """The size of a text as the service keeps it."""
    return len(text) * 2 if text.isascii() else len(text.encode("utf-16-le"))
