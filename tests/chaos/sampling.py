"""Samples the stable tags continuously: from the registry's files, also while its process is down."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from demo import scenario
from sandbox.testing import Sandbox

_EVERY_SECONDS = 0.02
_DIGEST_CHARACTERS = len("sha256:") + 64


class TagReading(NamedTuple):
    """A stable tag changed to a digest; `at` is when that was first read, in seconds since the epoch."""

    at: float
    tag: str
    digest: str


class Samples:
    """Reads the stable tags fifty times a second, and records every change."""

    def __init__(self, sandbox: Sandbox, tags: Sequence[str]) -> None:
        self._sandbox, self._tags = sandbox, tags
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)
        self.taken = 0
        self.seen: list[TagReading] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def now(self, tag: str) -> str:
        """The last digest of a tag, "" if it has had none."""
        return next((reading.digest for reading in reversed(self.seen) if reading.tag == tag), "")

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_SECONDS):
            for tag in self._tags:
                self._sample(tag)
            self.taken += 1

    def _sample(self, tag: str) -> None:
        digest = self._sandbox.tag(scenario.BASE, "node", tag) or ""
        if len(digest) == _DIGEST_CHARACTERS and digest != self.now(tag):  # shorter while it is being written
            self.seen.append(TagReading(time.time(), tag, digest))
