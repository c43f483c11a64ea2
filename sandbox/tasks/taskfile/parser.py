"""Parses the text of a task file into a valid `TaskFile`.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-reference-yaml
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import yaml

from sandbox.tasks.outcome import RunInfo
from sandbox.tasks.taskfile import graph
from sandbox.tasks.taskfile.document import Document
from sandbox.tasks.taskfile.model import DEFAULT_STEP_TIMEOUT_SECONDS, SecretReference, Step, TaskFile, Volume
from sandbox.tasks.taskfile.step import StepReader, TaskDefaults
from sandbox.tasks.taskfile.template import Filled, fill

_VERSIONS = ("1.0-preview-1", "v1.0.0", "v1.1.0")
_TASK_KEYS = dict.fromkeys(
    ("version", "stepTimeout", "workingDirectory", "env", "secrets", "networks", "volumes", "steps")
)
_SECRET_KEYS = dict.fromkeys(("id", "keyvault", "clientID"))
_NETWORK_KEYS = dict.fromkeys(("name", "driver", "ipv6", "skipCreation", "isDefault"))
_VOLUME_KEYS = dict.fromkeys(("name", "secret"))


def declared_secrets(text: str, run: RunInfo, values: Mapping[str, str]) -> tuple[SecretReference, ...]:
    """The `secrets` that a task file declares, read before their values are known.

    Raises:
        TaskFileError: if the text cannot be rendered or its `secrets` are invalid.
    """
    document = Document()
    filled = fill(text, run, values, None)
    root = document.root(filled.text)
    node = document.fields(root, "the task file", _TASK_KEYS).get("secrets")
    document.faults.clear()  # the rest of the file is validated when the run starts
    secrets = _Parser(document, filled).secrets(node)
    document.finish()
    return secrets


def load_task_file(text: str, run: RunInfo, values: Mapping[str, str]) -> TaskFile:
    """Render and parse a task file: `{{.Values.x}}` from `values`, `{{.Secrets.x}}` from `run.secrets`.

    Raises:
        TaskFileError: all faults, each with its line. The text contains no secret.
    """
    return _parse(fill(text, run, values, run.secrets))


def parse_task_file(text: str) -> TaskFile:
    """Parse a task file without templates. Raises `TaskFileError` with all faults."""
    return _parse(Filled(text, {}, {}))


def _parse(filled: Filled) -> TaskFile:
    document = Document()
    task = _Parser(document, filled).task(document.root(filled.text))
    document.finish()
    return task


class _Parser:
    def __init__(self, document: Document, filled: Filled) -> None:
        self._document, self._filled = document, filled

    def task(self, root: yaml.Node | None) -> TaskFile:
        document = self._document
        fields = document.fields(root, "the task file", _TASK_KEYS)
        timeout = document.number(fields["stepTimeout"], "stepTimeout") if "stepTimeout" in fields else 0
        env = document.assignments(fields["env"], "env") if "env" in fields else ()
        volumes = self._volumes(fields.get("volumes"))
        defaults = TaskDefaults(
            timeout=timeout or DEFAULT_STEP_TIMEOUT_SECONDS,
            working_directory=document.text(fields["workingDirectory"], "workingDirectory")
            if "workingDirectory" in fields
            else "",
            env=tuple(map(self._filled.reveal, env)),
            networks=self._networks(fields.get("networks")),
            volumes=frozenset(volume.name for volume in volumes),
        )
        return TaskFile(
            steps=self._steps(fields.get("steps"), defaults),
            version=self._version(fields.get("version")),
            step_timeout=defaults.timeout,
            working_directory=defaults.working_directory,
            env=defaults.env,
            secrets=self.secrets(fields.get("secrets")),
            networks=defaults.networks,
            volumes=volumes,
        )

    def _version(self, node: yaml.Node | None) -> str:
        if node is None:
            return "v1.0.0"
        version = self._document.text(node, "version")
        if version not in _VERSIONS:
            self._document.fault(node, f"unknown version {version} (known: {', '.join(_VERSIONS)})")
        return version

    def _steps(self, node: yaml.Node | None, defaults: TaskDefaults) -> tuple[Step, ...]:
        document = self._document
        nodes = list(document.items(node, "steps")) if node else []
        if not nodes:
            document.faults.append((node.start_mark.line + 1 if node else 1, "the task file has no steps"))
        reader = StepReader(document, self._filled, defaults)
        steps = [reader.read(item, index) for index, item in enumerate(nodes)]
        places: dict[str, yaml.Node] = {}
        for step, item in zip(steps, nodes, strict=True):
            if places.setdefault(step.id, item) is not item:
                document.fault(item, f"the step id {step.id} is used twice")
        for name, message in graph.faults(steps):
            document.fault(places[name], message)
        return tuple(steps)

    def secrets(self, node: yaml.Node | None) -> tuple[SecretReference, ...]:
        document, found = self._document, dict[str, SecretReference]()
        for item in document.items(node, "secrets") if node else ():
            fields = document.fields(item, "a secret", _SECRET_KEYS)
            texts = {key: document.text(value, f"{key} of a secret") for key, value in fields.items()}
            secret = SecretReference(texts.get("id", ""), texts.get("keyvault", ""), texts.get("clientID", ""))
            if not secret.id or not secret.keyvault:
                document.fault(item, "a secret needs id and keyvault")
            if secret.id in found:
                document.fault(item, f"the secret {secret.id} is declared twice")
            found[secret.id] = secret
        return tuple(found.values())

    def _networks(self, node: yaml.Node | None) -> tuple[str, ...]:
        document, names = self._document, []
        for item in document.items(node, "networks") if node else ():
            fields = document.fields(item, "a network", _NETWORK_KEYS)
            if "name" in fields:
                names.append(document.text(fields["name"], "name of a network"))
            else:
                document.fault(item, "a network needs a name")
        return tuple(names)

    def _volumes(self, node: yaml.Node | None) -> tuple[Volume, ...]:
        document, volumes = self._document, []
        for item in document.items(node, "volumes") if node else ():
            fields = document.fields(item, "a volume", _VOLUME_KEYS)
            if set(fields) != set(_VOLUME_KEYS):
                document.fault(item, "a volume needs name and secret")
                continue
            volumes.append(Volume(document.text(fields["name"], "name of a volume"), self._files(fields["secret"])))
        return tuple(volumes)

    def _files(self, node: yaml.Node) -> dict[str, bytes]:
        files = {}
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            text = self._filled.reveal(self._document.text(value, "a file of a volume"))
            try:
                files[str(key.value)] = base64.b64decode(text, validate=True)
            except binascii.Error:
                self._document.fault(value, f"the volume's file {key.value} is not Base64")
            if "/" in str(key.value) or str(key.value) in (".", ".."):
                self._document.fault(key, f"the volume's file {key.value} is not a plain file name")
        return files
