"""The task file of a run: read from its context, embedded in the task, or generated from a Docker build step."""

from __future__ import annotations

import base64
import binascii
import json
import shlex
from pathlib import Path

import yaml

from sandbox.tasks.requests import DockerStep, FileTaskStep, NamedValue, Step
from sandbox.web import Fault


def read_task(step: Step, context: Path) -> tuple[str, dict[str, str]]:
    """The text of the task file, and the values (`{{.Values.x}}`) it is rendered with.

    Raises:
        Fault: a file does not exist or is outside the context, or the values are not a map of scalars.
    """
    if isinstance(step, DockerStep):
        return build_file(step), {}
    if isinstance(step, FileTaskStep):
        text = _file(context, step.task_file_path)
        values = _values(_file(context, step.values_file_path)) if step.values_file_path else {}
    else:
        text = _decode(step.encoded_task_content, "encodedTaskContent")
        encoded = step.encoded_values_content
        values = _values(_decode(encoded, "encodedValuesContent")) if encoded else {}
    return text, values | {item.name: item.value for item in step.values or ()}


def secret_values(step: Step) -> dict[str, str]:
    """The values and arguments that are marked as secret, by name: they must not appear in a log."""
    given: list[NamedValue] | None = step.arguments if isinstance(step, DockerStep) else step.values
    return {item.name: item.value for item in given or () if item.is_secret}


def build_file(step: DockerStep) -> str:
    """The task file that is equivalent to a Docker build step."""
    images = [_qualified(name) for name in step.image_names or ()]
    words = ["-f", step.docker_file_path]
    for image in images:
        words += ["-t", image]
    for argument in step.arguments or ():
        words += ["--build-arg", f"{argument.name}={argument.value}"]
    words += ["--no-cache"] if step.no_cache else []
    words += ["--target", step.target] if step.target else []
    lines = ["version: v1.1.0", "steps:", f"  - id: build\n    build: {json.dumps(_join([*words, '.']))}"]
    if images and step.is_push_enabled is not False:
        lines.append(f"  - id: push\n    push: {json.dumps(images)}")
    return "\n".join(lines) + "\n"


def _qualified(image: str) -> str:
    first, slash, _ = image.partition("/")
    foreign = slash and (any(mark in first for mark in ".:") or first == "localhost")
    return image if foreign or image.startswith(("{{", "$")) else "{{.Run.Registry}}/" + image


def _join(words: list[str]) -> str:
    # A template is rendered before the line is split, so its braces must not be quoted.
    return " ".join(word if word.startswith("{{") else shlex.quote(word) for word in words)


def _file(context: Path, name: str) -> str:
    path = (context / name).resolve()
    if not path.is_relative_to(context.resolve()) or not path.is_file():
        raise Fault(404, "FileNotFound", f"The context has no file '{name}'.")
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise Fault(400, "InvalidFile", f"The file '{name}' is no UTF-8 text.") from error


def _decode(encoded: str, field: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Fault(400, "InvalidRequestContent", f"'{field}' is no Base64 of a text.") from error


def _values(text: str) -> dict[str, str]:
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise Fault(400, "InvalidValues", f"The values file is no YAML: {error}") from error
    if not isinstance(values, dict) or any(isinstance(value, dict | list) for value in values.values()):
        raise Fault(400, "InvalidValues", "The values file must be a map of names to plain values.")
    return {str(name): "" if value is None else str(value) for name, value in values.items()}
