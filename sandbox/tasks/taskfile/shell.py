"""Splits command lines as the shell of ACR's agent does, which runs `docker run … <cmd>` and `docker build … <build>`.

Nothing is run by a shell here. What needs one outside of the container (a pipe, a redirection, `$(…)`) is refused.
Variables are those of the agent, not those of the step: `$NAME` outside of single quotes is expanded before the
container begins, and is empty if the agent does not have it.

Source: https://github.com/Azure/acr-builder (builder/context.go, builder/builder.go) and
https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

AGENT = {
    "HOME": "/root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PWD": "/workspace",
    "0": "/bin/sh",
    "#": "0",
    "?": "0",
}
_SPACE, _OPERATORS = " \t", "|&;<>()\n"
_VARIABLE = re.compile(r"\$(?:(?P<name>[A-Za-z_]\w*|[0-9@*#?$!-])|{(?P<braced>[^}]*)})", re.ASCII)
_BRACED = re.compile(r"(?P<name>[A-Za-z_]\w*|[0-9]+|[@*#?])(?:(?P<operator>:?-)(?P<other>[^$`\"'\\]*))?", re.ASCII)
_ADVICE = "ACR's agent would run it outside of the container: write sh -c '…' to run it inside"


class ShellError(ValueError):
    """A line that only a shell can run, or that none can."""


@dataclass(slots=True)
class Line:
    """The words of a command line, and the variables of the agent that were expanded in it."""

    words: list[str] = field(default_factory=list)
    expanded: list[str] = field(default_factory=list)


def split_line(text: str) -> Line:
    """Split a command line into words.

    Raises:
        ShellError: for an open quote, no words, or what only a shell could do.
    """
    splitter = _Splitter(text.strip())
    splitter.run()
    if not splitter.line.words:
        raise ShellError("it has no words")
    return splitter.line


def expand_heredoc(text: str) -> str:
    """The text as ACR writes it into a file of a volume: through a here-document, which ends it with a line end.

    Raises:
        ShellError: for a command substitution.
    """
    splitter = _Splitter(text)
    return splitter.expanded_text() + "\n"


class _Splitter:
    def __init__(self, text: str) -> None:
        self.line = Line()
        self._text, self._position = text, 0
        self._word: list[str] | None = None

    def run(self) -> None:
        while self._position < len(self._text):
            character = self._text[self._position]
            if character in _OPERATORS:
                shown = "a line end" if character == "\n" else character
                raise ShellError(f"{shown} outside quotes needs a shell: {_ADVICE}")
            if character in _SPACE:
                self._end_word()
                self._position += 1
            elif character == "#" and self._word is None:
                self._skip_comment()
            else:
                self._part(character)
        self._end_word()

    def expanded_text(self) -> str:
        """The whole text, expanded as between double quotes, but for quotes themselves."""
        self._word = []
        while self._position < len(self._text):
            self._quoted_character("$`\\\n")
        return "".join(self._word)

    def _end_word(self) -> None:
        if self._word is not None:
            self.line.words.append("".join(self._word))
        self._word = None

    def _skip_comment(self) -> None:
        end = self._text.find("\n", self._position)
        self._position = len(self._text) if end < 0 else end

    def _add(self, text: str, length: int) -> None:
        if self._word is None:
            self._word = []
        self._word.append(text)
        self._position += length

    def _part(self, character: str) -> None:
        match character:
            case "'":
                self._single_quoted()
            case '"':
                self._double_quoted()
            case "\\":
                escaped = self._text[self._position + 1 : self._position + 2]
                if escaped == "\n":
                    self._position += 2
                else:
                    self._add(escaped or "\\", 2)
            case "$" | "`":
                self._expand(quoted=False)
            case _:
                self._add(character, 1)

    def _single_quoted(self) -> None:
        end = self._text.find("'", self._position + 1)
        if end < 0:
            raise ShellError("a ' is not closed")
        self._add(self._text[self._position + 1 : end], end + 1 - self._position)

    def _double_quoted(self) -> None:
        self._add("", 1)
        while self._text[self._position : self._position + 1] != '"':
            if self._position == len(self._text):
                raise ShellError('a " is not closed')
            self._quoted_character('$`"\\\n')
        self._position += 1

    def _quoted_character(self, escapable: str) -> None:
        character, following = self._text[self._position], self._text[self._position + 1 : self._position + 2]
        if character == "\\" and following and following in escapable:
            self._add("" if following == "\n" else following, 2)
        elif character in "$`":
            self._expand(quoted=True)
        else:
            self._add(character, 1)

    def _expand(self, *, quoted: bool) -> None:
        if self._text.startswith(("`", "$("), self._position):
            raise ShellError(f"$( and ` outside single quotes need a shell: {_ADVICE}")
        match = _VARIABLE.match(self._text, self._position)
        if not match:
            self._add("$", 1)
            return
        value = self._value(match)
        self._position += len(match[0])
        if value or quoted:
            self._add(value, 0)

    def _value(self, match: re.Match[str]) -> str:
        inner = _BRACED.fullmatch(match["braced"]) if match["braced"] is not None else None
        name = match["name"] or (inner["name"] if inner else "")
        if not name or name in "$!-":
            raise ShellError(f"{match[0]} outside single quotes is refused here: its value is ACR's agent's")
        self.line.expanded.append(name)
        value = AGENT.get(name, "")
        return value or (inner["other"] or "" if inner else "")
