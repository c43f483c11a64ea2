"""Layers of base images, kept for all runs of an instance.

A run's store reads layers from here, but never names: an image is fetched into the cache and its name taken off at
once. So a run always asks the registry what a tag means now, as an agent of ACR does, and fetches only what is new.
Nothing is ever removed from here, because images of other stores stand on these layers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from sandbox.engine.command import CommandLine
from sandbox.engine.contract import EngineError
from sandbox.engine.store import Store

log = logging.getLogger(__name__)


class LayerCache:
    """The store behind every run's store."""

    def __init__(self, store: Store, podman: CommandLine) -> None:
        self._store, self._podman = store, podman
        self._digests: dict[str, str] = {}
        self._lock = asyncio.Lock()

    @property
    def graph(self) -> Path:
        """What other stores take as `layers_from`."""
        return self._store.graph

    async def start(self) -> None:
        """Take off the names that an interrupted fetch may have left.

        Raises:
            EngineError: where the storage driver does not work here.
        """
        self._store.make()
        command = self._store.command(self._podman)
        listed = await command.check(["images", "--no-trunc", "--format", "{{.Repository}} {{.Id}}"])
        named = {line.split()[1] for line in listed.splitlines() if line and not line.startswith("<none>")}
        for image in sorted(named):  # by its id: what was fetched by digest has no name that podman takes
            await command.check(["untag", image])

    async def ensure(self, images: Sequence[str], authfile: Path) -> None:
        """Fetch the images that this process has not fetched yet. A failure is the build's to report, not ours."""
        if all(image in self._digests for image in images):
            return  # without waiting for a refresh that may be going on
        async with self._lock:
            for image in images:
                if image not in self._digests and await self._fetch(image, authfile, niceness=0):
                    self._digests[image] = ""

    async def refresh(self, digests: dict[str, str], authfile: Path) -> None:
        """Fetch images that a run found changed, in the machine's spare time."""
        async with self._lock:
            for image, digest in digests.items():
                known = self._digests.get(image)
                if known and known != digest:
                    await self._fetch(image, authfile, niceness=19)
                if known is not None:
                    self._digests[image] = digest

    async def _fetch(self, image: str, authfile: Path, niceness: int) -> bool:
        command = self._store.command(self._podman, REGISTRY_AUTH_FILE=str(authfile))
        gentle = CommandLine(("nice", "-n", str(niceness), *command.program), command.environment)
        try:
            await gentle.check(["pull", "--quiet", image])
            await command.check(["untag", image])
        except EngineError as error:
            log.info("could not keep the layers of %s: %s", image, error)
            return False
        return True
