"""One podman store: where its files lie, how commands name it, how it vanishes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sandbox.engine.command import CommandLine
from sandbox.engine.contract import EngineError
from sandbox.engine.mounts import remove_tree
from sandbox.engine.strays import end_monitors, end_strays

_PASSES = 5
_DATABASES = ("libpod/bolt_state.db", "db.sql")  # up to podman 4, and since
_RUN_ROOT_LIMIT = 50  # podman refuses longer ones: container sockets lie below


@dataclass(frozen=True, slots=True)
class Store:
    """`graph` holds images and may lie anywhere; `runtime` holds sockets and state, and must have a short path."""

    graph: Path
    runtime: Path
    driver: str
    layers_from: Path | None = None

    def options(self) -> tuple[str, ...]:
        """The global podman options that select this store.

        `layers_from` is the graph of a store that is only read: its layers need not be fetched again. The driver vfs
        knows no such store.
        """
        run_root = self.runtime / "r"
        if len(str(run_root)) > _RUN_ROOT_LIMIT:
            raise EngineError(f"podman refuses run roots over {_RUN_ROOT_LIMIT} characters: {run_root}")
        places = ("--root", str(self.graph), "--runroot", str(run_root), "--tmpdir", str(self.runtime / "t"))
        reads = self.layers_from if self.driver == "overlay" else None
        cache = ("--storage-opt", f"additionalimagestore={reads}") if reads else ()
        return (*places, "--storage-driver", self.driver, *cache)

    def command(self, podman: CommandLine, **environment: str) -> CommandLine:
        """podman on this store."""
        return CommandLine((*podman.program, *self.options()), {**podman.environment, **environment})

    def make(self) -> None:
        """Make the folders. Images that are there stay; containers are none of this process's and must be gone.

        podman's database names the run root, which is another one after every start, and podman refuses a store whose
        database names another. It knows of containers only, so it goes.
        """
        for folder in (self.graph, self.runtime):
            folder.mkdir(parents=True, exist_ok=True)
        for database in _DATABASES:
            (self.graph / database).unlink(missing_ok=True)

    async def empty(self, podman: CommandLine) -> None:
        """Remove every container, running or not.

        podman refuses one that another still depends on, or that is just being restarted: the next pass gets it.
        """
        command = self.command(podman)
        for _ in range(_PASSES):
            if not (await command.capture(["rm", "--force", "--all", "--time", "0"])).exit_code:
                break
        await asyncio.to_thread(end_strays, self.graph)

    async def reclaim(self, podman: CommandLine) -> None:
        """Remove every container that was made under another run root, which is gone.

        podman's database went with it, but the storage still holds the containers and their names.
        """
        self.make()
        await asyncio.to_thread(end_monitors, self.graph)
        await asyncio.to_thread(end_strays, self.graph)
        command = self.command(podman)
        left = await command.capture(["ps", "--all", "--external", "--quiet", "--no-trunc"])
        if identifiers := left.stdout.split():
            await command.capture(["rm", "--force", "--time", "0", *identifiers])

    async def discard(self) -> None:
        """Delete the store. Its containers must be gone; what a build left running ends here."""
        await asyncio.to_thread(end_strays, self.graph)
        for folder in (self.graph, self.runtime):
            await asyncio.to_thread(remove_tree, folder)
