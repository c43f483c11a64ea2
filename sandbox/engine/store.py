"""A podman store: the paths of its files, the options that select it, and its removal."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sandbox.engine.command import CommandLine
from sandbox.engine.contract import EngineError
from sandbox.engine.mounts import remove_tree
from sandbox.engine.strays import end_monitors, end_strays

_PASSES = 5
_DATABASES = ("libpod/bolt_state.db", "db.sql")  # up to podman 4, and of later versions
_RUN_ROOT_LIMIT = 50  # podman refuses longer paths: container sockets are below it


@dataclass(frozen=True, slots=True)
class Store:
    """`graph` holds images and may be anywhere; `runtime` holds sockets and state, and must have a short path."""

    graph: Path
    runtime: Path
    driver: str
    layers_from: Path | None = None

    def options(self) -> tuple[str, ...]:
        """The global podman options that select this store.

        `layers_from` is the graph of a store that is only read: its layers need not be pulled again. The driver vfs
        does not support such a store.
        """
        run_root = self.runtime / "r"
        if len(str(run_root)) > _RUN_ROOT_LIMIT:
            raise EngineError(f"podman refuses run roots over {_RUN_ROOT_LIMIT} characters: {run_root}")
        places = ("--root", str(self.graph), "--runroot", str(run_root), "--tmpdir", str(self.runtime / "t"))
        reads = self.layers_from if self.driver == "overlay" else None
        cache = ("--storage-opt", f"additionalimagestore={reads}") if reads else ()
        return (*places, "--storage-driver", self.driver, *cache)

    def command(self, podman: CommandLine, **environment: str) -> CommandLine:
        """Return podman's command line for this store."""
        return CommandLine((*podman.program, *self.options()), {**podman.environment, **environment})

    def make(self) -> None:
        """Create the folders. Existing images stay; containers of earlier processes must have been removed.

        podman's database contains the run root, which is different after every start, and podman refuses a store whose
        database contains another. It describes only containers, so it is deleted.
        """
        for folder in (self.graph, self.runtime):
            folder.mkdir(parents=True, exist_ok=True)
        for database in _DATABASES:
            (self.graph / database).unlink(missing_ok=True)

    async def empty(self, podman: CommandLine) -> None:
        """Remove every container, running or not.

        podman refuses if another container depends on one, or if it is just being restarted: the next pass removes it.
        """
        command = self.command(podman)
        for _ in range(_PASSES):
            if not (await command.capture(["rm", "--force", "--all", "--time", "0"])).exit_code:
                break
        await asyncio.to_thread(end_strays, self.graph)

    async def reclaim(self, podman: CommandLine) -> None:
        """Remove every container that was created under another run root, which no longer exists.

        podman's database was lost with it, but the storage still holds the containers and their names.
        """
        self.make()
        await asyncio.to_thread(end_monitors, self.graph)
        await asyncio.to_thread(end_strays, self.graph)
        command = self.command(podman)
        left = await command.capture(["ps", "--all", "--external", "--quiet", "--no-trunc"])
        if identifiers := left.stdout.split():
            await command.capture(["rm", "--force", "--time", "0", *identifiers])

    async def discard(self) -> None:
        """Delete the store. Its containers must have been removed; processes that a build left running are killed."""
        await asyncio.to_thread(end_strays, self.graph)
        for folder in (self.graph, self.runtime):
            await asyncio.to_thread(remove_tree, folder)
