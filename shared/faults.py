"""Every fault of a document against its type, not just the first."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import msgspec

from shared.yaml_places import Path


def find_faults(value: Any, kind: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The places where a plain value does not fit a msgspec type, each with what is wrong.

    Structs are checked field by field, mappings and lists item by item, everything else by msgspec itself.
    """
    bare = _bare(kind)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct) and isinstance(value, Mapping):
        yield from _struct_faults(value, bare, path)
        return
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    inner: list[tuple[Path, str]] = []
    if origin is dict and isinstance(value, Mapping):
        for key, item in value.items():
            inner.extend(_leaf_faults(key, arguments[0], (*path, key)))
            inner.extend(find_faults(item, arguments[1], (*path, key)))
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            inner.extend(find_faults(item, arguments[0], (*path, index)))
    yield from inner
    if not inner:
        yield from _leaf_faults(value, kind, path)


def _struct_faults(value: Mapping[str, Any], kind: type[msgspec.Struct], path: Path) -> Iterator[tuple[Path, str]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key in value:
        if key not in fields:
            known = ", ".join(fields)
            yield (*path, key), f"unknown key; known here: {known}"
    for name, field in fields.items():
        if name in value:
            yield from find_faults(value[name], hints[name], (*path, name))
        elif field.required:
            yield path, f"the key {name!r} is missing"


def _leaf_faults(value: Any, kind: Any, path: Path) -> Iterator[tuple[Path, str]]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        described = _described(kind)
        problem = str(error).split(" - at `")[0].replace("`", "'").replace("'array'", "a list")
        unquoted = _bare(kind) is str and isinstance(value, int | float | date)
        hint = "; write it in quotes" if unquoted else ""
        yield path, (f"{repr(value)[:80]} is not {described}" if described else problem) + hint


def _described(kind: Any) -> str:
    """What the type's own description asks for, in words, or "". In `X | None`, that of X counts first."""
    metas = [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    inner = typing.get_args(kind)[0] if metas else kind
    options = typing.get_args(inner) if typing.get_origin(inner) in (typing.Union, types.UnionType) else ()
    described = [_described(option) for option in options if option is not type(None)]
    return next((text for text in (*described, *(meta.description for meta in metas)) if text), "")


def _bare(kind: Any) -> Any:
    """The type without its annotations and without None."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        others = [option for option in typing.get_args(kind) if option is not type(None)]
        return _bare(others[0]) if len(others) == 1 else kind
    return kind
