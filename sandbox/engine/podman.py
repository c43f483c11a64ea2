"""The container engine, implemented with podman's command line.

The user's podman is not touched: configuration, stores and credentials are below one folder, files that need a short
path below one temporary folder that is removed at the end.

Containers reach neither other machines nor services of this one: builds have no network, task containers one of their
own run or a port that leads to the gateway, and hosted containers one from which this machine only takes answers. A RUN
that downloads something fails; `npm install` with nothing to install does not.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sandbox.engine.background import Background
from sandbox.engine.bridges import remove_bridges
from sandbox.engine.cache import LayerCache
from sandbox.engine.command import CommandLine
from sandbox.engine.configuration import engine_environment, write_configuration
from sandbox.engine.contract import EngineError, Login
from sandbox.engine.firewall import Firewall, FirewallError
from sandbox.engine.hosting import PodmanHost
from sandbox.engine.machine import inspect_machine, prove
from sandbox.engine.mounts import remove_tree, unmount_below
from sandbox.engine.networks import Network
from sandbox.engine.run_mounts import RunMounts
from sandbox.engine.run_store import PodmanRunStore, Shared
from sandbox.engine.runtime_folder import noted_folder, short_folder
from sandbox.engine.seclusion import Seclusion
from sandbox.engine.store import Store
from sandbox.private import write_private
from sandbox.programs import find_program

log = logging.getLogger(__name__)

_MISSING = "Containers need podman (4.3 or newer) and an OCI runtime; Docker alone is not enough: install podman."
_UNPRIVILEGED = "Containers need root: only then does each have an address that is reachable from this machine."
_OPEN = (
    "Containers can reach services of this machine that listen on all addresses, because firewall rules cannot be set "
    "({}). Run only images that you trust, or install iptables and run this where it may set rules."
)
_DRIVERS = ("overlay", "vfs")


@dataclass(frozen=True, slots=True)
class _Running:
    """The state between `start` and `close`."""

    runtime: Path
    driver: str
    shared: Shared
    host: PodmanHost


class Podman:
    """Implements `Engine` with podman.

    Args:
        folder: stores everything persistent (images, configuration).
        key: distinguishes this instance's networks and bridges from others on the machine (at most eight characters).
        client: the environment that routes Azure's real host names to the sandbox.
    """

    def __init__(self, folder: Path, key: str, client: Mapping[str, str]) -> None:
        self._folder, self._key, self._client = folder, key[:8], client
        self._numbers = itertools.count(1)
        self._running: _Running | None = None
        self._firewall = Firewall(f"basegate-{self._key}", (f"bg{self._key}", f"b{self._key}+"))
        self.warnings: tuple[str, ...] = ()

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
        await self.recover()
        runtime = short_folder()
        write_private(self._note, str(runtime))
        try:
            await self._close_off()
            self._running = await self._start(program, runtime)
        except BaseException:  # a cancellation, too: neither folder nor rules must be left
            await self._open_up()
            await asyncio.to_thread(remove_tree, runtime)
            await asyncio.to_thread(unmount_below, self._folder)  # while something is mounted, the note must stay
            self._note.unlink(missing_ok=True)
            raise

    async def _close_off(self) -> None:
        try:
            await asyncio.to_thread(self._firewall.start)
            self.warnings = ()
        except FirewallError as error:
            self.warnings = (_OPEN.format(error),)
            log.warning("%s", self.warnings[0])

    async def _open_up(self) -> None:
        try:
            await asyncio.to_thread(self._firewall.close)
        except FirewallError as error:
            if not self.warnings:  # else they could not be set either
                log.warning("The firewall rules of this instance are left: %s", error)

    async def _start(self, program: str, runtime: Path) -> _Running:
        podman, driver, cache = await self._probe(program, runtime)
        background = Background()
        groups = Store(self._folder / "groups", runtime / "groups", driver, cache.graph)
        network = Network(self._networks, f"basegate-{self._key}", f"bg{self._key}")
        host = PodmanHost(podman, groups, network)
        seclusion = Seclusion(urlsplit(self._client["HTTPS_PROXY"]).port or 0)
        await seclusion.start()
        mounts = RunMounts(seclusion.enclose(podman), Store(self._folder / "runs" / "0-probe", runtime / "0", driver))
        shared = Shared(podman, cache, background, seclusion, mounts, self._client)
        return _Running(runtime, driver, shared, host)

    async def _probe(self, program: str, runtime: Path) -> tuple[CommandLine, str, LayerCache]:
        """Try runtimes and storage drivers in order of preference, until a container has run."""
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
        """See `Engine.close`. Runs should be closed before; what they left is removed in any case."""
        if running := self._running:
            self._running = None
            await running.shared.background.drain()
            await running.shared.seclusion.close()
            await running.host.close()
            await self._sweep(running.shared.podman, running.driver, running.runtime)
            await self._open_up()
            self._note.unlink(missing_ok=True)

    @property
    def needs_recovery(self) -> bool:
        """Whether an engine of this folder runs, or was killed."""
        return self._note.exists()

    async def recover(self) -> None:
        """Remove what a killed process left: its containers, mounts, firewall rules and temporary folder.

        If the temporary folder was deleted meanwhile, podman no longer knows the containers; their processes and
        mounts are found by the store they are in. `start` does this first; the process must have ended.

        Raises:
            EngineError: only root can remove it.
        """
        if not self.needs_recovery:
            return
        if os.geteuid() != 0:
            raise EngineError("only root can remove containers")
        runtime, cleared = self._left()
        files = write_configuration(self._folder / "config", inspect_machine(), inspect_machine().runtimes[0])
        podman = CommandLine((find_program("podman") or "podman",), engine_environment({}, self._folder, files))
        for driver in _DRIVERS:
            if (self._folder / f"cache-{driver}").is_dir():
                groups = Store(self._folder / "groups", runtime / "groups", driver)
                await (groups.reclaim(podman) if cleared else groups.empty(podman))
                await self._sweep(podman, driver, runtime)
                break
        else:
            await asyncio.to_thread(remove_tree, runtime)
        for described in self._networks.glob("*.json"):
            described.unlink()
        if cleared:
            await asyncio.to_thread(remove_bridges, rf"bg{self._key}|b{self._key}\d+")
        await self._open_up()
        self._note.unlink(missing_ok=True)

    def _left(self) -> tuple[Path, bool]:
        """The temporary folder of the previous process and False; if that was deleted, a new folder and True."""
        noted = noted_folder(self._note)
        return (noted, False) if noted else (short_folder(), True)

    async def _sweep(self, podman: CommandLine, driver: str, runtime: Path) -> None:
        runs = self._folder / "runs"
        for graph in sorted(runs.iterdir()) if runs.is_dir() else ():
            left = Store(graph, runtime / graph.name.split("-")[0], driver)
            await left.empty(podman)
            await left.discard()
        await asyncio.to_thread(remove_tree, runtime)
        await asyncio.to_thread(unmount_below, self._folder)  # a driver that failed may have left mounts, too

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
