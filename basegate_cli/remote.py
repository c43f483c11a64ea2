"""The remote half: commands generated from the table of operations. It uses only the HTTP interface."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from inspect import Parameter, Signature
from typing import Annotated, Any, get_args, get_origin

import msgspec
import typer

from basegate_cli import show
from basegate_cli.client import Call
from basegate_cli.session import Json, Session, session_of
from shared.interface import IN_PATH, OPERATIONS, Operation, resolve

_RENDERED: dict[str, Callable[[Any], Any]] = {
    "status": show.status,
    "gate": show.gate,
    "candidates": show.records,
    "history": show.records,
    "promotions": show.promotions,
    "rollouts": show.records,
    "holds": show.holds,
    "vetoes": show.vetoes,
    "exceptions": show.exceptions,
    "drift": show.drift,
    "why": show.story,
    "findings": show.findings,
    "log": lambda answer: show.plain(answer["log"]),
}
"""How the response of a reading command is rendered."""

_WORDS = {
    "cancel": "Cancel a candidate, or a rollout that is not being deployed yet",
    "history": "The candidates of a gate, the newest first: another name of `candidates`",
    "why": "A candidate or a rollout: its history, in order, with its evidence",
    "log": "The log of a candidate's check or of a rollout's build: stored, or so far if the run is in progress",
}
"""The help of commands that are not exactly one operation."""


def _option(name: str, kind: Any, default: Any, described: str, **more: Any) -> Parameter:
    shown = typer.Option(f"--{name.replace('_', '-')}", help=described, **more)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, shown])


def _argument(name: str, described: str) -> Parameter:
    shown = typer.Argument(metavar=name.upper(), help=described)
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[str, shown])


_JSON = Parameter("as_json", Parameter.KEYWORD_ONLY, default=False, annotation=Json)
_CONTEXT = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)
_ACTING = (
    _option("reason", str, Parameter.empty, "Why; it is recorded with the operation."),
    _option("dry_run", bool, False, "Show the effects; do nothing."),
    _option("yes", bool, False, "Do it without a confirmation; required without a terminal."),
)
_QUERY = (
    _option("state", str, "", "Only those in this state, for example `failed`."),
    _option("since", str, "", "Only since this time: 2026-03-01T12:00:00Z."),
    _option("until", str, "", "Only before this time."),
    _option("limit", int, 20, "How many at most.", min=1, max=100),
    _option("token", str, "", "Continue after an earlier page: its `next`."),
)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    commands: dict[str, list[Operation]] = {}
    for operation in OPERATIONS.values():
        if operation.command:
            commands.setdefault(operation.command, []).append(operation)
    commands["history"] = commands["candidates"]
    for name, operations in commands.items():
        words, panel = _WORDS.get(name, operations[0].summary), "Acting" if operations[0].body else "Reading"
        app.command(name, help=f"{words}.", rich_help_panel=panel)(_command(name, operations))


def path_of(command: str, identifier: str) -> str:
    """The path of a command about a candidate or a rollout; the format of the id selects one of them."""
    operations = [operation for operation in OPERATIONS.values() if operation.command == command]
    return _operation_for(operations, [identifier]).at(identifier)


def _command(name: str, operations: Sequence[Operation]) -> Callable[..., None]:
    """A command with the parameters of its operations: those in the path, and those of the body or the query."""
    first = operations[0]
    in_path = [_argument("id", "A candidate or a rollout.")] if operations[1:] else list(map(_in_path, first.in_path))
    asked = list(_in_body(resolve(first.body))) if first.body else list(_in_query(first))

    def command(context: typer.Context, *, as_json: bool, **given: Any) -> None:
        session, values = session_of(context, as_json), [given[one.name] for one in in_path]
        operation, sent = _operation_for(operations, values), {one.name: given[one.name] for one in asked}
        if other := next((name for name in first.formats if given[name]), ""):
            session_of(context, True).show(session.get(OPERATIONS[first.formats[other]].at(*values)), show.plain)
        elif operation.body:
            body = {name: value for name, value in sent.items() if value is not None}
            call = Call(operation.method, operation.at(*values), body)
            _perform(session, call, given["reason"], dry_run=given["dry_run"], yes=given["yes"])
        else:
            query = {name: "true" if value is True else str(value) for name, value in sent.items() if value}
            answer = session.get(operation.at(*values), **query)
            shown = json.dumps({"log": answer}) if operation.answer.endswith(":RunLog") else answer
            session.show(shown, _RENDERED[name])

    formats = [_option(name, bool, False, f"{OPERATIONS[other].summary}.") for name, other in first.formats.items()]
    parameters = (_CONTEXT, *in_path, *asked, *formats, *(_ACTING if first.body else ()), _JSON)
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _operation_for(operations: Sequence[Operation], values: Sequence[str]) -> Operation:
    """The operation whose path the id matches; the last one if it matches none."""
    for operation in operations[:-1]:
        _, schema = IN_PATH[operation.in_path[0]]
        if re.fullmatch(schema["pattern"], values[0]):
            return operation
    return operations[-1]


def _in_path(name: str) -> Parameter:
    described, _ = IN_PATH[name]
    return _argument(name, described)


def _in_body(body: type) -> Iterator[Parameter]:
    """The fields of a body but its reason: arguments if required, else options."""
    for field in msgspec.structs.fields(body):
        kind, described = _described(field.type)
        if field.required and field.name != "reason":
            yield _argument(field.name, described)
        elif not field.required:
            yield _option(field.name, kind, field.default, described)


def _in_query(operation: Operation) -> Iterator[Parameter]:
    yield from (option for option in _QUERY if option.name in operation.in_query)
    yield from (_option(name, bool, False, said) for name, said in operation.flags.items())


def _described(kind: Any) -> tuple[Any, str]:
    """The type of a field, and its description; of `X | None`, those of X."""
    if get_origin(kind) is not Annotated:
        return _described(get_args(kind)[0])
    bare, meta = get_args(kind)
    return bare, meta.description


def _perform(session: Session, call: Call, reason: str, *, dry_run: bool, yes: bool) -> None:
    """Show the plan and ask for a confirmation, unless `dry_run` or `yes`; then act.

    Raises:
        typer.Exit: it is not confirmed.
        typer.BadParameter: there is no terminal to ask at.
    """
    if not dry_run and not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise typer.BadParameter("no confirmation without a terminal: add --yes, or --dry-run to see the plan")
        plan = Session(session.client, json=False, out=session.err, err=session.err)
        plan.show(plan.call(call, reason, dry_run=True), show.effects)
        if not typer.confirm("Do it?", err=True):
            raise typer.Exit(1)
    session.show(session.call(call, reason, dry_run=dry_run), show.effects)
