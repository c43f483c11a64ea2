"""Reads YAML strictly: all faults are collected, each with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import yaml

from sandbox.tasks.taskfile.model import TaskFileError

_TEXT_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "timestamp")}
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_LARGEST_NUMBER = 28_800  # the longest run of ACR Tasks, in seconds


class Document:
    """Collects faults, and has a reader for each kind of value in a task file.

    A reader records the fault of an invalid value and returns the value that an absent one would have.
    """

    def __init__(self) -> None:
        self.faults: list[tuple[int, str]] = []

    def fault(self, node: yaml.Node, message: str) -> None:
        """Record a fault at a node."""
        self.faults.append((node.start_mark.line + 1, message))

    def finish(self) -> None:
        """Raise `TaskFileError` with all recorded faults, if any, in the order of the file."""
        if self.faults:
            raise TaskFileError([f"line {line}: {message}" for line, message in sorted(self.faults)])

    def root(self, text: str) -> yaml.Node | None:
        """Parse the text and return the root node. Raises `TaskFileError` if it is not YAML."""
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise TaskFileError([f"line {line}: not YAML: {error.problem}"]) from None
        except yaml.YAMLError as error:
            raise TaskFileError([f"not YAML: {error}"]) from None

    def fields(self, node: yaml.Node | None, what: str, known: Mapping[str, object]) -> dict[str, yaml.Node]:
        """The values of a mapping by key; unknown and duplicate keys are faults."""
        if not isinstance(node, yaml.MappingNode):
            if node is not None:
                self.fault(node, f"{what} is not a mapping")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name not in known:
                self.fault(key, f"unknown key {name} in {what} (known: {', '.join(known)})")
            elif name in found:
                self.fault(key, f"{name} is given twice in {what}")
            elif value.tag != "tag:yaml.org,2002:null":
                found[name] = value
        return found

    def text(self, node: yaml.Node, what: str) -> str:
        """A scalar as a string, as it is written in the file."""
        if isinstance(node, yaml.ScalarNode) and node.tag in _TEXT_TAGS:
            return str(node.value)
        self.fault(node, f"{what} is not a string")
        return ""

    def items(self, node: yaml.Node, what: str) -> Iterator[yaml.Node]:
        """The entries of a list."""
        if isinstance(node, yaml.SequenceNode):
            yield from node.value
        else:
            self.fault(node, f"{what} is not a list")

    def texts(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(self.text(item, f"an entry of {what}") for item in self.items(node, what))

    def number(self, node: yaml.Node, what: str) -> int:
        """An integer of 0 or more."""
        written = node.value if isinstance(node, yaml.ScalarNode) else ""
        if written.isdecimal() and int(written) <= _LARGEST_NUMBER:
            return int(written)
        self.fault(node, f"{what} is not an integer from 0 to {_LARGEST_NUMBER}")
        return 0

    def flag(self, node: yaml.Node, what: str) -> bool:
        """A boolean."""
        written = node.value.lower() if isinstance(node, yaml.ScalarNode) else ""
        if written not in _TRUTHS:
            self.fault(node, f"{what} is neither true nor false")
        return _TRUTHS.get(written, False)

    def assignments(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        """A list of `name=value` strings."""
        entries = self.texts(node, what)
        for entry in entries:
            if not entry.partition("=")[0] or "=" not in entry:
                self.fault(node, f"{what} has an entry that is not name=value")
        return entries
