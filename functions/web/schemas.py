"""The schemas of bodies and answers, made from their types: what is answered is what is described."""

from __future__ import annotations

from functools import cache
from inspect import cleandoc
from typing import Any

import msgspec

from functions.web.acts import ACTS
from functions.web.operations import Body
from functions.web.reads import READS
from functions.web.shapes import Plan, Problem

_TEMPLATE = "#/components/schemas/{name}"
_RULES = "shared.domain.policy."
_NAMES = {"CandidateStory": "Candidate", "RolloutStory": "Rollout", "GateStory": "GateDetail", "AppStory": "AppDetail"}


def ref(kind: type) -> dict[str, str]:
    """A reference to the schema of a type."""
    return {"$ref": _TEMPLATE.format(name=_name(_generated()[1][kind]))}


def components() -> dict[str, Any]:
    """All schemas by their names."""
    schemas, names = _generated()
    asked = {names[act.body] for act in ACTS}
    told = {name: _tidied(schema if name in asked else _always_told(schema)) for name, schema in schemas.items()}
    return {_name(name): schema for name, schema in told.items()}


@cache
def _generated() -> tuple[dict[str, Any], dict[type, str]]:
    """The schemas as they are generated, and the name that each type has among them."""
    kinds = dict.fromkeys(
        [read.answer for read in READS if not isinstance(read.answer, Body)]
        + [act.body for act in ACTS]
        + [Plan, Problem]
    )
    references, schemas = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    names = {kind: reference["$ref"].rpartition("/")[2] for kind, reference in zip(kinds, references, strict=True)}
    return schemas, names


def _name(generated: str) -> str:
    """A short name: two types that share one have their modules before it, a rule and what is told of it."""
    last = generated.rpartition(".")[2]
    return f"{last}Rule" if generated.startswith(_RULES) else _NAMES.get(last, last)


def _tidied(schema: Any) -> Any:
    """A schema whose references have the short names, and whose descriptions have no indent."""
    if isinstance(schema, list):
        return [_tidied(item) for item in schema]
    if not isinstance(schema, dict):
        return cleandoc(schema) if isinstance(schema, str) else schema
    found = {key: _tidied(value) for key, value in schema.items()}
    if "$ref" in found:
        found["$ref"] = _TEMPLATE.format(name=_name(found["$ref"].removeprefix(_TEMPLATE.format(name=""))))
    return found


def _always_told(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an answer: what has a default in the type is told all the same."""
    properties = schema.get("properties", {})
    told = {name for name, of in properties.items() if "default" in of} | set(schema.get("required", ()))
    plain = {name: {k: v for k, v in of.items() if k != "default"} for name, of in properties.items()}
    return schema | {"properties": plain, "required": sorted(told)} if properties else schema
