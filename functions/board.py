"""(4) HTTP: the pages a person looks at.

A page is an anonymous shell without any data. Its script fetches the fragment of the same path, for which the host
wants a key (or App Service a signed-in person): see docs/adr/0011-the-board-and-its-key.md.
"""

from __future__ import annotations

from collections.abc import Callable

import azure.functions as func

from functions.web.answers import answering
from functions.web.pages import asset, page
from functions.web.principal import Role, actor_of, auth_level
from shared import bootstrap
from shared.settings import trusts_sign_in
from shared.workflow.board.models import Filter
from shared.workflow.board.views import Views

blueprint = func.Blueprint()

ANONYMOUS = func.AuthLevel.ANONYMOUS


@blueprint.route("board", methods=["GET"], auth_level=ANONYMOUS)
def board(req: func.HttpRequest) -> func.HttpResponse:
    """All gates and apps."""
    return _shell()


@blueprint.route("board/drift", methods=["GET"], auth_level=ANONYMOUS)
def board_drift(req: func.HttpRequest) -> func.HttpResponse:
    """What differs, and the alarms."""
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


@blueprint.route("board/apps/{app}", methods=["GET"], auth_level=ANONYMOUS)
def board_app(req: func.HttpRequest) -> func.HttpResponse:
    """The history of one app."""
    return _shell()


@blueprint.route("board/assets/{name}", methods=["GET"], auth_level=ANONYMOUS)
@answering
def board_asset(req: func.HttpRequest) -> func.HttpResponse:
    """What the pages are dressed in."""
    return asset(req.route_params["name"])


@blueprint.route("board/fragments/overview", methods=["GET"], auth_level=auth_level())
@answering
def fragment_overview(req: func.HttpRequest) -> func.HttpResponse:
    """The flow picture, and what wants a person."""
    return _fragment(req, "overview.html", Views.overview)


@blueprint.route("board/fragments/drift", methods=["GET"], auth_level=auth_level())
@answering
def fragment_drift(req: func.HttpRequest) -> func.HttpResponse:
    """Everything side by side, as the last sweep saw it."""
    return _fragment(req, "drift.html", Views.drift)


@blueprint.route("board/fragments/candidates/{candidate}", methods=["GET"], auth_level=auth_level())
@answering
def fragment_candidate(req: func.HttpRequest) -> func.HttpResponse:
    """The story of a candidate."""
    return _fragment(req, "story.html", lambda views: views.candidate(req.route_params["candidate"]))


@blueprint.route("board/fragments/rollouts/{rollout}", methods=["GET"], auth_level=auth_level())
@answering
def fragment_rollout(req: func.HttpRequest) -> func.HttpResponse:
    """The story of a rollout."""
    return _fragment(req, "story.html", lambda views: views.rollout(req.route_params["rollout"]))


@blueprint.route("board/fragments/gates/{gate}", methods=["GET"], auth_level=auth_level())
@answering
def fragment_gate(req: func.HttpRequest) -> func.HttpResponse:
    """A page of a gate's history."""
    shown, token = _asked(req)
    return _fragment(req, "history.html", lambda views: views.gate(req.route_params["gate"], shown, token))


@blueprint.route("board/fragments/apps/{app}", methods=["GET"], auth_level=auth_level())
@answering
def fragment_app(req: func.HttpRequest) -> func.HttpResponse:
    """A page of an app's history."""
    shown, token = _asked(req)
    return _fragment(req, "history.html", lambda views: views.app(req.route_params["app"], shown, token))


def _asked(req: func.HttpRequest) -> tuple[Filter, str]:
    """The filter of a history, and where its page begins."""
    asked = {name: req.params.get(name, "") for name in ("state", "since", "until")}
    return Filter(**asked), req.params.get("token", "")


def _fragment(req: func.HttpRequest, template: str, look: Callable[[Views], object]) -> func.HttpResponse:
    """What a page shows, for whoever may read."""
    actor_of(req, Role.READER)
    services = bootstrap.basegate().services
    now = services.clock.now()
    return page(template, view=look(Views(services, now)), as_of=f"{now:%H:%M:%S} UTC")


def _shell() -> func.HttpResponse:
    return page("shell.html", keyed=not trusts_sign_in())
