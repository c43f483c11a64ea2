"""Pagination of registry lists: `n` and `last` in the query, the next page in a `Link` header.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from sandbox.web import Call, Fault

T = TypeVar("T")


def page(call: Call, items: Sequence[T], name: Callable[[T], str] = str) -> tuple[list[T], dict[str, str]]:
    """The page of `items` that a call requests, and the headers that link to the next.

    The page begins after the item `last`; in a lexical list, that item need not exist any more.

    Raises:
        Fault: 400 PAGINATION_NUMBER_INVALID if `n` is not a number above 0.
    """
    query = call.query
    rest = list(items[_behind(items, name, query["last"], query.get("orderby", "")) :] if "last" in query else items)
    if "n" not in query:
        return rest, {}
    if not query["n"].isdecimal() or int(query["n"]) == 0:
        raise Fault(400, "PAGINATION_NUMBER_INVALID", f"invalid number of results requested: '{query['n']}'")
    count = int(query["n"])
    if len(rest) <= count:
        return rest, {}
    following = urlencode(dict(query) | {"last": name(rest[count - 1])})
    return rest[:count], {"Link": f'<{call.request.path}?{following}>; rel="next"'}


def _behind(items: Sequence[T], name: Callable[[T], str], last: str, orderby: str) -> int:
    names = [name(item) for item in items]
    if last in names:
        return names.index(last) + 1
    return 0 if orderby.startswith("time") else sum(1 for one in names if one <= last)
