"""(4) HTTP: what operators do. Each route names a verb; `act` below does what all acting calls have in common."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import azure.functions as func
import msgspec

from functions.web import shapes
from functions.web.answers import answering, json_answer
from functions.web.bodies import (
    Asked,
    HoldAsked,
    RollbackAsked,
    RolloutAsked,
    TagAsked,
    VetoAsked,
    flag,
    read_body,
)
from functions.web.principal import Role, actor_of, auth_level
from shared import bootstrap
from shared.domain.errors import Stale
from shared.workflow.acts import checked_key
from shared.workflow.answers import CandidateStory, RolloutStory
from shared.workflow.operate import Operate, Plan, Retreat, Who
from shared.workflow.report import Report

blueprint = func.Blueprint()
log = logging.getLogger(__name__)

B = TypeVar("B", bound=Asked)
Verb = Callable[[Operate, B, Who], Plan]


@blueprint.route("v1/gates/{gate}/candidates", methods=["POST"], auth_level=auth_level())
@answering
def examine(req: func.HttpRequest) -> func.HttpResponse:
    """Examine what a tag of the source is now."""
    gate = req.route_params["gate"]
    return act(req, TagAsked, lambda do, asked, who: do.candidates.examine(gate, asked.tag, who))


@blueprint.route("v1/candidates/{candidate}/rerun", methods=["POST"], auth_level=auth_level())
@answering
def rerun(req: func.HttpRequest) -> func.HttpResponse:
    """Examine a digest again, as a new attempt."""
    candidate = req.route_params["candidate"]
    return act(req, Asked, lambda do, asked, who: do.candidates.rerun(candidate, who))


@blueprint.route("v1/candidates/{candidate}/cancel", methods=["POST"], auth_level=auth_level())
@answering
def cancel_candidate(req: func.HttpRequest) -> func.HttpResponse:
    """Stop a candidate and the run that examines it."""
    candidate = req.route_params["candidate"]
    return act(req, Asked, lambda do, asked, who: do.candidates.cancel(candidate, who))


@blueprint.route("v1/candidates/{candidate}/approve", methods=["POST"], auth_level=auth_level())
@answering
def approve(req: func.HttpRequest) -> func.HttpResponse:
    """Approve a candidate that waits for it."""
    candidate = req.route_params["candidate"]
    return act(req, Asked, lambda do, asked, who: do.candidates.approve(candidate, who), Role.APPROVER)


@blueprint.route("v1/candidates/{candidate}/reject", methods=["POST"], auth_level=auth_level())
@answering
def reject(req: func.HttpRequest) -> func.HttpResponse:
    """Reject a candidate that waits for approval."""
    candidate = req.route_params["candidate"]
    return act(req, Asked, lambda do, asked, who: do.candidates.reject(candidate, who), Role.APPROVER)


@blueprint.route("v1/gates/{gate}/rollback", methods=["POST"], auth_level=auth_level())
@answering
def roll_back(req: func.HttpRequest) -> func.HttpResponse:
    """Move a stable tag back to a digest that once passed, and hold it there."""

    gate = req.route_params["gate"]

    def verb(do: Operate, asked: RollbackAsked, who: Who) -> Plan:
        return do.gates.roll_back(gate, asked.tag, asked.to, asked.until, who)

    return act(req, RollbackAsked, verb)


@blueprint.route("v1/gates/{gate}/hold", methods=["POST"], auth_level=auth_level())
@answering
def hold(req: func.HttpRequest) -> func.HttpResponse:
    """Keep a stable tag where it is."""
    gate = req.route_params["gate"]
    return act(req, HoldAsked, lambda do, asked, who: do.gates.hold(gate, asked.tag, asked.until, who))


@blueprint.route("v1/gates/{gate}/hold", methods=["DELETE"], auth_level=auth_level())
@answering
def lift_hold(req: func.HttpRequest) -> func.HttpResponse:
    """Lift a hold; what passed meanwhile goes on."""
    gate = req.route_params["gate"]
    return act(req, TagAsked, lambda do, asked, who: do.gates.lift(gate, asked.tag, who))


@blueprint.route("v1/gates/{gate}/vetoes", methods=["POST"], auth_level=auth_level())
@answering
def veto(req: func.HttpRequest) -> func.HttpResponse:
    """Ban a digest; with `rollback` or `to`, roll back the stable tags that stand on it."""
    gate = req.route_params["gate"]

    def verb(do: Operate, asked: VetoAsked, who: Who) -> Plan:
        wanted = asked.rollback or asked.to is not None
        return do.vetoes.veto(gate, asked.digest, who, Retreat(wanted=wanted, to=asked.to, until=asked.until))

    return act(req, VetoAsked, verb)


@blueprint.route("v1/gates/{gate}/vetoes/{digest}", methods=["DELETE"], auth_level=auth_level())
@answering
def lift_veto(req: func.HttpRequest) -> func.HttpResponse:
    """Lift a veto."""
    gate, digest = req.route_params["gate"], req.route_params["digest"]
    return act(req, Asked, lambda do, asked, who: do.vetoes.lift(gate, digest, who))


@blueprint.route("v1/apps/{app}/rollouts", methods=["POST"], auth_level=auth_level())
@answering
def roll_out(req: func.HttpRequest) -> func.HttpResponse:
    """Build an app again on its current base, and deploy it; with `image`, deploy one that was built before."""
    app = req.route_params["app"]

    def verb(do: Operate, asked: RolloutAsked, who: Who) -> Plan:
        return do.apps.rebuild(app, who) if asked.image is None else do.apps.redeploy(app, asked.image, who)

    return act(req, RolloutAsked, verb)


@blueprint.route("v1/apps/{app}/rollback", methods=["POST"], auth_level=auth_level())
@answering
def roll_back_app(req: func.HttpRequest) -> func.HttpResponse:
    """Deploy the image that was live before."""
    app = req.route_params["app"]
    return act(req, Asked, lambda do, asked, who: do.apps.roll_back(app, who))


@blueprint.route("v1/rollouts/{rollout}/cancel", methods=["POST"], auth_level=auth_level())
@answering
def cancel_rollout(req: func.HttpRequest) -> func.HttpResponse:
    """Stop a rollout that is still being built."""
    rollout = req.route_params["rollout"]
    return act(req, Asked, lambda do, asked, who: do.apps.cancel(rollout, who))


@blueprint.route("v1/sweep", methods=["POST"], auth_level=auth_level())
@answering
def sweep(req: func.HttpRequest) -> func.HttpResponse:
    """Look for drift now, and mend it."""
    return act(req, Asked, lambda do, asked, who: do.sweeps.sweep(who))


def act(req: func.HttpRequest, kind: type[B], verb: Verb[B], role: Role = Role.OPERATOR) -> func.HttpResponse:
    """What every acting call has in common.

    1. Who asks, what for, and why: all is recorded.
    2. With `If-Match`, the record must still be what was looked at.
    3. The plan: what would be done.
    4. With `dry_run=true` that is the answer; else it is done, once for each `Idempotency-Key`.
    """
    actor, dry = actor_of(req, role), flag(req, "dry_run")
    asked = read_body(req, kind)
    who = Who.of(actor, asked.reason)  # 1
    app = bootstrap.basegate()

    def work() -> tuple[int, str]:
        _require_fresh(req, app.report)  # 2
        plan = verb(app.operate, asked, who)  # 3
        if dry:
            return 200, _text(shapes.Plan(dry_run=True, effects=plan.effects))
        path = plan.act()  # 4
        log.info("operator: %s %s by %s, because %r", req.method, urlsplit(req.url).path, actor, who.reason)
        return 202, _text(shapes.Plan(dry_run=False, effects=plan.effects, see=f"/api/v1/{path}"))

    key = checked_key(req.headers.get("Idempotency-Key", ""))
    status, answer = app.acts.once("" if dry else key, _call(req), actor, work)
    return json_answer(answer, status)


def _call(req: func.HttpRequest) -> str:
    """What is asked for, to tell a repeat from another call. The query may hold a function key: that is left out."""
    asked = sorted((name, value) for name, value in req.params.items() if name.lower() != "code")
    content = hashlib.sha256(msgspec.json.encode(asked) + req.get_body()).hexdigest()
    return f"{req.method} {urlsplit(req.url).path} {content}"


def _require_fresh(req: func.HttpRequest, report: Report) -> None:
    """Refuse to act on a view that is out of date, and say what the record is now."""
    seen = req.headers.get("If-Match", "")
    looks: dict[str, Callable[[str], tuple[CandidateStory | RolloutStory, str]]] = {
        "candidate": report.candidate,
        "rollout": report.rollout,
    }
    for kind, look in looks.items():
        if seen and kind in req.route_params:
            story, etag = look(req.route_params[kind])
            if etag != seen:
                last = story.history[-1]
                raise Stale(f"{story.id} is {story.state} now. Last: {last.what} {last.why} at {last.at.isoformat()}")


def _text(body: object) -> str:
    return msgspec.json.encode(body).decode()
