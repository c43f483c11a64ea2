"""A command from two functions: what it is about, and what all commands of its kind have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def composed(describe: Callable[..., Any], perform: Callable[..., None], described: str) -> Callable[..., None]:
    """A command with the parameters of `describe`, then those of `perform`, which gets what the first one returns.

    Args:
        describe: says what to call; the command has its name and its words.
        perform: does it.
        described: the parameter of `perform` that takes what `describe` returned.
    """
    shared = inspect.signature(perform, eval_str=True).parameters
    own = inspect.signature(describe, eval_str=True).parameters

    def command(**given: Any) -> None:
        subject = describe(**{name: given.pop(name) for name in own})
        perform(**{described: subject}, **given)

    parameters = [*own.values(), *(parameter for name, parameter in shared.items() if name != described)]
    command.__name__, command.__doc__ = describe.__name__, describe.__doc__
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what typer reads
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    hints = get_type_hints(perform, include_extras=True) | get_type_hints(describe, include_extras=True)
    command.__annotations__ = {parameter.name: hints[parameter.name] for parameter in parameters}
    return command
