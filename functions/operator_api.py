"""(4) HTTP: what operators do. Each route names a verb; `act` below does what all acting calls have in common."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import azure.functions as func
import msgspec

from functions.web.answers import answering, json_answer
from functions.web.principal import Role, actor_of, auth_level
from shared import bootstrap
from shared.domain.errors import Malformed, Stale
from shared.domain.standing import HoldUntil
from shared.workflow.operate import Operate, Plan, Who
from shared.workflow.report import Report

blueprint = func.Blueprint()
log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 16 * 1024

Verb = Callable[[Operate, dict[str, Any], Who], Plan]


@blueprint.route("v1/gates/{gate}/candidates", methods=["POST"], auth_level=auth_level())
@answering
def examine(req: func.HttpRequest) -> func.HttpResponse:
    """Examine what a tag of the source is now."""
    return act(req, lambda do, body, who: do.candidates.examine(req.route_params["gate"], body.get("tag"), who))


@blueprint.route("v1/candidates/{candidate}/rerun", methods=["POST"], auth_level=auth_level())
@answering
def rerun(req: func.HttpRequest) -> func.HttpResponse:
    """Examine a digest again, as a new attempt."""
    return act(req, lambda do, body, who: do.candidates.rerun(req.route_params["candidate"], who))


@blueprint.route("v1/candidates/{candidate}/cancel", methods=["POST"], auth_level=auth_level())
@answering
def cancel_candidate(req: func.HttpRequest) -> func.HttpResponse:
    """Stop a candidate and the run that examines it."""
    return act(req, lambda do, body, who: do.candidates.cancel(req.route_params["candidate"], who))


@blueprint.route("v1/candidates/{candidate}/approve", methods=["POST"], auth_level=auth_level())
@answering
def approve(req: func.HttpRequest) -> func.HttpResponse:
    """Approve a candidate that waits for it."""
    candidate = req.route_params["candidate"]
    return act(req, lambda do, body, who: do.candidates.approve(candidate, who), Role.APPROVER)


@blueprint.route("v1/candidates/{candidate}/reject", methods=["POST"], auth_level=auth_level())
@answering
def reject(req: func.HttpRequest) -> func.HttpResponse:
    """Reject a candidate that waits for approval."""
    candidate = req.route_params["candidate"]
    return act(req, lambda do, body, who: do.candidates.reject(candidate, who), Role.APPROVER)


@blueprint.route("v1/gates/{gate}/rollback", methods=["POST"], auth_level=auth_level())
@answering
def roll_back(req: func.HttpRequest) -> func.HttpResponse:
    """Move a stable tag back to a digest that once passed, and hold it there."""

    def verb(do: Operate, body: dict[str, Any], who: Who) -> Plan:
        to = body.get("to")
        if not isinstance(to, str) or not to:
            raise Malformed("to", "name a unique tag or a digest")
        return do.gates.roll_back(req.route_params["gate"], body.get("tag"), to, _until(body), who)

    return act(req, verb)


@blueprint.route("v1/gates/{gate}/hold", methods=["POST"], auth_level=auth_level())
@answering
def hold(req: func.HttpRequest) -> func.HttpResponse:
    """Keep a stable tag where it is."""
    gate = req.route_params["gate"]
    return act(req, lambda do, body, who: do.gates.hold(gate, body.get("tag"), _until(body), who))


@blueprint.route("v1/gates/{gate}/hold", methods=["DELETE"], auth_level=auth_level())
@answering
def lift_hold(req: func.HttpRequest) -> func.HttpResponse:
    """Lift a hold; what passed meanwhile goes on."""
    return act(req, lambda do, body, who: do.gates.lift(req.route_params["gate"], body.get("tag"), who))


@blueprint.route("v1/gates/{gate}/vetoes", methods=["POST"], auth_level=auth_level())
@answering
def veto(req: func.HttpRequest) -> func.HttpResponse:
    """Ban a digest."""
    return act(req, lambda do, body, who: do.gates.veto(req.route_params["gate"], body.get("digest"), who))


@blueprint.route("v1/gates/{gate}/vetoes/{digest}", methods=["DELETE"], auth_level=auth_level())
@answering
def lift_veto(req: func.HttpRequest) -> func.HttpResponse:
    """Lift a veto."""
    gate, digest = req.route_params["gate"], req.route_params["digest"]
    return act(req, lambda do, body, who: do.gates.lift_veto(gate, digest, who))


@blueprint.route("v1/apps/{app}/rollouts", methods=["POST"], auth_level=auth_level())
@answering
def rebuild(req: func.HttpRequest) -> func.HttpResponse:
    """Build an app again on its current base, and deploy it."""
    return act(req, lambda do, body, who: do.apps.rebuild(req.route_params["app"], who))


@blueprint.route("v1/apps/{app}/rollback", methods=["POST"], auth_level=auth_level())
@answering
def roll_back_app(req: func.HttpRequest) -> func.HttpResponse:
    """Deploy the image that was live before."""
    return act(req, lambda do, body, who: do.apps.roll_back(req.route_params["app"], who))


@blueprint.route("v1/rollouts/{rollout}/cancel", methods=["POST"], auth_level=auth_level())
@answering
def cancel_rollout(req: func.HttpRequest) -> func.HttpResponse:
    """Stop a rollout that is still being built."""
    return act(req, lambda do, body, who: do.apps.cancel(req.route_params["rollout"], who))


def act(req: func.HttpRequest, verb: Verb, role: Role = Role.OPERATOR) -> func.HttpResponse:
    """What every acting call has in common.

    1. Who asks, and why: both are recorded.
    2. With `If-Match`, the record must still be what was looked at.
    3. The plan: what would be done.
    4. With `dry_run=true` that is the answer; else it is done, once for each `Idempotency-Key`.
    """
    actor = actor_of(req, role)
    body = _body(req)
    who = Who.of(actor, body.get("reason", req.params.get("reason")))  # 1
    app = bootstrap.basegate()

    def work() -> tuple[int, str]:
        _require_fresh(req, app.report)  # 2
        plan = verb(app.operate, body, who)  # 3
        if req.params.get("dry_run") == "true":
            return 200, _text({"dryRun": True, "effects": plan.effects})
        path = plan.act()  # 4
        log.info("operator: %s %s by %s, because %r", req.method, urlsplit(req.url).path, actor, who.reason)
        return 202, _text({"dryRun": False, "effects": plan.effects, "see": f"/api/v1/{path}"})

    key = "" if req.params.get("dry_run") == "true" else req.headers.get("Idempotency-Key", "")
    status, answer = app.acts.once(key, _call(req), actor, work)
    return json_answer(answer, status)


def _call(req: func.HttpRequest) -> str:
    """What is asked for, to tell a repeat from another call. The query may hold a function key: that is left out."""
    asked = sorted((name, value) for name, value in req.params.items() if name.lower() != "code")
    content = hashlib.sha256(msgspec.json.encode(asked) + req.get_body()).hexdigest()
    return f"{req.method} {urlsplit(req.url).path} {content}"


def _require_fresh(req: func.HttpRequest, report: Report) -> None:
    """Refuse to act on a view that is out of date, and say what the record is now."""
    seen = req.headers.get("If-Match", "")
    looks = {"candidate": report.candidate, "rollout": report.rollout}
    for kind, look in looks.items():
        if seen and kind in req.route_params:
            story, etag = look(req.route_params[kind])
            if etag != seen:
                last = story["history"][-1]
                raise Stale(
                    f"{story['id']} is {story['state']} now. Last: {last['what']} {last['why']} at {last['at']}"
                )


def _body(req: func.HttpRequest) -> dict[str, Any]:
    raw = req.get_body()
    if len(raw) > BODY_LIMIT_BYTES:
        raise Malformed("body", f"is larger than {BODY_LIMIT_BYTES} bytes")
    if not raw.strip():
        return dict(req.params)
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Malformed("body", f"is no JSON object: {error}") from error


def _until(body: dict[str, Any]) -> HoldUntil:
    try:
        return HoldUntil(body.get("until", "lifted"))
    except ValueError:
        raise Malformed("until", "must be lifted or newer") from None


def _text(body: object) -> str:
    return msgspec.json.encode(body).decode()
