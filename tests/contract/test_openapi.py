"""The OpenAPI document: complete, valid, and true of the routes."""

from __future__ import annotations

import re
from inspect import signature
from operator import attrgetter
from typing import Any, get_type_hints

import msgspec
import pytest

from functions.web.openapi import document
from shared.interface import OPERATIONS, Operation, resolve
from tests.described import registered, validator
from tests.fakes import World
from tests.served import App

CALLS = [(method, path) for path, methods in document()["paths"].items() for method in methods]

COMMANDS = [one for one in OPERATIONS.values() if one.body]


def operation(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][path][method]
    return found


def test_the_document_describes_exactly_the_routes_there_are() -> None:
    assert set(CALLS) == set(registered())


def test_every_name_of_an_operation_is_its_own() -> None:
    names = [operation(*call)["operationId"] for call in CALLS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_everything_of_an_operation_is_told(method: str, path: str) -> None:
    entry_of = operation(method, path)
    assert entry_of["summary"]
    assert set(re.findall(r"{(\w+)}", path)) == {p["name"] for p in entry_of["parameters"] if p["in"] == "path"}
    assert all(parameter["description"] and parameter["schema"] for parameter in entry_of["parameters"])
    for status, answer in entry_of["responses"].items():
        assert answer["description"]
        kinds = answer.get("content", {})
        assert kinds or status == "401"
        assert all(kind["schema"] for kind in kinds.values())


@pytest.mark.parametrize("act", COMMANDS, ids=lambda act: act.name)
def test_the_examples_of_an_act_are_bodies_that_it_takes(act: Operation) -> None:
    content = operation(act.method.lower(), f"/{act.path}")["requestBody"]["content"]["application/json"]
    assert content["examples"]
    for example in content["examples"].values():
        validator(content["schema"]).validate(example["value"])
        msgspec.convert(example["value"], resolve(act.body))


@pytest.mark.parametrize("entry", OPERATIONS.values(), ids=lambda entry: entry.name)
def test_a_handler_takes_what_its_operation_is_asked_with(entry: Operation) -> None:
    """The values in the path in their order, then by name the fields of the body, or the page and the flags."""
    if ":" in entry.handler:
        assert not entry.in_path
        return
    handler = attrgetter(entry.handler)(App(World()))
    hints, names = get_type_hints(handler), list(signature(handler).parameters)
    values, asked = names[: len(entry.in_path)], set(names[len(entry.in_path) :])
    assert {hints[name] for name in values} <= {str, object}
    if entry.body:
        fields = get_type_hints(resolve(entry.body))
        assert asked == set(fields) - {"reason"} | {"who"}
        assert all(hints[name] in (fields[name], object) for name in asked - {"who"})
    else:
        assert asked == {*(("limit", "token", "only") if entry.paged else ()), *entry.flags}


def test_every_schema_is_referred_to_and_every_reference_leads_somewhere() -> None:
    text = msgspec.json.encode(document()).decode()
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) == set(document()["components"]["schemas"])


def test_nothing_is_described_by_the_word_object_alone() -> None:
    for name, schema in document()["components"]["schemas"].items():
        assert schema.get("properties") or schema.get("enum"), name
        assert schema.get("description") or schema.get("enum"), name
