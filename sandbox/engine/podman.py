"""The container engine on podman's command line.

Nothing of the user's podman is touched: configuration, stores and credentials lie below one folder, what needs a
short path below one temporary folder that goes away in the end.

Nothing in a container leaves the sandbox: builds and task containers have no network or one of their run's own, and
hosted containers one that only this machine reaches. A RUN that downloads something fails; `npm install` with nothing
to install does not.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.engine.background import Background
from sandbox.engine.bridges import remove_bridges
from sandbox.engine.cache import LayerCache
from sandbox.engine.command import CommandLine
from sandbox.engine.configuration import engine_environment, write_configuration
from sandbox.engine.contract import EngineError, Login
from sandbox.engine.hosting import PodmanHost
from sandbox.engine.machine import inspect_machine, prove, short_folder
from sandbox.engine.mounts import remove_tree, unmount_below
from sandbox.engine.networks import Network
from sandbox.engine.run_store import PodmanRunStore, Shared
from sandbox.engine.store import Store
from sandbox.programs import find_program

_MISSING = "Containers need podman (4.3 or newer) and an OCI runtime; Docker alone is not enough: install podman."
_UNPRIVILEGED = "Containers need root here: only then does each get an address that this machine reaches."
_DRIVERS = ("overlay", "vfs")


@dataclass(frozen=True, slots=True)
class _Running:
    """What exists between `start` and `close`."""

    runtime: Path
    driver: str
    shared: Shared
    host: PodmanHost


class Podman:
    """An `Engine`.

    Args:
        folder: everything that may stay (images, configuration) lies here.
        key: tells this instance's networks and bridges from others' on the machine (eight characters at most).
        client: the environment that leads to the sandbox by Azure's real names.
    """

    def __init__(self, folder: Path, key: str, client: Mapping[str, str]) -> None:
        self._folder, self._key, self._client = folder, key[:8], client
        self._numbers = itertools.count(1)
        self._running: _Running | None = None

    @property
    def host(self) -> PodmanHost:
        """See `Engine.host`."""
        return self._started().host

    async def start(self) -> None:
        """See `Engine.start`."""
        program = find_program("podman")
        if not program:
            raise EngineError(_MISSING)
        if os.geteuid() != 0:
            raise EngineError(_UNPRIVILEGED)
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._recover()
        runtime = short_folder()
        self._note.write_text(str(runtime))
        try:
            self._running = await self._start(program, runtime)
        except BaseException:
            await asyncio.to_thread(remove_tree, runtime)
            raise

    async def _start(self, program: str, runtime: Path) -> _Running:
        podman, driver, cache = await self._probe(program, runtime)
        background = Background()
        groups = Store(self._folder / "groups", runtime / "groups", driver, cache.graph)
        network = Network(self._networks, f"basegate-{self._key}", f"bg{self._key}")
        host = PodmanHost(podman, groups, network)
        return _Running(runtime, driver, Shared(podman, cache, background), host)

    async def _probe(self, program: str, runtime: Path) -> tuple[CommandLine, str, LayerCache]:
        """Try runtimes and storage drivers, the best first, until a container has run."""
        machine = inspect_machine()
        errors = []
        for oci in machine.runtimes:
            files = write_configuration(self._folder / "config", machine, oci)
            podman = CommandLine((program,), engine_environment(self._client, self._folder, files))
            for driver in _DRIVERS:
                store = Store(self._folder / f"cache-{driver}", runtime / "cache", driver)
                cache = LayerCache(store, podman)
                try:
                    await cache.start()
                    await prove(store.command(podman))
                except EngineError as error:
                    errors.append(f"{oci} on {driver}: {error}")
                else:
                    return podman, driver, cache
        raise EngineError("podman cannot run a container here. " + " | ".join(errors))

    async def prepare_run(self, run_id: str, logins: Mapping[str, Login]) -> PodmanRunStore:
        """See `Engine.prepare_run`."""
        running = self._started()
        number = next(self._numbers)
        name = f"{number}-{run_id}"
        store = Store(
            self._folder / "runs" / name, running.runtime / str(number), running.driver, running.shared.cache.graph
        )
        network = Network(self._networks, f"basegate-{self._key}-{number}", f"b{self._key}{number % 100000}")
        return PodmanRunStore(running.shared, store, network, logins)

    async def close(self) -> None:
        """See `Engine.close`. Runs should be closed before; what they left is removed all the same."""
        if running := self._running:
            self._running = None
            await running.shared.background.drain()
            await running.host.close()
            await self._sweep(running.shared.podman, running.driver, running.runtime)
            self._note.unlink(missing_ok=True)

    async def _recover(self) -> None:
        """Remove what a process that was killed left: its containers, mounts and temporary folder.

        Where somebody cleared the temporary folder meanwhile, podman knows of no container any more; their processes
        and mounts are found by the store they lie in.
        """
        if not self._note.exists():
            return
        runtime, cleared = self._left()
        files = write_configuration(self._folder / "config", inspect_machine(), inspect_machine().runtimes[0])
        podman = CommandLine((find_program("podman") or "podman",), engine_environment({}, self._folder, files))
        for driver in _DRIVERS:
            if (self._folder / f"cache-{driver}").is_dir():
                groups = Store(self._folder / "groups", runtime / "groups", driver)
                await (groups.reclaim(podman) if cleared else groups.empty(podman))
                await self._sweep(podman, driver, runtime)
                break
        for described in self._networks.glob("*.json"):
            described.unlink()
        if cleared:
            await asyncio.to_thread(remove_bridges, rf"bg{self._key}|b{self._key}\d+")

    def _left(self) -> tuple[Path, bool]:
        """The temporary folder of the process before; where that was cleared, a new one in its place, and True."""
        noted = Path(self._note.read_text())
        return (noted, False) if noted.is_dir() else (short_folder(), True)

    async def _sweep(self, podman: CommandLine, driver: str, runtime: Path) -> None:
        runs = self._folder / "runs"
        for graph in sorted(runs.iterdir()) if runs.is_dir() else ():
            left = Store(graph, runtime / graph.name.split("-")[0], driver)
            await left.empty(podman)
            await left.discard()
        await asyncio.to_thread(remove_tree, runtime)
        for store in ("groups", *(f"cache-{tried}" for tried in _DRIVERS)):  # one that failed may have mounted, too
            await asyncio.to_thread(unmount_below, self._folder / store)

    @property
    def _note(self) -> Path:
        return self._folder / "runtime-folder"

    @property
    def _networks(self) -> Path:
        return self._folder / "config" / "networks"

    def _started(self) -> _Running:
        if self._running is None:
            raise EngineError("The container engine is not running.")
        return self._running
