"""Aliases in task files of v1.1.0 and later: `$Registry`, those that the file defines, and images such as `bash`.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-reference-yaml#aliases
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from sandbox.tasks.taskfile.model import TaskFileError

_RUN_ALIASES = ("ID", "SharedVolume", "Registry", "RegistryName", "Date", "OS", "Architecture", "Commit", "Branch")
RUN_ALIASES = {name: f"{{{{.Run.{name}}}}}" for name in _RUN_ALIASES}
IMAGE_ALIASES = {
    "acr": "mcr.microsoft.com/acr/acr-cli:0.14",
    "az": "mcr.microsoft.com/acr/azure-cli:9fb281c",
    "bash": "mcr.microsoft.com/acr/bash:9fb281c",
    "curl": "mcr.microsoft.com/acr/curl:9fb281c",
    "cssc": "mcr.microsoft.com/acr/cssc:9fb281c",
}
_VERSION = re.compile(r"""^['"]?version['"]?\s*:\s*['"]?(?P<version>[^'"\s#]+)""", re.MULTILINE)
_BLOCK = re.compile(r"^alias\s*:.*\n(?:(?:[ \t#-].*)?\n)*", re.MULTILINE)
_WITHOUT_ALIASES = {"", "v1.0.0", "1.0-preview-1"}
_KNOWN_KEYS = {"values", "directive", "src"}


@dataclass(frozen=True, slots=True)
class Aliases:
    """The aliases of a file: `values` follow the `directive` character, `images` are the first word of cmd.

    `pattern` matches their uses (group `alias`); it is empty if the file's version has no aliases.
    """

    values: Mapping[str, str]
    images: Mapping[str, str]
    directive: str = "$"
    pattern: str = ""


def read_aliases(text: str) -> tuple[Aliases, str]:
    """The aliases of a task file, and the file without its `alias` block; line numbers are unchanged.

    Raises:
        TaskFileError: if the block is invalid.
    """
    version = _VERSION.search(text)
    if (version["version"] if version else "") in _WITHOUT_ALIASES:
        return Aliases({}, {}), text
    block = _BLOCK.search(text + "\n")
    own = _read_block(block[0], text.count("\n", 0, block.start()) + 1) if block else {}
    rest = text.replace(block[0].rstrip("\n"), "\n" * block[0].rstrip("\n").count("\n"), 1) if block else text
    values, sign = own.get("values") or {}, own.get("directive", "$")
    pattern = rf"{re.escape(sign)}(?P<alias>{re.escape(sign)}|[A-Za-z0-9]+)"
    return Aliases({**RUN_ALIASES, **values}, {**IMAGE_ALIASES, **values}, sign, pattern), rest


def _read_block(block: str, line: int) -> dict[str, Any]:
    try:
        alias = yaml.safe_load(block)["alias"] or {}
    except yaml.YAMLError as error:
        raise TaskFileError([f"line {line}: the alias block is not YAML: {error}"]) from error
    if not isinstance(alias, dict):
        raise TaskFileError([f"line {line}: alias is not a mapping"])
    faults = [f"line {line}: unknown key alias.{key}" for key in alias if key not in _KNOWN_KEYS]
    if "src" in alias:
        faults.append(f"line {line}: alias.src is not supported here: put the aliases into alias.values")
    names = alias.get("values") or {}
    faults += [f"line {line}: the alias {name!r} may contain only letters and digits" for name in names
               if not re.fullmatch("[A-Za-z0-9]+", str(name))]  # fmt: skip
    sign = alias.get("directive", "$")
    if not isinstance(sign, str) or len(sign) != 1 or sign.isalnum():
        faults.append(f"line {line}: alias.directive must be one character that is not a letter or digit")
    if faults:
        raise TaskFileError(faults)
    return alias
