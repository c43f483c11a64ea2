"""The part of OData that filters ARM's lists: `$filter` clauses joined by `and`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sandbox.web import Call, Fault

_CLAUSE = re.compile(
    r"\s*(?:(?P<field>\w+)\s+eq\s+'(?P<value>(?:[^']|'')*)'|(?P<function>\w+)\(\s*(?:'(?P<argument>[^']*)')?\s*\))\s*"
)
_AND = re.compile(r"and\s", re.IGNORECASE)


def parse_filter(text: str, known: tuple[str, ...]) -> Mapping[str, str]:
    """The clauses of a filter: `name eq 'x'` as `{"name": "x"}`, `assignedTo('x')` as `{"assignedTo()": "x"}`.

    Args:
        text: the filter; an empty one has no clauses.
        known: the fields and functions (`atScope()`) that the list can be filtered by.

    Raises:
        Fault: 400 InvalidFilterInQueryString that names the filter and the known clauses, if it has any other.
    """
    clauses: dict[str, str] = {}
    names = {name.lower(): name for name in known}
    position = 0
    while position < len(text):
        match = _CLAUSE.match(text, position)
        name = names.get((match["field"] or f"{match['function']}()").lower()) if match else None
        if match is None or name is None:
            raise _unsupported(text, known)
        clauses[name] = (match["value"] or match["argument"] or "").replace("''", "'")
        position = match.end()
        if position < len(text):
            joint = _AND.match(text, position)
            if joint is None:
                raise _unsupported(text, known)
            position = joint.end()
    return clauses


def only(call: Call, *names: str) -> None:
    """Refuse query parameters that an operation would otherwise ignore.

    Raises:
        Fault: 400 InvalidQueryParameter that names the first one that is neither `api-version` nor in `names`.
    """
    for name in call.query:
        if name not in ("api-version", *names):
            known = ", ".join(("api-version", *names))
            message = f"The sandbox does not know the query parameter '{name}' of {call.request.path}. Known: {known}."
            raise Fault(400, "InvalidQueryParameter", message)


def _unsupported(text: str, known: tuple[str, ...]) -> Fault:
    supported = ", ".join(known)
    message = f"The sandbox does not support the filter \"{text}\". It knows clauses on {supported}, joined by 'and'."
    return Fault(400, "InvalidFilterInQueryString", message)
