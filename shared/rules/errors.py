"""Where gates.yaml is no YAML or does not fit its types: every error, with its line and column."""

import types
import typing
from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec
import yaml

from shared.domain.errors import Misconfigured

Path = tuple[str | int, ...]

Problem = tuple[Path, str]
"""A path in the document, and what is wrong there."""

Places = dict[Path, tuple[int, int]]
"""Line and column, from 1, of every key and item."""


class ValidationError(Exception):
    """One error: line and column, the path of keys, and what is wrong."""

    def __init__(self, line: int, column: int, path: str, problem: str) -> None:
        super().__init__(f"line {line}, column {column}: {f'{path}: ' if path else ''}{problem}")
        self.place = line, column


class InvalidGates(Misconfigured):
    """gates.yaml has errors; `errors` are all of them, in the order of their lines."""

    def __init__(self, name: str, errors: list[ValidationError]) -> None:
        self.errors = sorted(errors, key=lambda error: error.place)
        lines = "\n".join(f"  {error}" for error in self.errors)
        super().__init__(f"{name} has {len(errors)} error{'s' if len(errors) > 1 else ''}:\n{lines}")


def load_yaml(text: str) -> tuple[Any, Places]:
    """The plain values of a document, and their places.

    Raises:
        ValidationError: the text is no YAML, or uses what rules must not (duplicate keys, keys that are no text).
    """
    places: Places = {(): (1, 1)}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return None if node is None else _value(node, (), places), places
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ValidationError(line, column, "", str(error.problem or error)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise ValidationError(line, column, "", f"the character {chr(error.character)!a} is not allowed") from error
    except RecursionError as error:
        raise ValidationError(1, 1, "", "it is nested too deeply, or a part of it contains itself") from error


def _value(node: yaml.Node, path: Path, places: Places) -> Any:
    places[path] = _place(node)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, places)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, index), places) for index, item in enumerate(node.value)]
    try:
        return yaml.SafeLoader("").construct_object(node)
    except ValueError as error:  # what resembles a date or a number and is none
        problem = f"{node.value!r} cannot be read ({error}); write it in quotes"
        raise ValidationError(*_place(node), "", problem) from error


def _mapping(node: yaml.MappingNode, path: Path, places: Places) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, place = key_node.value, _place(key_node)
        if not isinstance(key, str):
            raise ValidationError(*place, "", "a key must be text")
        if key in result:
            raise ValidationError(*place, "", f"the key {key!r} stands here a second time")
        result[key] = _value(value_node, (*path, key), places)
        places[(*path, key)] = place
    return result


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def type_errors(value: Any, kind: Any, path: Path = ()) -> Iterator[Problem]:
    """Where a plain value does not fit a msgspec type: all of it, where msgspec itself stops at the first.

    Structs are checked field by field, mappings and lists item by item, everything else by msgspec.
    """
    bare = _bare(kind)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct) and isinstance(value, dict):
        yield from _struct_errors(value, bare, path)
        return
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    inner: list[Problem] = []
    if origin is dict and isinstance(value, dict):
        for key, item in value.items():
            inner.extend(_leaf_errors(key, arguments[0], (*path, key)))
            inner.extend(type_errors(item, arguments[1], (*path, key)))
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            inner.extend(type_errors(item, arguments[0], (*path, index)))
    yield from inner or _leaf_errors(value, kind, path)


def _struct_errors(value: dict[str, Any], kind: type[msgspec.Struct], path: Path) -> Iterator[Problem]:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key in value:
        if key not in fields:
            yield (*path, key), f"unknown key; known here: {', '.join(fields)}"
    for name, field in fields.items():
        if name in value:
            yield from type_errors(value[name], hints[name], (*path, name))
        elif field.required:
            yield path, f"the key {name!r} is missing"


def _leaf_errors(value: Any, kind: Any, path: Path) -> Iterator[Problem]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        described = _description(kind)
        problem = str(error).split(" - at `")[0].replace("`", "'").replace("'array'", "a list")
        unquoted = _bare(kind) is str and isinstance(value, int | float | date)
        hint = "; write it in quotes" if unquoted else ""
        yield path, (f"{repr(value)[:80]} is not {described}" if described else problem) + hint


def _description(kind: Any) -> str:
    """What the type's own description asks for, in words, or "". In `X | None`, that of X counts first."""
    metas = [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    options = _options(typing.get_args(kind)[0] if metas else kind)
    return next(filter(None, (*map(_description, options), *(meta.description for meta in metas))), "")


def _bare(kind: Any) -> Any:
    """The type without its annotations and without None."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    options = _options(kind)
    return _bare(options[0]) if len(options) == 1 else kind


def _options(kind: Any) -> list[Any]:
    """The types of a union but None; of any other type, none."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return [option for option in typing.get_args(kind) if option is not type(None)] if union else []
