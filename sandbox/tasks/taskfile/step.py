"""Parses an entry of `steps` into a `Step`.

Source: https://github.com/Azure/acr-builder (graph/step.go, graph/task.go)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from sandbox.tasks.taskfile.document import Document
from sandbox.tasks.taskfile.model import DEFAULT_RETRY_DELAY_SECONDS, Step, StepKind

_TEXT, _TEXTS, _NUMBER, _NUMBERS, _FLAG, _MOUNTS = "text", "texts", "number", "numbers", "flag", "mounts"
_READERS: Mapping[str, tuple[str, str]] = {
    "id": ("id", _TEXT),
    "cmd": ("cmd", _TEXT),
    "build": ("build", _TEXT),
    "push": ("push", _TEXTS),
    "when": ("when", _TEXTS),
    "env": ("env", _TEXTS),
    "timeout": ("timeout", _NUMBER),
    "startDelay": ("start_delay", _NUMBER),
    "retries": ("retries", _NUMBER),
    "retryDelay": ("retry_delay", _NUMBER),
    "retryOnErrors": ("retry_on_errors", _TEXTS),
    "cmdDownloadRetries": ("cmd_download_retries", _NUMBER),
    "cmdDownloadRetryDelay": ("cmd_download_retry_delay", _NUMBER),
    "repeat": ("repeat", _NUMBER),
    "ignoreErrors": ("ignore_errors", _FLAG),
    "workingDirectory": ("working_directory", _TEXT),
    "disableWorkingDirectoryOverride": ("disable_working_directory_override", _FLAG),
    "entryPoint": ("entry_point", _TEXT),
    "user": ("user", _TEXT),
    "network": ("network", _TEXT),
    "ports": ("ports", _TEXTS),
    "expose": ("expose", _TEXTS),
    "volumeMounts": ("volume_mounts", _MOUNTS),
    "isolation": ("isolation", _TEXT),
    "cpus": ("cpus", _TEXT),
    "cache": ("cache", _TEXT),
    "detach": ("detach", _FLAG),
    "keep": ("keep", _FLAG),
    "pull": ("pull", _FLAG),
    "privileged": ("privileged", _FLAG),
    "exitedWith": ("exited_with", _NUMBERS),
    "exitedWithout": ("exited_without", _NUMBERS),
}
_MOUNT_KEYS = ("name", "mountPath")
_WITHOUT_EFFECT = ("exitedWith", "exitedWithout")
_NOT_NEGATIVE = ("retries", "repeat")
_CACHES = ("", "enabled", "disabled")


@dataclass(frozen=True, slots=True)
class TaskDefaults:
    """The task's defaults for every step, the volumes that steps may mount, and the aliases that begin a cmd."""

    timeout: int
    working_directory: str
    env: tuple[str, ...]
    network: str
    volumes: frozenset[str]
    first_words: Mapping[str, str]


class StepReader:
    """Reads steps. A fault is recorded in the document and does not stop the reading, so that all are found at once."""

    def __init__(self, document: Document, defaults: TaskDefaults) -> None:
        self._document, self._defaults = document, defaults

    def read(self, node: yaml.Node, index: int) -> Step:
        """Read a step. Without an id it is called `acb_step_<index>`, as in ACR."""
        document, defaults = self._document, self._defaults
        fields = document.fields(node, "a step", _READERS)
        values: dict[str, Any] = {}
        for key, value in fields.items():
            attribute, reader = _READERS[key]
            read = self._mounts(value) if reader == _MOUNTS else getattr(document, reader)(value, key)
            values[attribute] = read
        values["id"] = values.get("id") or f"acb_step_{index}"
        kind = self._kind(node, values)
        self._check(node, fields, values, kind)
        self._warn(fields, values)
        build, cmd, push = values.pop("build", ""), values.pop("cmd", ""), values.pop("push", ())
        for key in ("privileged", "exited_with", "exited_without"):
            values.pop(key, None)
        values["env"] = self._merged(node, values.get("env", ()))
        values["timeout"] = _positive(values.get("timeout"), defaults.timeout)
        values["retry_delay"] = _positive(values.get("retry_delay"), DEFAULT_RETRY_DELAY_SECONDS)
        values["working_directory"] = values.get("working_directory") or defaults.working_directory
        values["network"] = values.get("network") or defaults.network
        return Step(kind=kind, run=build or self._with_image(cmd), images=_normalized(push), **values)

    def _kind(self, node: yaml.Node, values: Mapping[str, Any]) -> StepKind:
        kinds = [kind for kind in StepKind if values.get(kind.value)]
        if len(kinds) > 1:
            self._document.fault(node, "a step has exactly one of build, push and cmd")
        if not kinds:
            self._document.fault(node, "a step needs build, push or cmd")
        return kinds[0] if kinds else StepKind.CMD

    def _check(
        self, node: yaml.Node, fields: Mapping[str, yaml.Node], values: Mapping[str, Any], kind: StepKind
    ) -> None:
        document = self._document
        if any(character.isspace() for character in values["id"]):
            document.fault(node, f"the step id {document.shown(fields['id'])!r} contains a space")
        for key in _NOT_NEGATIVE:
            if values.get(key, 0) < 0:
                document.fault(fields[key], f"{key} must be 0 or more")
        if values.get("cache", "").lower() not in _CACHES:
            document.fault(fields["cache"], "cache must be enabled or disabled")
        if values.get("privileged"):
            document.fault(fields["privileged"], "privileged is refused here: the container would control this machine")
        if values.get("volume_mounts") and kind is StepKind.PUSH:
            document.fault(fields["volumeMounts"], "volumeMounts are for cmd and build steps")

    def _warn(self, fields: Mapping[str, yaml.Node], values: Mapping[str, Any]) -> None:
        document = self._document
        for key in _WITHOUT_EFFECT:
            if key in fields:
                document.warn(fields[key], f"{key} has no effect in ACR")
        if values.get("cpus"):
            document.warn(fields["cpus"], "cpus limits nothing here")
        if values.get("cache", "").lower() == "enabled":
            document.warn(fields["cache"], "a build cache is neither pushed nor pulled here")
        names = [name for name, _ in values.get("volume_mounts", ())]
        if len(set(names)) < len(names):
            document.warn(fields["volumeMounts"], "ACR mounts a volume once: at the last of its paths")

    def _mounts(self, node: yaml.Node) -> tuple[tuple[str, str], ...]:
        document = self._document
        mounts: list[tuple[str, str]] = []
        for item in document.items(node, "volumeMounts"):
            fields = document.fields(item, "a volume mount", _MOUNT_KEYS)
            name, path = (document.text(fields[key], key) if key in fields else "" for key in _MOUNT_KEYS)
            if not name or not path:
                document.fault(item, "a volume mount needs name and mountPath")
                continue
            if name not in self._defaults.volumes:
                document.fault(item, f"the volume {document.shown(fields['name'])} is not declared in volumes")
            if path in (other for _, other in mounts):
                document.fault(item, f"two volumes are mounted at {document.shown(fields['mountPath'])}")
            mounts.append((name, path))
        return tuple(mounts)

    def _merged(self, node: yaml.Node, step: tuple[str, ...]) -> tuple[str, ...]:
        """The step's variables, and those of the task that it does not have; the task's are split at commas."""
        task = [part for entry in self._defaults.env for part in entry.split(",")]
        if not task:
            return step
        if any("=" not in entry for entry in (*step, *task)):
            self._document.fault(node, "env has an entry that is not name=value (the task's are split at commas)")
        names = {entry.partition("=")[0] for entry in step}
        return (*step, *(entry for entry in task if entry.partition("=")[0] not in names))

    def _with_image(self, cmd: str) -> str:
        """The value of cmd; if what stands before its first space is an alias, that is replaced."""
        first, space, rest = cmd.strip().partition(" ")
        return self._defaults.first_words[first] + space + rest if first in self._defaults.first_words else cmd


def _positive(value: int | None, default: int) -> int:
    return value if value and value > 0 else default


def _normalized(images: tuple[str, ...]) -> tuple[str, ...]:
    """The images without duplicates, with the tag `latest` where there is none."""
    return tuple(dict.fromkeys(image if set(image) & set(":@") else f"{image}:latest" for image in images))
