"""Azurite's table service alone, without the sandbox."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator

from azure.core.credentials import AzureNamedKeyCredential

from sandbox.lifecycle import TOOLS, SandboxError
from sandbox.programs import find_program
from sandbox.storage import LIFELINE, azurite_script

_READY_SECONDS = 30.0


@contextlib.contextmanager
def table_accounts(*names: str) -> Iterator[dict[str, tuple[str, AzureNamedKeyCredential]]]:
    """Run Azurite's table service with some accounts: the endpoint of each, and its key.

    It runs in memory; otherwise it would write whole tables to disk every few seconds.

    Raises:
        SandboxError: Azurite is not installed, or does not respond.
    """
    script = azurite_script(TOOLS).parent / "table" / "main.js"
    if not script.exists():
        raise SandboxError("Azurite is not installed: `python -m sandbox needs` installs it")
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    switches = ("--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence")
    program = (find_program("node") or "node", "--require", str(LIFELINE), str(script))
    environment = os.environ | {"AZURITE_ACCOUNTS": ";".join(f"{name}:{key}" for name in names)}
    with subprocess.Popen(
        [*program, *switches, "--tablePort", str(port)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as server:
        try:
            _await_ready(port)
            yield {name: (f"http://127.0.0.1:{port}/{name}", AzureNamedKeyCredential(name, key)) for name in names}
        finally:
            server.terminate()


def _await_ready(port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise SandboxError(f"Azurite does not respond within {_READY_SECONDS:.0f} s")
