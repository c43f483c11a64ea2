"""Sizes that keep a file readable in one go. Complexity and the number of arguments are ruff's business."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.tree import files, name

BODY_LINES = 40

CODE = ("function_app.py", "functions", "shared", "basegate_cli", "demo", "sandbox")


def code() -> Iterator[tuple[str, str]]:
    """Name and text of each module that is no test."""
    for file in files(".py", *CODE):
        if "tests" not in file.parts:
            yield name(file), file.read_text(encoding="utf-8")


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How long a function is without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_functions_are_short() -> None:
    too_long = {
        f"{module}:{node.name}": body_lines(node)
        for module, text in code()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > BODY_LINES
    }
    assert too_long == {}
