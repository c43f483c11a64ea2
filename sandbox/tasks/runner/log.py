"""The log of a run, in ACR's wording, without secrets."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime

from sandbox.tasks.outcome import ImageDependency, ImageReference, RunInfo

MASK = "***"
OUTPUT_LIMIT_CHARACTERS = 16 * 1024 * 1024
Sink = Callable[[str], Awaitable[None]]


class Masker:
    """Masks secrets wherever they occur, also Base64-encoded, and each line of multi-line secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        words: set[str] = set()
        for secret in secrets:
            words.update((secret, *secret.splitlines(), base64.b64encode(secret.encode()).decode()))
        self._words = sorted((word for word in words if word.strip()), key=len, reverse=True)

    def mask(self, text: str) -> str:
        """The text with every secret replaced by `***`."""
        for word in self._words:
            text = text.replace(word, MASK)
        return text


def masker_of(run: RunInfo) -> Masker:
    """A masker for all secrets and passwords of a run."""
    return Masker([*run.secrets.values(), *(login.password for login in run.logins.values())])


class RunLog:
    """Writes log lines: those of the runner with a timestamp, those of containers unchanged."""

    def __init__(self, sink: Sink, masker: Masker) -> None:
        self._sink, self.masker = sink, masker
        self._left = OUTPUT_LIMIT_CHARACTERS

    async def say(self, text: str) -> None:
        """Write a line of the runner, with a timestamp."""
        await self.raw(f"{datetime.now(UTC):%Y/%m/%d %H:%M:%S} {text}")

    async def output(self, line: str) -> None:
        """Write a line of a container or the engine. After 16 Mi characters, a run's log drops the rest of them."""
        if self._left > 0:
            self._left -= len(line) + 1
            await self.raw(line if self._left > 0 else f"Output of this run is truncated at {OUTPUT_LIMIT_CHARACTERS}.")

    async def raw(self, line: str) -> None:
        """Write a line without a timestamp."""
        await self._sink(self.masker.mask(line))


def dependency_lines(dependencies: Iterable[ImageDependency], commit: str) -> list[str]:
    """The dependencies as ACR prints them, in YAML."""
    lines = []
    for dependency in dependencies:
        lines += ["- image:", *_reference(dependency.image, 4)]
        lines += ["  runtime-dependency:", *_reference(dependency.runtime, 4)]
        if dependency.buildtime:
            lines.append("  buildtime-dependency:")
            for base in dependency.buildtime:
                first, *rest = _reference(base, 4)
                lines += [f"  - {first.strip()}", *rest]
        lines += ["  git:", f"    git-head-revision: {commit}"] if commit else ["  git: {}"]
    return lines


def _reference(image: ImageReference | None, indent: int) -> list[str]:
    if image is None:
        return []
    pairs = {"registry": image.registry, "repository": image.repository, "tag": image.tag, "digest": image.digest}
    return [f"{' ' * indent}{name}: {value}" for name, value in pairs.items() if value]
