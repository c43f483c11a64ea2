"""A function of templates, and the types of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandbox.tasks.taskfile.gotemplate.values import Int64, TemplateError, is_secret, marked, type_name, weight

_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "s": ("string", (str,)),
    "i": ("int", (int,)),
    "b": ("bool", (bool,)),
    "f": ("float64", (float, int)),
    "l": ("a list", (list,)),
    "m": ("map[string]interface {}", (dict,)),
    "t": ("time.Time", (datetime,)),
}


@dataclass(frozen=True, slots=True)
class Function:
    """A function. `parameters` has a letter for each: s string, i int, b bool, f float64, l list, m map, t time, a any.

    After `*` comes the type of all further arguments.
    """

    call: Callable[..., Any]
    parameters: str

    def __call__(self, name: str, arguments: Sequence[object]) -> object:
        """Call it. Raises `TemplateError` if the arguments do not fit, as Go would, or the function fails."""
        fixed, variadic, rest = self.parameters.partition("*")
        if len(arguments) < len(fixed) or (len(arguments) > len(fixed) and not variadic):
            wanted = f"at least {len(fixed)}" if variadic else str(len(fixed))
            raise TemplateError(f"wrong number of args for {name}: want {wanted} got {len(arguments)}")
        for letter, argument in zip(fixed.ljust(len(arguments), rest or "a"), arguments, strict=True):
            _check(name, letter, argument)
        weight(list(arguments))
        secret = any(map(is_secret, arguments))
        try:
            result = self.call(*arguments)
        except TemplateError as error:
            raise TemplateError(f"error calling {name}" + ("" if secret else f": {error}")) from None
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            raise TemplateError(f"error calling {name}: {type(error).__name__}") from None
        weight(result)
        return marked(result) if secret else result


def _check(name: str, letter: str, argument: object) -> None:
    if letter == "a":
        return
    wanted, types = _TYPES[letter]
    fits = isinstance(argument, types) and not (letter in "if" and isinstance(argument, bool | Int64))
    if argument is None and letter != "m":
        raise TemplateError(f"{name}: a value is missing where {wanted} is needed: give it a default first")
    if not fits and argument is not None:
        raise TemplateError(f"wrong type for value of {name}; expected {wanted}; got {type_name(argument)}")


def refused(reason: str) -> Function:
    """A function that exists in ACR and is refused here."""

    def refuse(*_: object) -> str:
        raise TemplateError(reason)

    return Function(refuse, "*a")
