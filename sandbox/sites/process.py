"""The host process of a site: started, monitored, and restarted if it ends unexpectedly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from sandbox.forward import Backend
from sandbox.host.functions_host import ENDPOINT_FILE, Endpoint
from sandbox.rights import Rights, read_foreign
from sandbox.web import Fault

log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 130
_POLL_SECONDS = 0.02
_STOP_SECONDS = 20
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_SHOWN_BYTES = 4096


class SiteRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The start parameters of a site; `workers`, `python` and `lease_seconds` None mean the host's defaults."""

    name: str
    app: str
    settings: dict[str, str] = {}
    workers: int | None = None
    python: str | None = None
    lease_seconds: float | None = None
    group: str = "basegate-rg"


class SiteProcess:
    """The host process of a site. Its output is written to `log_file`; `state` is its state folder, which it owns."""

    def __init__(
        self, record: SiteRecord, environment: Mapping[str, str], state: Path, log_file: Path, rights: Rights
    ) -> None:
        self.record, self.state, self.log, self._rights = record, state, log_file, rights
        self._environment = {**rights.environment(), **environment, **_platform(record.name), **record.settings}
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.endpoint: Endpoint | None = None
        self.backend: Backend | None = None

    async def start(self) -> None:
        """Start the host and wait until it serves.

        Raises:
            Fault: 400 with the end of its log, if the app cannot be served.
        """
        try:
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Stop the host: first with SIGTERM, which gives running invocations 10 s to end."""
        if self._keeper:
            self._keeper.cancel()
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        await self._forget()

    async def _launch(self) -> None:
        endpoint_file = self.state / ENDPOINT_FILE
        try:
            endpoint_file.unlink(missing_ok=True)
            with self.log.open("ab") as output:
                began = output.tell()
                self._process = process = await self._spawn(output)
        except (OSError, ValueError) as error:  # the app made a folder of that name; all settings together are too long
            raise Fault(400, "SiteNotReady", f"The site's process cannot be started: {error}") from error
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while not endpoint_file.exists() and process.returncode is None:  # noqa: ASYNC110 (a file has no event)
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise Fault(400, "SiteNotReady", f"The site did not serve within {_READY_SECONDS} s.") from None
        if not endpoint_file.exists():
            raise Fault(400, "SiteNotReady", _tail(self.log, began))
        self.endpoint = _read_endpoint(endpoint_file)
        self.backend = Backend(self.endpoint.port)

    async def _spawn(self, output: BinaryIO) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._rights.command(*self._command()),
            **self._rights.app(),
            cwd=_ROOT,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,  # closed by the kernel when this process dies, however it dies
            stdout=output,
            stderr=output,
        )

    def _command(self) -> list[str]:
        record = self.record
        command = [sys.executable, "-m", "sandbox.host", "--lifeline", "--app", record.app, "--name", record.name]
        command += ["--state", str(self.state)]
        command += ["--workers", str(record.workers)] if record.workers is not None else []
        command += ["--python", record.python] if record.python else []
        command += ["--lease", str(record.lease_seconds)] if record.lease_seconds else []
        return command

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            assert self._process
            await self._process.wait()
            await self._forget()
            await asyncio.sleep(pause)
            try:
                await self._launch()
                pause = _FIRST_PAUSE_SECONDS
            except (Fault, OSError) as error:
                log.warning("The site %s is not started again: %s", self.record.name, first_line(error))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _forget(self) -> None:
        self.endpoint = None
        if self.backend:
            await self.backend.close()
            self.backend = None


def first_line(error: Exception) -> str:
    """The first line of an error: what follows is the end of the site's own log."""
    return str(error).partition("\n")[0]


def _read_endpoint(file: Path) -> Endpoint:
    try:
        return msgspec.json.decode(read_foreign(file), type=Endpoint)
    except (OSError, msgspec.DecodeError) as error:
        raise Fault(400, "SiteNotReady", f"The host's {file.name} cannot be read: {error}") from error


def _platform(name: str) -> dict[str, str]:
    """The settings that the platform passes to every function app."""
    return {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "WEBSITE_SITE_NAME": name,
        "WEBSITE_HOSTNAME": f"{name}.azurewebsites.net",
    }


def _tail(file: Path, began: int) -> str:
    with file.open("rb") as written:
        written.seek(began)
        text = written.read().decode(errors="replace").strip()
    return text[-_SHOWN_BYTES:] or "The host process ended without a word."
