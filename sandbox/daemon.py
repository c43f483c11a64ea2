"""The daemon started by `python -m sandbox up`: runs one instance until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import msgspec

from sandbox.box import Box
from sandbox.engine import EngineError
from sandbox.instance import Instance, Settings
from sandbox.storage import AzuriteError
from sandbox.upstream import MissingPart

_LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


async def serve(instance: Instance, settings: Settings, tools: Path) -> None:
    """Start an instance, write its files once it is ready, and stop it on SIGTERM or SIGINT.

    `settings.json` (with the port) is written before `daemon.pid`: if the second exists, the first can be read.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    box = Box(instance, settings, tools)
    port = await box.start()
    try:
        started = msgspec.structs.replace(settings, port=port)
        instance.settings_file.write_bytes(msgspec.json.format(msgspec.json.encode(started), indent=2))
        instance.pid_file.write_text(str(os.getpid()))
        await stop.wait()
    finally:
        instance.pid_file.unlink(missing_ok=True)
        await box.stop()


def main(root: Path, settings: Settings, tools: Path) -> None:
    """Run an instance in this process until it is stopped."""
    instance = Instance(root.resolve())
    instance.folder("logs")
    logging.basicConfig(level=logging.INFO, format=_LOG_FORMAT, stream=sys.stderr)
    try:
        asyncio.run(serve(instance, settings, tools.resolve()))
    except (AzuriteError, EngineError, MissingPart) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Settings), Path(sys.argv[3]))
