"""The layer cache: layers of base images, shared by all runs of an instance.

A run's store reads layers from here, but never names: an image is pulled into the cache and untagged immediately. So a
run always resolves a tag at the registry, like an agent of ACR, and pulls only new layers.
Nothing is ever removed from here, because images in other stores depend on these layers.
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
    """The store whose layers every run's store reads."""

    def __init__(self, store: Store, podman: CommandLine) -> None:
        self._store, self._podman = store, podman
        self._digests: dict[str, str] = {}
        self._lock = asyncio.Lock()

    @property
    def graph(self) -> Path:
        """The graph that other stores use as `layers_from`."""
        return self._store.graph

    async def start(self) -> None:
        """Remove the names that an interrupted pull may have left.

        Raises:
            EngineError: if the storage driver does not work here.
        """
        self._store.make()
        command = self._store.command(self._podman)
        listed = await command.check(["images", "--no-trunc", "--format", "{{.Repository}} {{.Id}}"])
        named = {line.split()[1] for line in listed.splitlines() if line and not line.startswith("<none>")}
        for image in sorted(named):  # by its id: an image pulled by digest has no name that podman accepts
            await command.check(["untag", "--", image])

    async def ensure(self, images: Sequence[str], authfile: Path) -> None:
        """Pull the images that this process has not pulled yet. A failure is left for the build to report."""
        if all(image in self._digests for image in images):
            return  # without waiting for a refresh that may be in progress
        async with self._lock:
            for image in images:
                if image not in self._digests and await self._fetch(image, authfile, niceness=0):
                    self._digests[image] = ""

    async def refresh(self, digests: dict[str, str], authfile: Path) -> None:
        """Pull images that a run found changed, at the lowest CPU priority."""
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
            await gentle.check(["pull", "--quiet", "--", image])
            await command.check(["untag", "--", image])
        except EngineError as error:
            log.info("could not cache the layers of %s: %s", image, error)
            return False
        return True
