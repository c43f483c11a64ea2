"""Renders a task file: `{{.Run.ID}}`, `{{.Values.x}}`, `{{.Secrets.x}}`, and since v1.1.0 `$Registry`.

The expressions are a subset of Go templates: fields, quoted strings, and pipelines of the functions `index`,
`default` and `b64enc`, with `{{-` and `-}}` to trim. Azure renders a missing value as an empty string; here it is
an error that names it, as is any unknown name.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-reference-yaml#run-variables
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.tasks.outcome import RunInfo
from sandbox.tasks.taskfile.alias import Aliases, read_aliases
from sandbox.tasks.taskfile.expression import ExpressionError, Scope, evaluate
from sandbox.tasks.taskfile.model import TaskFileError

_COMMENT_LINE = r"(?P<comment>(?m:^)[ \t]*#[^\n]*)"
_ACTION = re.compile(r"(?P<before>\s*(?={{- ))?{{(?:- )?(?P<inner>[^\n]*?)(?P<after> -}}\s*|}})")


@dataclass(frozen=True, slots=True)
class Filled:
    """A rendered task file. Secrets are represented by placeholders, so that no value can change the YAML around it
    or appear in an error; `reveal` inserts them into a string, `image_aliases` maps first words of cmd to images."""

    text: str
    image_aliases: Mapping[str, str]
    _hidden: dict[str, str] = field(repr=False)

    def reveal(self, text: str) -> str:
        """The text with the placeholders replaced by secrets."""
        for placeholder, value in self._hidden.items():
            text = text.replace(placeholder, value)
        return text


def render(text: str, run: RunInfo, values: Mapping[str, str]) -> str:
    """Render a task file, or any text with its templates, including the secrets of `run`.

    Raises:
        TaskFileError: all faults, each with line and column.
    """
    filled = fill(text, run, values, run.secrets)
    return filled.reveal(filled.text)


def fill(text: str, run: RunInfo, values: Mapping[str, str], known: Mapping[str, str] | None) -> Filled:
    """Render a task file with placeholders for secrets. `known` is None if no secret is known yet: all are empty.

    Raises:
        TaskFileError: all faults, each with line and column.
    """
    aliases, rest = read_aliases(text)
    fields = {"Run": run.variables(), "Values": values, "Secrets": known}
    filler = _Filler(Scope(fields, frozenset(run.secrets.values()) - {""}), aliases)
    result = filler.fill(rest)
    if filler.faults:
        raise TaskFileError(filler.faults)
    return Filled(result, aliases.images, filler.hidden)


class _Filler:
    def __init__(self, scope: Scope, aliases: Aliases) -> None:
        self._scope, self._aliases = scope, aliases
        self.faults: list[str] = []
        self.hidden: dict[str, str] = {}
        self._nonce = secrets.token_hex(8)

    def fill(self, text: str) -> str:
        """Render in one pass, so that positions are those of the file and no value is interpreted as a template."""
        pieces = [_COMMENT_LINE, _ACTION.pattern, r"(?P<open>{{)", *filter(None, [self._aliases.pattern])]
        return re.sub("|".join(pieces), lambda match: self._replace(match, text), text)

    def _replace(self, match: re.Match[str], text: str) -> str:
        if match["comment"]:
            return "" if self._aliases.pattern else match[0]  # with aliases, ACR removes comments, in scripts too
        if match["open"]:
            self.faults.append(f"{_position(text, match.start())}: {{{{ is not closed on its line")
            return ""
        if match["inner"] is None:
            return self._alias(match, text)
        start = match.start() + len(match["before"] or "")
        return self._action(match["inner"].strip(), text, start)

    def _alias(self, match: re.Match[str], text: str) -> str:
        name = match["alias"]
        if name == self._aliases.directive:
            return name
        if name in self._aliases.values:
            return re.sub(_ACTION, lambda inner: self._action(inner["inner"].strip(), text, match.start()),
                          self._aliases.values[name])  # fmt: skip
        sign = self._aliases.directive
        known = ", ".join(sign + other for other in sorted(self._aliases.values))
        message = f"unknown alias {sign}{name} (known: {known}; write {sign}{sign} for a plain {sign})"
        self.faults.append(f"{_position(text, match.start())}: {message}")
        return ""

    def _action(self, expression: str, text: str, start: int) -> str:
        try:
            result = evaluate(expression, self._scope)
        except ExpressionError as error:
            self.faults.append(f"{_position(text, start)}: {error}")
            return ""
        if not result.secret:
            return result.text
        placeholder = f"secret-{self._nonce}-{len(self.hidden)}-"
        self.hidden[placeholder] = result.text
        return placeholder


def _position(text: str, offset: int) -> str:
    line = text.count("\n", 0, offset) + 1
    return f"line {line}, column {offset - (text.rfind(chr(10), 0, offset) + 1) + 1}"
