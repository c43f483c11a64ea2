"""`python -m sandbox.host`: serve a Functions app until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from sandbox.host.console import Console, ConsoleHandler
from sandbox.host.errors import Misconfigured
from sandbox.host.functions_host import FunctionsHost, Options
from sandbox.host.queues.service import StorageQueues
from sandbox.host.queues.trigger import LEASE_SECONDS
from sandbox.host.settings import AppSettings


def main() -> int:
    """Serve the app; the exit code is 1 if it cannot be served."""
    arguments = _parser().parse_args()
    console = Console()
    logging.basicConfig(level=logging.WARNING, handlers=[ConsoleHandler(console)])
    logging.getLogger("azure.identity").setLevel(logging.ERROR)  # its warnings are repeated in the exception
    options = Options(
        app=arguments.app,
        name=arguments.name,
        state=arguments.state,
        python=arguments.python,
        port=arguments.port,
        workers=arguments.workers,
        lease_seconds=arguments.lease,
    )
    try:
        settings = AppSettings.load(os.environ, arguments.settings)
        os.environ.update(settings.environment)  # the host's own credential uses the app's settings
        asyncio.run(_serve(options, settings, console, stdin_is_lifeline=arguments.lifeline))
    except Misconfigured as error:
        print(f"The app '{options.name}' cannot be served. {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(options: Options, settings: AppSettings, console: Console, *, stdin_is_lifeline: bool) -> None:
    stopping = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
    host = FunctionsHost(options, settings, StorageQueues(settings), console)
    lifeline = asyncio.create_task(_end_with_stdin(stopping)) if stdin_is_lifeline else None
    starting, ending = asyncio.create_task(host.start()), asyncio.create_task(stopping.wait())
    await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        await ending
        await host.stop()
    else:
        starting.cancel()
        await asyncio.wait((starting,))
    if lifeline:
        lifeline.cancel()


async def _end_with_stdin(stopping: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()
    transport.close()
    stopping.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.host", description=__doc__)
    parser.add_argument("--app", type=Path, required=True, help="the app's folder, with function_app.py and host.json")
    parser.add_argument("--name", required=True, help="the app's name")
    parser.add_argument("--state", type=Path, required=True, help="a folder for keys and timer schedules")
    parser.add_argument("--port", type=int, default=0, help="a loopback port (default: any free port)")
    parser.add_argument("--workers", type=int, help="worker processes (default: FUNCTIONS_WORKER_PROCESS_COUNT or 1)")
    parser.add_argument("--lease", type=float, default=LEASE_SECONDS, help="queue message lease in seconds")
    parser.add_argument("--python", default=sys.executable, help="the Python interpreter with the app's packages")
    parser.add_argument("--settings", type=Path, help="a file in the format of local.settings.json")
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input is closed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
