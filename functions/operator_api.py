"""(4) HTTP: what operators do. Each operation is a call; `_act` below does what all acting calls have in common."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import azure.functions as func
import msgspec

from functions.web import inputs
from functions.web.answers import Handler, PlanAnswer, answering, few, json_answer
from functions.web.inputs import Role, actor_of, auth_level, flag, read_body, require_own_site
from functions.web.openapi import ACTS, Act, Operation, Route
from shared import bootstrap
from shared.domain.errors import Stale
from shared.operations.gates import RollbackOptions
from shared.operations.idempotency import checked_key
from shared.operations.operate import Operate
from shared.operations.plan import Plan, Who
from shared.queries.records import Queries

blueprint = func.Blueprint()
log = logging.getLogger(__name__)

_WHY = "it is three in the morning"
_BECAUSE = {"reason": _WHY}
_TAG = {"tag": "15-alpine", "reason": _WHY}
_DIGEST = "sha256:0475d149c683b8b9a3a7a0f8a9d4c3b2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6"
_BAN = {"digest": _DIGEST, "reason": _WHY}

Examples = Mapping[str, Mapping[str, Any]]


def _call(method: str, path: str, examples: Examples, role: Role = Role.OPERATOR) -> Callable[[Operation], Handler]:
    """Make an operation a call: a function of its name, described by its docstring, its body's type and `examples`."""

    def register(operation: Operation) -> Handler:
        body = operation.__annotations__["asked"]
        act = Act(method=method, path=f"/v1/{path}", body=body, role=role, operation=operation, examples=examples)
        ACTS.append(act)

        @answering
        def handler(req: func.HttpRequest) -> func.HttpResponse:
            return _act(req, act)

        route = blueprint.route(f"v1/{path}", methods=[method.upper()], auth_level=auth_level())
        registered: Handler = blueprint.function_name(operation.__name__)(route(handler))
        return registered

    return register


@_call("post", "gates/{gate}/candidates", {"examine": _TAG})
def examine(do: Operate, at: Route, asked: inputs.TagAsked, who: Who) -> Plan:
    """Examine what a tag of the source is now."""
    return do.candidates.examine(at["gate"], asked.tag, who)


@_call("post", "candidates/{candidate}/rerun", {"rerun": _BECAUSE})
def rerun(do: Operate, at: Route, asked: inputs.Asked, who: Who) -> Plan:
    """Examine a digest again, as a new attempt."""
    return do.candidates.rerun(at["candidate"], who)


@_call("post", "candidates/{candidate}/cancel", {"cancel": _BECAUSE})
def cancel_candidate(do: Operate, at: Route, asked: inputs.Asked, who: Who) -> Plan:
    """Stop a candidate and the run that examines it.

    Of one that has passed, the promotions that stand on it are canceled. Refused once a stable tag is being moved to
    it: roll back instead.
    """
    return do.candidates.cancel(at["candidate"], who)


@_call("post", "candidates/{candidate}/approve", {"approve": {"reason": "read the change notes"}}, Role.APPROVER)
def approve(do: Operate, at: Route, asked: inputs.Asked, who: Who) -> Plan:
    """Approve a candidate that waits for it."""
    return do.candidates.approve(at["candidate"], who)


_NEW_LIBC = {"reason": "the change notes speak of a new libc"}


@_call("post", "candidates/{candidate}/reject", {"reject": _NEW_LIBC}, Role.APPROVER)
def reject(do: Operate, at: Route, asked: inputs.Asked, who: Who) -> Plan:
    """Reject a candidate that waits for approval."""
    return do.candidates.reject(at["candidate"], who)


_BACK_TO_TAG, _BACK_TO_DIGEST = _TAG | {"to": "15-alpine-cb2"}, _TAG | {"to": _DIGEST, "until": "newer"}
_BACKS = {"to a unique tag": _BACK_TO_TAG, "until a newer digest passes": _BACK_TO_DIGEST}


@_call("post", "gates/{gate}/rollback", _BACKS)
def roll_back(do: Operate, at: Route, asked: inputs.RollbackAsked, who: Who) -> Plan:
    """Move a stable tag back to what passed when it was examined last, and hold it there."""
    return do.gates.roll_back(at["gate"], asked.tag, asked.to, asked.until, who)


@_call("post", "gates/{gate}/hold", {"hold": _TAG | {"until": "lifted"}})
def hold(do: Operate, at: Route, asked: inputs.HoldAsked, who: Who) -> Plan:
    """Keep a stable tag where it is.

    Candidates are examined all the same; what passes waits until the hold is lifted. `inFlight` names the move, the
    promotions and the rollouts that had begun by then.
    """
    return do.gates.hold(at["gate"], asked.tag, asked.until, who)


@_call("delete", "gates/{gate}/hold", {"lift": _TAG})
def lift_hold(do: Operate, at: Route, asked: inputs.TagAsked, who: Who) -> Plan:
    """Lift a hold.

    The newest of what passed meanwhile is promoted, or what the source tag is now.
    """
    return do.gates.lift(at["gate"], asked.tag, who)


_BANS: Examples = {
    "ban": _BAN,
    "ban and roll back": _BAN | {"rollback": True},
    "ban and roll back to": _BAN | {"to": "15-alpine-cb2"},
}


@_call("post", "gates/{gate}/vetoes", _BANS)
def veto(do: Operate, at: Route, asked: inputs.VetoAsked, who: Who) -> Plan:
    """Ban a digest, and roll back from it if asked.

    It counts for every gate that promotes into the same repository. Where a stable tag stands on the digest, it stays
    there: a warning says so, and what to roll back to. With `rollback` or `to` that is done, and the tag is held there
    as after any rollback. `inFlight` names the moves, promotions and rollouts under way.
    """
    wanted = asked.rollback or asked.to is not None
    options = RollbackOptions(wanted=wanted, to=asked.to, until=asked.until)
    return do.vetoes.veto(at["gate"], asked.digest, who, options)


@_call("delete", "gates/{gate}/vetoes/{digest}", {"lift": {"reason": "it was the wrong digest"}})
def lift_veto(do: Operate, at: Route, asked: inputs.Asked, who: Who) -> Plan:
    """Lift a veto; source tags that are the digest now are promoted."""
    return do.vetoes.lift(at["gate"], at["digest"], who)


_DEPLOY = {"image": "cc3", "reason": "the new one is slow"}


@_call("post", "apps/{app}/rollouts", {"build again": _BECAUSE, "deploy what was built": _DEPLOY})
def roll_out(do: Operate, at: Route, asked: inputs.RolloutAsked, who: Who) -> Plan:
    """Build an app again and deploy it, or deploy an image that was built before.

    An image must be one of the app's own that a rollout had before, and still be what it was then.
    """
    app, image = at["app"], asked.image
    return do.apps.rebuild(app, who) if image is None else do.apps.redeploy(app, image, who)


@_call("post", "apps/{app}/rollback", {"roll back": _BECAUSE})
def roll_back_app(do: Operate, at: Route, asked: inputs.Asked, who: Who) -> Plan:
    """Deploy the image that was live before."""
    return do.apps.roll_back(at["app"], who)


@_call("post", "rollouts/{rollout}/cancel", {"cancel": _BECAUSE})
def cancel_rollout(do: Operate, at: Route, asked: inputs.Asked, who: Who) -> Plan:
    """Stop a rollout that is still being built."""
    return do.apps.cancel(at["rollout"], who)


@_call("post", "sweep", {"sweep": {"reason": "the registry was away"}})
def sweep(do: Operate, at: Route, asked: inputs.Asked, who: Who) -> Plan:
    """Find drift now, and repair it.

    A dry run reads everything and repairs nothing. A sweep that is not done in a minute is gone on with by the timer.
    """
    return do.sweeps.sweep(who)


@_call("post", "ledger/rebuild", {"rebuild": {"reason": "the table was deleted"}})
def rebuild_ledger(do: Operate, at: Route, asked: inputs.RebuildAsked, who: Who) -> Plan:
    """Take down what stands, after the ledger was lost or an old one restored.

    Stable tags that stand elsewhere than the ledger says are taken over where a promotion has left a unique tag of
    their digest; they are held, and examined again. Apps are taken over with the image that their container group
    shows, if a run of their own task has built it. With `hold_all` all stable tags are held: an old ledger lacks what
    was decided since. The answer names what cannot be known any more.
    """
    return do.ledger.rebuild(who, hold_all=asked.hold_all)


def _act(req: func.HttpRequest, act: Act) -> func.HttpResponse:
    """What every acting call has in common.

    1. Who asks, what for, and why: all is recorded.
    2. With `If-Match`, the record must still be what was read.
    3. The plan: what would be done.
    4. With `dry_run=true` that is the answer; else it is done, once for each `Idempotency-Key`.
    """
    require_own_site(req)
    actor, dry = actor_of(req, act.role), flag(req, "dry_run")
    asked, key = read_body(req, act.body), checked_key(req.headers.get("Idempotency-Key", ""))
    who = Who.of(actor, asked.reason, key)  # 1
    app = bootstrap.basegate()

    def work() -> tuple[int, str]:
        _require_fresh(req, app.queries)  # 2
        plan = act.operation(app.operate, req.route_params, asked, who)  # 3
        answer = PlanAnswer(dry_run=dry, effects=plan.effects, warnings=plan.warnings)
        if not dry:
            done = plan.act()  # 4
            answer = msgspec.structs.replace(answer, effects=few(plan.effects))
            log.info("operator: %s %s by %s, because %r", req.method, urlsplit(req.url).path, actor, who.reason)
            answer = msgspec.structs.replace(answer, in_flight=few(done.in_flight), see=f"/api/v1/{done.location}")
        return 200 if dry else 202, msgspec.json.encode(answer).decode()

    status, answer = app.calls.once("" if dry else key, _fingerprint(req), actor, work)
    return json_answer(answer, status)


def _fingerprint(req: func.HttpRequest) -> str:
    """What is asked for, to tell a repeat from another call. The query may hold a function key: that is left out."""
    asked = sorted((name, value) for name, value in req.params.items() if name.lower() != "code")
    content = hashlib.sha256(msgspec.json.encode(asked) + req.get_body()).hexdigest()
    return f"{req.method} {urlsplit(req.url).path} {content}"


def _require_fresh(req: func.HttpRequest, queries: Queries) -> None:
    """Refuse to act on a view that is out of date, and say what the record is now."""
    seen = req.headers.get("If-Match", "")
    for kind, read in (("candidate", queries.candidate), ("rollout", queries.rollout)):
        if seen and kind in req.route_params:
            story, etag = read(req.route_params[kind])
            if etag != seen:
                last = story.history[-1]
                raise Stale(f"{story.id} is {story.state} now. Last: {last.what} {last.why} at {last.at.isoformat()}")
