"""The OpenAPI 3.1 document, made from the table of operations and the types that it names."""

from collections.abc import Mapping
from functools import cache
from inspect import cleandoc
from typing import Any

import msgspec

from functions.web.responses import PlanResponse, Problem
from shared.domain.retention import KEPT
from shared.interface import IN_PATH, OPERATIONS, Operation, resolve
from shared.operations import KEY_LIMIT
from shared.queries.records import LOG_LIMIT_BYTES, PAGE_LIMIT, LogSource, RunLog

_TEMPLATE = "#/components/schemas/{name}"
_RULES = "shared.domain.policy."
_NAMES = {"CandidateDetail": "Candidate", "PromotionDetail": "Promotion", "RolloutDetail": "Rollout"}
"""The short names of types, where those differ."""


def _parameter(name: str, place: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "schema": schema}


_TEXT = {"type": "string"}
_FLAG = {"type": "boolean", "default": False}
_MOMENT = {"type": "string", "format": "date-time"}
_PROBLEMS = {
    400: "The request is invalid; `field` names the place.",
    403: "The caller lacks the required role.",
    404: "The resource does not exist.",
    409: "It is impossible in the current state, or in conflict with another change.",
    412: "The record has changed since it was read (`If-Match`).",
    503: "A service is unavailable (`Retry-After`), or Basegate is misconfigured.",
}
_UNKNOWN = {"description": "The function key is missing or invalid. The response of the Functions host has no body."}
_PAGES = (
    "A page is one query, whatever the length of the list. A page with a filter may be short, even empty, and still "
    "have a `next`: the list ends where `next` is empty."
)
_ONCE = f"Execute the call once for this key, and answer repeats with the first response, for {KEPT.days} days."
_ACTING = [
    _parameter("dry_run", "query", _FLAG, "Return the effects without executing the operation."),
    _parameter("Idempotency-Key", "header", {"type": "string", "maxLength": KEY_LIMIT}, _ONCE),
]
_ETAG = "The ETag of the record as it was read: 412 if it has changed since."
_FRESH = [_parameter("If-Match", "header", _TEXT, _ETAG)]
_LIMIT = {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": PAGE_LIMIT}
_PAGE: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "limit": (_LIMIT, "The maximum number of items."),
    "token": (_TEXT, "`next` of the previous page; opaque."),
    "since": (_MOMENT, "Only items at or after this time (RFC 3339)."),
    "until": (_MOMENT, "Only items before this time (RFC 3339)."),
}


@cache
def document() -> dict[str, Any]:
    """The document, cached: copy it before changing it."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS.values():
        paths.setdefault(f"/{operation.path}", {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Basegate",
            "version": "1",
            "description": "The interface for operators of the gate for public base images.",
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
                    "description": "A function key. With App Service Authentication, app roles instead (`x-role`).",
                }
            },
            "schemas": _components(),
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    fresh = bool(operation.body) and not {"candidate", "rollout"}.isdisjoint(operation.in_path)
    responses, asked = (_plans(), _ACTING) if operation.body else (_responses(operation), _in_query(operation))
    described: dict[str, Any] = {"x-role": operation.role.value} if operation.role else {"security": []}
    described |= {
        "operationId": _name(operation),
        "summary": operation.summary,
        "parameters": [*_in_path(operation), *asked, *(_FRESH if fresh else ())],
        "responses": _merged(_problems(but=0 if fresh else 412), responses) if operation.role else responses,
    }
    if operation.body:
        examples = {name: {"value": dict(value)} for name, value in operation.examples.items()}
        content = {"application/json": {"schema": _ref(resolve(operation.body)), "examples": examples}}
        described["requestBody"] = {"required": True, "content": content}
    more = " ".join(filter(None, (operation.description, _PAGES if operation.paged else "")))
    return described | ({"description": more} if more else {})


def _responses(read: Operation) -> dict[str, Any]:
    kind = resolve(read.answer)
    answer: dict[str, Any] = {"description": "Success.", "content": _content(kind)}
    if read.etag:
        answer["headers"] = {"ETag": {"schema": _TEXT, "description": "The version of the record, for `If-Match`."}}
    if kind is RunLog:
        source = "`running`: the log so far; `stored`: the log in the evidence."
        of = {"schema": _TEXT, "description": "The check or build that wrote it, with its run and registry."}
        state = {"schema": {"enum": list(LogSource)}, "description": source}
        answer["headers"] = {"X-Basegate-Log": state, "X-Basegate-Log-Of": of}
    also = {str(status): {"description": text, "content": _content(kind)} for status, text in read.also.items()}
    return {"200": answer} | also


def _plans() -> dict[str, Any]:
    content = _content(PlanResponse)
    return {
        "200": {"description": "The effects that it would have (`dry_run`).", "content": content},
        "202": {"description": "Its effects; `see` is the record to read.", "content": content},
    }


def _merged(problems: dict[str, Any], responses: dict[str, Any]) -> dict[str, Any]:
    """Responses together with the possible problems; a status may have both."""
    merged = problems | responses
    for status in problems.keys() & responses.keys():
        merged[status] = responses[status] | {"content": problems[status]["content"] | responses[status]["content"]}
    return merged


def _content(answer: type) -> dict[str, Any]:
    if answer is RunLog:
        limit = f"The end of the log, {LOG_LIMIT_BYTES} bytes at most."
        return {"text/plain": {"schema": _TEXT | {"description": limit}}}
    schema = {"type": "object", "required": ["openapi", "paths"]} if answer is dict else _ref(answer)
    return {"application/json": {"schema": schema}}


def _problems(but: int) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref(Problem)}}
    described = {
        str(status): {"description": text, "content": content} for status, text in _PROBLEMS.items() if status != but
    }
    return described | {"401": _UNKNOWN}


def _in_path(operation: Operation) -> list[dict[str, Any]]:
    return [
        _parameter(name, "path", IN_PATH[name][1], IN_PATH[name][0]) | {"required": True} for name in operation.in_path
    ]


def _in_query(read: Operation) -> list[dict[str, Any]]:
    known = {**_PAGE, **{name: (_FLAG, said) for name, said in read.flags.items()}}
    if read.states:
        states = {"type": "string", "enum": list(resolve(read.states))}
        known["state"] = states, "Only items that are in this state now."
    return [_parameter(name, "query", *known[name]) for name in read.in_query]


def _name(operation: Operation) -> str:
    words = (part.strip("{}").replace(".json", "") for part in operation.path.split("/") if part != "v1")
    return "-".join((operation.method.lower(), *words))


def _ref(kind: type) -> dict[str, str]:
    """A reference to the schema of a type."""
    return {"$ref": _TEMPLATE.format(name=_short(_generated()[1][kind]))}


def _components() -> dict[str, Any]:
    """All schemas by their names."""
    schemas, names = _generated()
    asked = {names[resolve(one.body)] for one in OPERATIONS.values() if one.body}
    tidy = {name: _tidied(schema if name in asked else _always_present(schema)) for name, schema in schemas.items()}
    return {_short(name): schema | {"title": _short(name)} for name, schema in tidy.items()}


@cache
def _generated() -> tuple[dict[str, Any], dict[type, str]]:
    """The generated schemas, and the name of each type in them."""
    named = [resolve(one.answer) for one in OPERATIONS.values()]
    named += [resolve(one.body) for one in OPERATIONS.values() if one.body]
    kinds = dict.fromkeys(kind for kind in (*named, Problem) if kind not in (RunLog, dict))
    references, schemas = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    names = {kind: reference["$ref"].rpartition("/")[2] for kind, reference in zip(kinds, references, strict=True)}
    return schemas, names


def _short(generated: str) -> str:
    """A short name; of two types with the same name, a rule and a response, the rule's is longer."""
    last = generated.rpartition(".")[2]
    if generated.startswith(_RULES):
        return f"{last}Rule"
    return _lists().get(generated) or _NAMES.get(last, last.removesuffix("Response"))


@cache
def _lists() -> dict[str, str]:
    """The names of list types in the table: `Gates` for `Items_Gate_`."""
    references = {one.answer: _generated()[1].get(resolve(one.answer), "") for one in OPERATIONS.values()}
    return {name: reference.rpartition(":")[2] for reference, name in references.items() if name.endswith("_")}


def _tidied(schema: Any) -> Any:
    """A schema with short names in references, and descriptions without indents."""
    if isinstance(schema, list):
        return [_tidied(item) for item in schema]
    if not isinstance(schema, dict):
        return cleandoc(schema) if isinstance(schema, str) else schema
    found = {key: _tidied(value) for key, value in schema.items()}
    if "$ref" in found:
        found["$ref"] = _TEMPLATE.format(name=_short(found["$ref"].removeprefix(_TEMPLATE.format(name=""))))
    return found


def _always_present(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a response: fields that have a default in the type are present all the same."""
    properties = schema.get("properties", {})
    present = {name for name, of in properties.items() if "default" in of} | set(schema.get("required", ()))
    plain = {name: {k: v for k, v in of.items() if k != "default"} for name, of in properties.items()}
    return schema | {"properties": plain, "required": sorted(present)} if properties else schema
