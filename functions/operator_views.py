"""(4) HTTP: what operators read. Each query is a call; what it returns is answered."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import azure.functions as func

from functions.web.answers import Handler, Health, Readiness, answer_of, answering, json_answer
from functions.web.inputs import Role, actor_of, auth_level, flag, page_of, require_known
from functions.web.openapi import READS, Read, document
from shared import bootstrap
from shared.domain.candidate import CandidateState, CandidateSummary
from shared.domain.rollout import RolloutState, RolloutSummary
from shared.domain.stable_tag import Move, Veto
from shared.ports import Page
from shared.queries import models
from shared.queries.drift import Drift
from shared.queries.records import Queries
from shared.queries.run_logs import RunLog

blueprint = func.Blueprint()


def _read(path: str, answer: type, **said: Any) -> Callable[[Callable[[func.HttpRequest], object]], Handler]:
    """Make a query a call for readers, described by its docstring and by `said`, as `Read` has it."""

    def register(query: Callable[[func.HttpRequest], object]) -> Handler:
        read = Read(path=f"/{path}", answer=answer, operation=query, **said)
        READS.append(read)

        @answering
        def handler(req: func.HttpRequest) -> func.HttpResponse:
            if not read.open:
                actor_of(req, Role.READER)
                require_known(req, read.parameters)
            return answer_of(query(req))

        level = func.AuthLevel.ANONYMOUS if read.open else auth_level()
        route = blueprint.route(path, methods=["GET"], auth_level=level)
        registered: Handler = blueprint.function_name(query.__name__)(route(handler))
        return registered

    return register


def _report(path: str, answer: type, query: Callable[..., Any], **said: Any) -> Handler:
    """Make a query of the report a call: for what the path names, the page of a list by time, and the flags."""

    @_read(path, answer, **said)
    @wraps(query)
    def reported(req: func.HttpRequest) -> object:
        page = page_of(req, said.get("states", ())) if said.get("paged") else ()
        flags = [flag(req, name) for name in said.get("flags", ())]
        found = query(bootstrap.basegate().queries, *req.route_params.values(), *page, *flags)
        return json_answer(found[0], headers={"ETag": found[1]}) if said.get("etag") else found

    return reported


status = _report("v1/status", models.Status, Queries.status)
gates = _report("v1/gates", models.Items[models.Gate], Queries.gates)
gate = _report("v1/gates/{gate}", models.GateDetail, Queries.gate)
candidates = _report(
    "v1/gates/{gate}/candidates",
    Page[CandidateSummary],
    Queries.candidates,
    paged=True,
    states=tuple(CandidateState),
)
promotions = _report("v1/gates/{gate}/promotions", Page[Move], Queries.promotions, paged=True)
apps = _report("v1/apps", models.Items[models.App], Queries.apps)
app = _report("v1/apps/{app}", models.AppDetail, Queries.app)
rollouts = _report(
    "v1/apps/{app}/rollouts",
    Page[RolloutSummary],
    Queries.rollouts,
    paged=True,
    states=tuple(RolloutState),
)


@_read("v1/drift", Drift)
def drift(req: func.HttpRequest) -> object:
    """Upstream, ledger, stable tag, app and container side by side, as the last sweep saw them."""
    return bootstrap.basegate().drift.drift()


holds = _report("v1/holds", models.Items[models.StandingHold], Queries.holds)
vetoes = _report("v1/vetoes", models.Items[Veto], Queries.vetoes, flags={"all": "Those that were lifted, too."})
candidate = _report("v1/candidates/{candidate}", models.CandidateDetail, Queries.candidate, etag=True)


@_read("v1/candidates/{candidate}/log", RunLog)
def candidate_log(req: func.HttpRequest) -> object:
    """The log of a candidate's check: so far while it runs, then as it was kept."""
    return bootstrap.basegate().logs.of_candidate(req.route_params["candidate"])


rollout = _report("v1/rollouts/{rollout}", models.RolloutDetail, Queries.rollout, etag=True)


@_read("v1/rollouts/{rollout}/log", RunLog)
def rollout_log(req: func.HttpRequest) -> object:
    """The log of a rollout's build: so far while it runs, then as it was kept."""
    return bootstrap.basegate().logs.of_rollout(req.route_params["rollout"])


@_read("v1/openapi.json", dict)
def openapi(req: func.HttpRequest) -> object:
    """This document."""
    return document()


@_read("readyz", Readiness, also={503: "something cannot be used"})
def readyz(req: func.HttpRequest) -> object:
    """Whether everything that the rules need can be used, each with what to do if not."""
    results = tuple(bootstrap.basegate().health.run())
    ready = not any(result.stops for result in results)
    return json_answer(Readiness(ready=ready, findings=results), 200 if ready else 503)


@_read("healthz", Health, open=True)
def healthz(req: func.HttpRequest) -> object:
    """Whether the app is up."""
    return Health()
