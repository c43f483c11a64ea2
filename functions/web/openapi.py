"""The HTTP interface as an OpenAPI 3.1 document, made from the table of its calls and the types of its answers."""

from __future__ import annotations

from functools import cache
from typing import Any

from functions.web.acts import ACTS
from functions.web.operations import Act, Body, Read
from functions.web.principal import Role
from functions.web.reads import READS
from functions.web.schemas import components, ref
from functions.web.shapes import Plan, Problem
from shared.workflow.acts import KEPT, KEY_LIMIT
from shared.workflow.report import PAGE_LIMIT
from shared.workflow.run_logs import LOG_LIMIT_BYTES, LogSource

_TEXT = {"type": "string"}
_MOMENT = {"type": "string", "format": "date-time"}
_NAME = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z0-9-]+$"}
_IN_PATH: dict[str, tuple[str, dict[str, Any]]] = {
    "gate": ("The gate's name.", _NAME),
    "app": ("The app's name.", _NAME),
    "digest": ("A digest.", {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
    "candidate": (
        "`<gate>.<digest>[-<attempt>]`: 12 digits of the digest are enough; without an attempt, the last one.",
        {"type": "string", "pattern": "^[a-z0-9-]{1,63}\\.[0-9a-f]{12,64}(-[0-9]{1,3})?$"},
    ),
    "rollout": (
        "`<app>.<name>`.",
        {"type": "string", "pattern": "^[a-z0-9-]{1,63}\\.[A-Za-z0-9._-]{1,200}$"},
    ),
}
_PROBLEMS = {
    400: "the request is not right; `field` says where",
    403: "whoever is signed in has not the role that it needs",
    404: "there is no such thing",
    409: "not possible as things stand, or someone else is at it",
    412: "it has changed since it was read (`If-Match`)",
    503: "a service is away (`Retry-After`), or Basegate is not set up right",
}
_UNKNOWN = {"description": "the key is missing or not good: the Functions host says so, without a body"}


@cache
def document() -> dict[str, Any]:
    """The document. It is the same for the life of the process: change a copy only."""
    paths: dict[str, dict[str, Any]] = {}
    for read in READS:
        paths.setdefault(read.path, {})["get"] = _read(read)
    for act in ACTS:
        paths.setdefault(act.path, {})[act.method] = _act(act)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Basegate",
            "version": "1",
            "description": "What operators of the gate for public base images do and read.",
        },
        "servers": [{"url": "/api"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-functions-key",
                    "description": "A function key. With sign-in in front, app roles decide instead (`x-role`).",
                }
            },
            "schemas": components(),
        },
    }


def _read(read: Read) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "as asked", "content": _content(read.answer)}
    if read.etag:
        answer["headers"] = {"ETag": {"schema": _TEXT, "description": "to act on what was read: see `If-Match`"}}
    if read.answer is Body.LOG:
        said = "`running`: so far, ask again for more; `stored`: as it was kept"
        answer["headers"] = {"X-Basegate-Log": {"schema": {"enum": list(LogSource)}, "description": said}}
    responses = {"200": answer} | {
        str(status): {"description": text, "content": _content(read.answer)} for status, text in read.also.items()
    }
    operation = {
        "operationId": _name("get", read.path),
        "summary": read.summary,
        "parameters": [*_in_path(read.path), *(_page(read) if read.paged else ()), *_flags(read)],
        "responses": responses if read.open else _problems(but=412) | responses,
    }
    if read.open:
        return operation | {"security": []}
    described = {"description": read.more} if read.more else {}
    return operation | described | {"x-role": Role.READER.value}


def _act(act: Act) -> dict[str, Any]:
    content = {"application/json": {"schema": ref(Plan)}}
    examples = {name: {"value": dict(value)} for name, value in act.examples.items()}
    fresh = "{candidate}" in act.path or "{rollout}" in act.path
    described = {"description": act.more} if act.more else {}
    return described | {
        "operationId": _name(act.method, act.path),
        "summary": act.summary,
        "x-role": act.role.value,
        "parameters": [*_in_path(act.path), *_how_to_act(fresh)],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref(act.body), "examples": examples}},
        },
        "responses": {
            "200": {"description": "what would be done (`dry_run`)", "content": content},
            "202": {"description": "what is done; `see` is where to look", "content": content},
            **_problems(but=0 if fresh else 412),
        },
    }


def _how_to_act(fresh: bool) -> list[dict[str, Any]]:
    once = f"Do it once for this key, and answer repeats with the first answer. Good for {KEPT.days} days."
    parameters = [
        _parameter("dry_run", "query", {"type": "boolean", "default": False}, "Say what would be done; do nothing."),
        _parameter("Idempotency-Key", "header", {"type": "string", "maxLength": KEY_LIMIT}, once),
    ]
    if fresh:
        told = "The ETag of the record as it was read: refused (412) if it has changed since."
        parameters.append(_parameter("If-Match", "header", _TEXT, told))
    return parameters


def _page(read: Read) -> list[dict[str, Any]]:
    numbers = {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": PAGE_LIMIT}
    parameters = [
        _parameter("limit", "query", numbers, "How many lines at most."),
        _parameter("token", "query", _TEXT, "`next` of the page before, to go on. It has no meaning of its own."),
        _parameter("since", "query", _MOMENT, "What happened at this time or later (RFC 3339)."),
        _parameter("until", "query", _MOMENT, "What happened before this time (RFC 3339)."),
    ]
    if read.states:
        states = {"type": "string", "enum": list(read.states)}
        parameters.append(_parameter("state", "query", states, "Those that are in this state now."))
    return parameters


def _flags(read: Read) -> list[dict[str, Any]]:
    yes_or_no = {"type": "boolean", "default": False}
    return [_parameter(name, "query", yes_or_no, description) for name, description in read.flags.items()]


def _content(answer: type | Body) -> dict[str, Any]:
    match answer:
        case Body.LOG:
            limit = f"the end of the log, {LOG_LIMIT_BYTES} bytes at most"
            return {"text/plain": {"schema": _TEXT | {"description": limit}}}
        case Body.DOCUMENT:
            return {"application/json": {"schema": {"type": "object", "required": ["openapi", "paths"]}}}
        case _:
            return {"application/json": {"schema": ref(answer)}}


def _problems(but: int) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": ref(Problem)}}
    described = {
        str(status): {"description": text, "content": content} for status, text in _PROBLEMS.items() if status != but
    }
    return described | {"401": _UNKNOWN}


def _in_path(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [_parameter(name, "path", _IN_PATH[name][1], _IN_PATH[name][0]) | {"required": True} for name in names]


def _parameter(name: str, place: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "schema": schema}


def _name(method: str, path: str) -> str:
    words = (part.strip("{}").replace(".json", "") for part in path.split("/") if part not in ("", "v1"))
    return "-".join((method, *words))
