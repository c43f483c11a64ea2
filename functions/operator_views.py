"""(4) HTTP: what operators read."""

from __future__ import annotations

import azure.functions as func

from functions.web.answers import answering, json_answer
from functions.web.openapi import document
from functions.web.principal import Role, actor_of, auth_level
from shared import bootstrap
from shared.domain.errors import Malformed, NotThere
from shared.workflow.report import PAGE_LIMIT

blueprint = func.Blueprint()


@blueprint.route("v1/status", methods=["GET"], auth_level=auth_level())
@answering
def status(req: func.HttpRequest) -> func.HttpResponse:
    """All gates and apps at a glance."""
    actor_of(req, Role.READER)
    return json_answer(bootstrap.basegate().report.status())


@blueprint.route("v1/gates/{gate}", methods=["GET"], auth_level=auth_level())
@answering
def gate(req: func.HttpRequest) -> func.HttpResponse:
    """One gate: its rule, its stable tags with their holds, its vetoes."""
    actor_of(req, Role.READER)
    return json_answer(bootstrap.basegate().report.gate(req.route_params["gate"]))


@blueprint.route("v1/gates/{gate}/candidates", methods=["GET"], auth_level=auth_level())
@answering
def candidates(req: func.HttpRequest) -> func.HttpResponse:
    """The candidates of a gate, the newest first, a page at a time."""
    actor_of(req, Role.READER)
    report = bootstrap.basegate().report
    return json_answer(report.candidates(req.route_params["gate"], _limit(req), req.params.get("token", "")))


@blueprint.route("v1/apps/{app}/rollouts", methods=["GET"], auth_level=auth_level())
@answering
def rollouts(req: func.HttpRequest) -> func.HttpResponse:
    """The rollouts of an app, the newest first, a page at a time."""
    actor_of(req, Role.READER)
    report = bootstrap.basegate().report
    return json_answer(report.rollouts(req.route_params["app"], _limit(req), req.params.get("token", "")))


@blueprint.route("v1/candidates/{candidate}", methods=["GET"], auth_level=auth_level())
@answering
def candidate(req: func.HttpRequest) -> func.HttpResponse:
    """The whole story of a candidate, in order, with its evidence."""
    actor_of(req, Role.READER)
    story, etag = bootstrap.basegate().report.candidate(req.route_params["candidate"])
    return json_answer(story, headers={"ETag": etag})


@blueprint.route("v1/candidates/{candidate}/log", methods=["GET"], auth_level=auth_level())
@answering
def candidate_log(req: func.HttpRequest) -> func.HttpResponse:
    """The stored log of a candidate's check."""
    actor_of(req, Role.READER)
    text = bootstrap.basegate().report.log(req.route_params["candidate"])
    if not text:
        raise NotThere("no log of this candidate is kept yet")
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return func.HttpResponse(text, mimetype="text/plain", charset="utf-8", headers=headers)


@blueprint.route("v1/rollouts/{rollout}", methods=["GET"], auth_level=auth_level())
@answering
def rollout(req: func.HttpRequest) -> func.HttpResponse:
    """The whole story of a rollout."""
    actor_of(req, Role.READER)
    story, etag = bootstrap.basegate().report.rollout(req.route_params["rollout"])
    return json_answer(story, headers={"ETag": etag})


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
    findings = bootstrap.basegate().doctor.examine()
    ready = not any(finding.stops for finding in findings)
    return json_answer({"ready": ready, "findings": findings}, 200 if ready else 503)


@blueprint.route("healthz", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def healthz(req: func.HttpRequest) -> func.HttpResponse:
    """Whether the app is up; says nothing else."""
    return json_answer({"status": "up"})


def _limit(req: func.HttpRequest) -> int:
    text = req.params.get("limit", str(PAGE_LIMIT))
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= PAGE_LIMIT):
        raise Malformed("limit", f"must be a number from 1 to {PAGE_LIMIT}")
    return int(text)
