"""(4) HTTP: the pages of the board.

A page is an anonymous shell without data. Its script fetches the fragment of the same path, which requires a function
key (or a person signed in through App Service): see docs/adr/0011-the-board-and-its-key.md. The headers allow a page
only what it needs.
"""

from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING

import azure.functions as func

from functions.web import Handler, answering, auth_level
from shared import bootstrap
from shared.interface import Role, resolve
from shared.settings import platform_signs_in

if TYPE_CHECKING:
    from jinja2 import Environment

blueprint = func.Blueprint()

_HERE = Path(__file__).resolve().parent
_SCRIPTS = ("board.js", "dialog.js", "api.js", "morph.js")
_ASSETS = {"board.css": "text/css", "icon.svg": "image/svg+xml"} | dict.fromkeys(_SCRIPTS, "text/javascript")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HISTORY = "history.html"
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",  # browsers ignore it over plain HTTP
}

_PAGES = {
    "overview": ("", "overview.html", "overview:overview_page"),
    "drift": ("drift", "drift.html", "drift:drift_page"),
    "candidate": ("candidates/{candidate}", "record.html", "records:candidate_page"),
    "rollout": ("rollouts/{rollout}", "record.html", "records:rollout_page"),
    "gate": ("gates/{gate}", _HISTORY, "records:gate_history"),
    "app": ("apps/{app}", _HISTORY, "records:app_history"),
}
"""The pages: the path, the template of the fragment, and the function in `shared.board` that makes its view."""


def page(template: str, **values: object) -> func.HttpResponse:
    """A page or a fragment. Never cached: it has data, or depends on the kind of sign-in."""
    from shared.adapters.redaction import without_tricks

    text = without_tricks(_environment().get_template(template).render(values))
    headers = _HEADERS | {"Cache-Control": "no-store"}
    return func.HttpResponse(text, mimetype="text/html", charset="utf-8", headers=headers)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from shared.board.parts import age, moment

    loader = FileSystemLoader(_HERE / "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"age": age, "moment": moment}
    return made


def _over_https(handler: Handler) -> Handler:
    """Wraps a handler of pages: it refuses plain HTTP, since requests contain the key."""

    @answering
    @wraps(handler)
    def secured(req: func.HttpRequest) -> func.HttpResponse:
        from functions.web.inputs import require_https

        require_https(req)
        return handler(req)

    return secured


@_over_https
def shell(req: func.HttpRequest) -> func.HttpResponse:
    """A page: the same for all callers, without data."""
    return page("shell.html", keyed=not platform_signs_in())


def _fragment(template: str, view: str) -> Handler:
    """The handler of a page's content, for readers. A history has a filter, the overview the state of the app."""

    @_over_https
    def fragment(req: func.HttpRequest) -> func.HttpResponse:
        import msgspec

        from functions.web.inputs import actor_of
        from shared.board.records import Filter

        actor_of(req, Role.READER)
        app = bootstrap.basegate()
        now = app.services.clock.now()
        shown = msgspec.convert(dict(req.params), Filter)
        asked = [app.services, *req.route_params.values(), shown if template == _HISTORY else now]
        if template == "overview.html":
            asked.append(app.health.recent())
        return page(template, view=resolve(f"shared.board.{view}")(*asked), now=now)

    return fragment


for _name, (_path, _template, _view) in _PAGES.items():
    _route = blueprint.route(f"board/{_path}".rstrip("/"), methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    blueprint.function_name(f"board_{_name}")(_route(shell))
    _route = blueprint.route(f"board/fragments/{_path or _name}", methods=["GET"], auth_level=auth_level())
    blueprint.function_name(f"fragment_{_name}")(_route(_fragment(_template, _view)))


@blueprint.route("board/assets/{name}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@_over_https
def board_asset(req: func.HttpRequest) -> func.HttpResponse:
    """A style sheet, script or picture of the pages; no other file is served."""
    from shared.domain.errors import NotFound

    name = req.route_params["name"]
    if name not in _ASSETS:
        raise NotFound(f"there is no asset {name[:80]!r}; there is {', '.join(_ASSETS)}")
    headers = _HEADERS | {"Cache-Control": "no-cache"}
    return func.HttpResponse(_bytes_of(name), mimetype=_ASSETS[name], charset="utf-8", headers=headers)


@cache
def _bytes_of(name: str) -> bytes:
    return (_HERE / "static" / name).read_bytes()
