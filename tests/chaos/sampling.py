"""Where the stable tags stand, all the time: read from the registry's own files, also while its process is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from demo import scenario
from sandbox.instance import Instance

_EVERY_SECONDS = 0.02
_DIGEST_CHARACTERS = len("sha256:") + 64


class Stand(NamedTuple):
    """A stable tag came to a digest; `at` is when that was first seen, in seconds since the epoch."""

    at: float
    tag: str
    digest: str


class Samples:
    """Looks at the stable tags fifty times a second, and keeps every change.

    Source of the layout: https://github.com/distribution/distribution/blob/v2.8.2/registry/storage/paths.go
    """

    def __init__(self, instance: Instance, tags: Sequence[str]) -> None:
        data = instance.root / "registry" / "data" / scenario.BASE / "content" / "docker" / "registry" / "v2"
        folder = data / "repositories" / "node" / "_manifests" / "tags"
        self._links = {tag: folder / tag / "current" / "link" for tag in tags}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)
        self.taken = 0
        self.seen: list[Stand] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def now(self, tag: str) -> str:
        """The digest that a tag stands on, "" where it stands on none."""
        return next((stand.digest for stand in reversed(self.seen) if stand.tag == tag), "")

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_SECONDS):
            for tag, link in self._links.items():
                self._sample(tag, link)
            self.taken += 1

    def _sample(self, tag: str, link: Path) -> None:
        try:
            digest = link.read_text()
        except OSError:  # there is none yet
            return
        if len(digest) == _DIGEST_CHARACTERS and digest != self.now(tag):  # shorter while it is being written
            self.seen.append(Stand(time.time(), tag, digest))
