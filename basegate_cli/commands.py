"""`basegate`: the global options, the two halves of the commands, and the exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from basegate_cli import judge, registry, remote, rules, show, verify, watch
from basegate_cli.client import Problem, Unreachable
from basegate_cli.session import Connection, Json, session_of

REFUSED, USAGE, UNREACHABLE = 1, 2, 3

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def basegate(
    context: typer.Context,
    url: Annotated[str, typer.Option(envvar="BASEGATE_URL", help="The URL of Basegate.")] = "http://127.0.0.1:7071",
    key: Annotated[str, typer.Option(envvar="BASEGATE_KEY", help="A function key; better in the environment.")] = "",
    actor: Annotated[str, typer.Option(help="The actor to record (default: user@host).")] = "",
    as_json: Json = False,
) -> None:
    """Operate Basegate, the gate for public base images.

    Exit codes: 0 done, 1 refused, not proven, or the rules have errors, 2 wrong usage, 3 Basegate or the registry
    cannot be reached. Those of `judge` are a verdict: 0 passed, 1 failed, 3 unknown.
    """
    context.obj = Connection(url, key, actor, as_json)


remote.add_to(app)
app.add_typer(rules.app, name="rules", rich_help_panel="Without a gate")
app.command("judge", rich_help_panel="Without a gate")(judge.judge)
app.command(rich_help_panel="Without a gate")(verify.verify)


@app.command("watch", rich_help_panel="Reading")
def follow(
    context: typer.Context,
    identifier: Annotated[str, typer.Argument(metavar="[ID]", help="A candidate or a rollout (default: all).")] = "",
    as_json: Json = False,
) -> None:
    """Poll every second, until it is settled or you press Ctrl-C."""
    session = session_of(context, as_json)
    if identifier:
        watch.watch_record(session, remote.path_of("why", identifier))
    else:
        watch.watch_status(session)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        app(args=arguments, prog_name="basegate")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else USAGE
    except (Problem, rules.InvalidRules, registry.Refused) as problem:
        return _tell(problem, REFUSED)
    except judge.InvalidInput as error:
        return _tell(error, USAGE)
    except (Unreachable, registry.Unreached) as error:
        return _tell(error, UNREACHABLE)
    return 0


def _tell(error: Exception, code: int) -> int:
    typer.echo(show.plain(error).plain, err=True)
    return code
