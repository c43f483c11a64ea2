"""What all acting commands have in common: a reason, a plan that is shown first, and a question."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from basegate_cli import show
from basegate_cli.client import Act
from basegate_cli.composing import composed
from basegate_cli.options import DryRun, Json, Reason, Yes
from basegate_cli.session import Session, session_of


def perform(
    context: typer.Context,
    act: Act,
    reason: Reason,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Show the plan and ask, unless told not to; then act."""
    session = session_of(context, as_json)
    if not dry_run and not yes:
        _ask(session, act, reason)
    session.show(session.act(act, reason, dry_run=dry_run), show.effects)


def acting(describe: Callable[..., Act]) -> Callable[..., None]:
    """A command from a function that says what to call."""
    return composed(describe, perform, "act")


def _ask(session: Session, act: Act, reason: str) -> None:
    """Raises `typer.Exit` where the answer is no, `typer.BadParameter` where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise typer.BadParameter("nobody can be asked without a terminal: add --yes, or --dry-run to see the plan")
    plan = Session(session.client, json=False, out=session.err, err=session.err)
    plan.show(plan.act(act, reason, dry_run=True), show.effects)
    if not typer.confirm("Do it?", err=True):
        raise typer.Exit(1)
