"""The sandbox's own operations, and the socket that takes them.

They start processes and read folders with the rights of the sandbox, which is root. The socket is a file in the state
folder that only its owner reaches: no other user of the machine, no container, no page in a browser.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.surface import ResourceId, ResourceIndex
from sandbox.git import GitHub
from sandbox.web import Call, Fault, Surface, json_answer


class RepositoryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PUT /git/{owner}/{name}`: the folder with the files of the first commit."""

    source: str


class Health(msgspec.Struct, frozen=True):
    """The answer of `GET /health`: `warnings` are sentences about what this machine does not allow, `rights` one about
    who runs what.
    """

    warnings: Sequence[str] = ()
    rights: str = ""
    status: str = "ready"


class Listed(msgspec.Struct, frozen=True):
    """One resource as listed by `GET /resources`; the address is "" if it has none."""

    type: str
    group: str
    name: str
    address: str


def control_surface() -> Surface:
    """The surface of the operations; services add theirs. It has no host name: the gateway does not serve it."""
    return Surface("Sandbox", "")


class ControlServer:
    """Serves the operations on a socket that only the owner of the state folder can connect to."""

    def __init__(self, surface: Surface, file: Path) -> None:
        self._surface, self._file = surface, file
        self._server: web.Server | None = None
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. A socket file that a killed process left is replaced."""
        self._file.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        with _socket_address(self._file) as address:
            listener.bind(address)
        self._file.chmod(0o600)  # before it listens: until then every connection is refused
        listener.listen()
        self._server = web.Server(self._handle, access_log=None)
        self._listener = await asyncio.get_running_loop().create_unix_server(self._server, sock=listener)

    async def stop(self) -> None:
        """Close the socket and every connection."""
        if self._listener and self._server:
            self._listener.close()
            await self._server.shutdown(0)
            self._file.unlink(missing_ok=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._surface.handle(request, "sandbox")


class ControlConnection(HTTPConnection):
    """A client's connection to the socket of a running sandbox."""

    def __init__(self, file: Path, seconds: float) -> None:
        super().__init__("sandbox", timeout=seconds)
        self._file, self._seconds = file, seconds

    def connect(self) -> None:
        """Connect.

        Raises:
            OSError: no sandbox listens, or its folder belongs to another user.
        """
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._seconds)
        with _socket_address(self._file) as address:
            self.sock.connect(address)


@contextmanager
def _socket_address(file: Path) -> Iterator[str]:
    """A short path to a socket file: an address has at most 107 bytes, and a state folder may be deep."""
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{file.name}"
    finally:
        os.close(folder)


def mount_control(
    control: Surface, github: GitHub, index: ResourceIndex, health_of: Callable[[], Health] = Health
) -> None:
    """Add the operations outside any service: health, the list of resources, repositories from a folder."""

    @control.operation("GET", "/health")
    async def health(call: Call) -> web.StreamResponse:
        """Readiness: responds only when everything is started, with warnings about what does not hold here."""
        return json_answer(health_of())

    @control.operation("GET", "/resources")
    async def list_resources(call: Call) -> web.StreamResponse:
        """All resources, with their addresses."""
        return json_answer([_listed(body) for body in index.list()])

    @control.operation("PUT", "/git/{owner}/{name}")
    async def create_repository(call: Call) -> web.StreamResponse:
        """Create a Git repository with a folder's files as its first commit; an existing one is not changed."""
        source = _folder((await call.body(RepositoryBody)).source)
        repository = f"{call.params['owner']}/{call.params['name']}"
        if github.exists(repository):
            return json_answer({"url": f"https://github.com/{repository}.git"})
        await github.create(repository, source)
        return json_answer({"url": f"https://github.com/{repository}.git"}, 201)


def _listed(body: Mapping[str, Any]) -> Listed:
    found = ResourceId.parse(body["id"])
    return Listed(found.type, found.group, found.name, _address(body.get("properties", {})))


def _address(properties: Mapping[str, Any]) -> str:
    """The address of a resource: each type has its own property for it."""
    if host := properties.get("defaultHostName"):
        return f"https://{host}"
    ip = (properties.get("ipAddress") or {}).get("ip")
    return str(properties.get("loginServer") or properties.get("vaultUri") or properties.get("endpoint") or ip or "")


def _folder(path: str) -> Path:
    folder = Path(path)
    if not folder.is_absolute() or not folder.is_dir():
        raise Fault(400, "InvalidSource", f"'{path}' is no absolute path of a folder.")
    return folder
