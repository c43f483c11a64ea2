"""How examples of a specification are read, sent once, and judged; the world they need is a fake here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.recorder import Exchange
from tests.contract.specs import Specifications
from tests.spec_examples.judging import Judged, Verdict, judge, summary
from tests.spec_examples.playing import request_url
from tests.spec_examples.reading import Example, Service, read_examples

PATH = "/subscriptions/{subscriptionId}/things/{thing}"
DOCUMENT = {
    "paths": {
        PATH: {
            "get": {
                "operationId": "Things_Get",
                "parameters": [
                    {"$ref": "#/parameters/Subscription"},
                    {"name": "thing", "in": "path"},
                    {"name": "api-version", "in": "query"},
                    {"name": "$top", "in": "query"},
                ],
                "responses": {
                    "200": {"schema": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                    "404": {},
                    "default": {"schema": {"type": "object", "required": ["error"]}},
                },
                "x-ms-examples": {"A thing": {"$ref": "./examples/Thing.json"}},
            }
        },
        "/others": {"get": {"operationId": "Others_List", "responses": {}, "x-ms-examples": {}}},
    },
    "parameters": {"Subscription": {"name": "subscriptionId", "in": "path"}},
}
VALUES = {"subscriptionId": "s", "thing": "a thing", "api-version": "1", "unknown": "x"}


@pytest.fixture
def example(tmp_path: Path) -> Example:
    (tmp_path / "examples").mkdir()
    (tmp_path / "things.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "examples" / "Thing.json").write_text(json.dumps({"parameters": VALUES, "responses": {}}))
    (only,) = read_examples(tmp_path, [Service("things.json", ["Things"])])
    return only


def judged(example: Example, status: int, answered: Any) -> Judged:
    exchange = Exchange("GET", "https://management.azure.com/x", None, status, answered)
    return judge(example.title, exchange, example.description, Specifications(Path("/")))


def test_an_example_is_a_request_of_its_operation(example: Example) -> None:
    assert (example.title, example.method) == ("Things_Get (A thing)", "GET")
    assert request_url(example) == "https://management.azure.com/subscriptions/s/things/a%20thing?api-version=1"


@pytest.mark.parametrize(
    ("status", "answered", "verdict"),
    [
        (200, {"size": 1}, Verdict.FITS),
        (200, {"size": "large"}, Verdict.INVALID),
        (204, None, Verdict.INVALID),
        (404, None, Verdict.FITS),
        (400, {"error": {"code": "NotInSandbox", "message": "The sandbox has no such thing."}}, Verdict.REFUSED),
        (400, {"error": {"code": "Bad", "message": "No such thing."}}, Verdict.INVALID),
        (400, {"fault": "The sandbox says no."}, Verdict.INVALID),
        (500, None, Verdict.INVALID),
    ],
)
def test_a_response_fits_is_refused_or_is_invalid(
    example: Example, status: int, answered: Any, verdict: Verdict
) -> None:
    assert judged(example, status, answered).verdict is verdict


def test_the_last_line_counts(example: Example) -> None:
    results = [judged(example, 200, {}), judged(example, 204, None), judged(example, 404, None)]
    assert summary(results) == "3 requests, 1 invalid, 0 refused"
    assert (
        results[1].line().startswith("INVALID  Things_Get (A thing): GET https://management.azure.com/x -> 204\n    ")
    )
