"""An output binding, as the worker hands it to a function."""

from __future__ import annotations

import typing

import azure.functions as func


class Hints(func.Out[typing.List[str]]):  # noqa: UP006 (as the function declares it)
    """Keeps what was set; None where nothing was."""

    def __init__(self) -> None:
        self.value: list[str] | None = None

    def set(self, val: list[str]) -> None:
        self.value = val

    def get(self) -> list[str]:
        return self.value or []
