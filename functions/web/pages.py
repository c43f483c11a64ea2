"""HTML and the board's assets, with the headers that keep a page from doing anything but what it is for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import azure.functions as func

from shared.domain.errors import NotThere
from shared.workflow.board.wording import age, moment

if TYPE_CHECKING:
    from jinja2 import Environment

_ROOT = Path(__file__).resolve().parent.parent
_SCRIPTS = ("board.js", "act.js", "api.js", "morph.js")
_ASSETS = {"board.css": "text/css", "icon.svg": "image/svg+xml"} | dict.fromkeys(_SCRIPTS, "text/javascript")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def page(template: str, **values: object) -> func.HttpResponse:
    """A page or a fragment of one. Never stored: it holds data, or decides which key is asked for."""
    text = _environment().get_template(template).render(values)
    headers = _HEADERS | {"Cache-Control": "no-store"}
    return func.HttpResponse(text, mimetype="text/html", charset="utf-8", headers=headers)


def asset(name: str) -> func.HttpResponse:
    """A style sheet, script or picture. Raises `NotThere` for any name but the known ones."""
    if name not in _ASSETS:
        raise NotThere(f"there is no asset {name[:80]!r}; there is {', '.join(_ASSETS)}")
    headers = _HEADERS | {"Cache-Control": "no-cache"}
    return func.HttpResponse(_bytes_of(name), mimetype=_ASSETS[name], charset="utf-8", headers=headers)


@cache
def _bytes_of(name: str) -> bytes:
    return (_ROOT / "static" / name).read_bytes()


@cache
def _environment() -> Environment:
    """The templates. Imported on first use: the event path needs none."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(_ROOT / "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"age": age, "moment": moment}
    return made
