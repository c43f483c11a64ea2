"""Azurite by itself, without the sandbox around it: what is measured is not the gateway."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from azure.core.credentials import AzureNamedKeyCredential

from sandbox.programs import find_program

_READY_SECONDS = 30.0
_TABLE_SERVER = "azurite/node_modules/azurite/dist/src/table/main.js"
_ROOT = Path(__file__).resolve().parent.parent
_TOOLS = _ROOT / ".tools"
_LIFELINE = _ROOT / "sandbox" / "storage" / "lifeline.js"
"""Ends it when this process ends, in whatever way."""


@contextlib.contextmanager
def table_accounts(*names: str) -> Iterator[dict[str, tuple[str, AzureNamedKeyCredential]]]:
    """Azurite's table service with some accounts: where each is, and its key.

    In memory, as it would write whole tables to disk every few seconds otherwise.
    """
    script = _TOOLS / _TABLE_SERVER
    if not script.exists():
        sys.exit("Azurite is not installed: make setup")
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    switches = ("--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence")
    command = (
        find_program("node") or "node",
        "--require",
        str(_LIFELINE),
        str(script),
        *switches,
        "--tablePort",
        str(port),
    )
    environment = os.environ | {"AZURITE_ACCOUNTS": ";".join(f"{name}:{key}" for name in names)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as server:
        try:
            _await_ready(port)
            yield {name: _account(port, name, key) for name in names}
        finally:
            server.terminate()


def _account(port: int, name: str, key: str) -> tuple[str, AzureNamedKeyCredential]:
    return f"http://127.0.0.1:{port}/{name}", AzureNamedKeyCredential(name, key)


def _await_ready(port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    sys.exit(f"Azurite does not answer within {_READY_SECONDS:.0f} s")
