"""`ONBUILD` instructions of base images: podman executes them in a build as if they were in its Dockerfile.

Sources: https://docs.docker.com/reference/dockerfile/#onbuild,
https://github.com/moby/docker-image-spec/blob/v1.3.1/specs-go/v1/image.go
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

from sandbox.engine.run_mounts import possible_instructions, risky_run_flag

_UNREADABLE = "an image whose configuration cannot be read"
_VARIABLE = re.compile(r"\$(?:\w+|\{[^{}]*\})")
_ID = re.compile(r"(?:sha256:)?[0-9a-f]*")


class Triggers:
    """What of the images in podman's stores could mount something of this machine into a build.

    Args:
        own: the graph of the store that builds use: every image in it may be a base, whatever a Dockerfile calls it.
        cache: the graph whose layers are read. Its images have no names, so a base is one of them only by its id.
    """

    def __init__(self, own: Path, cache: Path) -> None:
        self._own, self._cache = own, cache
        self._flags: dict[str, str] = {}

    def risky_flag(self, dockerfile: str) -> str:
        """A flag of a `RUN` that is a trigger of an image which the build may be based on; "" if there is none."""
        graphs = (self._own, self._cache) if may_name_an_id(dockerfile) else (self._own,)
        for folder in (folder for graph in graphs for folder in sorted(graph.glob("*-images/*/"))):
            if (flag := self._flags.get(folder.name)) is None and (files := _configurations(folder)):
                flag = self._flags[folder.name] = next(filter(None, map(_risky, files)), "")
            if flag:
                return flag
        return ""


def may_name_an_id(dockerfile: str) -> bool:
    """Whether a base may be named by the id of an image. Variables are taken for anything."""
    for instruction in possible_instructions(dockerfile):
        words = instruction.split()
        if words and words[0].lower() == "from":
            names = [_VARIABLE.sub("", word).strip("\"'") for word in words[1:] if not word.startswith("--")]
            if names and _ID.fullmatch(names[0]):
                return True
    return False


def _configurations(folder: Path) -> list[Path]:
    """The configuration of an image in a store: a file that is named after its digest.

    An image that is just being pulled has none yet, and a list of images of several platforms has none at all.
    Source: https://github.com/containers/storage/blob/v1.43.0/images.go (makeBigDataBaseName)
    """
    return [file for file in folder.glob("=*") if base64.b64decode(file.name[1:]).startswith(b"sha256:")]


def _risky(configuration: Path) -> str:
    try:
        triggers = _triggers(configuration.read_bytes().decode(errors="replace"))
        return risky_run_flag("\n".join(triggers))
    except (OSError, ValueError, RecursionError):
        return _UNREADABLE


def _triggers(configuration: str) -> Iterator[str]:
    """The triggers in an image's configuration. Go reads keys in any case, and of equal ones the last: all count."""
    found: list[object] = []

    def collect(pairs: list[tuple[str, object]]) -> None:
        found.extend(value for key, value in pairs if key.lower() == "onbuild")

    json.loads(configuration, object_pairs_hook=collect)
    for value in found:
        yield from (str(trigger) for trigger in value) if isinstance(value, list) else ()
