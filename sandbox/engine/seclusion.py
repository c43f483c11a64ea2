"""The network of builds, and of the steps of a run: nothing but a port that leads to the gateway.

podman downloads what a Dockerfile adds (`ADD http://…`) by itself, outside of the build's network: in this machine's it
would reach every service on a loopback port. So it runs in a network namespace of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import logging
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

from sandbox.engine.command import CommandLine
from sandbox.engine.contract import EngineError
from sandbox.programs import find_program

log = logging.getLogger(__name__)

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_CHUNK_BYTES = 256 * 1024
_MOST_CONNECTIONS = 128
"""At a time, in one namespace. Each takes three of the files that the sandbox may open: where it is accepted here, and
both ends of its way to the gateway; and one more while the gateway forwards a request of it. `sandbox.daemon` raises
the limit of those files."""


class Seclusion:
    """A network namespace in which 127.0.0.1 has one port, that of the gateway, and nothing else is reached."""

    def __init__(self, port: int) -> None:
        self._port, self._namespace, self._open, self._is_logged = port, -1, 0, False
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Create the namespace and serve its port.

        Raises:
            EngineError: this machine does not allow it.
        """
        nsenter = find_program("nsenter")
        if nsenter is None:
            raise EngineError("Builds need nsenter: install util-linux.")
        self._nsenter = nsenter
        listener, self._namespace = await asyncio.get_running_loop().run_in_executor(None, _create, self._port)
        self._server = await asyncio.start_server(self._accept, sock=listener)

    @property
    def path(self) -> str:
        """The path of the namespace, while it is open."""
        return f"/proc/{os.getpid()}/fd/{self._namespace}"

    def enclose(self, command: CommandLine) -> CommandLine:
        """The command line, executed in the namespace."""
        inside = (self._nsenter, f"--net={self.path}", "--")
        return CommandLine((*inside, *command.program), command.environment)

    async def close(self) -> None:
        """Close the port; the namespace ends with the last process in it."""
        if self._server:
            self._server.close()
            self._server = None
            os.close(self._namespace)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= _MOST_CONNECTIONS:
            self._log_once()
            writer.close()
            return
        self._open += 1
        try:
            await self._forward(reader, writer)
        finally:
            self._open -= 1

    def _log_once(self) -> None:
        """Whoever opens too many connections must not fill the log, too."""
        if not self._is_logged:
            self._is_logged = True
            log.warning(
                "Builds, or a run, have %s connections to the gateway, the most at a time: others are closed",
                self._open,
            )

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            gateway_reader, gateway_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_pump(reader, gateway_writer), _pump(gateway_reader, writer))
        finally:
            gateway_writer.close()
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on one direction; its end is passed on as well, while the other one may go on."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


def _create(port: int) -> tuple[socket.socket, int]:
    """A listening socket in a new namespace, and a descriptor that keeps that alive.

    A thread of its own leaves this machine's network: a namespace is one of a thread, and the others stay.
    """
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="seclusion") as leaving:
            return leaving.submit(_leave, port).result()
    except OSError as error:
        raise EngineError(f"This machine allows no network namespace for builds: {error}") from error


def _leave(port: int) -> tuple[socket.socket, int]:
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    return socket.create_server(("127.0.0.1", port)), os.open("/proc/thread-self/ns/net", os.O_RDONLY)
