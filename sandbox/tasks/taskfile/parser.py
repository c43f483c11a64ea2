"""Parses the text of a task file into a valid `TaskFile`.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-reference-yaml and
https://github.com/Azure/acr-builder (graph/task.go, secretmgmt/secret.go, pkg/volume/)
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import yaml

from sandbox.tasks.outcome import RunInfo
from sandbox.tasks.taskfile import graph
from sandbox.tasks.taskfile.alias import Files
from sandbox.tasks.taskfile.document import Document
from sandbox.tasks.taskfile.model import (
    DEFAULT_NETWORK,
    DEFAULT_STEP_TIMEOUT_SECONDS,
    SecretReference,
    Step,
    TaskFile,
    Volume,
)
from sandbox.tasks.taskfile.shell import ShellError, expand_heredoc
from sandbox.tasks.taskfile.step import StepReader, TaskDefaults
from sandbox.tasks.taskfile.template import Rendered, render

_CURRENT_VERSION = "v1.0.0"
_VERSIONS = ("1.0-preview-1", _CURRENT_VERSION, "v1.1.0")
_TASK_KEYS = ("version", "stepTimeout", "workingDirectory", "env", "secrets", "networks", "volumes", "steps")
_SECRET_KEYS = ("id", "keyvault", "clientID")
_NETWORK_KEYS = ("name", "driver", "ipv6", "skipCreation", "isDefault")
_VOLUME_KEYS = ("name", "secret")
_DRIVERS = ("", "bridge")
_VOLUME_NAME = re.compile(r"[A-Za-z0-9_-]+")
_FILE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_DASHED = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_UUID = re.compile(rf"(?:urn:uuid:)?{_DASHED}|{{{_DASHED}}}|[0-9a-f]{{32}}", re.IGNORECASE)


def declared_secrets(
    text: str, run: RunInfo, values: Mapping[str, Any], files: Files | None = None
) -> tuple[SecretReference, ...]:
    """The `secrets` that a task file declares, read before their values are known: they are empty.

    Raises:
        TaskFileError: if the text cannot be rendered or its `secrets` are invalid.
    """
    if "secrets" not in text:
        return ()
    rendered = render(text, run, values, {}, files)
    document = Document(rendered.source, rendered.secrets)
    node = Document(rendered.source).fields(document.root(), "the task file", _TASK_KEYS).get("secrets")
    secrets = _Parser(document, rendered).secrets(node)
    document.finish()
    return secrets


def load_task_file(text: str, run: RunInfo, values: Mapping[str, Any], files: Files | None = None) -> TaskFile:
    """Render and parse a task file: `{{.Values.x}}` from `values`, `{{.Secrets.x}}` from `run.secrets`, if declared.

    `files` reads the files of `alias.src`.

    Raises:
        TaskFileError: all faults, each with its line. The text contains no secret.
    """
    declared = declared_secrets(text, run, values, files)
    known = {secret.id: run.secrets.get(secret.id, "") for secret in declared}
    rendered = render(text, run, values, known, files)
    document = Document(rendered.source, rendered.secrets)
    root = document.root()
    task = _Parser(document, rendered).task(root)
    document.finish()
    return task


class _Parser:
    def __init__(self, document: Document, rendered: Rendered) -> None:
        self._document, self._rendered = document, rendered

    def task(self, root: yaml.Node | None) -> TaskFile:
        document = self._document
        fields = document.fields(root, "the task file", _TASK_KEYS)
        timeout = document.number(fields["stepTimeout"], "stepTimeout") if "stepTimeout" in fields else 0
        volumes = self._volumes(fields.get("volumes"))
        networks, default = self._networks(fields.get("networks"))
        defaults = TaskDefaults(
            timeout=timeout if timeout > 0 else DEFAULT_STEP_TIMEOUT_SECONDS,
            working_directory=self._text(fields, "workingDirectory"),
            env=document.texts(fields["env"], "env") if "env" in fields else (),
            network=default,
            volumes=frozenset(volume.name for volume in volumes),
            first_words=self._rendered.first_words,
        )
        return TaskFile(
            version=self._version(fields.get("version")),
            steps=self._steps(fields.get("steps"), defaults),
            step_timeout=defaults.timeout,
            working_directory=defaults.working_directory,
            env=defaults.env,
            secrets=self.secrets(fields.get("secrets")),
            networks=networks,
            volumes=volumes,
            warnings=(*self._rendered.warnings, *document.warnings),
        )

    def _text(self, fields: Mapping[str, yaml.Node], key: str) -> str:
        return self._document.text(fields[key], key) if key in fields else ""

    def _version(self, node: yaml.Node | None) -> str:
        version = self._document.text(node, "version") if node else ""
        if node and version and version.lower() not in _VERSIONS:
            self._document.fault(node, f"unknown version {self._document.shown(node)} (known: {', '.join(_VERSIONS)})")
        return version or _CURRENT_VERSION

    def _steps(self, node: yaml.Node | None, defaults: TaskDefaults) -> tuple[Step, ...]:
        document = self._document
        nodes = list(document.items(node, "steps")) if node else []
        reader = StepReader(document, defaults)
        steps = [reader.read(item, index) for index, item in enumerate(nodes)]
        for index, message in graph.faults(steps):
            document.fault(nodes[index], message)
        return tuple(steps)

    def secrets(self, node: yaml.Node | None) -> tuple[SecretReference, ...]:
        document, found = self._document, dict[str, SecretReference]()
        for item in document.items(node, "secrets") if node else ():
            fields = document.fields(item, "a secret", _SECRET_KEYS)
            secret = SecretReference(*(self._text(fields, key) for key in _SECRET_KEYS))
            if not secret.id or not secret.keyvault:
                document.fault(item, "a secret needs id and keyvault")
            if any(character.isspace() for character in secret.id):
                document.fault(item, f"the id of a secret contains a space: {document.shown(fields['id'])!r}")
            if secret.client_id and not _UUID.fullmatch(secret.client_id):
                document.fault(item, f"the clientID of the secret {secret.id} is no UUID")
            if secret.id in found:
                document.fault(item, f"the secret {secret.id} is declared twice")
            found[secret.id] = secret
        return tuple(found.values())

    def _networks(self, node: yaml.Node | None) -> tuple[tuple[str, ...], str]:
        """The names of the networks, and the one for steps that name none: empty if no network is marked for that."""
        document, names, default = self._document, list[str](), ""
        for item in document.items(node, "networks") if node else ():
            fields = document.fields(item, "a network", _NETWORK_KEYS)
            name, driver = self._text(fields, "name"), self._text(fields, "driver")
            if not name:
                document.fault(item, "a network needs a name")
            if driver not in _DRIVERS:
                document.fault(item, f"the driver {driver} of a network is refused here: there is only bridge")
            if "ipv6" in fields and document.flag(fields["ipv6"], "ipv6"):
                document.fault(item, "ipv6 is refused here: networks have IPv4 addresses")
            if "skipCreation" in fields:
                document.flag(fields["skipCreation"], "skipCreation")
            if "isDefault" in fields and document.flag(fields["isDefault"], "isDefault"):
                default = name
            names.append(name)
        return tuple(names), default if names else DEFAULT_NETWORK

    def _volumes(self, node: yaml.Node | None) -> tuple[Volume, ...]:
        document, volumes = self._document, dict[str, Volume]()
        for item in document.items(node, "volumes") if node else ():
            fields = document.fields(item, "a volume", _VOLUME_KEYS)
            name = self._text(fields, "name")
            if not _VOLUME_NAME.fullmatch(name):
                document.fault(item, "a volume needs a name of letters, digits, - and _")
            if name in volumes:
                document.fault(item, f"the volume {name} is declared twice")
            volumes[name] = Volume(name, self._files(item, fields.get("secret")))
        return tuple(volumes.values())

    def _files(self, item: yaml.Node, node: yaml.Node | None) -> dict[str, bytes]:
        document = self._document
        written = document.pairs(node, "secret") if node else {}
        files = {name: self._content(item, name, text) for name, text in written.items()}
        if not files:
            document.fault(item, "a volume needs a secret with files: there is no other source")
        for name in files:
            if not _FILE_NAME.fullmatch(name) or name in (".", ".."):
                document.fault(item, f"the volume's file {name} is not a name of letters, digits, -, _ and .")
        return files

    def _content(self, item: yaml.Node, name: str, text: str) -> bytes:
        """The content of a file. ACR writes it through a here-document: `$x` is expanded, and a line end is added."""
        try:
            content = base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
        except ValueError:
            self._document.fault(item, f"the volume's file {name} is not Base64")
            return b""
        try:
            return expand_heredoc(content.decode("latin-1")).encode("latin-1")
        except ShellError:
            self._document.fault(
                item, f"the volume's file {name} has $( or `, which ACR's shell would run: refused here"
            )
            return b""
