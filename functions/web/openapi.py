"""The calls of the HTTP interface, each declared once, and the OpenAPI 3.1 document that is made from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from inspect import cleandoc
from typing import Any

import msgspec

from functions.web.answers import PlanAnswer, Problem
from functions.web.inputs import Asked, Role
from shared.domain.retention import KEPT
from shared.operations.idempotency import KEY_LIMIT
from shared.operations.operate import Operate
from shared.operations.plan import Plan, Who
from shared.queries.records import PAGE_LIMIT
from shared.queries.run_logs import LOG_LIMIT_BYTES, LogSource, RunLog

Route = Mapping[str, str]
Operation = Callable[[Operate, Route, Any, Who], Plan]
"""What an acting call does, for the values in its path, its body, and whoever asks."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call: its docstring is the summary, and what more there is to say."""

    path: str
    operation: Callable[..., object]

    @property
    def summary(self) -> str:
        """The first line of the operation's docstring."""
        return (self.operation.__doc__ or "").partition("\n")[0].rstrip(".")

    @property
    def more(self) -> str:
        """The rest of it."""
        return " ".join((self.operation.__doc__ or "").partition("\n")[2].split())


@dataclass(frozen=True, kw_only=True)
class Read(Call):
    """A call that reads. `states`, where it has any, are those that a list may be asked for; `paged` says it is one."""

    answer: type
    """Of its JSON; `RunLog` is a log as text, `dict` JSON of no shape that is known here."""

    paged: bool = False
    states: tuple[str, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    etag: bool = False
    also: Mapping[int, str] = field(default_factory=dict)
    """Other statuses with the same kind of answer."""

    open: bool = False
    """Whether it is answered without a key."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that its query may have."""
        page = tuple(parameter["name"] for parameter in _PAGE) if self.paged else ()
        return (*page, *(("state",) if self.states else ()), *self.flags)


@dataclass(frozen=True, kw_only=True)
class Act(Call):
    """A call that acts; `examples` are bodies by what they are an example of."""

    operation: Operation
    method: str
    body: type[Asked]
    role: Role
    examples: Mapping[str, Mapping[str, Any]]


READS: list[Read] = []
ACTS: list[Act] = []
"""All calls, in the order in which the document has them."""


_TEMPLATE = "#/components/schemas/{name}"
_RULES = "shared.domain.policy."
_NAMES = {f"{kind}Detail": kind for kind in ("Candidate", "Promotion", "Rollout")} | {
    "HealthResult": "Finding",
    **{"Items_Gate_": "Gates", "Items_App_": "Apps", "Items_StandingHold_": "Holds", "Items_Veto_": "Vetoes"},
    **{f"Page_{kind}Summary_": f"{kind}Page" for kind in ("Candidate", "Rollout")},
    "Page_Move_": "MovePage",
}
"""The short names of types that are not named after what they describe."""


def _parameter(name: str, place: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "schema": schema}


_TEXT = {"type": "string"}
_FLAG = {"type": "boolean", "default": False}
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
    "rollout": ("`<app>.<name>`.", {"type": "string", "pattern": "^[a-z0-9-]{1,63}\\.[A-Za-z0-9._-]{1,200}$"}),
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
_PAGES = (
    "One query a page, however long the list is. A page with a filter may be short, even empty, while `next` is set: "
    "go on until `next` is empty."
)
_ONCE = f"Do it once for this key, and answer repeats with the first answer. Good for {KEPT.days} days."
_ACTING = [
    _parameter("dry_run", "query", _FLAG, "Say what would be done; do nothing."),
    _parameter("Idempotency-Key", "header", {"type": "string", "maxLength": KEY_LIMIT}, _ONCE),
]
_ETAG = "The ETag of the record as it was read: refused (412) if it has changed since."
_FRESH = [_parameter("If-Match", "header", _TEXT, _ETAG)]
_LIMIT = {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": PAGE_LIMIT}
_PAGE = [
    _parameter("limit", "query", _LIMIT, "How many lines at most."),
    _parameter("token", "query", _TEXT, "`next` of the page before, to go on. It has no meaning of its own."),
    _parameter("since", "query", _MOMENT, "What happened at this time or later (RFC 3339)."),
    _parameter("until", "query", _MOMENT, "What happened before this time (RFC 3339)."),
]


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
            "schemas": _components(),
        },
    }


def _read(read: Read) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "as asked", "content": _content(read.answer)}
    if read.etag:
        answer["headers"] = {"ETag": {"schema": _TEXT, "description": "to act on what was read: see `If-Match`"}}
    if read.answer is RunLog:
        said = "`running`: so far, ask again for more; `stored`: as it was kept"
        of = {"schema": _TEXT, "description": "the check or build that wrote it, with its run and where that ran"}
        state = {"schema": {"enum": list(LogSource)}, "description": said}
        answer["headers"] = {"X-Basegate-Log": state, "X-Basegate-Log-Of": of}
    responses = {"200": answer} | {
        str(status): {"description": text, "content": _content(read.answer)} for status, text in read.also.items()
    }
    asked = [*_in_path(read.path), *(_PAGE if read.paged else ())]
    if read.states:
        states = {"type": "string", "enum": list(read.states)}
        asked.append(_parameter("state", "query", states, "Those that are in this state now."))
    asked += (_parameter(name, "query", _FLAG, said) for name, said in read.flags.items())
    operation = {
        "operationId": _name("get", read.path),
        "summary": read.summary,
        "parameters": asked,
        "responses": responses if read.open else _merged(_problems(but=412), responses),
    }
    if read.open:
        return operation | {"security": []}
    more = " ".join(filter(None, (read.more, _PAGES if read.paged else "")))
    described = {"description": more} if more else {}
    return operation | described | {"x-role": Role.READER.value}


def _act(act: Act) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref(PlanAnswer)}}
    examples = {name: {"value": dict(value)} for name, value in act.examples.items()}
    fresh = "{candidate}" in act.path or "{rollout}" in act.path
    described = {"description": act.more} if act.more else {}
    return described | {
        "operationId": _name(act.method, act.path),
        "summary": act.summary,
        "x-role": act.role.value,
        "parameters": [*_in_path(act.path), *_ACTING, *(_FRESH if fresh else ())],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref(act.body), "examples": examples}},
        },
        "responses": {
            "200": {"description": "what would be done (`dry_run`)", "content": content},
            "202": {"description": "what is done; `see` is the record to read", "content": content},
            **_problems(but=0 if fresh else 412),
        },
    }


def _merged(problems: dict[str, Any], responses: dict[str, Any]) -> dict[str, Any]:
    """Responses with the problems there may be; a status may have an answer of its own besides."""
    both = {
        status: problems[status]["content"] | responses[status]["content"] for status in problems & responses.keys()
    }
    contents = {status: responses[status] | {"content": content} for status, content in both.items()}
    return problems | responses | contents


def _content(answer: type) -> dict[str, Any]:
    if answer is RunLog:
        limit = f"the end of the log, {LOG_LIMIT_BYTES} bytes at most"
        return {"text/plain": {"schema": _TEXT | {"description": limit}}}
    schema = {"type": "object", "required": ["openapi", "paths"]} if answer is dict else _ref(answer)
    return {"application/json": {"schema": schema}}


def _problems(but: int) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref(Problem)}}
    described = {
        str(status): {"description": text, "content": content} for status, text in _PROBLEMS.items() if status != but
    }
    return described | {"401": _UNKNOWN}


def _in_path(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [_parameter(name, "path", _IN_PATH[name][1], _IN_PATH[name][0]) | {"required": True} for name in names]


def _name(method: str, path: str) -> str:
    words = (part.strip("{}").replace(".json", "") for part in path.split("/") if part not in ("", "v1"))
    return "-".join((method, *words))


def _ref(kind: type) -> dict[str, str]:
    """A reference to the schema of a type."""
    return {"$ref": _TEMPLATE.format(name=_short(_generated()[1][kind]))}


def _components() -> dict[str, Any]:
    """All schemas by their names."""
    schemas, names = _generated()
    asked = {names[act.body] for act in ACTS}
    tidy = {name: _tidied(schema if name in asked else _always_present(schema)) for name, schema in schemas.items()}
    return {_short(name): schema | {"title": _short(name)} for name, schema in tidy.items()}


@cache
def _generated() -> tuple[dict[str, Any], dict[type, str]]:
    """The schemas as they are generated, and the name that each type has among them."""
    kinds = dict.fromkeys(
        [read.answer for read in READS if read.answer not in (RunLog, dict)]
        + [act.body for act in ACTS]
        + [PlanAnswer, Problem]
    )
    references, schemas = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    names = {kind: reference["$ref"].rpartition("/")[2] for kind, reference in zip(kinds, references, strict=True)}
    return schemas, names


def _short(generated: str) -> str:
    """A short name: two types that share one have their modules before it, a rule and what is answered of it."""
    last = generated.rpartition(".")[2]
    return f"{last}Rule" if generated.startswith(_RULES) else _NAMES.get(last, last.removesuffix("Answer"))


def _tidied(schema: Any) -> Any:
    """A schema whose references have the short names, and whose descriptions have no indent."""
    if isinstance(schema, list):
        return [_tidied(item) for item in schema]
    if not isinstance(schema, dict):
        return cleandoc(schema) if isinstance(schema, str) else schema
    found = {key: _tidied(value) for key, value in schema.items()}
    if "$ref" in found:
        found["$ref"] = _TEMPLATE.format(name=_short(found["$ref"].removeprefix(_TEMPLATE.format(name=""))))
    return found


def _always_present(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an answer: what has a default in the type is present all the same."""
    properties = schema.get("properties", {})
    present = {name for name, of in properties.items() if "default" in of} | set(schema.get("required", ()))
    plain = {name: {k: v for k, v in of.items() if k != "default"} for name, of in properties.items()}
    return schema | {"properties": plain, "required": sorted(present)} if properties else schema
