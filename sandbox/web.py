"""The structure of every service here: a strict surface of operations that reports what it does not support.

A service registers its operations on a `Surface`; the gateway selects the surface by host name. A request
that no operation covers returns an error that names it, never a 200.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from aiohttp import web

T = TypeVar("T")

_UNKNOWN = re.compile("(Object contains unknown field|Invalid enum value|Invalid value) ")
"""How msgspec's messages about what is not in a type begin, as opposed to those about what is malformed."""


class Fault(Exception):
    """An error response: HTTP status, the service's own error code, and a message for people."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as passed to an operation.

    `params` are the path's parameters as sent (ARM names keep their case), `version` is the api-version
    ("" if the operation has none), `claims` are those of the verified token ({} if none is required).
    """

    request: web.BaseRequest
    host: str
    params: Mapping[str, str]
    version: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def query(self) -> Mapping[str, str]:
        """The query parameters, the last value of each name."""
        return dict(self.request.query)

    @property
    def origin(self) -> str:
        """Scheme and host as the client sent them, for absolute URLs in responses."""
        return f"https://{self.host}"

    async def body(self, kind: type[T]) -> T:
        """The JSON body, decoded as `kind`.

        Raises:
            Fault: 400 that names the field, if the body is not JSON or does not match. A struct with
                `forbid_unknown_fields=True` rejects unknown fields in the same way.
        """
        raw = await self.request.read()
        try:
            return msgspec.json.decode(raw, type=kind)
        except (ValueError, RecursionError) as error:  # of msgspec, or of bytes that are not UTF-8
            raise Fault(400, "InvalidRequestContent", f"The request content was invalid: {explained(error)}") from error


def explained(error: Exception) -> str:
    """What is wrong with a body; of a field or value that is not known here, that Azure may know it."""
    unknown = _UNKNOWN.match(str(error))
    return f"{error}. The sandbox knows fewer than Azure: see sandbox/COVERAGE.md." if unknown else str(error)


Handler = Callable[[Call], Awaitable[web.StreamResponse]]
Authorize = Callable[[web.BaseRequest, str, Mapping[str, str]], Mapping[str, Any]]
RenderFault = Callable[[Fault], web.Response]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a surface: method, path pattern, and the supported api-versions."""

    method: str
    pattern: str
    summary: str
    versions: frozenset[str]
    handler: Handler
    regex: re.Pattern[str]


def arm_fault(fault: Fault) -> web.Response:
    """The error body of Azure Resource Manager and most other services."""
    body = {"error": {"code": fault.code, "message": fault.message}}
    return web.json_response(body, status=fault.status, headers=fault.headers)


def registry_fault(fault: Fault) -> web.Response:
    """The error body of the OCI distribution specification."""
    body = {"errors": [{"code": fault.code, "message": fault.message, "detail": None}]}
    return web.json_response(body, status=fault.status, headers=fault.headers)


class Surface:
    """The operations of one family of host names.

    Args:
        name: its heading on the coverage page.
        hosts: a regular expression that the whole lower-case host name must match.
        render: renders an error in this family's format.
        authorize: called with request, host and path parameters before each operation;
            returns the token's claims or raises `Fault`.
        merge_slashes: whether several slashes in a path count as one.
    """

    def __init__(
        self,
        name: str,
        hosts: str,
        *,
        render: RenderFault = arm_fault,
        authorize: Authorize | None = None,
        merge_slashes: bool = False,
    ) -> None:
        self.name, self.render, self.authorize, self._merge_slashes = name, render, authorize, merge_slashes
        self.hosts = re.compile(hosts)
        self.operations: list[Operation] = []

    def operation(
        self, method: str, pattern: str, *, versions: Iterable[str] = (), summary: str = ""
    ) -> Callable[[Handler], Handler]:
        """Register an operation.

        `pattern` is a path whose literal segments match case-insensitively; `{name}` matches one
        segment and `{name:rest}` one or more. With `versions`, the api-version query parameter must be
        one of them. `summary` describes it; the default is the first paragraph of the handler's docstring.
        """

        def register(handler: Handler) -> Handler:
            text = " ".join((summary or handler.__doc__ or "").split("\n\n")[0].split())
            operation = Operation(method.upper(), pattern, text, frozenset(versions), handler, _compile(pattern))
            self.operations.append(operation)
            return handler

        return register

    async def handle(self, request: web.BaseRequest, host: str) -> web.StreamResponse:
        """Handle one request; every `Fault` is rendered in this family's format."""
        try:
            operation, params = self._find(request, host)
            version = self._version(operation, request)
            claims = self.authorize(request, host, params) if self.authorize else {}
            return await operation.handler(Call(request, host, params, version, claims))
        except Fault as fault:
            response = self.render(fault)
            if request.method == "HEAD":
                response.body = None
            return response

    def _find(self, request: web.BaseRequest, host: str) -> tuple[Operation, Mapping[str, str]]:
        path = request.rel_url.raw_path
        if self._merge_slashes:
            path = merged_slashes(path)
        allowed = []
        for operation in self.operations:
            match = operation.regex.fullmatch(path)
            if match and operation.method == request.method:
                return operation, match.groupdict()
            if match:
                allowed.append(operation.method)
        if allowed:
            methods = ", ".join(sorted(set(allowed)))
            message = f"https://{host}{path} answers {methods} in the sandbox, not {request.method}."
            raise Fault(405, "MethodNotAllowed", message, {"Allow": methods})
        message = f"The sandbox has no {request.method} https://{host}{path} (see sandbox/COVERAGE.md)."
        raise Fault(404, "NotInSandbox", message)

    @staticmethod
    def _version(operation: Operation, request: web.BaseRequest) -> str:
        version = request.query.get("api-version", "")
        if operation.versions and version not in operation.versions:
            known = ", ".join(sorted(operation.versions))
            sent = f"The api-version '{version}' is unknown" if version else "The api-version is missing"
            raise Fault(
                400,
                "InvalidApiVersionParameter",
                f"{sent} for {operation.method} {operation.pattern} in the sandbox. Known: {known}.",
            )
        return version


def merged_slashes(path: str) -> str:
    """A path with every run of slashes as one."""
    return re.sub("/{2,}", "/", path)


def _compile(pattern: str) -> re.Pattern[str]:
    parts = []
    for piece in re.split(r"(\{\w+(?::rest)?\})", pattern):
        if piece.startswith("{"):
            name, _, kind = piece[1:-1].partition(":")
            parts.append(f"(?P<{name}>.+)" if kind else f"(?P<{name}>[^/]+)")
        elif piece:
            parts.append(f"(?i:{re.escape(piece)})")
    return re.compile("".join(parts))


def json_answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON response from builtins or msgspec structs."""
    return web.Response(body=msgspec.json.encode(body), status=status, headers=headers, content_type="application/json")


def decode_json(raw: bytes) -> Any:
    """Decode JSON without a schema, for bodies that are only passed on.

    Raises:
        Fault: 400 if it is not JSON.
    """
    try:
        return json.loads(raw or b"null")
    except (ValueError, RecursionError) as error:
        raise Fault(400, "InvalidRequestContent", f"The request content is no JSON: {error}") from error
