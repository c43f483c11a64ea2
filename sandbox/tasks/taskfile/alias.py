"""Aliases in task files of v1.1.0 and later: `$Registry`, those that the file defines, and images such as `bash`.

A `$name` that is no alias stays as it is. Source:
https://learn.microsoft.com/azure/container-registry/container-registry-tasks-reference-yaml#aliases and
https://github.com/Azure/acr-builder (graph/preprocessor.go)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from sandbox.tasks.taskfile.document import Document
from sandbox.tasks.taskfile.gotemplate.values import LARGEST_TEXT_CHARACTERS
from sandbox.tasks.taskfile.model import TaskFileError
from sandbox.tasks.taskfile.source import Source, Writer, joined

_RUN_ALIASES = ("ID", "SharedVolume", "Registry", "RegistryName", "Date", "OS", "Architecture", "Commit", "Branch")
IMAGE_ALIASES = {
    "acr": "mcr.microsoft.com/acr/acr-cli:0.19",
    "az": "mcr.microsoft.com/acr/azure-cli:2ff604c",
    "bash": "mcr.microsoft.com/acr/bash:2ff604c",
    "curl": "mcr.microsoft.com/acr/curl:2ff604c",
    "cssc": "mcr.microsoft.com/acr/cssc:2ff604c",
}
NATIVE_ALIASES = {name: f"{{{{.Run.{name}}}}}" for name in _RUN_ALIASES} | IMAGE_ALIASES
_FIRST_VERSION = "v1.1.0"
_NAME = re.compile(r"[A-Za-z0-9]+")
_ALIAS_KEY = re.compile(r"alias\s*:.*")
_TOP_LEVEL_KEY = re.compile(r"[^\s:]+[^:]*:.*")
_KEYS = ("values", "directive", "src")

Files = Callable[[str], str]
"""Reads a file of the run's context. Raises `OSError` or `ValueError`, with a sentence, if that is not possible."""


@dataclass(frozen=True, slots=True)
class Aliases:
    """The aliases of a file: each follows the `directive` character. In cmd, the first word needs none."""

    values: Mapping[str, str]
    directive: str = "$"
    warnings: tuple[str, ...] = field(default=())


def has_aliases(lines: list[tuple[int, str]]) -> bool:
    """Whether the version of a file is one with aliases. As in ACR, the text after `version:` is compared."""
    for _, line in lines:
        key, colon, version = line.partition(":")
        if line.lstrip("'\"").startswith("version") and colon and key.strip().strip("'\"") == "version":
            return version.strip().strip("'\"") >= _FIRST_VERSION
    return False


def separate(lines: list[tuple[int, str]]) -> tuple[Source, Source]:
    """The `alias` block of a file, and the rest. Each line ends with a line end, the last one, too."""
    block: list[tuple[int, str]] = []
    rest: list[tuple[int, str]] = []
    inside = False
    for number, line in lines if lines[-1][1] else lines[:-1]:
        text = line.removesuffix("\r")
        if not inside and _ALIAS_KEY.fullmatch(text):
            inside = True
        elif inside and _TOP_LEVEL_KEY.fullmatch(text):
            inside = False
        (block if inside else rest).append((number, text))
    return _ended(block), _ended(rest)


def _ended(lines: list[tuple[int, str]]) -> Source:
    return joined([*lines, (lines[-1][0], "")]) if lines else joined([])


def read_aliases(block: Source, files: Files | None, secrets: Collection[str] = ()) -> Aliases:
    """The aliases of a rendered block, of its `src` files, and ACR's own; the first one of a name counts.

    No error shows one of `secrets`.

    Raises:
        TaskFileError: if the block or a file is invalid, or a file is not to be had.
    """
    document = Document(block, secrets)
    fields = document.fields(document.root(), "the alias block", ("alias",))
    alias = document.fields(fields.get("alias"), "alias", _KEYS)
    values = document.pairs(alias["values"], "alias.values") if "values" in alias else {}
    names = document.texts(alias["src"], "alias.src") if "src" in alias else ()
    directive = document.text(alias["directive"], "alias.directive") if "directive" in alias else ""
    document.finish()
    line = block.line(0)
    for name in reversed(names):
        values = _file(name, line, files) | values
    for name in values:
        if not _NAME.fullmatch(name):
            document.fault(None, f"the alias {name!r} may contain only letters and digits")
    if len(directive) > 1 or _NAME.fullmatch(directive):
        document.fault(None, "alias.directive must be one character that is not a letter or digit")
    document.finish()
    return Aliases(NATIVE_ALIASES | values, directive or "$", tuple(document.warnings))


def _file(name: str, line: int, files: Files | None) -> dict[str, str]:
    where = f"line {line}: alias.src {name}"
    if name.startswith(("http://", "https://")):
        raise TaskFileError([f"{where} is not fetched here: put the file into the context"])
    if files is None:
        raise TaskFileError([f"{where}: there is no context to read it from"])
    try:
        text = files(name)
    except (OSError, ValueError) as error:
        raise TaskFileError([f"{where}: {error}"]) from error
    document = Document(Source(text, tuple(range(1, text.count("\n") + 2))))
    root = document.root()
    values = document.pairs(root, f"the alias file {name}") if root else {}
    document.finish()
    return values


def expand(source: Source, aliases: Aliases) -> Source:
    """The text with all aliases replaced, character by character as ACR does it.

    After an unknown `$name`, a second alias that follows directly is left alone, too.
    """
    writer, room = Writer(), LARGEST_TEXT_CHARACTERS
    sign, name, ongoing = aliases.directive, "", False
    index = 0
    for character in source.text + " ":
        line = source.line(index)
        index += character == "\n"
        if not ongoing:
            ongoing = character == sign
            writer.write("" if ongoing else character, line)
        elif character == sign and not name:
            writer.write(sign, line)
            ongoing = False
        elif _NAME.fullmatch(character):
            name += character
        else:
            known = name in aliases.values
            room -= len(aliases.values[name]) if known else 0
            if room < 0:
                raise TaskFileError([f"line {line}: with its aliases the task file is longer than 1 Mi characters"])
            writer.write(aliases.values[name] if known else sign + name, line)
            ongoing = known and character == sign
            writer.write("" if ongoing else character, line)
            name = ""
    result = writer.source()
    return Source(result.text.removesuffix(" "), result.lines)
