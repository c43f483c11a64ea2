"""Finds the base images that ACR Tasks records for a build: it scans the Dockerfile line by line, before the build.

The scan is no Dockerfile parser. It joins no continued lines, knows neither heredocs nor flags of FROM, and takes every
line that begins with FROM or ARG for an instruction. Nor is it a parser of command lines: it splits the value of
`build` at white space.

Source: https://github.com/Azure/acr-builder (`scan/dependencies.go`, `builder/parse.go`, `util/parse.go`)
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sandbox.tasks.runner.references import InvalidReference, read_reference, with_tag

BYTE_ORDER_MARK = "\ufeff"
_DEFAULT_FILE = "Dockerfile"
_QUOTES = "'\""
LONGEST_LINE = 64 * 1024 - 1
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[^}]*)\}|(?P<open>\{)|(?P<special>[*#$@!?0-9-])|(?P<name>[A-Za-z0-9_]+))")
_PLATFORM = "https://github.com/Azure/acr/issues/697"


class ScanError(Exception):
    """The scan fails, and with it the step. The message is ACR's; `line` is that of the Dockerfile, 0 if it has none.

    `hint` says what the message does not, and what to do; it may be empty.
    """

    def __init__(self, message: str, line: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.line, self.hint = line, hint


@dataclass(frozen=True, slots=True)
class BuildLine:
    """The value of `build` as the scan reads it. `arguments` and `tags` are as written, quotes included."""

    file: str = ""
    context: str = "."
    target: str = ""
    tags: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    @property
    def scanned_file(self) -> str:
        """The path of the Dockerfile that is scanned, from the step's working directory."""
        return self.file or posixpath.normpath(posixpath.join(self.context, _DEFAULT_FILE))


@dataclass(frozen=True, slots=True)
class Bases:
    """The base images that are recorded for a build: of the stage that is built, and of the stages before it.

    Names are as in the Dockerfile, with a tag. `read` is what the scan took for a base image, by line number.
    """

    runtime: str
    buildtime: tuple[str, ...] = ()
    read: Mapping[int, str] = field(default_factory=dict)

    def all(self) -> tuple[str, ...]:
        """All images, without duplicates."""
        return tuple(dict.fromkeys((self.runtime, *self.buildtime)))


def read_build_line(line: str) -> BuildLine:
    """Read the value of `build`. An option is seen only if a space separates it from its value.

    Everything that follows neither an option nor begins with a dash is the context; the last one counts.
    """
    words, file, context, target = line.split(), "", ".", ""
    for option, value in zip(["", *words], words, strict=False):
        if option in ("-f", "--file"):
            file = value.strip(_QUOTES)
        elif option == "--target":
            target = value.strip(_QUOTES)
        elif not option.startswith("-") and not value.startswith("-"):
            context = value.strip(_QUOTES)
    return BuildLine(file, context, target, _values(words, "-t", "--tag"), _values(words, "--build-arg"))


def _values(words: Sequence[str], *options: str) -> tuple[str, ...]:
    return tuple(value for option, value in itertools.pairwise(words) if option in options)


def scan(dockerfile: str, build: BuildLine) -> Bases:
    """The base images that ACR records for a build.

    Raises:
        ScanError: the run fails in ACR, before the build begins.
    """
    scanner = _Scanner(build)
    for number, line in enumerate(dockerfile.removeprefix(BYTE_ORDER_MARK).split("\n"), 1):
        if len(line.encode()) > LONGEST_LINE or scanner.is_done:
            break  # ACR reads lines with Go's bufio.Scanner, which ends at a longer one, and takes that for the end
        scanner.read(number, line.strip())
    return scanner.bases()


class _Scanner:
    def __init__(self, build: BuildLine) -> None:
        self._build = build
        self._variables = dict(_assignment(argument, 0) for argument in build.arguments)
        self._stages: dict[str, str] = {}
        self._lines: dict[str, int] = {}  # of each base image, in the order of the file
        self._read: dict[int, str] = {}
        self._origin = ""
        self.is_done = False

    def read(self, number: int, line: str) -> None:
        """Read a line. The target ends the scan: `is_done`."""
        words = line.split()
        if not words or line.startswith("#"):
            return
        match words[0].upper():
            case "FROM":
                self._from(number, line, words)
            case "ARG" if len(words) == 1:
                message = f"dockerfile syntax requires ARG directive to have exactly 1 argument. LINE: {line}"
                raise ScanError(message, number)
            case "ARG" if "=" in words[1]:
                name, value = _assignment(words[1], number)
                self._variables.setdefault(name, value)

    def _from(self, number: int, line: str, words: Sequence[str]) -> None:
        if len(words) == 1 or (len(words) > 2 and (len(words) < 4 or words[2].lower() != "as")):
            raise ScanError(f"unable to understand line {line}", number, _hint(words))
        name = _expand(words[1].strip(_QUOTES), self._variables)
        self._origin = self._stages.get(name, name)
        if name not in self._stages:
            self._lines.setdefault(name, number)
        self._read[number] = with_tag(self._origin)
        if len(words) > 2:
            self._stages[words[3]] = self._origin
            self.is_done = bool(self._build.target) and words[3] == self._build.target

    def bases(self) -> Bases:
        """What was recorded. Raises `ScanError` if there is no base image, or the name of an image is invalid."""
        if not self._lines:
            raise ScanError("unexpected dockerfile format", 0, "It has no FROM.")
        buildtime: dict[str, int] = {}
        for name, number in self._lines.items():
            if name != self._origin:
                buildtime.setdefault(with_tag(name).removeprefix("library/"), number)
        runtime = with_tag(self._origin)
        named = [*((tag, 0) for tag in map(with_tag, self._build.tags)), (runtime, self._lines[self._origin])]
        for name, number in (*named, *buildtime.items()):
            _check(name, number)
        return Bases(runtime, tuple(buildtime), self._read)


def _check(name: str, number: int) -> None:
    try:
        read_reference(name)
    except InvalidReference as error:
        raise ScanError(str(error), number) from error


def _hint(words: Sequence[str]) -> str:
    if any(word.startswith("--platform") for word in words):
        return (
            f"ACR Tasks does not know FROM --platform ({_PLATFORM}): remove it and give `--platform` to the build, "
            "or run `docker build` in a cmd step, which is not scanned."
        )
    return ""


def _assignment(text: str, number: int) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        hint = f"Write --build-arg {text}=VALUE: ACR Tasks takes no value from the environment."
        raise ScanError(f"{text} cannot be split into 2 tokens with '='", number, hint)
    return name, value.strip(_QUOTES)


def _expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace variables as Go's `os.Expand`: unknown ones are empty, and all of `${A:-b}` is the name of one.

    Raises:
        ScanError: the values are longer than any line may be.
    """
    room = LONGEST_LINE

    def value(match: re.Match[str]) -> str:
        nonlocal room
        found = variables.get(match["braced"] or match["special"] or match["name"] or "", "")
        room -= len(found)
        if room < 0:
            raise ScanError(f"the variables of one name have more than {LONGEST_LINE} characters: refused here", 0)
        return found

    return _VARIABLE.sub(value, text)
