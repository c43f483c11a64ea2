"""Finds the base images of a Dockerfile as ACR's dependency scanner does: FROM lines with their build arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CONTINUED = re.compile(r"\\[ \t]*\n")
_ARG = re.compile(r"ARG\s+(?P<name>\w+)(?:=(?P<value>.*))?", re.IGNORECASE)
_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(?P<image>\S+)(?:\s+AS\s+(?P<stage>\S+))?", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:(?P<plain>\w+)|{(?P<name>\w+)(?::-(?P<fallback>[^}]*))?})")
_SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Bases:
    """Image names in FROM lines: of the stage that is built, and of the stages before it. Stage names are excluded."""

    runtime: str = ""
    buildtime: tuple[str, ...] = ()

    def all(self) -> tuple[str, ...]:
        """All images, without duplicates."""
        return tuple(dict.fromkeys(name for name in (*self.buildtime, self.runtime) if name))


def find_bases(dockerfile: str, arguments: Mapping[str, str], target: str = "") -> Bases:
    """The base images of a Dockerfile with these build arguments."""
    known: dict[str, str] = {}
    stages: dict[str, str] = {}
    images: list[str] = []
    for line in _CONTINUED.sub(" ", dockerfile).splitlines():
        text = line.strip()
        if (argument := _ARG.match(text)) and not images:
            name, value = argument["name"], (argument["value"] or "").strip("'\" \t")
            known[name] = arguments.get(name, _expand(value, known))
        elif origin := _FROM.match(text):
            name = _expand(origin["image"], known)
            images.append(stages.get(name.lower(), name))
            stages[(origin["stage"] or str(len(images) - 1)).lower()] = images[-1]
            if target and target.lower() in ((origin["stage"] or "").lower(), str(len(images) - 1)):
                break
    real = [image if image != _SCRATCH else "" for image in images]
    if not real:
        return Bases()
    buildtime = dict.fromkeys(image for image in real[:-1] if image and image != real[-1])
    return Bases(real[-1], tuple(buildtime))


def _expand(text: str, known: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match["plain"] or match["name"]
        return known.get(name) or match["fallback"] or ""

    return _VARIABLE.sub(value, text)
