"""Serves the operations of the table: reads the request, calls the handler, returns the response."""

import hashlib
import logging
from collections.abc import Callable
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

import azure.functions as func
import msgspec

from functions.web.inputs import actor_of, flag, page_of, read_body, require_known, require_own_site
from functions.web.responses import PlanResponse, few, json_response, response_of
from shared import bootstrap
from shared.domain.errors import Stale
from shared.interface import Operation, resolve
from shared.operations import Plan, Who
from shared.queries.records import Queries

log = logging.getLogger(__name__)


def serve(operation: Operation, req: func.HttpRequest) -> func.HttpResponse:
    """Handle a request for an operation. Raises a `BasegateError`: see `problem_of`."""
    return _act(operation, req) if operation.body else _read(operation, req)


def _read(operation: Operation, req: func.HttpRequest) -> func.HttpResponse:
    """Call the handler with the values in the path, the page of a list by time, and the flags."""
    if operation.role:
        actor_of(req, operation.role)
        require_known(req, operation.in_query)
    states = resolve(operation.states) if operation.states else ()
    asked = page_of(req, states) if operation.paged else {}
    asked |= {name: flag(req, name) for name in operation.flags}
    found = _handler(operation)(*_in_path(operation, req), **asked)
    return json_response(found[0], headers={"ETag": found[1]}) if operation.etag else response_of(found)


def _act(operation: Operation, req: func.HttpRequest) -> func.HttpResponse:
    """Serve an operation that acts.

    1. The caller and the reason are required: both are recorded.
    2. With `If-Match`, the record must not have changed since it was read.
    3. The plan: its effects.
    4. With `dry_run=true` the plan is the response; else it is executed, once for each `Idempotency-Key`.
    """
    require_own_site(req)
    assert operation.role
    actor, dry = actor_of(req, operation.role), flag(req, "dry_run")
    asked, key = read_body(req, resolve(operation.body)), req.headers.get("Idempotency-Key", "")
    who = Who.of(actor, asked.reason, key)  # 1
    app = bootstrap.basegate()

    def work() -> tuple[int, str]:
        _require_fresh(req, app.queries)  # 2
        fields = {name: getattr(asked, name) for name in asked.__struct_fields__ if name != "reason"}
        plan: Plan = _handler(operation)(*_in_path(operation, req), **fields, who=who)  # 3
        answer = PlanResponse(dry_run=dry, effects=plan.effects, warnings=plan.warnings)
        if not dry:
            done = plan.act()  # 4
            answer = msgspec.structs.replace(answer, effects=few(plan.effects))
            log.info("operator: %s %s by %s, because %r", req.method, urlsplit(req.url).path, actor, who.reason)
            answer = msgspec.structs.replace(answer, in_flight=few(done.in_flight), see=f"/api/v1/{done.location}")
        return 200 if dry else 202, msgspec.json.encode(answer).decode()

    status, answer = app.calls.once("" if dry else key, _fingerprint(req), actor, work)
    return json_response(answer, status)


def _handler(operation: Operation) -> Callable[..., Any]:
    handler = operation.handler
    found: Callable[..., Any] = resolve(handler) if ":" in handler else attrgetter(handler)(bootstrap.basegate())
    return found


def _in_path(operation: Operation, req: func.HttpRequest) -> list[str]:
    return [req.route_params[name] for name in operation.in_path]


def _fingerprint(req: func.HttpRequest) -> str:
    """Identifies the content of a call, to recognize repeats. The function key in the query is left out."""
    asked = sorted((name, value) for name, value in req.params.items() if name.lower() != "code")
    content = hashlib.sha256(msgspec.json.encode(asked) + req.get_body()).hexdigest()
    return f"{req.method} {urlsplit(req.url).path} {content}"


def _require_fresh(req: func.HttpRequest, queries: Queries) -> None:
    """Raise `Stale` with the current state if the record has changed since the caller read it."""
    seen = req.headers.get("If-Match", "")
    for kind, read in (("candidate", queries.candidate), ("rollout", queries.rollout)):
        if seen and kind in req.route_params:
            detail, etag = read(req.route_params[kind])
            if etag != seen:
                last = detail.history[-1]
                raise Stale(f"{detail.id} is {detail.state} now. Last: {last.what} {last.why} at {last.at.isoformat()}")
