"""Renders a task file as ACR does: without comments, with aliases since v1.1.0, and as a Go template.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-reference-yaml#run-variables
and https://github.com/Azure/acr-builder (templating/)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.tasks.outcome import RunInfo
from sandbox.tasks.taskfile.alias import Aliases, Files, expand, has_aliases, read_aliases, separate
from sandbox.tasks.taskfile.gotemplate.execution import execute
from sandbox.tasks.taskfile.gotemplate.values import Secret, TemplateError, is_secret, json_of, text_of
from sandbox.tasks.taskfile.model import TaskFileError
from sandbox.tasks.taskfile.source import Source, Writer, joined, without_comments

_SAFE_IN_A_SHELL = re.compile(r"[\w^@=+%,:./-]+", re.ASCII)
_NO_ALIASES = Aliases({})


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered task file. `first_words` are the aliases that the first word of a cmd can be.

    `secrets` are the texts in it that no error may show.
    """

    source: Source
    first_words: Mapping[str, str]
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    warnings: tuple[str, ...] = ()


def render(
    text: str,
    run: RunInfo,
    values: Mapping[str, Any],
    secrets: Mapping[str, str] | None = None,
    files: Files | None = None,
) -> Rendered:
    """Render a task file. `secrets` are the values of `{{.Secrets.x}}` (default: those of `run`).

    `files` reads the files of aliases in the run's context.

    Raises:
        TaskFileError: for the first thing that cannot be rendered, with line and column.
    """
    lines = without_comments(text)
    data = _data(run, values, run.secrets if secrets is None else secrets)
    aliases, source, hidden = _NO_ALIASES, joined(lines), frozenset[str]()
    known = _lines(run.secrets.values())
    if has_aliases(lines):
        block, source = separate(lines)
        if block.text:
            block, hidden = _execute(block, data | {"Secrets": {}})
        aliases = read_aliases(block, files, known | hidden)
        source = expand(source, aliases)
    if not source.text.strip():
        return Rendered(source, aliases.values, known, aliases.warnings)
    rendered, found = _execute(source, data)
    if not rendered.text:
        raise TaskFileError(["the rendered task file is empty"])
    return Rendered(rendered, aliases.values, known | found, aliases.warnings)


def _lines(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(line for text in texts for line in text.splitlines() if line.strip())


def _data(run: RunInfo, values: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    marked = frozenset(run.secrets.values()) - {""}
    given = {name: _marked(value, marked) for name, value in values.items()}
    variables = {**run.variables(), "OSVersion": ""}
    shell = _shell_quoted(json_of(given))
    return {
        "Build": {"ID": run.id},
        "Run": variables,
        "Values": given,
        "ValuesJSON": Secret(shell) if is_secret(given) else shell,
        "RunJSON": _shell_quoted(json_of(variables)),
        "Secrets": {name: Secret(value) for name, value in secrets.items()},
    }


def _marked(value: object, secrets: frozenset[str]) -> object:
    if isinstance(value, list):
        return [_marked(item, secrets) for item in value]
    return Secret(value) if isinstance(value, str) and value in secrets else value


def _shell_quoted(text: str) -> str:
    return text if _SAFE_IN_A_SHELL.fullmatch(text) else "'" + text.replace("'", "'\"'\"'") + "'"


def _execute(source: Source, data: Mapping[str, Any]) -> tuple[Source, frozenset[str]]:
    writer, secrets = Writer(), list[str]()

    def write(value: object, offset: int, own: bool) -> None:
        if own:
            writer.copy(str(value), source, offset)
            return
        text = value if isinstance(value, str) else text_of(value)
        if is_secret(value):
            secrets.append(text)
        writer.write(text, source.line(source.index(offset)))

    try:
        execute(source.text, data, write)
    except TemplateError as error:
        raise TaskFileError([f"{source.place(error.offset)}: {error}"]) from None
    except RecursionError:
        raise TaskFileError(["the template is nested too deep"]) from None
    result = writer.source()
    return Source(result.text.replace("<no value>", ""), result.lines), _lines(secrets)
