"""(4) HTTP: what operators read."""

from __future__ import annotations

import azure.functions as func

from functions.web.answers import answering, json_answer, log_answer
from functions.web.bodies import flag
from functions.web.openapi import document
from functions.web.paging import page_of
from functions.web.principal import Role, actor_of, auth_level
from functions.web.shapes import Health, Readiness
from shared import bootstrap
from shared.domain.candidate import CandidateState
from shared.domain.rollout import RolloutState
from shared.workflow.report import Report
from shared.workflow.run_logs import RunLogs

blueprint = func.Blueprint()


@blueprint.route("v1/status", methods=["GET"], auth_level=auth_level())
@answering
def status(req: func.HttpRequest) -> func.HttpResponse:
    """All gates and apps at a glance."""
    return json_answer(_report(req).status())


@blueprint.route("v1/gates", methods=["GET"], auth_level=auth_level())
@answering
def gates(req: func.HttpRequest) -> func.HttpResponse:
    """All gates at a glance."""
    return json_answer(_report(req).gates())


@blueprint.route("v1/gates/{gate}", methods=["GET"], auth_level=auth_level())
@answering
def gate(req: func.HttpRequest) -> func.HttpResponse:
    """One gate: its rule, its stable tags with their holds, its vetoes."""
    return json_answer(_report(req).gate(req.route_params["gate"]))


@blueprint.route("v1/gates/{gate}/candidates", methods=["GET"], auth_level=auth_level())
@answering
def candidates(req: func.HttpRequest) -> func.HttpResponse:
    """The candidates of a gate, the newest first, a page at a time."""
    report, asked = _report(req), page_of(req, CandidateState)
    return json_answer(report.candidates(req.route_params["gate"], *asked))


@blueprint.route("v1/gates/{gate}/promotions", methods=["GET"], auth_level=auth_level())
@answering
def promotions(req: func.HttpRequest) -> func.HttpResponse:
    """Every move of a gate's stable tags, rollbacks among them, the newest first, a page at a time."""
    report, asked = _report(req), page_of(req)
    return json_answer(report.promotions(req.route_params["gate"], *asked))


@blueprint.route("v1/apps", methods=["GET"], auth_level=auth_level())
@answering
def apps(req: func.HttpRequest) -> func.HttpResponse:
    """All apps at a glance."""
    return json_answer(_report(req).apps())


@blueprint.route("v1/apps/{app}", methods=["GET"], auth_level=auth_level())
@answering
def app(req: func.HttpRequest) -> func.HttpResponse:
    """One app: its rule, what is live, what it stands on."""
    return json_answer(_report(req).app(req.route_params["app"]))


@blueprint.route("v1/apps/{app}/rollouts", methods=["GET"], auth_level=auth_level())
@answering
def rollouts(req: func.HttpRequest) -> func.HttpResponse:
    """The rollouts of an app, the newest first, a page at a time."""
    report, asked = _report(req), page_of(req, RolloutState)
    return json_answer(report.rollouts(req.route_params["app"], *asked))


@blueprint.route("v1/drift", methods=["GET"], auth_level=auth_level())
@answering
def drift(req: func.HttpRequest) -> func.HttpResponse:
    """Upstream, ledger, stable tag, app and container side by side, as the last sweep saw them."""
    actor_of(req, Role.READER)
    return json_answer(bootstrap.basegate().drift.drift())


@blueprint.route("v1/holds", methods=["GET"], auth_level=auth_level())
@answering
def holds(req: func.HttpRequest) -> func.HttpResponse:
    """All holds that stand, of all gates."""
    return json_answer(_report(req).holds())


@blueprint.route("v1/vetoes", methods=["GET"], auth_level=auth_level())
@answering
def vetoes(req: func.HttpRequest) -> func.HttpResponse:
    """All vetoes that stand, of all gates; with `all=true` those that were lifted, too."""
    report = _report(req)
    return json_answer(report.vetoes(lifted_too=flag(req, "all")))


@blueprint.route("v1/candidates/{candidate}", methods=["GET"], auth_level=auth_level())
@answering
def candidate(req: func.HttpRequest) -> func.HttpResponse:
    """The whole story of a candidate, in order, with its evidence."""
    story, etag = _report(req).candidate(req.route_params["candidate"])
    return json_answer(story, headers={"ETag": etag})


@blueprint.route("v1/candidates/{candidate}/log", methods=["GET"], auth_level=auth_level())
@answering
def candidate_log(req: func.HttpRequest) -> func.HttpResponse:
    """The log of a candidate's check: so far while it runs, then as it was kept."""
    return log_answer(_logs(req).of_candidate(req.route_params["candidate"]))


@blueprint.route("v1/rollouts/{rollout}", methods=["GET"], auth_level=auth_level())
@answering
def rollout(req: func.HttpRequest) -> func.HttpResponse:
    """The whole story of a rollout."""
    story, etag = _report(req).rollout(req.route_params["rollout"])
    return json_answer(story, headers={"ETag": etag})


@blueprint.route("v1/rollouts/{rollout}/log", methods=["GET"], auth_level=auth_level())
@answering
def rollout_log(req: func.HttpRequest) -> func.HttpResponse:
    """The log of a rollout's build: so far while it runs, then as it was kept."""
    return log_answer(_logs(req).of_rollout(req.route_params["rollout"]))


@blueprint.route("v1/openapi.json", methods=["GET"], auth_level=auth_level())
@answering
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """This interface, as OpenAPI 3.1."""
    return json_answer(document())


@blueprint.route("readyz", methods=["GET"], auth_level=auth_level())
@answering
def readyz(req: func.HttpRequest) -> func.HttpResponse:
    """Whether everything that the rules need can be used, each with what to do if not."""
    actor_of(req, Role.READER)
    findings = tuple(bootstrap.basegate().doctor.examine())
    ready = not any(finding.stops for finding in findings)
    return json_answer(Readiness(ready=ready, findings=findings), 200 if ready else 503)


@blueprint.route("healthz", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def healthz(req: func.HttpRequest) -> func.HttpResponse:
    """Whether the app is up; says nothing else."""
    return json_answer(Health())


def _report(req: func.HttpRequest) -> Report:
    """The report, for whoever may read it."""
    actor_of(req, Role.READER)
    return bootstrap.basegate().report


def _logs(req: func.HttpRequest) -> RunLogs:
    """The logs, for whoever may read them."""
    actor_of(req, Role.READER)
    return bootstrap.basegate().logs
