"""The network of builds, in which one port leads to the gateway."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Iterator

import pytest

from sandbox import daemon
from sandbox.daemon import raise_file_limit
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
def test_the_connections_of_a_build_are_limited_and_one_that_ends_makes_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(seclusion, "_MOST_CONNECTIONS", 2)
    result = asyncio.run(_connect_from_inside())
    assert (result.exit_code, result.stdout.strip()) == (0, "2"), result.stderr
    (said,) = [record.getMessage() for record in caplog.records if record.name == seclusion.__name__]
    assert "have 2 connections to the gateway" in said


@pytest.fixture
def open_files() -> Iterator[tuple[int, int]]:
    """The limits of open files of this process, which are restored."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield limits
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_daemon_may_open_as_many_files_as_this_machine_allows(open_files: tuple[int, int]) -> None:
    hard = open_files[1]
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, most), hard))
    raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, hard)


def test_a_higher_limit_of_open_files_stays(open_files: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "_MOST_OPEN_FILES", 100)
    raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == open_files
