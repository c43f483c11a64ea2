"""The commands that list: by time, a page at a time, of one state and of a span of time if asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from basegate_cli import show, show_lists
from basegate_cli.client import segment
from basegate_cli.composing import composed
from basegate_cli.options import App, Before, Gate, Json, Limit, Since, State, Token
from basegate_cli.session import session_of


@dataclass(frozen=True, slots=True)
class Listing:
    """A list: its path below `/api/v1`, how it reads, and what of it is asked for ("": all)."""

    path: str
    render: Callable[[Any], RenderableType]
    only: dict[str, str] = field(default_factory=dict)


def candidates(gate: Gate, state: State = "", since: Since = "", until: Before = "") -> Listing:
    """The candidates of a gate, the newest first."""
    only = {"state": state, "since": since, "until": until}
    return Listing(f"gates/{segment(gate)}/candidates", show.records, only)


def history(gate: Gate, state: State = "", since: Since = "", until: Before = "") -> Listing:
    """What became of everything that came to a gate, the newest first: another name of `candidates`."""
    return candidates(gate, state, since, until)


def promotions(gate: Gate, since: Since = "", until: Before = "") -> Listing:
    """Every move of a gate's stable tags, rollbacks among them, the newest first."""
    return Listing(f"gates/{segment(gate)}/promotions", show_lists.promotions, {"since": since, "until": until})


def rollouts(app: App, state: State = "", since: Since = "", until: Before = "") -> Listing:
    """The rollouts of an app, the newest first."""
    only = {"state": state, "since": since, "until": until}
    return Listing(f"apps/{segment(app)}/rollouts", show.records, only)


def read_page(
    context: typer.Context, listing: Listing, limit: Limit = 20, token: Token = "", as_json: Json = False
) -> None:
    """Print a page of a list."""
    session = session_of(context, as_json)
    asked = {"limit": str(limit), "token": token} | listing.only
    session.show(session.get(listing.path, **{name: value for name, value in asked.items() if value}), listing.render)


def holds(context: typer.Context, as_json: Json = False) -> None:
    """All holds that stand, of all gates."""
    session = session_of(context, as_json)
    session.show(session.get("holds"), show_lists.holds)


def vetoes(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Those that were lifted, too.")] = False,
    as_json: Json = False,
) -> None:
    """The vetoes that stand, of all gates."""
    session = session_of(context, as_json)
    session.show(session.get("vetoes", **({"all": "true"} if every else {})), show_lists.vetoes)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for listing in (candidates, history, promotions, rollouts):
        app.command(listing.__name__, rich_help_panel="Reading")(composed(listing, read_page, "listing"))
    for command in (holds, vetoes):
        app.command(rich_help_panel="Reading")(command)
