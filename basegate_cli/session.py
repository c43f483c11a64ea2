"""What all commands share: the client, the output, and its format, for people or programs."""

from __future__ import annotations

import getpass
import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from basegate_cli.client import BadAddress, Call, Client, Problem

Json = Annotated[bool, typer.Option("--json", help="Print the JSON response unchanged.")]

_WIDTH_IN_FILES = 1000
"""Without a terminal lines are not wrapped, for `grep`."""


@dataclass(frozen=True, slots=True)
class Session:
    """One invocation. With `json` the responses are printed unchanged, and nothing else."""

    client: Client
    json: bool
    out: Console
    err: Console

    def get(self, path: str, **query: str) -> str:
        """Read.

        Raises:
            Problem, Unreachable: it failed.
        """
        with self._problems_printed():
            return self.client.get(path, **query)

    def call(self, call: Call, reason: str, *, dry_run: bool = False) -> str:
        """Act, or plan with a dry run.

        Raises:
            Problem, Unreachable: it failed.
        """
        with self._problems_printed():
            return self.client.call(call, reason, dry_run=dry_run)

    def show(self, answer: str, render: Callable[[Any], RenderableType]) -> None:
        """Print a response: unchanged, or rendered for people."""
        if self.json:
            print(answer)
        else:
            self.out.print(render(json.loads(answer)))

    @contextmanager
    def _problems_printed(self) -> Iterator[None]:
        """Prints problems within the block: programs get the unchanged response."""
        try:
            yield
        except Problem as problem:
            if self.json and problem.body:
                print(problem.body)
            raise


@dataclass(frozen=True, slots=True)
class Connection:
    """The global options: Basegate's URL, the key, the caller's name, and the output format."""

    url: str
    key: str
    actor: str
    json: bool


def session_of(context: typer.Context, as_json: bool) -> Session:
    """The session of a command on the standard streams; `--json` is accepted before and after the command.

    Raises:
        typer.BadParameter: the key must not be sent to the URL.
    """
    given: Connection = context.find_object(Connection)  # type: ignore[assignment]  # set before any command runs
    try:
        client = Client(given.url, given.key, given.actor or _default_actor())
    except BadAddress as error:
        raise typer.BadParameter(str(error), param_hint="--url") from None
    return Session(client, given.json or as_json, _console(stderr=False), _console(stderr=True))


def _default_actor() -> str:
    """`user@host` of this machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "someone"
    return f"{user}@{socket.gethostname()}"


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else _WIDTH_IN_FILES, highlight=False)
