"""Checks a function's parameters against its bindings by the real worker's rules, and selects the converters.

A mismatch prevents the whole app from loading, as in Azure; the messages are those of the real worker.
Source: https://github.com/Azure/azure-functions-python-worker (azure_functions_worker/functions.py)
"""

from __future__ import annotations

import inspect
import operator
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from azure.functions import get_binding_registry
from azure.functions._thirdparty import typing_inspect
from azure.functions.meta import Datum


class LoadError(Exception):
    """A function does not match its bindings."""

    def __init__(self, function: str, reason: str) -> None:
        super().__init__(f"cannot load the {function} function: {reason}")


@dataclass(frozen=True)
class Parameter:
    """A binding's converter and the annotated type, None without annotation."""

    converter: Any
    pytype: Any


@dataclass(frozen=True)
class Signature:
    """How to call a function."""

    call: Callable[..., Any]
    inputs: Mapping[str, Parameter]
    outputs: Mapping[str, Parameter]
    returned: Parameter | None
    wants_context: bool
    is_async: bool


def read_signature(name: str, call: Callable[..., Any], bindings: list[dict[str, Any]]) -> Signature:
    """Check a function against its bindings (as the SDK describes them).

    Raises:
        LoadError: they do not match.
    """
    parameters = dict(inspect.signature(call).parameters)
    hints = typing.get_type_hints(call)
    bound = {binding["name"]: binding for binding in bindings}
    returned = bound.pop("$return", None)
    wants_context = "context" in parameters and "context" not in bound
    if wants_context:
        del parameters["context"]
        _check_context(name, hints)
    _check_names(name, set(parameters), set(bound))
    inputs: dict[str, Parameter] = {}
    outputs: dict[str, Parameter] = {}
    for parameter, binding in bound.items():
        side = outputs if _is_out(binding) else inputs
        side[parameter] = _parameter(name, binding, hints)
    return Signature(
        call,
        inputs,
        outputs,
        _return(name, returned, hints) if returned else None,
        wants_context,
        inspect.iscoroutinefunction(call),
    )


def _converter(kind: str) -> Any:
    return get_binding_registry().get(kind) or GenericConverter


def _is_out(binding: dict[str, Any]) -> bool:
    return str(binding["direction"]).upper() in ("OUT", "1")


def _check_context(name: str, hints: dict[str, Any]) -> None:
    hint = hints.get("context")
    if hint is not None and not (isinstance(hint, type) and hint.__name__ == "Context"):
        expected = 'the "context" parameter is expected to be of type azure.functions.Context'
        raise LoadError(name, f"{expected}, got {hint!r}")


def _check_names(name: str, declared: set[str], bound: set[str]) -> None:
    if extra := declared - bound:
        raise LoadError(name, f"the following parameters are declared in Python but not in function.json: {extra!r}")
    if missing := bound - declared:
        raise LoadError(name, f"the following parameters are declared in function.json but not in Python: {missing!r}")


def _parameter(name: str, binding: dict[str, Any], hints: dict[str, Any]) -> Parameter:
    parameter, kind = binding["name"], binding["type"]
    if parameter not in hints:
        return Parameter(_converter(kind), None)
    hint = hints[parameter]
    annotated_out = _is_out_annotation(hint)
    _check_direction(name, parameter, declared_out=_is_out(binding), annotated_out=annotated_out)
    pytype = _inner_type(name, parameter, hint) if annotated_out else hint
    if not isinstance(pytype, type) and not typing_inspect.is_generic_type(pytype):
        raise LoadError(name, f"binding {parameter} has invalid non-type annotation {hint!r}")
    converter = GenericConverter if pytype in (str, bytes) else _converter(kind)
    check = converter.check_output_type_annotation if annotated_out else converter.check_input_type_annotation
    if not check(pytype):
        raise LoadError(
            name,
            f'type of {parameter} binding in function.json "{kind}" does not match its Python annotation '
            f'"{getattr(pytype, "__name__", pytype)}"',
        )
    return Parameter(converter, pytype)


def _is_out_annotation(hint: Any) -> bool:
    origin = typing_inspect.get_origin(hint) if typing_inspect.is_generic_type(hint) else None
    candidate = hint if origin is None else origin
    return isinstance(candidate, type) and candidate.__name__ == "Out"


def _check_direction(name: str, parameter: str, *, declared_out: bool, annotated_out: bool) -> None:
    if declared_out and not annotated_out:
        raise LoadError(
            name,
            f'binding {parameter} is declared to have the "out" direction, but its annotation in Python is not a '
            "subclass of azure.functions.Out",
        )
    if annotated_out and not declared_out:
        raise LoadError(
            name,
            f'binding {parameter} is declared to have the "in" direction in function.json, but its annotation is '
            "azure.functions.Out in Python",
        )


def _inner_type(name: str, parameter: str, hint: Any) -> Any:
    inner = typing_inspect.get_args(hint)
    if len(inner) != 1:
        raise LoadError(name, f"binding {parameter} has invalid Out annotation {hint!r}")
    flat = inner[0]
    if isinstance(flat, tuple) and typing_inspect.is_generic_type(flat[0]):
        return operator.getitem(flat[0], *flat[1:])
    return flat


def _return(name: str, binding: dict[str, Any], hints: dict[str, Any]) -> Parameter:
    converter = _converter(binding["type"])
    if "return" not in hints:
        return Parameter(converter, None)
    pytype = hints["return"]
    if _is_out_annotation(pytype):
        raise LoadError(name, "return annotation should not be azure.functions.Out")
    if not isinstance(pytype, type):
        raise LoadError(name, f"has invalid non-type return annotation {pytype!r}")
    if not converter.check_output_type_annotation(pytype):
        raise LoadError(
            name,
            f'Python return annotation "{pytype.__name__}" does not match binding type "{binding["type"]}"',
        )
    return Parameter(converter, pytype)


class GenericConverter:
    """Passes text and bytes through unchanged."""

    @classmethod
    def check_input_type_annotation(cls, pytype: type) -> bool:
        """Whether a parameter of that type can be read."""
        return issubclass(pytype, (str, bytes))

    @classmethod
    def check_output_type_annotation(cls, pytype: type) -> bool:
        """Whether a parameter of that type can be written."""
        return issubclass(pytype, (str, bytes, bytearray))

    @classmethod
    def decode(cls, data: Datum, *, trigger_metadata: Any) -> Any:
        """The text or bytes; JSON is not parsed.

        Raises:
            ValueError: an HTTP request, which is neither.
        """
        if data.type not in ("string", "bytes", "json"):
            raise ValueError(f'unexpected type of data received for the "generic" binding: {data.type!r}')
        return data.value

    @classmethod
    def encode(cls, obj: Any, *, expected_type: type | None) -> Datum:
        """Text or bytes, unchanged.

        Raises:
            NotImplementedError: anything else.
        """
        if isinstance(obj, str):
            return Datum(obj, "string")
        if isinstance(obj, (bytes, bytearray)):
            return Datum(bytes(obj), "bytes")
        raise NotImplementedError
