"""The OpenAPI document: complete, valid, and true of the routes."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from functions.web.openapi import ACTS, READS, document
from tests.described import registered, validator

OPERATIONS = [(method, path) for path, methods in document()["paths"].items() for method in methods]


def operation(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][path][method]
    return found


def test_the_document_describes_exactly_the_routes_there_are() -> None:
    assert set(OPERATIONS) == set(registered())


def test_every_name_of_an_operation_is_its_own() -> None:
    names = [operation(*call)["operationId"] for call in OPERATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_everything_of_an_operation_is_told(method: str, path: str) -> None:
    told = operation(method, path)
    assert told["summary"]
    assert set(re.findall(r"{(\w+)}", path)) == {p["name"] for p in told["parameters"] if p["in"] == "path"}
    assert all(parameter["description"] and parameter["schema"] for parameter in told["parameters"])
    for status, answer in told["responses"].items():
        assert answer["description"]
        kinds = answer.get("content", {})
        assert kinds or status == "401"
        assert all(kind["schema"] for kind in kinds.values())


@pytest.mark.parametrize("act", ACTS, ids=lambda act: f"{act.method} {act.path}")
def test_the_examples_of_an_act_are_bodies_that_it_takes(act: Any) -> None:
    content = operation(act.method, act.path)["requestBody"]["content"]["application/json"]
    assert content["examples"]
    for example in content["examples"].values():
        validator(content["schema"]).validate(example["value"])
        msgspec.convert(example["value"], act.body)


def test_every_schema_is_referred_to_and_every_reference_leads_somewhere() -> None:
    text = msgspec.json.encode(document()).decode()
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) == set(document()["components"]["schemas"])


def test_nothing_is_described_by_the_word_object_alone() -> None:
    for name, schema in document()["components"]["schemas"].items():
        assert schema.get("properties") or schema.get("enum"), name
        assert schema.get("description") or schema.get("enum"), name


def test_reads_and_acts_are_all_there_is() -> None:
    assert len(READS) + len(ACTS) == len(OPERATIONS)
