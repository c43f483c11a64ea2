"""The lists of commands in `article.toml` and `beyond.toml`."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template

import msgspec

ARTICLE = Path(__file__).with_name("article.toml")
BEYOND = Path(__file__).with_name("beyond.toml")


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `az` command; the files document the fields."""

    run: str
    keep: str = ""
    expect: str = ""
    seconds: int = 60
    az_bug: str = ""
    fails: str = ""
    refused: str = ""
    extra: bool = False
    note: str = ""

    def arguments(self, variables: Mapping[str, str]) -> list[str]:
        """The arguments after `az`; variables are substituted after the line is split, so a value is one argument.

        Raises:
            KeyError: names a variable that is not set, for example because the command that sets it failed.
        """
        return [Template(word).substitute(variables) for word in shlex.split(self.run)]

    def accepts(self, output: str) -> bool:
        """Whether the output matches the expected pattern."""
        return re.search(self.expect, output) is not None


class Walkthrough(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Commands in order, and the initial variables."""

    variables: dict[str, str]
    command: list[Command]


def load_walkthrough(file: Path) -> Walkthrough:
    """Read a list of commands.

    Raises:
        tomllib.TOMLDecodeError, msgspec.ValidationError: the file is not such a list.
    """
    return msgspec.convert(tomllib.loads(file.read_text()), Walkthrough)
