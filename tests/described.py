"""Answers held against the OpenAPI document: a status that is not described, or a key too many, is a fault."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import azure.functions as func
from azure.functions.decorators.http import HttpTrigger
from jsonschema import Draft202012Validator, FormatChecker

from functions import operator_api
from functions.web.openapi import document
from shared.interface import OPERATIONS


@cache
def registered() -> dict[tuple[str, str], Any]:
    """The functions by method and path, as the host finds them."""
    found = {}
    for builder in operator_api.blueprint._function_builders:
        trigger = builder._function.get_trigger()
        assert isinstance(trigger, HttpTrigger)
        for method in trigger.methods or ():
            found[method.value.lower(), f"/{trigger.route}"] = builder
    return found


def hold_to_the_document(operation: str, answer: func.HttpResponse) -> None:
    """Fail where an answer of an operation is not what the document says of it."""
    method, path = OPERATIONS[operation].method.lower(), f"/{OPERATIONS[operation].path}"
    described = document()["paths"][path][method]["responses"]
    assert str(answer.status_code) in described, f"{method} {path} answers {answer.status_code}: not described"
    content = described[str(answer.status_code)].get("content", {})
    assert answer.mimetype in content, f"{method} {path} answers {answer.mimetype}"
    for header in described[str(answer.status_code)].get("headers", {}):
        assert header in answer.headers, f"{method} {path} answers without {header}"
    if "json" in str(answer.mimetype):
        validator(content[str(answer.mimetype)]["schema"]).validate(json.loads(answer.get_body()))


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Holds a value against a schema of the document, as strictly as its words can be taken."""
    return Draft202012Validator(_strict() | schema, format_checker=FormatChecker())


@cache
def _strict() -> dict[str, Any]:
    """The components, closed: the document lets answers grow, this build must not answer what it does not describe."""
    schemas = {
        name: schema | ({"additionalProperties": False} if "properties" in schema else {})
        for name, schema in document()["components"]["schemas"].items()
    }
    return {"components": {"schemas": schemas}}
