"""(4) HTTP: what operators read. Each query is a call; what it returns is answered."""

from collections.abc import Callable
from typing import Any

import azure.functions as func

from functions.web.answers import Handler, Health, Readiness, answer_of, answering, json_answer
from functions.web.inputs import flag, page_of
from functions.web.openapi import document
from functions.web.operations import READS, Read
from functions.web.principal import Role, actor_of, auth_level
from shared import bootstrap
from shared.domain.candidate import CandidateState
from shared.domain.rollout import RolloutState
from shared.domain.stable_tag import Veto
from shared.workflow import answers
from shared.workflow.drift import Drift
from shared.workflow.run_logs import RunLog

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
            return answer_of(query(req))

        level = func.AuthLevel.ANONYMOUS if read.open else auth_level()
        route = blueprint.route(path, methods=["GET"], auth_level=level)
        registered: Handler = blueprint.function_name(query.__name__)(route(handler))
        return registered

    return register


@_read("v1/status", answers.Status)
def status(req: func.HttpRequest) -> object:
    """All gates and apps at a glance."""
    return bootstrap.basegate().report.status()


@_read("v1/gates", answers.Items[answers.Gate])
def gates(req: func.HttpRequest) -> object:
    """All gates at a glance."""
    return bootstrap.basegate().report.gates()


@_read("v1/gates/{gate}", answers.GateStory)
def gate(req: func.HttpRequest) -> object:
    """One gate: its rule, its stable tags with their holds, its vetoes.

    Of the values that its tasks get, only the names are answered.
    """
    return bootstrap.basegate().report.gate(req.route_params["gate"])


@_read("v1/gates/{gate}/candidates", answers.Page[answers.CandidateSummary], paged=True, states=tuple(CandidateState))
def candidates(req: func.HttpRequest) -> object:
    """The candidates of a gate, by the time they were admitted, the newest first."""
    return bootstrap.basegate().report.candidates(req.route_params["gate"], *page_of(req, CandidateState))


@_read("v1/gates/{gate}/promotions", answers.Page[answers.Move], paged=True)
def promotions(req: func.HttpRequest) -> object:
    """Every move of a gate's stable tags, rollbacks among them, the newest first."""
    return bootstrap.basegate().report.promotions(req.route_params["gate"], *page_of(req))


@_read("v1/apps", answers.Items[answers.App])
def apps(req: func.HttpRequest) -> object:
    """All apps at a glance."""
    return bootstrap.basegate().report.apps()


@_read("v1/apps/{app}", answers.AppStory)
def app(req: func.HttpRequest) -> object:
    """One app: its rule, what is live, what it stands on.

    Of the values that its build and its containers get, only the names are answered.
    """
    return bootstrap.basegate().report.app(req.route_params["app"])


@_read("v1/apps/{app}/rollouts", answers.Page[answers.RolloutSummary], paged=True, states=tuple(RolloutState))
def rollouts(req: func.HttpRequest) -> object:
    """The rollouts of an app, by the time they began, the newest first."""
    return bootstrap.basegate().report.rollouts(req.route_params["app"], *page_of(req, RolloutState))


@_read("v1/drift", Drift)
def drift(req: func.HttpRequest) -> object:
    """Upstream, ledger, stable tag, app and container side by side, as the last sweep saw them."""
    return bootstrap.basegate().drift.drift()


@_read("v1/holds", answers.Items[answers.StandingHold])
def holds(req: func.HttpRequest) -> object:
    """All holds that stand, the newest first."""
    return bootstrap.basegate().report.holds()


@_read("v1/vetoes", answers.Items[Veto], flags={"all": "Those that were lifted, too."})
def vetoes(req: func.HttpRequest) -> object:
    """The vetoes that stand, the newest first."""
    return bootstrap.basegate().report.vetoes(lifted_too=flag(req, "all"))


@_read("v1/candidates/{candidate}", answers.CandidateStory, etag=True)
def candidate(req: func.HttpRequest) -> object:
    """The whole story of a candidate, with its evidence and what promotes its digest."""
    return _fresh(*bootstrap.basegate().report.candidate(req.route_params["candidate"]))


@_read("v1/candidates/{candidate}/log", RunLog)
def candidate_log(req: func.HttpRequest) -> object:
    """The log of a candidate's check: so far while it runs, then as it was kept."""
    return bootstrap.basegate().logs.of_candidate(req.route_params["candidate"])


@_read("v1/rollouts/{rollout}", answers.RolloutStory, etag=True)
def rollout(req: func.HttpRequest) -> object:
    """The whole story of a rollout."""
    return _fresh(*bootstrap.basegate().report.rollout(req.route_params["rollout"]))


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


def _fresh(story: object, etag: str) -> func.HttpResponse:
    return json_answer(story, headers={"ETag": etag})
