"""Splits a Go template into texts and actions, and actions into tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from sandbox.tasks.taskfile.gotemplate.values import TemplateError

_OPEN, _CLOSE, _SPACE = "{{", "}}", " \t\r\n"
_TRIM_BEFORE, _TRIM_AFTER = re.compile(r"-(?=[ \t\r\n])"), re.compile(r"[ \t\r\n]-}}")
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\\n]|\\[^\n])*")
    |(?P<raw>`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\[^\n])+')
    |(?P<declare>:=)|(?P<assign>=)|(?P<comma>,)|(?P<pipe>\|)|(?P<open>\()|(?P<close>\))
    |(?P<number>[+-]?\.?[0-9](?:[0-9A-Za-z_.]|(?<=[eEpP])[+-])*)
    |(?P<field>\.[^\W\d]\w*)
    |(?P<dot>\.)
    |(?P<variable>\$\w*)
    |(?P<word>[^\W\d]\w*)""",
    re.VERBOSE,
)
_ENDS_AT_A_TERMINATOR = frozenset(("field", "dot", "variable", "word", "number"))
_TERMINATORS = frozenset((*_SPACE, *".,|:)(", ""))


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an action. `spaced` says whether white space comes before it."""

    kind: str
    value: str
    offset: int
    spaced: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """A text, or the tokens of an action."""

    kind: Literal["text", "action"]
    offset: int
    text: str = ""
    tokens: list[Token] = field(default_factory=list)


def split(source: str) -> Iterator[Piece]:
    """The pieces of a template, without comments and trimmed space.

    Raises:
        TemplateError: for an action that is not closed, or a character that no token begins with.
    """
    position, trim = 0, False
    while (start := source.find(_OPEN, position)) >= 0:
        inside = start + len(_OPEN)
        before = _TRIM_BEFORE.match(source, inside)
        yield from _text(source[position:start], position, left=trim, right=bool(before))
        tokens, position, trim = _action(source, before.end() if before else inside, start)
        if tokens is not None:
            yield Piece("action", start, tokens=tokens)
    yield from _text(source[position:], position, left=trim, right=False)


def _text(text: str, offset: int, *, left: bool, right: bool) -> Iterator[Piece]:
    if left:
        offset += len(text) - len(text.lstrip(_SPACE))
        text = text.lstrip(_SPACE)
    text = text.rstrip(_SPACE) if right else text
    if text:
        yield Piece("text", offset, text)


def _action(source: str, position: int, start: int) -> tuple[list[Token] | None, int, bool]:
    """The tokens (None for a comment), the place after the action, and whether space is trimmed there."""
    comment = re.compile(r"[ \t\r\n]?/\*").match(source, position)
    if comment:
        end = source.find("*/", comment.end())
        closed = _closing(source, end + 2) if end >= 0 else None
        if not closed:
            raise TemplateError("a comment is not closed, or more than }} follows it", start)
        return None, *closed
    tokens = list[Token]()
    while True:
        if closed := _closing(source, position):
            return tokens, *closed
        begin = position
        while position < len(source) and source[position] in _SPACE:
            position += 1
            if closed := _closing(source, position):
                return tokens, *closed
        token = _token(source, position, spaced=position > begin, start=start)
        tokens.append(token)
        position += len(token.value)


def _closing(source: str, position: int) -> tuple[int, bool] | None:
    if source.startswith(_CLOSE, position):
        return position + len(_CLOSE), False
    trimmed = _TRIM_AFTER.match(source, position)
    return (trimmed.end(), True) if trimmed else None


def _token(source: str, position: int, *, spaced: bool, start: int) -> Token:
    match = _TOKEN.match(source, position)
    if not match:
        left = source[position : position + 1]
        if left in ('"', "'", "`"):
            raise TemplateError(f"a quoted text is not closed: {left}", position)
        message = f"bad character {left!r} in an action" if left else "{{ is not closed"
        raise TemplateError(message, position if left else start)
    assert match.lastgroup
    following = source[match.end() : match.end() + 1]
    ended = following in _TERMINATORS or _closing(source, match.end())
    if match.lastgroup in _ENDS_AT_A_TERMINATOR and not ended:
        message = f"bad character {following!r} after {match[0]}"
        hint = ': write index .Values "a-b" for a name with a dash' if following == "-" else ""
        raise TemplateError(message + hint, match.end())
    return Token(match.lastgroup, match[0], position, spaced)
