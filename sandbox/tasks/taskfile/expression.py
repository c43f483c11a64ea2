"""Evaluates an expression between `{{` and `}}`."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<raw>`[^`]*`)|(?P<pipe>\|)|(?P<word>[^\s|"`]+))')
_COMMENT = re.compile(r"/\*.*\*/")


class ExpressionError(ValueError):
    """An expression is invalid, uses an unknown name, or refers to a missing value."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The values of fields: `.Run.ID` is `fields["Run"]["ID"]`. In a namespace of None, not yet known, all are empty.

    Everything under `.Secrets` is secret, and so is any value in `secrets` (a value can be declared as secret).
    """

    fields: Mapping[str, Mapping[str, str] | None]
    secrets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Result:
    """The text of an expression, and whether it contains a secret. `missing` is the error for a missing value."""

    text: str
    secret: bool = False
    missing: str = ""


@dataclass(frozen=True, slots=True)
class _Namespace:
    name: str


_Operand = Result | _Namespace


def evaluate(expression: str, scope: Scope) -> Result:
    """Evaluate an expression.

    Raises:
        ExpressionError: it names what is invalid, unknown or missing.
    """
    if _COMMENT.fullmatch(expression):
        return Result("")
    piped: list[_Operand] = []
    for stage in _stages(expression):
        piped = [_call(stage, piped, scope)]
    result = piped[0] if piped else None
    if not isinstance(result, Result):
        raise ExpressionError(f"{{{{{expression}}}}} has no value")
    if result.missing:
        raise ExpressionError(result.missing)
    return result


def _stages(expression: str) -> list[list[str]]:
    stages: list[list[str]] = [[]]
    position = 0
    while position < len(expression.rstrip()):
        match = _TOKEN.match(expression, position)
        if not match:
            raise ExpressionError(f"{{{{{expression}}}}} cannot be parsed")
        position = match.end()
        if match["pipe"]:
            stages.append([])
        else:
            stages[-1].append(match[0].strip())
    if not all(stages):
        raise ExpressionError("an expression is empty")
    return stages


def _call(words: Sequence[str], piped: list[_Operand], scope: Scope) -> _Operand:
    first, *rest = words
    if first[0] in '."`':
        if rest or piped:
            raise ExpressionError(f"{first} is not a function")
        return _operand(first, scope)
    function = _FUNCTIONS.get(first)
    if not function:
        raise ExpressionError(f"unknown function {first} (known: {', '.join(_FUNCTIONS)})")
    arguments = [_operand(word, scope) for word in rest] + piped
    return function(arguments, scope)


def _operand(word: str, scope: Scope) -> _Operand:
    if word[0] == '"':
        return Result(json.loads(word))
    if word[0] == "`":
        return Result(word[1:-1])
    namespace, _, name = word.removeprefix(".").partition(".")
    if word[0] != "." or namespace not in scope.fields:
        known = ", ".join(f".{field}" for field in scope.fields)
        raise ExpressionError(f"unknown field {word} (known: {known})")
    return _field(namespace, name, scope) if name else _Namespace(namespace)


def _field(namespace: str, name: str, scope: Scope) -> Result:
    known = scope.fields[namespace]
    secret = namespace == "Secrets"
    if known is None:
        return Result("", secret)
    if name in known:
        return Result(known[name], secret or known[name] in scope.secrets)
    if namespace == "Run":
        raise ExpressionError(f"unknown field .Run.{name} (known: {', '.join(known)})")
    what = "secret" if secret else "value"
    return Result("", secret, f"no {what} is given for .{namespace}.{name}")


def _index(arguments: list[_Operand], scope: Scope) -> Result:
    match arguments:
        case [_Namespace(name=namespace), Result(text=key)]:
            return _field(namespace, key, scope)
    raise ExpressionError('index requires a namespace and a name: index .Values "x"')


def _default(arguments: list[_Operand], _: Scope) -> Result:
    match arguments:
        case [Result() as fallback, Result() as value]:
            return value if value.text and not value.missing else fallback
    raise ExpressionError('default requires two strings: default "x" .Values.y')


def _b64enc(arguments: list[_Operand], _: Scope) -> Result:
    match arguments:
        case [Result() as value]:
            return Result(base64.b64encode(value.text.encode()).decode(), value.secret, value.missing)
    raise ExpressionError("b64enc requires one string")


_FUNCTIONS = {"index": _index, "default": _default, "b64enc": _b64enc}
