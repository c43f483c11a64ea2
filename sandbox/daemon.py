"""The daemon started by `python -m sandbox up`: runs one instance until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sandbox import host
from sandbox.box import Box
from sandbox.engine import EngineError
from sandbox.instance import Instance, Settings
from sandbox.private import write_private
from sandbox.rights import Rights, UserError, choose_rights
from sandbox.storage import AzuriteError, azurite_script
from sandbox.upstream import MissingPart

_MOST_OPEN_FILES = 65_536
_LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


async def serve(instance: Instance, settings: Settings, tools: Path, rights: Rights) -> None:
    """Start an instance, write its files once it is ready, and stop it on SIGTERM or SIGINT.

    `settings.json` (with the port) is written before `daemon.pid`: if the second exists, the first can be read.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    box = Box(instance, settings, tools, rights)
    port = await box.start()
    try:
        started = msgspec.structs.replace(settings, port=port)
        content = msgspec.json.format(msgspec.json.encode(started), indent=2)
        write_private(instance.settings_file, content, durable=True)
        instance.pid_file.write_text(str(os.getpid()))
        await stop.wait()
    finally:
        instance.pid_file.unlink(missing_ok=True)
        await box.stop()


def main(root: Path, settings: Settings, tools: Path) -> None:
    """Run an instance in this process until it is stopped."""
    raise_file_limit()
    instance = Instance(root.resolve())
    instance.folder("logs")
    logging.basicConfig(level=logging.INFO, format=_LOG_FORMAT, stream=sys.stderr)
    try:
        rights = choose_rights(settings.user, instance.key, _needed(instance, tools))
        rights.open_to_all(instance.root)
        asyncio.run(serve(instance, settings, tools.resolve(), rights))
    except (AzuriteError, EngineError, MissingPart, UserError) as error:
        sys.exit(str(error))


def raise_file_limit() -> None:
    """Let this process, and those that it starts, open as many files as it may, up to 65,536.

    The usual limit is 1024, for programs that call select(2). Every connection is a file, and a build may have 128.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _needed(instance: Instance, tools: Path) -> Sequence[tuple[str, Path]]:
    """What the processes that need no root must reach, each with an operator of test(1)."""
    read = (Path(host.__file__), Path(msgspec.__file__), azurite_script(tools))
    return [("-x", Path(sys.executable)), ("-x", instance.root.parent), *(("-r", file) for file in read)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Settings), Path(sys.argv[3]))
