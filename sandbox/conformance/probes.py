"""Probes: each does what a row asks with the sandbox's own code, without containers."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sandbox.conformance.engine import RecordingEngine
from sandbox.conformance.table import Probe, Refused, Row
from sandbox.tasks.outcome import RunInfo, RunStatus
from sandbox.tasks.requests import DockerStep, EncodedTaskStep, NamedValue
from sandbox.tasks.runner.dockerfile import read_build_line
from sandbox.tasks.runner.references import InvalidReference, read_reference
from sandbox.tasks.runner.runner import Runner
from sandbox.tasks.runs.taskfile import read_alias_file, read_task
from sandbox.tasks.taskfile.graph import predecessors
from sandbox.tasks.taskfile.model import TaskFile, TaskFileError
from sandbox.tasks.taskfile.parser import declared_secrets, load_task_file
from sandbox.tasks.taskfile.shell import ShellError, split_line
from sandbox.tasks.taskfile.template import render
from sandbox.web import Fault

_DATE = datetime(2026, 7, 24, 10, 21, 33, tzinfo=UTC)


def _run(row: Row) -> RunInfo:
    return RunInfo(
        id="ca4",
        registry="contoso.azurecr.io",
        date=_DATE,
        task_name="nightly",
        commit="c0ffee",
        branch="main",
        secrets=row.given.get("secrets", {}),
    )


def _read(row: Row, folder: Path) -> tuple[str, dict[str, Any]]:
    """The text and the values, as a run of an encoded task reads them."""
    for name, text in row.given.get("files", {}).items():
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_text(text)
    values = row.given.get("values")
    step = EncodedTaskStep(
        encoded_task_content=_encoded(row.input),
        encoded_values_content=_encoded(values) if values is not None else None,
        values=[NamedValue(name=name, value=value) for name, value in row.given.get("set", {}).items()],
    )
    return read_task(step, folder)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _load(row: Row, folder: Path) -> TaskFile:
    text, values = _read(row, folder)
    files = partial(read_alias_file, folder)
    declared_secrets(text, _run(row), values, files)
    return load_task_file(text, _run(row), values, files)


def _view(task: TaskFile) -> dict[str, Any]:
    before = predecessors(task.steps)
    steps = [
        asdict(step) | {"waits_for": list(before[step.id]), "volume_mounts": dict(step.volume_mounts)}
        for step in task.steps
    ]
    volumes = {
        volume.name: {name: content.decode() for name, content in volume.files.items()} for volume in task.volumes
    }
    view = asdict(task) | {"steps": steps, "volumes": volumes, "ids": [step.id for step in task.steps]}
    listed: dict[str, Any] = _listed(view)
    return listed


def _listed(value: Any) -> Any:
    """The value with lists for tuples, as TOML has them."""
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


async def _task(row: Row) -> Mapping[str, Any]:
    """Read the input as a task file."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return _view(_load(row, Path(folder)))
        except (TaskFileError, Fault) as error:
            raise Refused(_said(error)) from error


async def _rendered(row: Row) -> Mapping[str, Any]:
    """Render the input, of which the first line may be a version."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            text, values = _read(row, Path(folder))
            rendered = render(text, _run(row), values, files=partial(read_alias_file, Path(folder)))
        except (TaskFileError, Fault) as error:
            raise Refused(_said(error)) from error
    return {"text": rendered.source.text}


async def _build(row: Row) -> Mapping[str, Any]:
    """Read the input as the images of `az acr build`, one a line."""
    images = row.input.split()
    text, _ = read_task(DockerStep(docker_file_path="Dockerfile", image_names=images, is_push_enabled=True), Path("/"),
                        ("contoso.azurecr.io", *row.given.get("registries", ())))  # fmt: skip
    return _view(load_task_file(text, _run(row), {}))


async def _scan(row: Row) -> Mapping[str, Any]:
    """Read the input as a build line, as the dependency scanner does."""
    view: Mapping[str, Any] = _listed(asdict(read_build_line(row.input)))
    return view


async def _words(row: Row) -> Mapping[str, Any]:
    """Split the input as a command line."""
    try:
        line = split_line(row.input)
    except ShellError as error:
        raise Refused(str(error)) from error
    return {"words": line.words, "expanded": line.expanded}


async def _image(row: Row) -> Mapping[str, Any]:
    """Read the input as the reference of an image."""
    try:
        return asdict(read_reference(row.input)) | {"valid": True}
    except InvalidReference:
        return {"valid": False}


async def _played(row: Row) -> Mapping[str, Any]:
    """Run the input as a task file on an engine that only records. `exits` are the exit codes by container or image."""
    lines: list[str] = []

    async def log(line: str) -> None:
        lines.append(line)

    async def sleep(seconds: float) -> None:
        engine.store.calls.append(f"sleep {seconds:g}")

    engine = RecordingEngine(row.given.get("exits", {}), row.given.get("says", {}))
    with tempfile.TemporaryDirectory() as folder:
        try:
            task = _load(row, Path(folder))
        except TaskFileError as error:
            raise Refused(_said(error)) from error
        outcome = await Runner(engine, sleep=sleep).run(task, Path(folder), _run(row), log)
    ended = outcome.status is RunStatus.SUCCEEDED or (outcome.exit_code is not None and not row.fails)
    if not ended:
        raise Refused(outcome.error)
    containers = [
        _listed(asdict(container) | {"mounts": sorted(container.mounts.values())})
        for container in engine.store.containers
    ]
    return {
        "status": outcome.status.value,
        "error": outcome.error,
        "calls": engine.store.calls,
        "containers": containers,
        "log": "\n".join(lines),
        "pushed": [f"{image.repository}:{image.tag}" for image in outcome.output_images],
    }


def _said(error: TaskFileError | Fault) -> str:
    return error.message if isinstance(error, Fault) else str(error)


PROBES: Mapping[str, Probe] = {
    "task": _task,
    "render": _rendered,
    "build": _build,
    "scan": _scan,
    "words": _words,
    "image": _image,
    "run": _played,
}
