"""Executes a parsed Go template.

Source: https://pkg.go.dev/text/template
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.tasks.taskfile.gotemplate.builtins import BUILTINS
from sandbox.tasks.taskfile.gotemplate.functions import Function
from sandbox.tasks.taskfile.gotemplate.sprig_data import SPRIG_DATA
from sandbox.tasks.taskfile.gotemplate.sprig_text import SPRIG_TEXT
from sandbox.tasks.taskfile.gotemplate.syntax import Node, Operand, Parsed, Pipe, parse
from sandbox.tasks.taskfile.gotemplate.values import (
    LARGEST_TEXT_CHARACTERS,
    TemplateError,
    bounded,
    entries,
    text_of,
    truth,
    type_name,
    weight,
)

_STEPS = 200_000
_DEEPEST = 50
_ABSENT = object()
_SHORT_CIRCUITS = {"and": False, "or": True}
FUNCTIONS: Mapping[str, Function] = BUILTINS | SPRIG_TEXT | SPRIG_DATA

Write = Callable[[object, int, bool], None]
"""Receives a text or a value, the offset of what it comes from, and whether it is a text of the template itself."""


def execute(source: str, data: Mapping[str, Any], write: Write) -> None:
    """Render a template.

    Raises:
        TemplateError: for the first thing that is wrong. The texts of secrets are not in it.
    """
    bounded(len(source))
    parsed = parse(source, FUNCTIONS.keys() | _SHORT_CIRCUITS.keys())
    _Execution(parsed, data, write).run()


class _Jump(Exception):
    """A break or continue inside a range."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _Execution:
    def __init__(self, parsed: Parsed, data: Mapping[str, Any], write: Write) -> None:
        self._parsed, self._write = parsed, write
        self._variables: list[tuple[str, object]] = [("$", data)]
        self._left, self._room, self._depth = _STEPS, LARGEST_TEXT_CHARACTERS, 0

    def run(self) -> None:
        self._run_nodes(self._parsed.nodes, self._variables[0][1])

    def _run_nodes(self, nodes: Sequence[Node], dot: object) -> None:
        known = len(self._variables)
        for node in nodes:
            self._count(node.offset)
            self._node(node, dot)
        del self._variables[known:]

    def _count(self, offset: int, steps: int = 1) -> None:
        self._left -= steps
        if self._left < 0:
            raise TemplateError(f"the template takes more than {_STEPS} steps", offset)

    def _node(self, node: Node, dot: object) -> None:
        match node.kind:
            case "text":
                self._emit(node.text, node.offset, own=True)
            case "output":
                assert node.pipe
                value = self._pipe(node.pipe, dot)
                if not node.pipe.names:
                    self._emit("" if value is None else value, node.offset, own=False)
            case "if" | "with":
                self._condition(node, dot)
            case "range":
                self._range(node, dot)
            case "template":
                self._template(node, dot)
            case _:
                raise _Jump(node.kind)

    def _emit(self, value: object, offset: int, *, own: bool) -> None:
        self._count(offset, weight(value))
        self._room -= len(value if isinstance(value, str) else text_of(value))
        if self._room < 0:
            raise TemplateError("the rendered text is longer than 1 Mi characters", offset)
        self._write(value, offset, own)

    def _condition(self, node: Node, dot: object) -> None:
        assert node.pipe
        known = len(self._variables)
        value = self._pipe(node.pipe, dot)
        if truth(value):
            self._run_nodes(node.body, value if node.kind == "with" else dot)
        else:
            self._run_nodes(node.otherwise, dot)
        del self._variables[known:]

    def _range(self, node: Node, dot: object) -> None:
        assert node.pipe
        known = len(self._variables)
        names, assigns = node.pipe.names, node.pipe.assigns
        value = self._pipe(Pipe(node.pipe.commands, node.offset), dot)
        count = 0
        try:
            for key, item in entries(value):
                count += 1
                self._count(node.offset)
                self._bind(dict(zip(names, (key, item) if len(names) > 1 else (item,), strict=False)), assigns)
                if not self._iteration(node, item):
                    break
                del self._variables[known:]
        except TemplateError as error:
            raise TemplateError(str(error), error.offset or node.offset) from None
        del self._variables[known:]
        if not count:
            self._run_nodes(node.otherwise, dot)

    def _iteration(self, node: Node, item: object) -> bool:
        try:
            self._run_nodes(node.body, item)
        except _Jump as jump:
            return jump.kind == "continue"
        return True

    def _bind(self, values: Mapping[str, object], assigns: bool) -> None:
        for name, value in values.items():
            if not assigns:
                self._variables.append((name, value))
                continue
            place = max(at for at, (known, _) in enumerate(self._variables) if known == name)
            self._variables[place] = (name, value)

    def _template(self, node: Node, dot: object) -> None:
        if node.text not in self._parsed.definitions:
            raise TemplateError(f"template {node.text} is not defined", node.offset)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TemplateError(f"templates use each other more than {_DEEPEST} deep", node.offset)
        value = self._pipe(node.pipe, dot) if node.pipe else None
        outside, self._variables = self._variables, [("$", value)]
        self._run_nodes(self._parsed.definitions[node.text], value)
        self._variables = outside
        self._depth -= 1

    def _pipe(self, pipe: Pipe, dot: object) -> object:
        value: object = _ABSENT
        for command in pipe.commands:
            value = self._command(command, dot, value)
        self._bind(dict.fromkeys(pipe.names, value), pipe.assigns)
        return value

    def _command(self, command: Sequence[Operand], dot: object, last: object) -> object:
        first, rest = command[0], command[1:]
        self._count(first.offset)
        if first.kind == "function":
            try:
                return _through(self._call(str(first.value), rest, dot, last), first)
            except TemplateError as error:
                raise TemplateError(str(error), error.offset or first.offset) from None
        if first.kind == "nil":
            raise TemplateError("nil is not a command", first.offset)
        if rest or last is not _ABSENT:
            raise TemplateError("a value that is no function is given arguments", first.offset)
        return self._operand(first, dot)

    def _call(self, name: str, operands: Sequence[Operand], dot: object, last: object) -> object:
        if name in _SHORT_CIRCUITS:
            return self._short_circuit(name, operands, dot, last)
        arguments = [self._operand(operand, dot) for operand in operands]
        arguments += [] if last is _ABSENT else [last]
        self._count(0, weight(arguments))
        result = FUNCTIONS[name](name, arguments)
        self._count(0, weight(result))
        return result

    def _short_circuit(self, name: str, operands: Sequence[Operand], dot: object, last: object) -> object:
        if not operands and last is _ABSENT:
            raise TemplateError(f"wrong number of args for {name}: want at least 1 got 0")
        value: object = None
        for operand in operands:
            value = self._operand(operand, dot)
            if truth(value) is _SHORT_CIRCUITS[name]:
                return value
        return value if last is _ABSENT else last

    def _operand(self, operand: Operand, dot: object) -> object:
        match operand.kind:
            case "constant":
                return operand.value
            case "nil":
                return None
            case "dot":
                return _through(dot, operand)
            case "variable":
                value = next(value for name, value in reversed(self._variables) if name == operand.value)
                return _through(value, operand)
            case "pipe":
                return _through(self._pipe(operand.value, dot), operand)
            case _:
                return self._command([operand], dot, _ABSENT)


def _through(value: object, operand: Operand) -> object:
    """Follow the operand's fields. A name that a map does not have is nil; a name of a nil is an error."""
    for name in operand.path:
        if value is None:
            raise TemplateError(f"nil pointer evaluating interface {{}}.{name}", operand.offset)
        if not isinstance(value, Mapping):
            raise TemplateError(f"can't evaluate field {name} in type {type_name(value)}", operand.offset)
        value = value.get(name)
    return value
