"""Runs the underlying registry: one CNCF distribution process (`docker-registry`, 2.8) on a unix socket.

It is supervised: if the process exits by itself, it is restarted on the same socket and data.

It has no authentication of its own; the socket is in a folder that only this user can access.
Source: https://distribution.github.io/distribution/about/configuration/
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from sandbox.forward import Backend
from sandbox.private import write_private
from sandbox.programs import find_program
from sandbox.rights import Rights
from sandbox.web import Fault

log = logging.getLogger(__name__)

_PROGRAM = "docker-registry"
_READY_SECONDS = 15
_STOP_SECONDS = 10
_SILENCE_SECONDS = 60
_BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response of the process."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def response(self) -> web.Response:
        """The same response for the gateway's client."""
        passed = {k: v for k, v in self.headers.items() if k.lower() not in ("content-length", "transfer-encoding")}
        return web.Response(status=self.status, headers=passed, body=self.body)


class Distribution:
    """One registry process with its data folder.

    Args:
        host: the host name of the registry, for the URLs in its responses.
        data: the folder of its content, which is retained when the process exits.
        runtime: a folder with a short path for the socket (108 bytes are the limit) and the configuration.
        log: the file that its messages are written to.
        rights: those of the process; it must be admitted to both folders.
    """

    def __init__(self, host: str, data: Path, runtime: Path, log: Path, rights: Rights) -> None:
        self._host, self._data, self._log, self._rights = host, data, log, rights
        self._socket, self._config = runtime / f"{secrets.token_hex(4)}.sock", runtime / f"{secrets.token_hex(4)}.json"
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self.backend = Backend(self._socket)

    @property
    def pid(self) -> int | None:
        """The process id, None while it is not running."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the process and wait until it accepts connections.

        Raises:
            RuntimeError: it exited or was not ready in time; the message contains the path of its log.
        """
        # Written once: uploads in progress have state that is signed with the secret in it.
        write_private(self._config, json.dumps(self._configuration()))
        self._rights.show_servers(self._config)
        self._rights.give(self._data)
        await self._launch()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())
        connector = aiohttp.UnixConnector(str(self._socket), limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_SECONDS)
        cookies = aiohttp.DummyCookieJar()
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=cookies, timeout=timeout)

    async def _launch(self) -> None:
        self._socket.unlink(missing_ok=True)  # a killed process leaves it behind
        command = (find_program(_PROGRAM) or _PROGRAM, "serve", str(self._config))
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *_dies_with_its_parent(), *self._rights.command(*command), **self._rights.server(),
                # Any REGISTRY_* variable would override the configuration (skopeo's REGISTRY_AUTH_FILE does).
                env=self._rights.environment(), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        await self._wait_until_ready(self._process)

    async def _keep(self) -> None:
        """Restart the process whenever it exits by itself; meanwhile, clients get 503 and retry."""
        failures = 0
        while self._process:
            code = await self._process.wait()
            log.warning("docker-registry for %s exited with code %s and is restarted", self._host, code)
            await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
            try:
                await self._launch()
                failures = 0
            except (RuntimeError, OSError):  # OSError: not ready in time, or no process could be created
                failures += 1
                if self.pid:  # it hangs
                    self._process.kill()
                log.exception("docker-registry for %s cannot be restarted", self._host)

    async def stop(self) -> None:
        """Stop the process and close its connections; its content is retained."""
        if self._keeper:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self.backend.close()
        if self._session:
            await self._session.close()
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        for file in (self._socket, self._config):
            file.unlink(missing_ok=True)

    async def call(
        self,
        method: str,
        target: str,
        *,
        body: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request to the process; `target` is an encoded path with its query.

        Raises:
            Fault: 503 if the process is unavailable.
        """
        assert self._session, "the registry is not started"
        sent = {"Host": self._host, "X-Forwarded-Proto": "https"} | dict(headers or {})
        url = URL(f"http://registry{target}", encoded=True)
        # A layer can be tens of megabytes: a stream is written in chunks, so that other tasks run in between.
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        try:
            async with self._session.request(method, url, data=data, headers=sent, allow_redirects=False) as answer:
                return Answer(answer.status, dict(answer.headers), await answer.read())
        except aiohttp.ClientConnectionError as error:
            raise Fault(503, "UNAVAILABLE", f"The process behind {self._host} is away: {error}") from error

    def _configuration(self) -> dict[str, object]:
        return {
            "version": 0.1,
            "log": {"level": "warn", "formatter": "json", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self._data)},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            # Azure registries accept manifests whose layers are fetched from elsewhere (Windows base images):
            # https://learn.microsoft.com/azure/container-registry/container-registry-faq#push-nondistributable-layers
            "validation": {"manifests": {"urls": {"allow": ["^https?://"]}}},
            # Azure registries return relative locations, the only ones that azure-containerregistry supports.
            "http": {"net": "unix", "addr": str(self._socket), "secret": secrets.token_hex(16), "relativeurls": True},
        }

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(_READY_SECONDS):
            while True:
                if process.returncode is not None:
                    message = f"docker-registry for {self._host} exited with {process.returncode}; see {self._log}."
                    raise RuntimeError(message)
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_unix_connection(str(self._socket))
                    writer.close()
                    return
                await asyncio.sleep(0.005)


def _dies_with_its_parent() -> tuple[str, ...]:
    # A killed sandbox must not leave registries behind; only Linux has this, elsewhere stop() must suffice.
    setpriv = find_program("setpriv")
    return (setpriv, "--pdeathsig", "TERM", "--") if setpriv else ()
