"""The ledger's lists by time: one row a line, keyed so that the newest sorts first.

A page is one query. The table service looks at some thousand rows for it, or for five seconds, and says where it
stopped: a filter that few rows pass gives a short page, even an empty one, and a token to go on with.
Source: https://learn.microsoft.com/rest/api/storageservices/query-timeout-and-pagination
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import msgspec

from shared.domain.errors import Malformed
from shared.domain.record import rows_before
from shared.ports import Listed, Only, Page

if TYPE_CHECKING:
    from azure.data.tables import TableClient

TIME_ROWS = "~"
"""The rows of the list by time begin with it; it sorts behind every row of a record."""

_BEHIND_TIME_ROWS = "~~"
_TOKEN_LIMIT = 4096
_REFUSED = 400


def time_entity(partition: str, record: Listed) -> dict[str, Any]:
    """The row by which a record is found in the order of time; it holds what a list shows of it."""
    summary = msgspec.json.encode(record.summary()).decode()
    entity = {"PartitionKey": partition, "RowKey": record.time_row, "summary": summary}
    return entity | ({"state": str(record.state)} if hasattr(record, "state") else {})


def read_page(table: TableClient, partition: str, limit: int, token: str, only: Only) -> Page:
    """A page of a partition's list.

    Raises:
        Malformed: the token is none that a list gave.
    """
    from azure.core.exceptions import HttpResponseError

    parameters = {
        "partition": partition,
        "newest": rows_before(only.until) if only.until else TIME_ROWS,
        "behind": rows_before(only.since) if only.since else _BEHIND_TIME_ROWS,
        "state": only.state,
    }
    query = "PartitionKey eq @partition and RowKey ge @newest and RowKey lt @behind"
    query += " and state eq @state" if only.state else ""
    found = table.query_entities(query, parameters=parameters, results_per_page=limit, select=["summary"])
    pages = found.by_page(_place(token) if token else None)  # type: ignore[arg-type]  # a mapping, as it gave it
    try:
        entities = list(next(pages, ()))
    except HttpResponseError as error:
        if token and error.status_code == _REFUSED:
            raise _no_token() from error
        raise
    place = pages.continuation_token  # type: ignore[attr-defined]
    items = [msgspec.json.decode(str(entity["summary"])) for entity in entities]
    return Page(items, _token(place) if place else "")


def _token(place: dict[str, str]) -> str:
    """Where the service stopped, as it said it, in letters that a URL takes."""
    content = msgspec.json.encode((place["PartitionKey"], place["RowKey"]))
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _place(token: str) -> dict[str, str]:
    """Where an earlier page stopped. It leads nowhere else: the query names the partition all the same."""
    if len(token) > _TOKEN_LIMIT:
        raise _no_token()
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        partition, row = msgspec.json.decode(content, type=tuple[str, str])
    except (binascii.Error, ValueError) as error:
        raise _no_token() from error
    if not (partition + row).isascii() or not (partition + row).isprintable():
        raise _no_token()
    return {"PartitionKey": partition, "RowKey": row}


def _no_token() -> Malformed:
    return Malformed("token", "is none that a list gave")
