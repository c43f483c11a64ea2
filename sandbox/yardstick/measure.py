"""Runs a walkthrough, and renders the table of its results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from sandbox.yardstick.azure_cli import AzureCli, Outcome
from sandbox.yardstick.walkthrough import Command, Walkthrough

_COMMAND_WIDTH = 88


class Verdict(Enum):
    """The result of a command, as shown in the table."""

    WORKS = "yes"
    FAILS = "no"
    REFUSED = "refused"
    AZ_BUG = "az bug"


@dataclass(frozen=True, slots=True)
class Measured:
    """One command, its outcome (None if an earlier one did not set a variable that it needs), and why it fails."""

    command: Command
    verdict: Verdict
    outcome: Outcome | None
    reason: str = ""


def play(walkthrough: Walkthrough, cli: AzureCli) -> Iterator[Measured]:
    """Run the commands one after the other; a failed one does not end the run."""
    variables = dict(walkthrough.variables)
    for command in walkthrough.command:
        try:
            arguments = command.arguments(variables)
        except KeyError as missing:
            yield Measured(command, Verdict.FAILS, None, f"${missing.args[0]} is not set")
            continue
        outcome = cli.run(arguments, command.seconds)
        verdict, reason = _judge(command, outcome)
        if command.keep and verdict is Verdict.WORKS:
            variables[command.keep] = outcome.output.strip()
        yield Measured(command, verdict, outcome, reason)


def row(measured: Measured) -> str:
    """One line of the table. Commands are shown with the names of their variables, never with a secret value."""
    outcome = measured.outcome
    text = f"az {measured.command.run}"
    short = text if len(text) <= _COMMAND_WIDTH else f"{text[: _COMMAND_WIDTH - 1]}…"
    code, seconds = (str(outcome.code), f"{outcome.seconds:.1f}") if outcome else ("-", "-")
    return f"{short:<{_COMMAND_WIDTH}}  {code:>4}  {seconds:>6}  {measured.verdict.value}"


def header() -> str:
    """The first lines of the table."""
    line = f"{'command':<{_COMMAND_WIDTH}}  {'exit':>4}  {'s':>6}  works"
    return f"{line}\n{'-' * len(line)}"


def expected(command: Command) -> Verdict:
    """The verdict that the list gives a command: it fails the run if it gets another one."""
    if command.az_bug:
        return Verdict.AZ_BUG
    return Verdict.REFUSED if command.refused else Verdict.WORKS


def summary(verdicts: Iterable[tuple[Command, Verdict]]) -> str:
    """The last line. Commands that are not in the article are not counted."""
    counted = [verdict for command, verdict in verdicts if not command.extra]
    line = f"{counted.count(Verdict.WORKS)} of {len(counted)} commands work"
    if refused := counted.count(Verdict.REFUSED):
        line += f"; {refused} are refused in a sentence that says what the sandbox does not have"
    if bugs := counted.count(Verdict.AZ_BUG):
        line += f"; {bugs} cannot, because of a bug in az itself"
    return line


def _judge(command: Command, outcome: Outcome) -> tuple[Verdict, str]:
    if command.fails or command.refused:
        return _judge_failure(command, outcome)
    if outcome.code == 0 and command.accepts(outcome.output):
        return Verdict.WORKS, ""
    if outcome.code == 0:
        return Verdict.FAILS, f"the output does not match {command.expect!r}"
    if command.az_bug and re.search(command.az_bug, outcome.errors):
        return Verdict.AZ_BUG, command.note
    return Verdict.FAILS, _error(outcome)


def _judge_failure(command: Command, outcome: Outcome) -> tuple[Verdict, str]:
    if outcome.code == 0:
        return Verdict.FAILS, "az succeeded, and should have failed"
    if not re.search(command.fails or command.refused, outcome.errors):
        return Verdict.FAILS, _error(outcome)
    return (Verdict.REFUSED, _error(outcome)) if command.refused else (Verdict.WORKS, "")


def _error(outcome: Outcome) -> str:
    # Only the error's own line: warnings of az may contain a password that it has just created.
    lines = (line for line in outcome.errors.splitlines() if line.startswith("ERROR"))
    return next(lines, f"exit code {outcome.code}: az printed no line that begins with ERROR")
