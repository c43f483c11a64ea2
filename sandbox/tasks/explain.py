"""Explains a task file without running it: its steps as they would run, their order, and the base images that ACR
Tasks would record."""

from __future__ import annotations

import base64
import dataclasses
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import msgspec

from sandbox.tasks.outcome import ImageReference, RunInfo, full_name, parse_image
from sandbox.tasks.runner.attempts import BUILDKIT, command_line, expansion_warning
from sandbox.tasks.runner.command_line import (
    DockerBuild,
    DockerCommandError,
    read_docker_build,
    read_docker_run,
    split_docker,
)
from sandbox.tasks.runner.dockerfile import Bases, BuildLine, ScanError, read_build_line, scan
from sandbox.tasks.runner.execution import WORKSPACE
from sandbox.tasks.runner.references import SCRATCH, read_reference
from sandbox.tasks.runner.stages import UsedImages, used_images
from sandbox.tasks.runner.unseen import missing_base, remedy, unscanned_bases, unseen_bases
from sandbox.tasks.runs.taskfile import read_alias_file
from sandbox.tasks.taskfile.graph import predecessors
from sandbox.tasks.taskfile.model import Step, StepKind, TaskFileError
from sandbox.tasks.taskfile.parser import declared_secrets, load_task_file
from sandbox.tasks.taskfile.shell import split_line

_LINE = re.compile(r"line (?P<line>\d+)(?:, column (?P<column>\d+))?: (?P<message>.*)", re.DOTALL)
_SHOWN_APART = frozenset(("id", "kind", "run", "images", "when", "env"))


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error that ACR Tasks would give. `line` counts in `file`; 0 if it belongs to no line."""

    file: str
    message: str
    line: int = 0
    column: int = 0
    step: str = ""
    hint: str = ""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """The base images that ACR would record for a build step."""

    runtime: ImageReference
    buildtime: tuple[ImageReference, ...] = ()


class ExplainedStep(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A step as it would run. `settings` are its other properties, named as in a task file."""

    id: str
    kind: str
    waits_for: tuple[str, ...] = ()
    command: str = ""
    images: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    dependencies: Recorded | None = None
    notes: tuple[str, ...] = ()


class Explanation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task file as it would run. Steps of one group of `order` can run at the same time.

    It is empty but for `errors` if the file is invalid.
    """

    file: str
    version: str = ""
    variables: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    order: tuple[tuple[str, ...], ...] = ()
    steps: tuple[ExplainedStep, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[Problem, ...] = ()


def explain(file: str, text: str, values: Mapping[str, str], run: RunInfo, context: Path) -> Explanation:
    """Explain the text of a task file. `file` is its name for errors; Dockerfiles are read in `context`.

    No secret is read: its place is taken by the expression that stands for it.
    """
    try:
        files = partial(read_alias_file, context)
        declared = declared_secrets(text, run, values, files)
        known = {secret.id: _placeholder(secret.id) for secret in declared}
        task = load_task_file(text, replace(run, secrets=known), values, files)
    except TaskFileError as error:
        return Explanation(file=file, errors=tuple(_problem(file, fault) for fault in error.faults))
    before, reader = predecessors(task.steps), _Reader(context, _unveil(known))
    steps = tuple(reader.step(step, before[step.id]) for step in task.steps)
    return Explanation(
        file=file,
        version=task.version,
        variables={name: value for name, value in run.variables().items() if value},
        secrets=tuple(known),
        order=tuple(_groups(before)),
        steps=steps,
        warnings=task.warnings,
        errors=tuple(reader.errors),
    )


class _Reader:
    def __init__(self, context: Path, unveil: Callable[[str], str]) -> None:
        self._context, self._unveil = context, unveil
        self._local: set[str] = set()  # full names of images that the steps before make or fetch
        self.errors: list[Problem] = []

    def step(self, step: Step, waits_for: tuple[str, ...]) -> ExplainedStep:
        """Explain a step. Errors that its build would end in are added to `errors`."""
        notes: list[str] = []
        images, recorded = self._work(step, notes)
        self._local.update(full_name(parse_image(image)) for image in images)
        return ExplainedStep(
            id=step.id,
            kind=str(step.kind),
            waits_for=waits_for,
            command=self._unveil(step.run),
            images=tuple(map(self._unveil, images)),
            env=tuple(map(self._unveil, step.env)),
            settings={name: self._shown(value) for name, value in _settings(step)},
            dependencies=recorded,
            notes=tuple(map(self._unveil, notes)),
        )

    def _work(self, step: Step, notes: list[str]) -> tuple[tuple[str, ...], Recorded | None]:
        if step.kind is StepKind.PUSH:
            return step.images, None
        try:
            line = split_line(command_line(step))
            notes += [f"{text}." for text in [expansion_warning(step, line)] if text]
            words = line.words
            if step.kind is StepKind.BUILD:
                build = read_docker_build(words)
                return tuple(build.tags), self._scan(step, build, notes)
            return self._command(step, words, notes), None
        except DockerCommandError as error:
            notes.append(f"The sandbox does not run this: {error}.")
        except ValueError as error:
            notes.append(f"The sandbox cannot parse this command line: {error}.")
        return (), None

    def _command(self, step: Step, words: list[str], notes: list[str]) -> tuple[str, ...]:
        run = read_docker_run(words)
        docker = split_docker([run.image, *run.arguments])
        if docker is None:
            return (run.image,)
        command, arguments = docker
        if command == "build":
            build = read_docker_build(arguments)
            notes += unscanned_bases(self._used(step, build) or UsedImages())
            return tuple(build.tags)
        return (read_docker_run(arguments).image,) if command == "run" else tuple(arguments)

    def _scan(self, step: Step, build: DockerBuild, notes: list[str]) -> Recorded | None:
        line = read_build_line(step.run)
        text = self._read(step, line.scanned_file)
        if text is None:
            notes.append(f"There is no {line.scanned_file} in {self._context}, so its base images are not known.")
            return None
        used = self._used(step, build) or UsedImages()
        try:
            bases = scan(text, line)
        except ScanError as error:
            self._add(step, line, error, used)
            return None
        notes += unseen_bases(used, bases)
        names = {base.name for base in used.bases()}
        notes += [missing_base(name, bases) for name in self._missing(bases, names) if BUILDKIT not in step.env]
        return Recorded(runtime=read_reference(bases.runtime), buildtime=tuple(map(read_reference, bases.buildtime)))

    def _missing(self, bases: Bases, used: set[str]) -> Iterator[str]:
        for name in bases.all():
            if full_name(parse_image(name)) not in used | self._local and name != SCRATCH and "@" not in name:
                yield name

    def _add(self, step: Step, line: BuildLine, error: ScanError, used: UsedImages) -> None:
        file, hint = str(self._place(step, line.scanned_file)), self._unveil(remedy(error, used))
        self.errors.append(
            Problem(file=file, line=error.line, message=self._unveil(str(error)), hint=hint, step=step.id)
        )

    def _used(self, step: Step, build: DockerBuild) -> UsedImages | None:
        names = (build.file, f"{build.context}/{build.file}") if build.file else (f"{build.context}/Dockerfile",)
        text = next((text for name in names if (text := self._read(step, name)) is not None), None)
        return None if text is None else used_images(text, build.values(step.env), build.target, build.platform)

    def _place(self, step: Step, name: str) -> Path:
        path = posixpath.normpath(posixpath.join(WORKSPACE, step.working_directory, name))
        return self._context / path.removeprefix(f"{WORKSPACE}/")

    def _read(self, step: Step, name: str) -> str | None:
        """The text of a file, by its path in the step; None if the context has none there."""
        file = self._place(step, name)
        try:
            real = Path(os.path.realpath(file))
            if not real.is_relative_to(self._context.resolve()) or not real.is_file():
                return None
            return real.read_text(errors="replace")
        except (OSError, ValueError):  # a name that no file can have
            return None

    def _shown(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._unveil(value)
        return list(map(self._shown, value)) if isinstance(value, tuple) else value


def _settings(step: Step) -> Iterator[tuple[str, Any]]:
    """The properties of a step that differ from their defaults, and its timeout, by their names in a task file."""
    for field in dataclasses.fields(step):
        value = getattr(step, field.name)
        empty = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if field.name not in _SHOWN_APART and (value != empty or field.name == "timeout"):
            first, *rest = field.name.split("_")
            shown = dict(value) if field.name == "volume_mounts" else value
            yield first + "".join(map(str.capitalize, rest)), shown


def _groups(before: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, ...]]:
    sorter = TopologicalSorter(before)
    sorter.prepare()
    while sorter.is_active():
        ready = sorter.get_ready()
        yield tuple(name for name in before if name in ready)
        sorter.done(*ready)


def _placeholder(name: str) -> str:
    """A value for a secret, in Base64, because a volume takes nothing else."""
    return base64.b64encode(f"the secret {name}".encode()).decode()


def _unveil(placeholders: Mapping[str, str]) -> Callable[[str], str]:
    """Replace placeholders by the expressions that they stand for."""
    twice = {base64.b64encode(value.encode()).decode(): name for name, value in placeholders.items()}

    def unveil(text: str) -> str:
        for value, name in twice.items():
            text = text.replace(value, f"{{{{.Secrets.{name} | b64enc}}}}")
        for name, value in placeholders.items():
            text = text.replace(value, f"{{{{.Secrets.{name}}}}}")
        return text

    return unveil


def _problem(file: str, fault: str) -> Problem:
    match = _LINE.fullmatch(fault)
    if match is None:
        return Problem(file=file, message=fault)
    return Problem(file=file, message=match["message"], line=int(match["line"]), column=int(match["column"] or 0))
