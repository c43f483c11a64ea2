"""(4) HTTP: the pages a person looks at.

A page is an anonymous shell without any data. Its script fetches the fragment of the same path, for which the host
wants a key (or App Service a signed-in person): see docs/adr/0011-the-board-and-its-key.md.
"""

from __future__ import annotations

import azure.functions as func

from functions.web.answers import answering
from functions.web.pages import asset, page
from functions.web.principal import Role, actor_of, auth_level
from shared import bootstrap
from shared.settings import trusts_sign_in
from shared.workflow.views import Views

blueprint = func.Blueprint()

ANONYMOUS = func.AuthLevel.ANONYMOUS


@blueprint.route("board", methods=["GET"], auth_level=ANONYMOUS)
def board(req: func.HttpRequest) -> func.HttpResponse:
    """All gates and apps."""
    return _shell()


@blueprint.route("board/candidates/{candidate}", methods=["GET"], auth_level=ANONYMOUS)
def board_candidate(req: func.HttpRequest) -> func.HttpResponse:
    """One candidate."""
    return _shell()


@blueprint.route("board/rollouts/{rollout}", methods=["GET"], auth_level=ANONYMOUS)
def board_rollout(req: func.HttpRequest) -> func.HttpResponse:
    """One rollout."""
    return _shell()


@blueprint.route("board/gates/{gate}", methods=["GET"], auth_level=ANONYMOUS)
def board_gate(req: func.HttpRequest) -> func.HttpResponse:
    """The history of one gate."""
    return _shell()


@blueprint.route("board/assets/{name}", methods=["GET"], auth_level=ANONYMOUS)
@answering
def board_asset(req: func.HttpRequest) -> func.HttpResponse:
    """What the pages are dressed in."""
    return asset(req.route_params["name"])


@blueprint.route("board/fragments/overview", methods=["GET"], auth_level=auth_level())
@answering
def fragment_overview(req: func.HttpRequest) -> func.HttpResponse:
    """The flow picture."""
    return page("overview.html", view=_views(req).overview())


@blueprint.route("board/fragments/candidates/{candidate}", methods=["GET"], auth_level=auth_level())
@answering
def fragment_candidate(req: func.HttpRequest) -> func.HttpResponse:
    """The story of a candidate."""
    return page("story.html", view=_views(req).candidate(req.route_params["candidate"]))


@blueprint.route("board/fragments/rollouts/{rollout}", methods=["GET"], auth_level=auth_level())
@answering
def fragment_rollout(req: func.HttpRequest) -> func.HttpResponse:
    """The story of a rollout."""
    return page("story.html", view=_views(req).rollout(req.route_params["rollout"]))


@blueprint.route("board/fragments/gates/{gate}", methods=["GET"], auth_level=auth_level())
@answering
def fragment_gate(req: func.HttpRequest) -> func.HttpResponse:
    """A page of a gate's history, of one state if the query names one."""
    state, token = req.params.get("state", ""), req.params.get("token", "")
    return page("gate.html", view=_views(req).history(req.route_params["gate"], state, token))


def _views(req: func.HttpRequest) -> Views:
    actor_of(req, Role.READER)
    app = bootstrap.basegate()
    return Views(app.report, app.services.clock.now())


def _shell() -> func.HttpResponse:
    return page("shell.html", keyed=not trusts_sign_in())
