"""The task file of a run: read from its context, embedded in the task, or generated from a Docker build step."""

from __future__ import annotations

import base64
import binascii
import json
import os
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from sandbox.tasks.requests import DockerStep, FileTaskStep, NamedValue, Step
from sandbox.tasks.taskfile.document import LONGEST_TEXT, Document
from sandbox.tasks.taskfile.model import TaskFileError
from sandbox.tasks.taskfile.source import Source
from sandbox.web import Fault

_BUILD_TIMEOUT_SECONDS, _PUSH_TIMEOUT_SECONDS = 8 * 60 * 60, 60 * 60


def read_task(step: Step, context: Path, registries: Collection[str] = ()) -> tuple[str, dict[str, Any]]:
    """The text of the task file, and the values (`{{.Values.x}}`) it is rendered with.

    `registries` are those that the run has credentials for: images of a Docker build step may be theirs.

    Raises:
        Fault: a file does not exist, is outside the context or too long; the values are no mapping, or contain one.
    """
    if isinstance(step, DockerStep):
        return build_file(step, registries), {}
    if isinstance(step, FileTaskStep):
        text = _file(context, step.task_file_path)
        values = read_values(_file(context, step.values_file_path)) if step.values_file_path else {}
    else:
        text = _decode(step.encoded_task_content, "encodedTaskContent")
        encoded = step.encoded_values_content
        values = read_values(_decode(encoded, "encodedValuesContent")) if encoded else {}
    return text, values | {item.name: item.value for item in step.values or ()}


def read_alias_file(context: Path, name: str) -> str:
    """The text of a file that `alias.src` names. Raises `ValueError` if the context has none, or a long one."""
    try:
        return _file(context, name)
    except Fault as fault:
        raise ValueError(fault.message) from fault


def secret_values(step: Step) -> dict[str, str]:
    """The values and arguments that are marked as secret, by name: they must not appear in a log."""
    given: list[NamedValue] | None = step.arguments if isinstance(step, DockerStep) else step.values
    return {item.name: item.value for item in given or () if item.is_secret}


def build_file(step: DockerStep, registries: Collection[str] = ()) -> str:
    """The task file that is equivalent to a Docker build step.

    Source: https://github.com/Azure/acr-builder (cmd/acb/commands/build/build.go, util/prefixes.go)
    """
    images = [_qualified(name, registries) for name in step.image_names or ()]
    words = ["-f", step.docker_file_path]
    for image in images:
        words += ["-t", image]
    for argument in step.arguments or ():
        words += ["--build-arg", f"{argument.name}={argument.value}"]
    words += ["--no-cache"] if step.no_cache else []
    words += ["--target", step.target] if step.target else []
    build = f"build: {json.dumps(_join([*words, '.']))}\n    timeout: {_BUILD_TIMEOUT_SECONDS}"
    lines = ["version: v1.0.0", "steps:", f"  - id: build\n    {build}"]
    if images and step.is_push_enabled is not False:
        lines.append(f"  - id: push\n    push: {json.dumps(images)}\n    timeout: {_PUSH_TIMEOUT_SECONDS}")
    return "\n".join(lines) + "\n"


def _qualified(image: str, registries: Collection[str]) -> str:
    """The image in the run's registry, unless it is in one that the run knows, or below `library/`."""
    known = ("{{.Run.Registry", "library/", *filter(None, registries))
    return image if image.startswith(known) else "{{.Run.Registry}}/" + image


def _join(words: list[str]) -> str:
    # A template is rendered before the line is split, so its braces must not be quoted.
    return " ".join(word if word.startswith("{{") else shlex.quote(word) for word in words)


def _file(context: Path, name: str) -> str:
    path = Path(os.path.realpath(context / name))  # no exception for links in a circle, which are no file
    if not path.is_relative_to(context.resolve()) or not path.is_file():
        raise Fault(404, "FileNotFound", f"The context has no file '{name}'.")
    with path.open("rb") as file:
        content = file.read(LONGEST_TEXT + 1)
    try:
        return _limited(content, f"The file '{name}'").decode()
    except UnicodeDecodeError as error:
        raise Fault(400, "InvalidFile", f"The file '{name}' is no UTF-8 text.") from error


def _decode(encoded: str, field: str) -> str:
    try:
        return _limited(base64.b64decode(encoded, validate=True), f"'{field}'").decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Fault(400, "InvalidRequestContent", f"'{field}' is no Base64 of a text.") from error


def _limited(content: bytes, what: str) -> bytes:
    if len(content) > LONGEST_TEXT:
        raise Fault(400, "TooLarge", f"{what} has more than {LONGEST_TEXT} bytes: the sandbox reads no longer one.")
    return content


def read_values(text: str) -> dict[str, Any]:
    """The values of a file. Raises `Fault` if it is no mapping, or contains one."""
    document = Document(Source(text, tuple(range(1, text.count("\n") + 2))))
    try:
        root = document.root()
        if root is not None and not isinstance(root, yaml.MappingNode):
            document.fault(root, "it is no mapping of names to values")
        pairs = root.value if isinstance(root, yaml.MappingNode) else ()
        values = {document.text(key, "a name"): document.value(value) for key, value in pairs}
        document.finish()
    except TaskFileError as error:
        raise Fault(400, "InvalidValues", f"The values file cannot be read: {error}") from error
    return values
