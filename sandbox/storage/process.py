"""Azurite as a child process: started, monitored, restarted if it dies, stopped gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from pathlib import Path

from sandbox.programs import find_program
from sandbox.rights import Rights
from sandbox.storage.account import Account

log = logging.getLogger(__name__)

SERVICES = ("blob", "queue", "table")

_READY_SECONDS = 30.0
_STOP_SECONDS = 10.0
_BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0)
_KEEP_ALIVE_SECONDS = "3600"
_LOG_TAIL_CHARACTERS = 2000
_HERE = Path(__file__).parent
LIFELINE = _HERE / "lifeline.js"
"""Ends Azurite when the process that started it ends, for whatever reason."""


class AzuriteError(Exception):
    """Azurite does not start; the message contains the end of its log."""


class Azurite:
    """The combined Azurite server: the entry point that saves its data when it is terminated.

    Args:
        script: Azurite's `azurite.js`.
        account: the one account it serves.
        data: the folder for its data.
        log_file: the file for its output.
        durable: whether an acknowledged write is on disk, at about half the write rate.
        rights: those of the process.
    """

    def __init__(
        self, script: Path, account: Account, data: Path, log_file: Path, *, durable: bool, rights: Rights
    ) -> None:
        self._rights = rights
        self._script, self._account, self._data, self._log_file = script, account, data, log_file
        self._preloads = [LIFELINE, *([_HERE / "durable.js"] if durable else [])]
        self.ports = dict(zip(SERVICES, _free_ports(len(SERVICES)), strict=True))
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it and return when all three services accept connections.

        Raises:
            AzuriteError: it ends, or is not ready in time.
        """
        await self._launch()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """Terminate it, which saves its data."""
        if self._keeper:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._process and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def _launch(self) -> None:
        preloads = [part for preload in self._preloads for part in ("--require", str(preload))]
        ports = [part for name, port in self.ports.items() for part in (f"--{name}Port", str(port))]
        lives = [part for name in SERVICES for part in (f"--{name}KeepAliveTimeout", _KEEP_ALIVE_SECONDS)]
        switches = ("--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", str(self._data))
        environment = self._rights.environment() | {"AZURITE_ACCOUNTS": f"{self._account.name}:{self._account.key}"}
        node = (find_program("node") or "node", *preloads, str(self._script), *switches, *ports, *lives)
        with self._log_file.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._rights.command(*node),
                **self._rights.server(),
                cwd=self._data,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        await self._await_ready(self._process)

    async def _await_ready(self, process: asyncio.subprocess.Process) -> None:
        deadline = asyncio.get_running_loop().time() + _READY_SECONDS
        for port in self.ports.values():
            while not await _responses(port):
                if process.returncode is not None:
                    raise AzuriteError(f"Azurite ended with code {process.returncode}: {self._tail()}")
                if asyncio.get_running_loop().time() > deadline:
                    process.kill()
                    raise AzuriteError(f"Azurite was not ready within {_READY_SECONDS:.0f} s: {self._tail()}")
                await asyncio.sleep(0.02)

    async def _keep(self) -> None:
        """Restart it whenever it ends unexpectedly; clients get 503 meanwhile and retry."""
        failures = 0
        while self._process:
            code = await self._process.wait()
            log.warning("Azurite ended with code %s and is restarted", code)
            await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
            try:
                await self._launch()
                failures = 0
            except (AzuriteError, OSError):  # OSError: the system cannot start another process at the moment
                failures += 1
                log.exception("Azurite cannot be restarted")

    def _tail(self) -> str:
        return self._log_file.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:].strip() or "no output"


async def _responses(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _free_ports(count: int) -> list[int]:
    """Free loopback ports; all are bound until the last one is known, so that they differ."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in held]
