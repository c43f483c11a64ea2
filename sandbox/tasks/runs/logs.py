"""The log of a run: a blob that is appended to while the run is in progress.

Lines end with CR LF, as in ACR: `az acr task logs` prints only up to the last one. The metadata key `Complete` marks
the log as complete.
Source: https://github.com/Azure/azure-cli, command_modules/acr/_stream_utils.py
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import aiohttp

from sandbox.tasks.records import RunRecord
from sandbox.tasks.runs.blobs import Blobs
from sandbox.web import Fault

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 0.2
_BLOCK_BYTES = 4 * 1024 * 1024
_LIMIT_BYTES = 16 * 1024 * 1024
_RESULTS = {
    "Succeeded": "successful",
    "Failed": "failed",
    "Canceled": "canceled",
    "Timeout": "timedout",
    "Error": "internalerror",
}


def log_name(run: RunRecord) -> str:
    """The name of a run's log in its registry's container."""
    return f"logs/{run.id}/rawtext.log"


class LogBlob:
    """Buffers lines and appends them to the blob a few times a second; anything beyond 16 MiB is omitted."""

    def __init__(self, blobs: Blobs, run: RunRecord) -> None:
        self._blobs, self._registry, self._name = blobs, run.registry, log_name(run)
        self._waiting = bytearray()
        self._size = 0
        self._wake, self._flushing = asyncio.Event(), asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Create the blob and start writing."""
        await self._blobs.prepare(self._registry)
        await self._blobs.create_log(self._registry, self._name)
        self._writer = asyncio.create_task(self._write())

    async def write(self, line: str) -> None:
        """Add one line (without its line break)."""
        if self._size > _LIMIT_BYTES:
            return
        data = line.encode(errors="replace") + b"\r\n"
        self._size += len(data)
        self._waiting += (
            data if self._size <= _LIMIT_BYTES else b"The log is longer than 16 MiB; the rest is omitted.\r\n"
        )
        self._wake.set()

    async def close(self, status: str) -> None:
        """Write the remaining lines and mark the log as complete with the run's final status."""
        if self._writer:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
        await self._flush()
        await self._blobs.complete(self._registry, self._name, _RESULTS[status])

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(_FLUSH_SECONDS)
            try:
                # If cancelled here, an append could be in the blob and still in the buffer.
                await asyncio.shield(self._flush())
            except (Fault, aiohttp.ClientError) as error:
                log.warning("The log %s cannot be written: %s", self._name, error)

    async def _flush(self) -> None:
        async with self._flushing:
            while self._waiting:
                block = bytes(self._waiting[:_BLOCK_BYTES])
                await self._blobs.append(self._registry, self._name, block)
                del self._waiting[: len(block)]


async def close_log(log_blob: LogBlob, run: RunRecord, status: str) -> None:
    """Complete the log of a run that has ended; a log that cannot be written does not affect the run."""
    try:
        await log_blob.close(status)
    except (Fault, aiohttp.ClientError) as error:
        log.warning("The log of %s cannot be completed: %s", run.key, error)


async def finish_log(blobs: Blobs, run: RunRecord, status: str, line: str) -> None:
    """Complete the log of a run without a writer: the run never started, or the sandbox was stopped during it.

    The existing content of a log is preserved.
    """
    registry, name = run.registry, log_name(run)
    try:
        if run.started is None:
            await blobs.prepare(registry)
            await blobs.create_log(registry, name)
        await blobs.append(registry, name, line.encode() + b"\r\n")
        await blobs.complete(registry, name, _RESULTS[status])
    except (Fault, aiohttp.ClientError) as error:
        log.warning("The log of %s cannot be completed: %s", run.key, error)
