"""The HTTP interface as an OpenAPI 3.1 document. A test holds it against the routes that are registered."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string"}
_REASON = {"type": "string", "minLength": 1, "maxLength": 400, "description": "why; recorded"}
_TAG = {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"}
_DIGEST = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_UNTIL = {"type": "string", "enum": ["lifted", "newer"], "default": "lifted"}

_ACTS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("post", "/gates/{gate}/candidates", "Examine what a tag of the source is now", {"tag": _TAG}),
    ("post", "/candidates/{candidate}/rerun", "Examine a digest again, as a new attempt", {}),
    ("post", "/candidates/{candidate}/cancel", "Stop a candidate and its run", {}),
    ("post", "/candidates/{candidate}/approve", "Approve a candidate that waits for it", {}),
    ("post", "/candidates/{candidate}/reject", "Reject a candidate that waits for approval", {}),
    (
        "post",
        "/gates/{gate}/rollback",
        "Move a stable tag back to what once passed, and hold it",
        {"tag": _TAG, "to": _TEXT | {"description": "a unique tag or a digest"}, "until": _UNTIL},
    ),
    ("post", "/gates/{gate}/hold", "Keep a stable tag where it is", {"tag": _TAG, "until": _UNTIL}),
    ("delete", "/gates/{gate}/hold", "Lift a hold", {"tag": _TAG}),
    ("post", "/gates/{gate}/vetoes", "Ban a digest", {"digest": _DIGEST}),
    ("delete", "/gates/{gate}/vetoes/{digest}", "Lift a veto", {}),
    ("post", "/apps/{app}/rollouts", "Build an app again and deploy it", {}),
    ("post", "/apps/{app}/rollback", "Deploy the image that was live before", {}),
    ("post", "/rollouts/{rollout}/cancel", "Stop a rollout that is being built", {}),
)
_READS: tuple[tuple[str, str, bool], ...] = (
    ("/status", "All gates and apps at a glance", False),
    ("/gates/{gate}", "One gate", False),
    ("/gates/{gate}/candidates", "Candidates, the newest first", True),
    ("/apps/{app}/rollouts", "Rollouts, the newest first", True),
    ("/candidates/{candidate}", "The whole story of a candidate", False),
    ("/candidates/{candidate}/log", "The stored log of its check", False),
    ("/rollouts/{rollout}", "The whole story of a rollout", False),
    ("/openapi.json", "This document", False),
)


def document() -> dict[str, Any]:
    """The document."""
    paths: dict[str, dict[str, Any]] = {}
    for path, summary, paged in _READS:
        paths.setdefault(path, {})["get"] = _read(path, summary, paged)
    for method, path, summary, fields in _ACTS:
        paths.setdefault(path, {})[method] = _act(path, summary, fields)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Basegate", "version": "1", "description": "What operators do and read."},
        "servers": [{"url": "/api/v1"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x-functions-key"}},
            "schemas": {"Plan": _PLAN, "Problem": _PROBLEM},
        },
    }


_PLAN = {
    "type": "object",
    "required": ["dryRun", "effects"],
    "properties": {
        "dryRun": {"type": "boolean"},
        "effects": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["what", "subject"],
                "properties": {"what": _TEXT, "subject": _TEXT},
            },
        },
        "see": _TEXT | {"description": "the record to look at"},
    },
}
_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "field": _TEXT},
}


def _read(path: str, summary: str, paged: bool) -> dict[str, Any]:
    page = [
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 100}),
        _parameter("token", "query", _TEXT),
    ]
    kind = "text/plain" if path.endswith("/log") else "application/json"
    return {
        "summary": summary,
        "parameters": _in_path(path) + (page if paged else []),
        "responses": {"200": {"description": "as asked", "content": {kind: {}}}, **_problems()},
    }


def _act(path: str, summary: str, fields: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["reason", *(name for name, kind in fields.items() if "default" not in kind)],
        "properties": {"reason": _REASON, **fields},
    }
    answer = {"description": "what is done", "content": {"application/json": {"schema": _ref("Plan")}}}
    return {
        "summary": summary,
        "parameters": [
            *_in_path(path),
            _parameter("dry_run", "query", {"type": "boolean"}),
            _parameter("Idempotency-Key", "header", {"type": "string", "maxLength": 200}),
            _parameter(
                "If-Match", "header", _TEXT | {"description": "the ETag of the candidate or rollout as it was read"}
            ),
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": answer, "202": answer, **_problems()},
    }


def _problems() -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    words = {
        "400": "not right",
        "401": "no key",
        "403": "not allowed",
        "404": "not there",
        "409": "not possible now",
        "412": "changed since it was read",
    }
    described = {code: {"description": text, "content": content} for code, text in words.items()}
    return described | {"503": {"description": "a service is away or not set up right", "content": content}}


def _in_path(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [_parameter(name, "path", _TEXT) | {"required": True} for name in names]


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "schema": schema}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
