"""The network of builds, in which one port leads to the gateway."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from sandbox.engine import seclusion
from sandbox.engine.command import CommandLine, Finished
from sandbox.engine.seclusion import Seclusion

_SCRIPT = """
import socket, sys

def connect():
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5)
    try:
        connection.sendall(b"x")
        return connection, connection.recv(1)
    except ConnectionError:
        return connection, b""

connections = [connect() for _ in range(4)]
print(sum(answer == b"x" for _, answer in connections))
for connection, _ in connections:
    connection.close()
while connect()[1] != b"x":
    pass
"""


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1):
        writer.write(data)
    writer.close()


async def _connect_from_inside() -> Finished:
    async with await asyncio.start_server(_echo, "127.0.0.1", 0) as gateway:
        port = gateway.sockets[0].getsockname()[1]
        secluded = Seclusion(port)
        await secluded.start()
        try:
            python = secluded.enclose(CommandLine((sys.executable,), os.environ))
            return await python.capture(["-c", _SCRIPT, str(port)])
        finally:
            await secluded.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create a network namespace")
@pytest.mark.attack("a build", "connections until the sandbox can open no file any more", "a limit of connections")
def test_the_connections_of_a_build_are_limited_and_one_that_ends_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seclusion, "_MOST_CONNECTIONS", 3)
    result = asyncio.run(_connect_from_inside())
    assert (result.exit_code, result.stdout.strip()) == (0, "3"), result.stderr
