"""YAML with places: plain values, and the line and column of every key and item."""

from __future__ import annotations

from typing import Any

import yaml

Path = tuple[str | int, ...]

Misfit = tuple[Path, str]
"""A path in a document, and what is wrong there."""


class YamlFault(Exception):
    """The text is no YAML, or uses what a rule file must not (duplicate keys, keys that are no text)."""

    def __init__(self, line: int, column: int, problem: str) -> None:
        super().__init__(f"line {line}, column {column}: {problem}")
        self.line, self.column, self.problem = line, column, problem


def load_with_places(text: str) -> tuple[Any, dict[Path, tuple[int, int]]]:
    """The document, and (line, column), from 1, of each path in it.

    Raises:
        YamlFault: with its place.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return None, {(): (1, 1)}
        places: dict[Path, tuple[int, int]] = {(): _place(node)}
        return _value(node, (), places), places
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlFault(line, column, str(error.problem or error)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise YamlFault(line, column, f"the character {chr(error.character)!a} is not allowed") from error
    except RecursionError as error:
        raise YamlFault(1, 1, "it is nested too deeply, or a part of it contains itself") from error


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _value(node: yaml.Node, path: Path, places: dict[Path, tuple[int, int]]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, places)
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            places[(*path, index)] = _place(item)
            items.append(_value(item, (*path, index), places))
        return items
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    try:
        return yaml.SafeLoader("").construct_object(node)
    except ValueError as error:  # what looks like a date or a number and is none
        line, column = _place(node)
        raise YamlFault(line, column, f"{node.value!r} cannot be read ({error}); write it in quotes") from error


def _mapping(node: yaml.MappingNode, path: Path, places: dict[Path, tuple[int, int]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line, column = _place(key_node)
        key = key_node.value
        if not isinstance(key, str):
            raise YamlFault(line, column, "a key must be text")
        if key in result:
            raise YamlFault(line, column, f"the key {key!r} stands here a second time")
        places[(*path, key)] = (line, column)
        result[key] = _value(value_node, (*path, key), places)
    return result
