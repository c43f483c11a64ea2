"""A stand-in for blob storage that keeps append blobs in memory, for the tests of ACR Tasks."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from sandbox.web import Call, Fault, Surface

HOST = "teststore.blob.core.windows.net"


@dataclass
class Blob:
    kind: str
    data: bytes = b""
    metadata: dict[str, str] = field(default_factory=dict)


class MemoryStorage:
    """Signs by writing the permissions into the URL, and checks nothing but that they are there."""

    def __init__(self) -> None:
        self.containers: set[str] = set()
        self.blobs: dict[str, Blob] = {}

    async def create_container(self, name: str) -> None:
        self.containers.add(name)

    def sas_url(self, container: str, blob: str, *, permissions: str, minutes: int) -> str:
        return f"https://{HOST}/{container}/{blob}?sp={permissions}&sig=test"

    def metadata(self, name: str) -> dict[str, str]:
        return self.blobs[name].metadata

    def surface(self) -> Surface:
        surface = Surface("Test storage", HOST.replace(".", r"\."))
        surface.operation("PUT", "/{container}/{blob:rest}")(self._put)
        surface.operation("GET", "/{container}/{blob:rest}")(self._get)
        return surface

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create a blob, append to it, or set its metadata."""
        self._allowed(call, "caw")
        name, what, headers = call.params["blob"], call.query.get("comp"), call.request.headers
        data = await call.request.read()
        if what == "appendblock":
            self.blobs[name].data += data
        elif what == "metadata":
            self.blobs[name].metadata = {"Complete": headers["x-ms-meta-Complete"]}
        else:
            self.blobs[name] = Blob(headers["x-ms-blob-type"], data)
        return web.Response(status=201)

    async def _get(self, call: Call) -> web.StreamResponse:
        """Read a blob."""
        self._allowed(call, "r")
        blob = self.blobs.get(call.params["blob"])
        if blob is None:
            raise Fault(404, "BlobNotFound", "The specified blob does not exist.")
        return web.Response(body=blob.data)

    def _allowed(self, call: Call, permissions: str) -> None:
        if call.params["container"] not in self.containers:
            raise Fault(404, "ContainerNotFound", "The specified container does not exist.")
        if not set(permissions) & set(call.query.get("sp", "")):
            raise Fault(403, "AuthorizationPermissionMismatch", "The signature does not grant this.")
