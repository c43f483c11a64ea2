"""What container groups refuse in a request before they do anything."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.tests.containers_world import World, definition, world

__all__ = ["world"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "", definition()),
        ("PATCH", "", {"tags": {}}),
        ("DELETE", "", None),
        ("POST", "/restart", None),
        ("POST", "/start", None),
        ("POST", "/stop", None),
    ],
)
def test_an_unknown_query_parameter_is_refused_by_name(world: World, method: str, path: str, body: Any) -> None:
    world.create()
    before = list(world.host.calls)
    answer = world.send(method, path, "&bogus=1", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidQueryParameter")
    assert "bogus" in answer.json()["error"]["message"]
    assert world.host.calls == before


@pytest.mark.parametrize("value", ["yes", "1", ""])
def test_timestamps_are_asked_for_with_true_or_false_only(world: World, value: str) -> None:
    world.create()
    refused = world.send("GET", "/containers/hello-world/logs", f"&timestamps={value}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InvalidLogTimestamps")
    assert f"'{value}'" in refused.json()["error"]["message"]
    plain = world.send("GET", "/containers/hello-world/logs", "&timestamps=false")
    assert plain.json()["content"] == "line 1\nline 2\nline 3\n"
