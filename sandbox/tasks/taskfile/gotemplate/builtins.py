"""The functions that every Go template has.

Source: https://pkg.go.dev/text/template#hdr-Functions
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

from sandbox.tasks.taskfile.gotemplate.formatting import sprint, sprintf, sprintln
from sandbox.tasks.taskfile.gotemplate.functions import Function
from sandbox.tasks.taskfile.gotemplate.values import TemplateError, kind, truth, type_name

_HTML = {'"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"}
_JS = {
    "\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D",
    "\n": "\\u000A", "\r": "\\u000D", "\t": "\\u0009",
}  # fmt: skip
_BASIC = {"int": "int", "int64": "int", "string": "string", "bool": "bool", "float64": "float"}


def _escaped(table: dict[str, str]) -> Callable[..., str]:
    return lambda *values: "".join(table.get(character, character) for character in sprint(*values))


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | dict):
        return len(value)
    raise TemplateError(f"len of {type_name(value)}")


def _index(value: object, *keys: object) -> object:
    for key in keys:
        value = _item(value, key)
    return value


def _item(value: object, key: object) -> object:
    if isinstance(value, dict):
        if not isinstance(key, str):
            raise TemplateError(f"index of a map with {type_name(key)}: its keys are strings")
        return value.get(key)
    if isinstance(value, list | str) and kind(key) in ("int", "int64"):
        items: list[object] = list(value.encode()) if isinstance(value, str) else value
        number = int(str(key))
        if 0 <= number < len(items):
            return items[number]
        raise TemplateError(f"index out of range: {number}")
    what = "untyped nil" if value is None else type_name(value)
    raise TemplateError(f"index of {what} with {type_name(key)}")


def _equal(first: object, *others: object) -> bool:
    if not others:
        raise TemplateError("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(first: object, other: object) -> bool:
    kinds = _BASIC.get(kind(first)), _BASIC.get(kind(other))
    if kinds[0] != kinds[1] and None not in (first, other):
        raise TemplateError(f"incompatible types for comparison: {type_name(first)} and {type_name(other)}")
    if isinstance(first, list | dict) or isinstance(other, list | dict):
        raise TemplateError("invalid type for comparison: a list or map")
    return first == other


def _unequal(first: object, other: object) -> bool:
    return not _same(first, other)


def _ordered(compare: Callable[[Any, Any], Any]) -> Callable[..., bool]:
    def ordered(first: object, other: object) -> bool:
        kinds = _BASIC.get(kind(first)), _BASIC.get(kind(other))
        if None in kinds or "bool" in kinds:
            raise TemplateError(f"invalid type for comparison: {type_name(first)} and {type_name(other)}")
        if kinds[0] != kinds[1]:
            raise TemplateError(f"incompatible types for comparison: {type_name(first)} and {type_name(other)}")
        return bool(compare(first, other))

    return ordered


BUILTINS = {
    "html": Function(_escaped(_HTML), "*a"),
    "index": Function(_index, "a*a"),
    "js": Function(_escaped(_JS), "*a"),
    "len": Function(_length, "a"),
    "not": Function(lambda value: not truth(value), "a"),
    "print": Function(sprint, "*a"),
    "printf": Function(sprintf, "s*a"),
    "println": Function(sprintln, "*a"),
    "urlquery": Function(lambda *values: quote_plus(sprint(*values), safe=""), "*a"),
    "eq": Function(_equal, "a*a"),
    "ne": Function(_unequal, "aa"),
    "lt": Function(_ordered(operator.lt), "aa"),
    "le": Function(_ordered(operator.le), "aa"),
    "gt": Function(_ordered(operator.gt), "aa"),
    "ge": Function(_ordered(operator.ge), "aa"),
}
