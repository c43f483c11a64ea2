"""Playing a walkthrough, and the table that tells how it went."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.yardstick.azure_cli import AzureCli, Outcome
from sandbox.yardstick.walkthrough import Command, Walkthrough

_COMMAND_WIDTH = 88


@dataclass(frozen=True, slots=True)
class Measured:
    """One command, and how it ended (None where an earlier one did not give it what it needs)."""

    command: Command
    outcome: Outcome | None
    reason: str = ""

    @property
    def works(self) -> bool:
        """Whether it ended well and wrote what was expected."""
        return self.outcome is not None and not self.reason


def play(walkthrough: Walkthrough, cli: AzureCli) -> Iterator[Measured]:
    """Run the commands one after the other; a failed one does not end the walk."""
    variables = dict(walkthrough.variables)
    for command in walkthrough.command:
        try:
            arguments = command.arguments(variables)
        except KeyError as missing:
            yield Measured(command, None, f"${missing.args[0]} is not known")
            continue
        outcome = cli.run(arguments, command.seconds)
        reason = _reason(command, outcome)
        if command.keep and not reason:
            variables[command.keep] = outcome.output.strip()
        yield Measured(command, outcome, reason)


def row(measured: Measured) -> str:
    """One line of the table. Commands are shown with the names of their variables, never with a secret."""
    outcome = measured.outcome
    text = f"az {measured.command.run}"
    short = text if len(text) <= _COMMAND_WIDTH else f"{text[: _COMMAND_WIDTH - 1]}…"
    code, seconds = (str(outcome.code), f"{outcome.seconds:.1f}") if outcome else ("-", "-")
    return f"{short:<{_COMMAND_WIDTH}}  {code:>4}  {seconds:>6}  {'yes' if measured.works else 'no'}"


def header() -> str:
    """The table's first lines."""
    line = f"{'command':<{_COMMAND_WIDTH}}  {'exit':>4}  {'s':>6}  works"
    return f"{line}\n{'-' * len(line)}"


def _reason(command: Command, outcome: Outcome) -> str:
    if outcome.code:
        lines = [line for line in outcome.errors.splitlines() if line and not line.startswith("WARNING")]
        return lines[0] if lines else f"exit code {outcome.code}"
    return "" if command.accepts(outcome.output) else f"the output has nothing like {command.expect!r}"
