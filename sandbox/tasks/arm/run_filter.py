"""The subset of OData that `$filter` supports for a list of runs.

Comparisons and `contains`, joined by `and`; names and strings are compared case-insensitively:
`TaskName eq 'x' and CreateTime ge 2026-01-01T00:00:00Z and contains(OutputImageManifests, 'node@sha256:…')`.
Source: https://learn.microsoft.com/rest/api/container-registry/runs/list
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sandbox.tasks.records import RunRecord
from sandbox.web import Fault

Test = Callable[[RunRecord], bool]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_LITERAL = r"(?:'(?P<{0}>(?:[^']|'')*)'|(?P<{0}_bare>[^\s')]+))"
_COMPARISON = re.compile(r"(?P<name>\w+)\s+(?P<operator>\w+)\s+" + _LITERAL.format("value"))
_CONTAINS = re.compile(r"contains\(\s*(?P<name>\w+)\s*,\s*'(?P<value>(?:[^']|'')*)'\s*\)", re.IGNORECASE)
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)


def _manifests(run: RunRecord) -> str:
    return ",".join(f"{image.repository}@{image.digest}" for image in run.output_images)


_TEXTS: dict[str, Callable[[RunRecord], str]] = {
    "runid": lambda run: run.id,
    "runtype": lambda run: run.type,
    "status": lambda run: run.status,
    "taskname": lambda run: run.task or "",
    "agentpoolname": lambda run: "",
    "outputimagemanifests": _manifests,
}
_TIMES: dict[str, Callable[[RunRecord], str | None]] = {
    "createtime": lambda run: run.created,
    "finishtime": lambda run: run.finished,
}


def run_filter(text: str) -> Test:
    """Parse a filter into a test of runs; an empty filter accepts every run.

    Raises:
        Fault: 400 that quotes the clause, operator or property that is not supported.
    """
    tests: list[Test] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        if tests:
            joint = _AND.match(text, position) or _refuse(text[position:])
            position = joint.end()
        match = _CONTAINS.match(text, position) or _COMPARISON.match(text, position) or _refuse(text[position:])
        tests.append(_contains(match) if match.re is _CONTAINS else _comparison(match))
        position = match.end()
    return lambda run: all(test(run) for test in tests)


def _contains(match: re.Match[str]) -> Test:
    read, part = _TEXTS.get(match["name"].lower()), match["value"].replace("''", "'").lower()
    if read is None:
        raise _unsupported(match[0])
    return lambda run: part in read(run).lower()


def _comparison(match: re.Match[str]) -> Test:
    name, compare = match["name"].lower(), _OPERATORS.get(match["operator"].lower())
    literal = (match["value"] if match["value"] is not None else match["value_bare"]).replace("''", "'")
    if compare is None:
        raise _unsupported(match[0])
    if name in _TIMES:
        return _time_test(_TIMES[name], compare, literal)
    if name == "isarchiveenabled" and literal.lower() in ("true", "false"):
        return lambda run: compare(run.archived, literal.lower() == "true")
    if name in _TEXTS and match["value"] is not None:
        return lambda run: compare(_TEXTS[name](run).lower(), literal.lower())
    raise _unsupported(match[0])


def _time_test(read: Callable[[RunRecord], str | None], compare: Callable[[Any, Any], bool], literal: str) -> Test:
    try:
        moment = datetime.fromisoformat(literal)
    except ValueError as error:
        raise Fault(400, "InvalidFilter", f"'{literal}' is no time in ISO 8601.") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def test(run: RunRecord) -> bool:
        value = read(run)
        return value is not None and compare(datetime.fromisoformat(value), moment)

    return test


def _refuse(rest: str) -> re.Match[str]:
    raise _unsupported(rest.strip())


def _unsupported(clause: str) -> Fault:
    names = "RunId, RunType, Status, TaskName, CreateTime, FinishTime, OutputImageManifests, IsArchiveEnabled"
    known = f"comparisons (eq ne gt ge lt le) of {names}, and contains(), joined by 'and'"
    return Fault(400, "InvalidFilter", f'The sandbox does not understand "{clause}" in $filter. It knows {known}.')
