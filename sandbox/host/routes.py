"""HTTP routes in the syntax of Azure Functions: `{name}`, `{name:int}`, `{name?}`, `{*rest}`.

Source: https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#customize-the-http-endpoint
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from sandbox.host.errors import Misconfigured
from sandbox.host.functions import Function, HttpTrigger

_CONSTRAINTS = {
    "int": r"-?\d{1,10}",
    "long": r"-?\d{1,19}",
    "alpha": r"[A-Za-z]+",
    "bool": r"(?i:true|false)",
    "guid": r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
}
_PARAMETER = re.compile(r"\{(?P<wild>\*{0,2})(?P<name>[A-Za-z_]\w*)(?::(?P<kind>[^}?=]+))?(?P<optional>\?)?\}")
_LITERAL, _CONSTRAINED, _FREE, _WILD = range(4)


@dataclass(frozen=True, slots=True)
class Route:
    """One function's route. `rank` orders routes: literals precede parameters, segment by segment."""

    function: Function
    trigger: HttpTrigger
    template: str
    regex: re.Pattern[str]
    rank: tuple[int, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters of a raw (still percent-encoded) path, decoded except `%2F`; None if it does not match."""
        found = self.regex.fullmatch(path.strip("/"))
        if not found:
            return None
        return {name: _decode(value) for name, value in found.groupdict().items() if value is not None}


class RouteTable:
    """The routes of the app's HTTP functions."""

    def __init__(self, functions: Iterable[Function], prefix: str) -> None:
        """Compile the routes.

        Raises:
            Misconfigured: a route is invalid; the message names the function.
        """
        routes = [_compile(function, prefix) for function in functions if isinstance(function.trigger, HttpTrigger)]
        self.routes = sorted(routes, key=lambda route: route.rank)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a request, with its parameters. A wrong method is handled like a wrong path, as in Azure."""
        for route in self.routes:
            if route.trigger.methods and method not in route.trigger.methods:
                continue
            params = route.match(path)
            if params is not None:
                return route, params
        return None


def _compile(function: Function, prefix: str) -> Route:
    trigger = function.trigger
    assert isinstance(trigger, HttpTrigger)
    own = function.name if trigger.route is None else trigger.route
    template = "/".join(part for part in (prefix, own.strip("/")) if part)
    where = f"Function '{function.name}', route '{template}'"
    pattern, ranks = "", []
    for segment in filter(None, template.split("/")):
        text, rank, optional = _segment(segment, where)
        slash = "/" if pattern else ""
        pattern += f"(?:{slash}{text})?" if optional else slash + text
        ranks.append(rank)
    return Route(function, trigger, template, re.compile(pattern), tuple(ranks))


def _segment(segment: str, where: str) -> tuple[str, int, bool]:
    pattern, rank, optional, end = "", _LITERAL, False, 0
    for match in _PARAMETER.finditer(segment):
        literal = segment[end : match.start()]
        pattern += _literal(literal, where) + _group(match, where)
        rank = max(rank, _rank(match))
        optional = optional or bool(match["optional"] or match["wild"])
        end = match.end()
    return pattern + _literal(segment[end:], where), rank, optional


def _literal(text: str, where: str) -> str:
    if "{" in text or "}" in text:
        raise Misconfigured(f"{where}: '{text}' is not a parameter that the host supports.")
    return f"(?i:{re.escape(text)})" if text else ""


def _group(match: re.Match[str], where: str) -> str:
    if match["wild"]:
        return f"(?P<{match['name']}>.*)"
    kind = match["kind"]
    if kind and kind not in _CONSTRAINTS:
        known = ", ".join(_CONSTRAINTS)
        raise Misconfigured(f"{where}: the constraint '{kind}' is not in the sandbox. Known: {known}.")
    return f"(?P<{match['name']}>{_CONSTRAINTS[kind] if kind else '[^/]+'})"


def _rank(match: re.Match[str]) -> int:
    if match["wild"]:
        return _WILD
    return _CONSTRAINED if match["kind"] else _FREE


def _decode(value: str) -> str:
    return "%2F".join(unquote(part) for part in re.split("%2F", value, flags=re.IGNORECASE))
