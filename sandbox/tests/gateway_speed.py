"""Table writes through the gateway, with and without its prompt acknowledgement of TCP segments.

`python -m sandbox.tests.gateway_speed prompt|patient` has a gateway in one thread, Azurite behind it and the Azure SDK
in front. It prints the milliseconds of one insert; nothing where Azurite is not installed or the system has no such
switch.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from sandbox import gateway as gateway_module
from sandbox.authority import Authority
from sandbox.entra import Issuer
from sandbox.gateway import Gateway
from sandbox.identity import local_surface, mount_identity
from sandbox.instance import Instance, Settings
from sandbox.lifecycle import TOOLS
from sandbox.storage import Storage, azurite_script

_INSERTS = 200


def main(way: str) -> None:
    """Measure once, in this process."""
    if not azurite_script(TOOLS).exists() or gateway_module._QUICKACK is None:
        return
    if way == "patient":
        gateway_module._QUICKACK = None
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="basegate-bench-") as folder:
        instance, settings = Instance(Path(folder)), Settings()
        issuer, local = Issuer(instance.folder("secrets")), local_surface()
        mount_identity(local, issuer)
        storage = Storage(instance, settings, issuer, TOOLS)
        gateway = Gateway(Authority(instance.folder("ca")), [local, storage.surface()])
        try:
            asyncio.run_coroutine_threadsafe(storage.start(), loop).result()
            port = asyncio.run_coroutine_threadsafe(gateway.start(), loop).result()
            os.environ.update(instance.client_environment(port, issuer.identity_header))
            print(1000 / _INSERTS * _insert_all(f"https://{settings.storage_account}.table.core.windows.net"))
        finally:
            asyncio.run_coroutine_threadsafe(storage.stop(), loop).result()
            asyncio.run_coroutine_threadsafe(gateway.stop(), loop).result()


def _insert_all(endpoint: str) -> float:
    from azure.data.tables import TableServiceClient
    from azure.identity import ManagedIdentityCredential

    with TableServiceClient(endpoint=endpoint, credential=ManagedIdentityCredential()) as service:
        table = service.create_table_if_not_exists("bench")
        began = time.perf_counter()
        for number in range(_INSERTS):
            table.create_entity({"PartitionKey": "bench", "RowKey": f"{number:05}", "body": "x" * 700})
        return time.perf_counter() - began


if __name__ == "__main__":
    main(sys.argv[1])
