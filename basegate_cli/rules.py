"""The local half: commands on files, which use the code of the app. They need no gate."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True)


class InvalidRules(Exception):
    """The rules have errors; the text names all of them, each with its line and column."""


@app.callback()
def rules() -> None:
    """Work on rules (gates.yaml)."""


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)],
    sign_in: Annotated[
        Literal["keys", "easy-auth"],
        typer.Option(envvar="BASEGATE_SIGN_IN", help="The value of this setting in the app."),
    ] = "keys",
) -> None:
    """Validate rules as the app does: all errors, each with its line and column."""
    from shared.findings.exceptions import end_warnings, is_in_scope
    from shared.rules import InvalidGates, parse_gates

    try:
        policy = parse_gates(file.read_text(encoding="utf-8"), str(file), signs_in=sign_in != "keys")
    except InvalidGates as error:
        raise InvalidRules(str(error)) from None
    except UnicodeDecodeError:
        raise InvalidRules(f"{file} is not UTF-8 text") from None
    counts = f"registries: {len(policy.registries)}, gates: {len(policy.gates)}, apps: {len(policy.apps)}"
    typer.echo(f"{file} has no errors ({counts})")
    now = datetime.now(UTC)
    scopes = [[one for one in policy.exceptions if is_in_scope(one, gate)] for gate in policy.gates]
    for warning in dict.fromkeys(text for scope in scopes for _, text in end_warnings(scope, now)):
        typer.echo(f"warning: {warning}")
