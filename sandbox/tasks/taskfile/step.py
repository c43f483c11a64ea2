"""Parses an entry of `steps` into a `Step`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from sandbox.tasks.taskfile.document import Document
from sandbox.tasks.taskfile.model import DEFAULT_RETRY_DELAY_SECONDS, Step, StepKind
from sandbox.tasks.taskfile.template import Filled

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RESERVED_ID = "acb_root"
_TEXT, _TEXTS, _PAIRS, _NUMBER, _FLAG = "text", "texts", "assignments", "number", "flag"

_ANY_STEP = {
    "id": ("id", _TEXT),
    "env": ("env", _PAIRS),
    "ignoreErrors": ("ignore_errors", _FLAG),
    "startDelay": ("start_delay", _NUMBER),
    "timeout": ("timeout", _NUMBER),
    "when": ("when", _TEXTS),
}
_CONTAINER_STEP = _ANY_STEP | {
    "detach": ("detach", _FLAG),
    "disableWorkingDirectoryOverride": ("disable_working_directory_override", _FLAG),
    "entryPoint": ("entry_point", _TEXT),
    "expose": ("expose", _TEXTS),
    "isolation": ("isolation", _TEXT),
    "keep": ("keep", _FLAG),
    "network": ("network", _TEXT),
    "ports": ("ports", _TEXTS),
    "privileged": ("privileged", _FLAG),
    "pull": ("pull", _FLAG),
    "repeat": ("repeat", _NUMBER),
    "retries": ("retries", _NUMBER),
    "retryDelay": ("retry_delay", _NUMBER),
    "retryOnErrors": ("retry_on_errors", _TEXTS),
    "user": ("user", _TEXT),
    "volumeMounts": ("volume_mounts", "mounts"),
    "workingDirectory": ("working_directory", _TEXT),
}
_PROPERTIES: Mapping[StepKind, Mapping[str, tuple[str, str]]] = {
    StepKind.BUILD: {"build": ("run", _TEXT)} | _CONTAINER_STEP,
    StepKind.CMD: {"cmd": ("run", _TEXT)} | _CONTAINER_STEP,
    StepKind.PUSH: {"push": ("images", _TEXTS)} | _ANY_STEP,
}
_MAY_HOLD_SECRETS = frozenset({"run", "images", "env", "entry_point", "user"})
_MOUNT_KEYS = dict.fromkeys(("name", "mountPath"))
_IGNORED_BY_AZURE = ("exitedWith", "exitedWithout", "secret", "cpus", "cache")


@dataclass(frozen=True, slots=True)
class TaskDefaults:
    """The task's defaults for every step, and the networks and volumes that steps may use."""

    timeout: int
    working_directory: str
    env: tuple[str, ...]
    networks: tuple[str, ...]
    volumes: frozenset[str]


class StepReader:
    """Reads steps. A fault is recorded in the document and does not stop the reading, so that all are found at once."""

    def __init__(self, document: Document, filled: Filled, defaults: TaskDefaults) -> None:
        self._document, self._filled, self._defaults = document, filled, defaults

    def read(self, node: yaml.Node, index: int) -> Step:
        """Read a step. Without an id it is called `acb_step_<index>`, as in ACR."""
        kind = self._kind(node)
        known = _PROPERTIES[kind]
        values: dict[str, Any] = {"id": f"acb_step_{index}", "kind": kind}
        for key, value in self._document.fields(node, f"a {kind} step", known).items():
            attribute, reader = known[key]
            read = self._mounts(value) if reader == "mounts" else getattr(self._document, reader)(value, key)
            values[attribute] = self._reveal(read) if attribute in _MAY_HOLD_SECRETS else read
        self._refuse(node, values)
        values.pop("isolation", None), values.pop("privileged", None)
        values["env"] = _merged(self._defaults.env, values.get("env", ()))
        values["timeout"] = values.get("timeout") or self._defaults.timeout
        values["retry_delay"] = values.get("retry_delay") or DEFAULT_RETRY_DELAY_SECONDS
        values["working_directory"] = values.get("working_directory") or self._defaults.working_directory
        step = Step(**values)
        return replace(step, run=self._with_image(step)) if kind is StepKind.CMD else step

    def _kind(self, node: yaml.Node) -> StepKind:
        keys = [str(key.value) for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        kinds = [kind for kind in StepKind if kind.value in keys]
        if len(kinds) != 1:
            self._document.fault(node, "a step has exactly one of build, push and cmd")
        for key in _IGNORED_BY_AZURE:
            if key in keys:
                self._document.fault(node, f"{key} has no effect in ACR Tasks or here: remove it")
        return kinds[0] if kinds else StepKind.CMD

    def _refuse(self, node: yaml.Node, values: Mapping[str, Any]) -> None:
        step_id, network = values["id"], values.get("network")
        if not _ID.fullmatch(step_id) or step_id == _RESERVED_ID:
            self._document.fault(node, f"{step_id!r} is not a step id: letters, digits, _ . - and not {_RESERVED_ID}")
        if values.get("isolation", "default") != "default":
            self._document.fault(node, f"isolation {values['isolation']} does not exist on Linux")
        if values.get("privileged"):
            self._document.fault(node, "privileged is refused here: the container would control this machine")
        if network and network not in self._defaults.networks:
            self._document.fault(node, f"the network {network} is not declared in networks")
        for name in values.get("volume_mounts", ()):
            if name not in self._defaults.volumes:
                self._document.fault(node, f"the volume {name} is not declared in volumes")
        if not (values.get("run") or values.get("images")):
            self._document.fault(node, f"the step {step_id} has nothing to do")

    def _mounts(self, node: yaml.Node) -> dict[str, str]:
        mounts = {}
        for item in self._document.items(node, "volumeMounts"):
            fields = self._document.fields(item, "a volume mount", _MOUNT_KEYS)
            texts = {key: self._document.text(value, key) for key, value in fields.items()}
            if not texts.get("name") or not texts.get("mountPath", "").startswith("/"):
                self._document.fault(item, "a volume mount needs name and an absolute mountPath")
            if not {":", ","}.isdisjoint(texts.get("mountPath", "")):
                self._document.fault(item, f"the mountPath {texts['mountPath']} has a : or a comma")
            mounts[texts.get("name", "")] = texts.get("mountPath", "")
        return mounts

    def _reveal(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._filled.reveal(value)
        return tuple(map(self._filled.reveal, value)) if isinstance(value, tuple) else value

    def _with_image(self, step: Step) -> str:
        """The value of cmd; if its first word is an image alias (without the directive), it is resolved."""
        first, space, rest = step.run.strip().partition(" ")
        return self._filled.image_aliases.get(first, first) + space + rest


def _merged(task: tuple[str, ...], step: tuple[str, ...]) -> tuple[str, ...]:
    merged = {entry.partition("=")[0]: entry for entry in (*task, *step)}
    return tuple(merged.values())
