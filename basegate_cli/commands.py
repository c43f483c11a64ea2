"""`basegate`: the options before the command, the commands that read, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from basegate_cli import acts, lists, show, show_drift, watch
from basegate_cli.client import BadAddress, Client, Problem, Unreachable, segment
from basegate_cli.options import Gate, Json, RecordId
from basegate_cli.session import default_actor, open_session, session_of

REFUSED, USAGE, UNREACHABLE = 1, 2, 3

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def basegate(
    context: typer.Context,
    url: Annotated[str, typer.Option(envvar="BASEGATE_URL", help="Where Basegate is.")] = "http://127.0.0.1:7071",
    key: Annotated[str, typer.Option(envvar="BASEGATE_KEY", help="A function key; better in the environment.")] = "",
    actor: Annotated[str, typer.Option(help="Who acts, for the record (default: user@host).")] = "",
    as_json: Json = False,
) -> None:
    """Ask and direct the gate that public base images pass through.

    Exit codes: 0 done, 1 refused, 2 wrong usage, 3 Basegate cannot be reached.
    """
    try:
        client = Client(url, key, actor or default_actor())
    except BadAddress as error:
        raise typer.BadParameter(str(error), param_hint="--url") from None
    context.obj = open_session(client, as_json)


@app.command(rich_help_panel="Reading")
def status(context: typer.Context, as_json: Json = False) -> None:
    """All gates and apps at a glance."""
    session = session_of(context, as_json)
    session.show(session.get("status"), show.status)


@app.command(rich_help_panel="Reading")
def gate(context: typer.Context, gate: Gate, as_json: Json = False) -> None:
    """One gate: its stable tags with their holds, its vetoes."""
    session = session_of(context, as_json)
    session.show(session.get(f"gates/{segment(gate)}"), show.gate)


@app.command(rich_help_panel="Reading")
def why(context: typer.Context, identifier: RecordId, as_json: Json = False) -> None:
    """Everything that happened to a candidate or a rollout, in order, with the evidence."""
    session = session_of(context, as_json)
    session.show(session.get(acts.record_path(identifier)), show.story)


@app.command(rich_help_panel="Reading")
def log(context: typer.Context, identifier: RecordId, as_json: Json = False) -> None:
    """The log of a candidate's check or of a rollout's build: so far while it runs, then as it was kept."""
    session = session_of(context, as_json)
    text = session.get(f"{acts.record_path(identifier)}/log")
    session.show(json.dumps({"log": text}), lambda answer: show.plain(answer["log"]))


@app.command(rich_help_panel="Reading")
def drift(context: typer.Context, as_json: Json = False) -> None:
    """Upstream, ledger, stable tag, app and container side by side, as the last sweep saw them."""
    session = session_of(context, as_json)
    session.show(session.get("drift"), show_drift.drift)


@app.command("watch", rich_help_panel="Reading")
def follow(
    context: typer.Context,
    identifier: Annotated[str, typer.Argument(metavar="[ID]", help="A candidate or a rollout; all without.")] = "",
    as_json: Json = False,
) -> None:
    """Ask every second, until it is settled or you press Ctrl-C."""
    session = session_of(context, as_json)
    if identifier:
        watch.watch_record(session, acts.record_path(identifier))
    else:
        watch.watch_status(session)


lists.add_to(app)
acts.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        app(args=arguments, prog_name="basegate")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else USAGE
    except Problem as problem:
        return _tell(problem, REFUSED)
    except Unreachable as error:
        return _tell(error, UNREACHABLE)
    return 0


def _tell(error: Exception, code: int) -> int:
    typer.echo(show.plain(error).plain, err=True)
    return code
