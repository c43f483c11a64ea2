"""Finds the images that a build uses, by Docker's reading of the Dockerfile.

Sources: https://docs.docker.com/reference/dockerfile/ and https://docs.docker.com/build/building/variables/
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sandbox.tasks.outcome import full_name, parse_image
from sandbox.tasks.runner.dockerfile import BYTE_ORDER_MARK, LONGEST_LINE

_ESCAPE = re.compile(r"\A(?:#[ \t]*\w+[ \t]*=[^\n]*\n)*#[ \t]*escape[ \t]*=[ \t]*`")
_HEREDOC = re.compile(r"(?:^|\s)\d*<<(?P<tabs>-?)(?P<quote>[\"']?)(?P<end>\w+)(?P=quote)(?=\s|$)")
_WITH_HEREDOCS = frozenset(("RUN", "COPY", "ADD"))
_WORD = r"(?:[^{}]|\{[^{}]*\})*"
_VARIABLE = re.compile(rf"\$(?:(?P<plain>\w+)|\{{(?P<name>\w+)(?:(?P<rule>:?[-+])(?P<word>{_WORD}))?\}})")
_SCRATCH = "scratch"
_DEFAULT_PLATFORM = "linux/amd64"


@dataclass(frozen=True, slots=True)
class UsedImage:
    """An image by its full name, the line of the Dockerfile that names it, and the platform that is named there."""

    name: str
    line: int
    platform: str = ""


@dataclass(frozen=True, slots=True)
class UsedImages:
    """The images of a build: `runtime` is None for `FROM scratch`, `copied` are those of `COPY --from=IMAGE`.

    `instructions` are the lines on which a FROM begins.
    """

    runtime: UsedImage | None = None
    buildtime: tuple[UsedImage, ...] = ()
    copied: tuple[UsedImage, ...] = ()
    instructions: frozenset[int] = frozenset()

    def bases(self) -> tuple[UsedImage, ...]:
        """The base images, that of the built stage first."""
        return (*((self.runtime,) if self.runtime else ()), *self.buildtime)

    def all(self) -> tuple[UsedImage, ...]:
        """The base images, and those that are copied from."""
        return (*self.bases(), *self.copied)


def used_images(
    dockerfile: str, arguments: Mapping[str, str], target: str = "", platform: str = _DEFAULT_PLATFORM
) -> UsedImages:
    """The images that a build with these arguments uses, up to the stage `target` (a name or a number, or the last)."""
    reader = _Reader(arguments, platform or _DEFAULT_PLATFORM)
    for line, instruction in _instructions(dockerfile.removeprefix(BYTE_ORDER_MARK)):
        reader.read(line, instruction)
    return reader.used(target.lower())


@dataclass(slots=True)
class _Part:
    """A stage of the Dockerfile: its name in lower case, its base, and what it copies from images."""

    name: str
    base: UsedImage | None
    copied: list[UsedImage]


class _Reader:
    def __init__(self, arguments: Mapping[str, str], platform: str) -> None:
        self._arguments, self._known = arguments, _platform_variables(platform)
        self._stages: list[_Part] = []
        self._bases: dict[str, UsedImage | None] = {}  # of the first stage of each name
        self._begins: set[int] = set()

    def read(self, line: int, instruction: str) -> None:
        """Read an instruction, with its line number."""
        words = instruction.split()
        operands = [word for word in words[1:] if not word.startswith("--")]
        match words[0].upper():
            case "FROM":
                self._begins.add(line)
                name = operands[2].lower() if len(operands) > 2 else ""
                platform = next((word for word in words if word.startswith("--platform=")), "")
                base = self._base(operands[0] if operands else "", line, platform.removeprefix("--platform="))
                self._stages.append(_Part(name, base, []))
                self._bases.setdefault(name, base)
            case "ARG" if not self._stages:
                self._declare(instruction[len("ARG") :])
            case "COPY" if self._stages:
                sources = [word.removeprefix("--from=") for word in words if word.startswith("--from=")]
                self._stages[-1].copied += [UsedImage(_full(name), line) for name in sources if self._is_image(name)]

    def used(self, target: str) -> UsedImages:
        """The images up to a stage; an unknown one counts as the last."""
        stages = self._stages[: self._number(target) + 1]
        runtime = stages[-1].base if stages else None
        others = {stage.base.name: stage.base for stage in stages if stage.base}
        if runtime:
            others.pop(runtime.name)
        copied = {image.name: image for stage in stages for image in stage.copied}
        return UsedImages(runtime, tuple(others.values()), tuple(copied.values()), frozenset(self._begins))

    def _number(self, target: str) -> int:
        names = [stage.name for stage in self._stages]
        if target.isdecimal():
            return int(target)
        return names.index(target) if target and target in names else len(names)

    def _declare(self, text: str) -> None:
        for word in _split(text):
            name, equals, default = word.partition("=")
            if name in self._arguments:
                self._known[name] = self._arguments[name]
            elif equals:
                self._known[name] = _expand(default, self._known)

    def _base(self, written: str, line: int, platform: str) -> UsedImage | None:
        name = _expand(written, self._known).replace('"', "").replace("'", "")
        if name and name.lower() in self._bases:
            return self._bases[name.lower()]
        return None if name in ("", _SCRATCH) else UsedImage(_full(name), line, _expand(platform, self._known))

    def _is_image(self, source: str) -> bool:
        return not source.isdecimal() and source.lower() not in self._bases


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """The instructions with the number of their first line: continued lines are joined, heredocs left out."""
    escape, parts, first = "`" if _ESCAPE.match(text) else "\\", list[str](), 0
    lines = iter(enumerate(text.split("\n"), 1))
    for number, line in lines:
        written = line.strip()
        if not written or written.startswith("#"):
            continue  # even within an instruction
        first = first if parts else number
        parts.append(line.rstrip().removesuffix(escape))
        if written.endswith(escape):
            continue
        instruction = "".join(parts).strip()
        parts = []
        yield first, instruction
        if instruction.split(maxsplit=1)[0].upper() in _WITH_HEREDOCS:
            _skip_heredocs(instruction, lines)
    if words := "".join(parts).strip():
        yield first, words


def _skip_heredocs(instruction: str, lines: Iterator[tuple[int, str]]) -> None:
    for heredoc in _HEREDOC.finditer(instruction):
        for _, line in lines:
            text = line.removesuffix("\r")
            if (text.lstrip("\t") if heredoc["tabs"] else text) == heredoc["end"]:
                break


def _platform_variables(platform: str) -> dict[str, str]:
    """The variables of https://docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope."""
    known: dict[str, str] = {}
    for kind, value in (("BUILD", _DEFAULT_PLATFORM), ("TARGET", platform)):
        system, _, rest = value.partition("/")
        architecture, _, variant = rest.partition("/")
        known |= {f"{kind}PLATFORM": value, f"{kind}OS": system, f"{kind}ARCH": architecture, f"{kind}VARIANT": variant}
    return known


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an open quote
        return text.split()


def _expand(text: str, known: Mapping[str, str]) -> str:
    """The text with its variables; without the rest of them once their values are longer than any line may be."""
    room = LONGEST_LINE

    def value(match: re.Match[str]) -> str:
        nonlocal room
        found = expanded(match)
        room -= len(found)
        return found if room >= 0 else ""

    def expanded(match: re.Match[str]) -> str:
        found, rule = known.get(match["plain"] or match["name"]), match["rule"] or ""
        is_set = bool(found) if rule.startswith(":") else found is not None
        if rule.endswith("+"):
            return _expand(match["word"], known) if is_set else ""
        return (found or "") if is_set or not rule else _expand(match["word"], known)

    return _VARIABLE.sub(value, text)


def _full(name: str) -> str:
    return full_name(parse_image(name))
