"""Parses the tokens of a Go template into nodes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox.tasks.taskfile.gotemplate.lexer import Piece, Token, split
from sandbox.tasks.taskfile.gotemplate.values import TemplateError, character

_DEEPEST, _MOST_WORDS, _MOST_VARIABLES = 50, 1_000, 100
_LARGEST_INTEGER = 2**64 - 1
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand: a `constant`, `dot`, `variable`, `function` or `pipe` (in parentheses), and the fields after it."""

    kind: Literal["constant", "nil", "dot", "variable", "function", "pipe"]
    offset: int
    value: Any = None
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipe:
    """A pipeline. `names` are the variables that it declares or, with `assigns`, changes."""

    commands: tuple[tuple[Operand, ...], ...]
    offset: int
    names: tuple[str, ...] = ()
    assigns: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A node: text, the output of a pipeline, a block, or the use of a template."""

    kind: Literal["text", "output", "if", "with", "range", "template", "break", "continue"]
    offset: int
    text: str = ""
    pipe: Pipe | None = None
    body: tuple[Node, ...] = ()
    otherwise: tuple[Node, ...] = ()


@dataclass(slots=True)
class Parsed:
    """A parsed template: its nodes, and those of the templates that it defines."""

    nodes: tuple[Node, ...] = ()
    definitions: dict[str, tuple[Node, ...]] = field(default_factory=dict)


def parse(source: str, functions: Collection[str]) -> Parsed:
    """Parse a template that may use these functions. Raises `TemplateError` for the first thing that is wrong."""
    parser = _Parser(list(split(source)), functions)
    nodes, end = parser.nodes([])
    if end:
        raise TemplateError(f"unexpected {{{{{end[0].value}}}}}", end[0].offset)
    parser.parsed.nodes = nodes
    return parser.parsed


class _Parser:
    def __init__(self, pieces: list[Piece], functions: Collection[str]) -> None:
        self.parsed = Parsed()
        self._pieces, self._position, self._functions = pieces, 0, functions
        self._variables = ["$"]
        self._depth, self._loops = 0, 0

    def nodes(self, start: list[Node]) -> tuple[tuple[Node, ...], list[Token]]:
        """The nodes up to an `end` or `else`, and the tokens of that action (none at the end of the text)."""
        found = start
        while self._position < len(self._pieces):
            piece = self._pieces[self._position]
            self._position += 1
            if piece.kind == "text":
                found.append(Node("text", piece.offset, piece.text))
                continue
            _check_size(piece)
            word = piece.tokens[0].value if piece.tokens[0].kind == "word" else ""
            if word in ("end", "else"):
                return tuple(found), piece.tokens
            node = self._statement(word, piece)
            found += [node] if node else []
        return tuple(found), []

    def _statement(self, word: str, piece: Piece) -> Node | None:
        readers: dict[str, Callable[[Piece], Node | None]] = {
            "if": self._block, "with": self._block, "range": self._block, "define": self._define,
            "block": self._define, "template": self._template, "break": self._jump, "continue": self._jump,
        }  # fmt: skip
        if word in readers:
            return readers[word](piece)
        return Node("output", piece.offset, pipe=self._pipeline(piece.tokens, piece.offset))

    def _block(self, piece: Piece, word: str = "", tokens: list[Token] | None = None) -> Node:
        word, tokens = word or piece.tokens[0].value, piece.tokens[1:] if tokens is None else tokens
        known = len(self._variables)
        self._descend(piece.offset)
        pipe = self._pipeline(tokens, piece.offset, word)
        self._loops += word == "range"
        inside = len(self._variables)
        body, end = self.nodes([])
        del self._variables[inside:]
        self._loops -= word == "range"
        otherwise, end = self._else(word, piece, end)
        if not end or len(end) > 1 or end[0].value != "end":
            raise TemplateError(f"{{{{{word}}}}} is not closed with {{{{end}}}}", piece.offset)
        del self._variables[known:]
        self._depth -= 1
        return Node(word, piece.offset, pipe=pipe, body=body, otherwise=otherwise)  # type: ignore[arg-type]

    def _else(self, word: str, piece: Piece, end: list[Token]) -> tuple[tuple[Node, ...], list[Token]]:
        if not end or end[0].value != "else":
            return (), end
        if len(end) == 1:
            return self.nodes([])
        if word == "range" or end[1].value != word:
            raise TemplateError(f"unexpected {end[1].value} after else", end[1].offset)
        nested = self._block(Piece("action", end[0].offset), word, end[2:])
        return (nested,), [Token("word", "end", piece.offset, spaced=False)]

    def _descend(self, offset: int) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TemplateError(f"the template is nested more than {_DEEPEST} deep", offset)

    def _define(self, piece: Piece) -> Node | None:
        word, rest = piece.tokens[0].value, piece.tokens[1:]
        if not rest or rest[0].kind not in ("text", "raw") or (word == "define" and len(rest) > 1):
            raise TemplateError(f"{word} needs a quoted name", piece.offset)
        name = _string(rest[0])
        pipe = self._pipeline(rest[1:], piece.offset) if word == "block" else None
        self._descend(piece.offset)
        outside, self._variables = self._variables, ["$"]
        body, end = self.nodes([])
        self._variables = outside
        self._depth -= 1
        if not end or end[0].value != "end":
            raise TemplateError(f"{{{{{word}}}}} is not closed with {{{{end}}}}", piece.offset)
        self.parsed.definitions[name] = body
        return Node("template", piece.offset, name, pipe) if word == "block" else None

    def _template(self, piece: Piece) -> Node:
        rest = piece.tokens[1:]
        if not rest or rest[0].kind not in ("text", "raw"):
            raise TemplateError("template needs a quoted name", piece.offset)
        pipe = self._pipeline(rest[1:], piece.offset) if rest[1:] else None
        return Node("template", piece.offset, _string(rest[0]), pipe)

    def _jump(self, piece: Piece) -> Node:
        word = piece.tokens[0].value
        if len(piece.tokens) > 1 or not self._loops:
            raise TemplateError(f"{word} stands alone, inside a range", piece.offset)
        return Node(word, piece.offset)  # type: ignore[arg-type]

    def _pipeline(self, tokens: list[Token], offset: int, word: str = "") -> Pipe:
        names, assigns, rest = self._declaration(tokens, word)
        commands, left = self._commands(rest, offset)
        if left:
            raise TemplateError(f"unexpected {left[0].value}", left[0].offset)
        if not assigns:
            self._variables += names
        if len(self._variables) > _MOST_VARIABLES:
            raise TemplateError(f"more than {_MOST_VARIABLES} variables at a time are refused here", offset)
        return Pipe(commands, offset, names, assigns)

    def _declaration(self, tokens: list[Token], word: str) -> tuple[tuple[str, ...], bool, list[Token]]:
        kinds = [token.kind for token in tokens[:4]]
        pair = word == "range" and kinds[:3] == ["variable", "comma", "variable"]
        size = 3 if pair else 1
        if kinds[:1] != ["variable"] or kinds[size : size + 1] not in (["declare"], ["assign"]):
            return (), False, tokens
        assigns = tokens[size].kind == "assign"
        names = tuple(token.value for token in tokens[:size:2])
        for name in names if assigns else ():
            self._check_variable(name, tokens[0].offset)
        return names, assigns, tokens[size + 1 :]

    def _check_variable(self, name: str, offset: int) -> None:
        if name not in self._variables:
            raise TemplateError(f"undefined variable {name}", offset)

    def _commands(self, tokens: list[Token], offset: int) -> tuple[tuple[tuple[Operand, ...], ...], list[Token]]:
        commands: list[tuple[Operand, ...]] = []
        while True:
            command, tokens = self._command(tokens)
            if not command:
                raise TemplateError("missing value for command", tokens[0].offset if tokens else offset)
            if commands and command[0].kind in ("constant", "nil", "dot") and not command[0].path:
                raise TemplateError(f"a value is no command of stage {len(commands) + 1}", command[0].offset)
            commands.append(command)
            if not tokens or tokens[0].kind != "pipe":
                return tuple(commands), tokens
            tokens = tokens[1:]

    def _command(self, tokens: list[Token]) -> tuple[tuple[Operand, ...], list[Token]]:
        operands: list[Operand] = []
        while tokens and tokens[0].kind not in ("pipe", "close"):
            if operands and not tokens[0].spaced:
                raise TemplateError(f"unexpected {tokens[0].value} in an operand", tokens[0].offset)
            operand, tokens = self._operand(tokens)
            operands.append(operand)
        return tuple(operands), tokens

    def _operand(self, tokens: list[Token]) -> tuple[Operand, list[Token]]:
        first, rest = tokens[0], tokens[1:]
        kind, value = first.kind, first.value
        if kind == "open":
            return self._group(first, rest)
        path, rest = _fields(rest)
        if kind == "field":
            return Operand("dot", first.offset, path=(value[1:], *path)), rest
        if kind == "variable":
            self._check_variable(value, first.offset)
            return Operand("variable", first.offset, value, path), rest
        if path and kind != "word":
            raise TemplateError(f"unexpected . after {value}", first.offset)
        if kind == "word" and value not in ("true", "false", "nil"):
            if value not in self._functions:
                raise TemplateError(
                    f"unknown function {value}: Go templates and Sprig have none of that name", first.offset
                )
            return Operand("function", first.offset, value, path), rest
        return _constant(first), rest

    def _group(self, first: Token, rest: list[Token]) -> tuple[Operand, list[Token]]:
        self._descend(first.offset)
        commands, left = self._commands(rest, first.offset)
        self._depth -= 1
        if not left or left[0].kind != "close":
            raise TemplateError("a ( is not closed", first.offset)
        path, left = _fields(left[1:])
        return Operand("pipe", first.offset, Pipe(commands, first.offset), path), left


def _check_size(action: Piece) -> None:
    if not action.tokens:
        raise TemplateError("an action is empty: missing value for command", action.offset)
    if len(action.tokens) > _MOST_WORDS:
        raise TemplateError(f"an action of more than {_MOST_WORDS} words is refused here", action.offset)


def _fields(tokens: list[Token]) -> tuple[tuple[str, ...], list[Token]]:
    count = 0
    while count < len(tokens) and tokens[count].kind == "field" and not tokens[count].spaced:
        count += 1
    return tuple(token.value[1:] for token in tokens[:count]), tokens[count:]


def _constant(token: Token) -> Operand:
    match token.kind:
        case "text" | "raw":
            return Operand("constant", token.offset, _string(token))
        case "char":
            text = _unescape(token.value[1:-1], token)
            if len(text) != 1:
                raise TemplateError(f"{token.value} is not one character", token.offset)
            return Operand("constant", token.offset, ord(text))
        case "number":
            return Operand("constant", token.offset, _number(token))
        case "dot":
            return Operand("dot", token.offset)
        case "word":
            if token.value == "nil":
                return Operand("nil", token.offset)
            return Operand("constant", token.offset, token.value == "true")
    raise TemplateError(f"unexpected {token.value}", token.offset)


def _number(token: Token) -> int | float:
    text = token.value.replace("_", "")
    octal = re.fullmatch("[+-]?0[0-7]+", text)
    for read in (lambda: int(text, 8 if octal else 0), lambda: float(text)):
        try:
            number = read()
        except ValueError:
            continue
        if isinstance(number, int) and abs(number) > _LARGEST_INTEGER:
            break
        return number
    raise TemplateError(f"bad number {token.value[:50]}", token.offset)


def _string(token: Token) -> str:
    inner = token.value[1:-1]
    return inner.replace("\r", "") if token.kind == "raw" else _unescape(inner, token)


def _unescape(text: str, token: Token) -> str:
    def one(match: re.Match[str]) -> str:
        if match[5] is not None:
            if match[5] not in _ESCAPES:
                raise TemplateError(f"unknown escape \\{match[5]} in {token.value}", token.offset)
            return _ESCAPES[match[5]]
        code = int(match[4], 8) if match[4] else int(match[1] or match[2] or match[3], 16)
        if code > sys.maxunicode:
            raise TemplateError(f"{match[0]} is no character", token.offset)
        return character(code)

    return _ESCAPE.sub(one, text)
