"""The command `task explain`: shows what a task file does, without running it and without a running sandbox."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sandbox.instance import Instance
from sandbox.lifecycle import SandboxError

if TYPE_CHECKING:
    from sandbox.tasks.explain import ExplainedStep, Explanation, Problem
    from sandbox.tasks.outcome import ImageReference

_REGISTRY = "myregistry.azurecr.io"
_RUN = "ca1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command `task`."""
    parser.add_argument("action", choices=("explain",))
    parser.add_argument("file", metavar="FILE", type=Path, help="a task file")
    text = "a value for {{.Values.NAME}}; may be repeated"
    parser.add_argument("--set", metavar="NAME=VALUE", type=_assignment, action="append", default=[], help=text)
    text = "the folder with the Dockerfiles (default: that of FILE)"
    parser.add_argument("--context", metavar="DIR", type=Path, help=text)
    text = f"the registry that runs the task (default: {_REGISTRY})"
    parser.add_argument("--registry", metavar="SERVER", default=_REGISTRY, help=text)
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(_instance: Instance, options: argparse.Namespace) -> int:
    """Explain a task file; returns 1 if ACR Tasks would give an error for it.

    Raises:
        SandboxError: the file cannot be read, or the context is no folder.
    """
    # What runs tasks is imported only here: the other commands start faster without it.
    from sandbox.tasks.explain import explain
    from sandbox.tasks.outcome import RunInfo

    info = RunInfo(id=_RUN, registry=options.registry, date=datetime.now(UTC))
    text, context = _text(options.file), options.context or options.file.parent
    if not context.is_dir():
        raise SandboxError(f"there is no folder {context}")
    explanation = explain(str(options.file), text, dict(options.set), info, context)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(explanation)).decode())
    else:
        for line in _lines(explanation):
            print(_visible(line))
        for problem in explanation.errors:
            for line in _error(problem):
                print(_visible(line), file=sys.stderr)
    return 1 if explanation.errors else 0


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    return name, value


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise SandboxError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SandboxError(f"{file} is no UTF-8 text") from error


def _lines(explanation: Explanation) -> Iterator[str]:
    if not explanation.steps:
        return
    registry, run_id = explanation.variables["Registry"], explanation.variables["ID"]
    yield f"{explanation.file}, version {explanation.version}, as the run {run_id} of {registry}"
    yield f"order: {', then '.join(' and '.join(group) for group in explanation.order)}"
    if explanation.secrets:
        yield f"secrets: {', '.join(explanation.secrets)}"
    yield from (f"warning: {warning}" for warning in explanation.warnings)
    for step in explanation.steps:
        yield ""
        yield f"{step.id} ({step.kind}), {_start(step)}"
        yield from (f"  {name}: {value}" for name, value in _properties(step))
        yield from (f"  note: {note}" for note in step.notes)


def _start(step: ExplainedStep) -> str:
    return f"after {' and '.join(step.waits_for)}" if step.waits_for else "at once"


def _properties(step: ExplainedStep) -> Iterator[tuple[str, str]]:
    if step.command:
        yield "command", " ".join(step.command.split())
    yield from (("image", image) for image in step.images)
    yield from (("env", entry) for entry in step.env)
    yield from ((name, _plain(value)) for name, value in step.settings.items())
    if step.dependencies:
        yield "runtime dependency", _name(step.dependencies.runtime)
        yield from (("buildtime dependency", _name(image)) for image in step.dependencies.buildtime)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _name(image: ImageReference) -> str:
    tag, digest = image.tag and f":{image.tag}", image.digest and f"@{image.digest}"
    return f"{image.registry}/{image.repository}{tag}{digest}"


def _visible(line: str) -> str:
    """The line with escapes for what a terminal would act on: whoever wrote the file must not hide a command."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in line
    )


def _error(problem: Problem) -> Iterator[str]:
    place = "".join(f":{number}" for number in (problem.line, problem.column) if number)
    step = f"step {problem.step}: " if problem.step else ""
    yield f"{problem.file}{place}: {step}{problem.message}"
    if problem.hint:
        yield f"  {problem.hint}"
