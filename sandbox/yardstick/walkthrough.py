"""The list of commands, as `article.toml` holds it."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template

import msgspec


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `az` command; the file says what the fields mean."""

    run: str
    keep: str = ""
    expect: str = ""
    seconds: int = 60
    az_bug: str = ""
    extra: bool = False
    note: str = ""

    def arguments(self, variables: Mapping[str, str]) -> list[str]:
        """The arguments after `az`, variables filled in after the line is split, so that a value stays one argument.

        Raises:
            KeyError: names a variable that nothing set, as where the command that keeps it failed.
        """
        return [Template(word).substitute(variables) for word in shlex.split(self.run)]

    def accepts(self, output: str) -> bool:
        """Whether the output holds what is expected."""
        return re.search(self.expect, output) is not None


class Walkthrough(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Commands in their order, and the variables they start with."""

    variables: dict[str, str]
    command: list[Command]


def load_walkthrough(file: Path) -> Walkthrough:
    """Read a list of commands.

    Raises:
        tomllib.TOMLDecodeError, msgspec.ValidationError: where the file is no such list.
    """
    return msgspec.convert(tomllib.loads(file.read_text()), Walkthrough)
