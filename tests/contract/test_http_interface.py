"""The running interface against its own description: calls made up by schemathesis, the same ones every time.

Whatever is asked, the answer is one that the document describes, and never a fault. Half of the names in paths are
real ones, so that calls get further than to a 404.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS

from functions.web.openapi import document
from shared import bootstrap
from shared.operations import Who
from tests.fakes import World, digest
from tests.served import KEY, App, serving

GREEN, ORANGE, RED = digest("green"), digest("orange"), digest("red")
WHO = Who("op", "a test")
EXAMPLES = 25
_HEX = {"green": GREEN.removeprefix("sha256:"), "orange": ORANGE.removeprefix("sha256:")}
REAL: dict[str, list[str]] = {
    "gate": ["node"],
    "app": ["hello-world"],
    "digest": [GREEN, RED],
    "candidate": [f"node.{_HEX['green']}-001", f"node.{_HEX['orange'][:12]}"],
    "exception": ["3f0d9a52c1b8"],
    "rollout": ["hello-world.rebuild-20260301T120000000000"],
}


def with_real_names() -> dict[str, Any]:
    """The document, with real names beside the patterns of those in paths."""
    raw = copy.deepcopy(document())
    for operation in itertools.chain.from_iterable(methods.values() for methods in raw["paths"].values()):
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                parameter["schema"] = {"anyOf": [{"enum": REAL[parameter["name"]]}, parameter["schema"]]}
    del raw["security"], raw["components"]["securitySchemes"]  # every call has the key: what is made up is the rest
    return raw


def _world() -> World:
    world = World()
    world.operate.apps.rebuild("hello-world", WHO).act()
    world.tasks.failing[RED] = "ERROR: Invalid Color: Red"
    for content in (ORANGE, RED, GREEN):
        world.push("15-alpine", content)
        world.settle()
        world.clock.forward(60)
    return world


schema = schemathesis.openapi.from_dict(with_real_names())
schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
CHECKED: list[Any] = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    )
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where the interface is, on a world in which something happened."""
    with pytest.MonkeyPatch.context() as patch, serving() as url:
        app = App(_world())
        patch.setattr(bootstrap, "basegate", lambda: app)
        yield f"{url}/api"


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """One connection for all calls."""
    with requests.Session() as session:
        session.headers["x-functions-key"] = KEY
        yield session


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_is_described_and_none_is_a_fault(
    case: Case[Any], url: str, session: requests.Session
) -> None:
    answer = case.call(base_url=url, session=session)
    case.validate_response(answer, checks=CHECKED)


@pytest.mark.parametrize("path", sorted(document()["paths"]))
def test_a_method_that_is_not_described_is_not_there(path: str, url: str, session: requests.Session) -> None:
    place = path
    for name, real in REAL.items():
        place = place.replace(f"{{{name}}}", real[0])
    for method in ("get", "put", "post", "patch", "delete", "options"):
        if method not in document()["paths"][path]:
            assert session.request(method, f"{url}{place}").status_code in (404, 405), method
