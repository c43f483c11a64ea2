"""The text of a task file while it is rendered: each line knows the line of the file that it comes from."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class Source:
    """A text, and the line of the task file for each of its lines."""

    text: str = field(repr=False)
    lines: tuple[int, ...]

    @cached_property
    def _ends(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.text)]

    def index(self, offset: int) -> int:
        """The line of the text, from 0, that has a character."""
        return bisect_left(self._ends, offset)

    def line(self, index: int) -> int:
        """The line of the file, from 1, for a line of the text, from 0."""
        return self.lines[min(index, len(self.lines) - 1)] if self.lines else 1

    def place(self, offset: int) -> str:
        """The line and column for a character of the text."""
        start = self.text.rfind("\n", 0, offset) + 1
        return f"line {self.line(self.index(offset))}, column {offset - start + 1}"


class Writer:
    """Writes a text from pieces that come from known lines."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._lines: list[int] = []
        self._at_start = True

    def write(self, text: str, line: int) -> None:
        """Append a piece; all of it comes from that line of the file."""
        for part in _LINE.findall(text):
            if self._at_start:
                self._lines.append(line)
            self._at_start = part.endswith("\n")
            self._parts.append(part)

    def copy(self, text: str, source: Source, offset: int) -> None:
        """Append a piece of a source that begins at that offset in it."""
        first = source.index(offset)
        for index, part in enumerate(_LINE.findall(text)):
            self.write(part, source.line(first + index))

    def source(self) -> Source:
        """What was written."""
        return Source("".join(self._parts), tuple(self._lines))


def without_comments(text: str) -> list[tuple[int, str]]:
    """The lines of a task file with their numbers, without those that begin with `#`, in scripts too, as in ACR."""
    numbered = enumerate(text.split("\n"), 1)
    return [(number, line) for number, line in numbered if not line.strip().startswith("#")]


def joined(lines: Iterable[tuple[int, str]]) -> Source:
    """The source that consists of these lines."""
    given = list(lines)
    return Source("\n".join(line for _, line in given), tuple(number for number, _ in given))
