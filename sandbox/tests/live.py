"""What every sandbox test stands on: a gateway in a thread of its own, and the environment to reach it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from sandbox.arm.operations import Operations
from sandbox.arm.surface import ResourceIndex, arm_surface
from sandbox.authority import Authority
from sandbox.control import ControlConnection, ControlServer, control_surface
from sandbox.entra import Issuer
from sandbox.gateway import Gateway
from sandbox.identity import local_surface, login_surface, mount_identity
from sandbox.instance import Instance

T = TypeVar("T")


class LiveGateway:
    """A running gateway with identity and an ARM surface; a test mounts the service it is about and drives it
    through the real SDKs with `environment` set."""

    def __init__(self, root: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.instance = Instance(root)
        self.issuer = Issuer(self.instance.folder("secrets"))
        self.local = local_surface()
        mount_identity(self.local, self.issuer)
        self.control = control_surface()
        self.arm = arm_surface(self.issuer)
        self.index = ResourceIndex()
        self.operations = Operations(self.arm)
        authority = Authority(self.instance.folder("ca"))
        self.gateway = Gateway(authority, [self.local, self.arm, login_surface(self.issuer)])
        self.port = self.run(self.gateway.start())
        self._control_server = ControlServer(self.control, self.instance.control_socket)
        self.run(self._control_server.start())
        self.environment = self.instance.client_environment(self.port, self.issuer.identity_header)

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 60) -> T:
        """Run a coroutine on the gateway's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Call one of the sandbox's own operations: the status, and the JSON of the response (None without a body)."""
        connection = ControlConnection(self.instance.control_socket, 60.0)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        finally:
            connection.close()

    def close(self) -> None:
        """Stop everything that was started."""
        self.run(self._control_server.stop())
        self.run(self.operations.stop())
        self.run(self.gateway.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()
