"""Reads YAML as acr-builder does: typed, without regard to unknown keys; faults are collected, each with its line.

A reader records the fault of an invalid value and returns the value that an absent one would have.
Source: https://github.com/go-yaml/yaml/tree/v2.4.0 (decode.go, resolve.go)
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator

import yaml

from sandbox.tasks.taskfile.model import TaskFileError
from sandbox.tasks.taskfile.source import Source

_TAG = "tag:yaml.org,2002:"
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*|0[0-7]+|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+)")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_LARGEST_NUMBER = 2**63 - 1
_MOST_DIGITS = 400
"""A longer one is a text: Python reads none of more than 4,300 digits."""
LONGEST_TEXT = 256 * 1024
"""What is read of a file, in bytes, and of a rendered one, in characters: it takes seconds, and not more."""
_MOST_MERGES, _MOST_VALUES, _MOST_ENTRIES, _MOST_WARNINGS = 100, 10_000, 50_000, 100
HIDDEN = "***"


class Document:
    """A YAML document. `secrets` are texts that no fault shows."""

    def __init__(self, source: Source, secrets: Collection[str] = ()) -> None:
        self._source, self._secrets = source, secrets
        self._faults: list[tuple[int, str]] = []
        self._merges = self._values = self._entered = 0
        self.warnings: list[str] = []

    def fault(self, node: yaml.Node | None, message: str) -> None:
        """Record a fault at a node, or at the beginning."""
        self._faults.append((self._line(node), message))

    def warn(self, node: yaml.Node, message: str) -> None:
        """Record what ACR takes without a word."""
        if len(self.warnings) < _MOST_WARNINGS:
            self.warnings.append(f"line {self._line(node)}: {message}")

    def _enter(self) -> None:
        """Count an entry of a mapping or a list: one that is an alias counts each time."""
        self._entered += 1
        if self._entered > _MOST_ENTRIES:
            raise TaskFileError([f"the file has more than {_MOST_ENTRIES} entries"])

    def _line(self, node: yaml.Node | None) -> int:
        return self._source.line(node.start_mark.line if node else 0)

    def finish(self) -> None:
        """Raise `TaskFileError` with all recorded faults, if any, in the order of the file."""
        if self._faults:
            faults = sorted(dict.fromkeys(self._faults))
            raise TaskFileError([f"line {line}: {self._masked(message)}" for line, message in faults])

    def _masked(self, message: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            message = message.replace(secret, HIDDEN)
        return message

    def shown(self, node: yaml.Node) -> str:
        """The text of a node for a message; hidden if a secret is in it, however it is escaped there."""
        written = self._source.text[node.start_mark.index : node.end_mark.index]
        if any(secret in written for secret in self._secrets):
            return HIDDEN
        return str(node.value) if isinstance(node, yaml.ScalarNode) else _kind(node)

    def root(self) -> yaml.Node | None:
        """The root of the first document in the text. Raises `TaskFileError` if it is not YAML, or too long."""
        if len(self._source.text) > LONGEST_TEXT:
            raise TaskFileError([f"the rendered file has more than {LONGEST_TEXT} characters: refused here"])
        loader = yaml.SafeLoader(self._source.text)
        try:
            root = loader.get_node() if loader.check_node() else None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise TaskFileError([self._problem(mark.line if mark else 0, str(error.problem))]) from None
        except yaml.YAMLError:
            raise TaskFileError(["not YAML: a character in it is not allowed"]) from None
        except RecursionError:
            raise TaskFileError(["the YAML is nested too deep"]) from None
        finally:
            loader.dispose()
        return root

    def _problem(self, index: int, problem: str) -> str:
        """The fault of a line that is not YAML. The parser's words may show a part of a secret in that line."""
        line = self._source.text.split("\n")[index : index + 1]
        if any(secret in text for text in line for secret in self._secrets):
            problem = "the value of a secret breaks it, as in ACR"
        return f"line {self._source.line(index)}: not YAML: {problem}"

    def fields(self, node: yaml.Node | None, what: str, known: Collection[str]) -> dict[str, yaml.Node]:
        """The values of a mapping by key. An unknown key is a warning, of equal keys the last one counts."""
        found: dict[str, yaml.Node] = {}
        for key, value in self._entries(node, what):
            name = self.text(key, f"a key of {what}")
            if name not in known:
                self.warn(key, f"{self.shown(key)} is no key of {what}: ACR ignores it")
                continue
            if name in found:
                self.warn(key, f"{name} is given twice in {what}: the last one counts")
                del found[name]
            if not is_null(value):
                found[name] = value
        return found

    def _entries(self, node: yaml.Node | None, what: str) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._enter()
                if key.tag == f"{_TAG}merge":
                    yield from self._merged(value, what)
                else:
                    yield key, value
        elif node is not None and not is_null(node):
            self.fault(node, f"{what} is {_kind(node)}, not a mapping")

    def _merged(self, node: yaml.Node, what: str) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        for part in reversed(node.value) if isinstance(node, yaml.SequenceNode) else (node,):
            self._merges += 1
            if self._merges > _MOST_MERGES:
                raise TaskFileError([f"the task file has more than {_MOST_MERGES} merges (<<)"])
            yield from self._entries(part, f"a merge into {what}")

    def pairs(self, node: yaml.Node, what: str) -> dict[str, str]:
        """A mapping of strings to strings."""
        return {
            self.text(key, f"a key of {what}"): self.text(value, f"{self.shown(key)} of {what}")
            for key, value in self._entries(node, what)
        }

    def text(self, node: yaml.Node, what: str) -> str:
        """A scalar as a string, as it is written in the file; null is empty."""
        if isinstance(node, yaml.ScalarNode):
            return "" if is_null(node) else str(node.value)
        self.fault(node, f"{what} is {_kind(node)}, not a string")
        return ""

    def items(self, node: yaml.Node, what: str) -> Iterator[yaml.Node]:
        """The entries of a list."""
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._enter()
                yield item
        elif not is_null(node):
            self.fault(node, f"{what} is {_kind(node)}, not a list")

    def texts(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(self.text(item, f"an entry of {what}") for item in self.items(node, what))

    def number(self, node: yaml.Node, what: str) -> int:
        """An integer; a fraction is cut off, as in Go."""
        number = _number(node)
        if number is None:
            self.fault(node, f"{what} is not an integer: {self.shown(node)}")
        return number or 0

    def numbers(self, node: yaml.Node, what: str) -> tuple[int, ...]:
        """A list of integers."""
        return tuple(self.number(item, f"an entry of {what}") for item in self.items(node, what))

    def flag(self, node: yaml.Node, what: str) -> bool:
        """A boolean."""
        plain = _plain(node)
        if plain not in _TRUE | _FALSE:
            self.fault(node, f"{what} is neither true nor false: {self.shown(node)}")
        return plain in _TRUE

    def value(self, node: yaml.Node) -> object:
        """A value of any type but a mapping, as Go's decoder reads it into an empty interface."""
        self._values += 1
        if self._values > _MOST_VALUES:
            raise TaskFileError([f"the file has more than {_MOST_VALUES} values"])
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            self.fault(node, "a mapping is the value of another key: ACR cannot serialize it")
            return None
        plain = _plain(node)
        if plain in _NULLS:
            return None
        if plain in _TRUE | _FALSE:
            return plain in _TRUE
        return _scalar(str(node.value)) if plain is not None else str(node.value)


def is_null(node: yaml.Node) -> bool:
    """Whether a value is null, or left out."""
    return _plain(node) in _NULLS


def _plain(node: yaml.Node) -> str | None:
    """The text of a plain scalar; None for what is quoted, tagged as a string, or no scalar."""
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return None
    return str(node.value)


def _number(node: yaml.Node) -> int | None:
    plain = _plain(node)
    if plain is None or plain in _NULLS:
        return 0 if plain is not None else None
    number = _scalar(plain)
    if isinstance(number, str):
        return None
    if isinstance(number, float) and not math.isfinite(number):
        return None
    return int(number) if -_LARGEST_NUMBER - 1 <= number <= _LARGEST_NUMBER else None


def _scalar(plain: str) -> int | float | str:
    """A plain scalar that is neither null nor a boolean: a number, or a text."""
    digits = plain.replace("_", "")
    if len(digits) > _MOST_DIGITS:
        return plain
    if _INTEGER.fullmatch(digits):
        return int(digits, 8 if _OCTAL.fullmatch(digits) else 0)
    if _DECIMAL.fullmatch(digits):
        return float(digits)
    return float(plain.replace(".", "")) if _SPECIAL.fullmatch(plain) else plain


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a plain value"
