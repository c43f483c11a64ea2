"""Asking the HTTP functions as the worker does, on a world in which two digests were promoted."""

from __future__ import annotations

import json
from typing import Any

import azure.functions as func
import pytest

from functions.operator_api import FUNCTIONS
from shared import bootstrap
from tests.described import hold_to_the_document
from tests.fakes import World, digest
from tests.served import App

GREEN, ORANGE = digest("green"), digest("orange")
WHY = {"reason": "it is three in the morning"}


def operated(monkeypatch: pytest.MonkeyPatch) -> World:
    """Orange was promoted, then green; the functions work on this world."""
    world = World()
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
        world.clock.forward(60)
    app = App(world)
    monkeypatch.setattr(bootstrap, "basegate", lambda: app)
    return world


def ask(
    operation: str,
    body: object = None,
    *,
    method: str = "POST",
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    **route: str,
) -> tuple[int, Any]:
    """What an operation answers: its status, and its body as JSON or as text. It must be what the document says."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = ({"Content-Type": "application/json"} if raw else {}) | (headers or {})
    request = func.HttpRequest(
        method=method, url="/api/v1/x", params=params or {}, headers=sent, route_params=route, body=raw
    )
    answer = FUNCTIONS[operation](request)
    hold_to_the_document(operation, answer)
    text = answer.get_body().decode()
    return answer.status_code, json.loads(text) if "json" in (answer.mimetype or "") else text


def log_of(operation: str, **route: str) -> tuple[int, str, str]:
    """What is answered for a log: the status, where it comes from, and its text."""
    request = func.HttpRequest(method="GET", url="/api/v1/x", params={}, headers={}, route_params=route, body=b"")
    answer = FUNCTIONS[operation](request)
    hold_to_the_document(operation, answer)
    source = answer.headers.get("X-Basegate-Log", "")
    if answer.status_code == 200:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.mimetype == "text/plain"
    return answer.status_code, source, answer.get_body().decode()
