"""Worker processes: each imports the app and runs invocations for the host."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.host.errors import Misconfigured
from sandbox.host.messages import Broken, Done, Failed, IndexedFunction, Invoke, Loaded, Log, decoder, encode
from sandbox.host.wire import frame, read_frame

_START = Path(__file__).parent / "worker" / "start.py"
_LOAD_SECONDS = 120
_CHUNK_BYTES = 64 * 1024

WORKER_LOST = "The worker process ended while the invocation was running."


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a worker."""

    python: str
    app: Path
    environment: Mapping[str, str]
    on_log: Callable[[Log], None]
    on_output: Callable[[str], None]


class Worker:
    """One child process. If it ends, its invocations return `Failed`; nothing waits forever."""

    def __init__(self, process: asyncio.subprocess.Process, launch: Launch) -> None:
        self._process, self._launch = process, launch
        self._writer: asyncio.StreamWriter | None = None
        self._running: dict[str, asyncio.Future[Done | Failed]] = {}
        self._index: asyncio.Future[list[IndexedFunction]] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self.alive = True
        """Whether it can be given invocations; False as soon as its end is detected."""

    @classmethod
    async def start(cls, launch: Launch) -> Worker:
        """Start a process and wait until it has loaded the app.

        Raises:
            Misconfigured: the app does not load, or the process ends while loading it.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await _spawn(launch, theirs.fileno())
            except OSError as error:
                ours.close()
                raise Misconfigured(f"The worker '{launch.python}' cannot be started: {error}") from error
        worker = cls(process, launch)
        try:
            await worker._open(ours)
        except BaseException:
            await worker.kill()
            raise
        return worker

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def busy(self) -> int:
        """The number of invocations it is running."""
        return len(self._running)

    @property
    def functions(self) -> list[IndexedFunction]:
        """The functions it found in the app."""
        return self._index.result()

    async def invoke(self, message: Invoke) -> Done | Failed:
        """Run a function and wait for its result."""
        future: asyncio.Future[Done | Failed] = asyncio.get_running_loop().create_future()
        self._running[message.id] = future
        assert self._writer
        try:
            self._writer.write(frame(encode(message)))
            await self._writer.drain()
        except ConnectionError:
            self._lose(message.id)
        try:
            return await future
        finally:
            self._running.pop(message.id, None)

    async def ended(self) -> int:
        """Wait until the process has ended and its output is read; returns the exit code, negative for a signal."""
        code = await self._process.wait()
        await asyncio.gather(*self._tasks)
        return code

    async def kill(self) -> None:
        """Kill the process, and the processes it started."""
        self._kill_group()
        await self.ended()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _open(self, ours: socket.socket) -> None:
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._tasks = [asyncio.create_task(self._listen(reader)), asyncio.create_task(self._relay_output())]
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                await self._index
        except TimeoutError:
            raise Misconfigured(f"The app did not load within {_LOAD_SECONDS} s.") from None

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while (data := await read_frame(reader)) is not None:
            message = decoder.decode(data)
            if isinstance(message, Log):
                self._launch.on_log(message)
            elif isinstance(message, Done | Failed):
                if (future := self._running.get(message.id)) and not future.done():
                    future.set_result(message)
            else:
                self._settle_index(message)
        self.alive = False
        self._kill_group()  # processes of the app would otherwise continue, and keep the output open
        assert self._writer
        self._writer.close()
        code = await self._process.wait()
        for invocation in list(self._running):
            self._lose(invocation)
        self._settle_index(Broken(f"The worker process ended with exit code {code} while loading the app."))

    def _settle_index(self, message: Loaded | Broken) -> None:
        if self._index.done():
            return
        if isinstance(message, Loaded):
            self._index.set_result(message.functions)
        else:
            self._index.set_exception(Misconfigured(f"The app cannot be loaded.\n{message.error}"))

    def _lose(self, invocation: str) -> None:
        future = self._running.get(invocation)
        if future and not future.done():
            future.set_result(Failed(invocation, WORKER_LOST, ""))

    async def _relay_output(self) -> None:
        assert self._process.stdout
        rest = b""
        while chunk := await self._process.stdout.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._launch.on_output(line.decode(errors="replace"))
        if rest:
            self._launch.on_output(rest.decode(errors="replace"))


async def _spawn(launch: Launch, descriptor: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        launch.python,
        str(_START),
        str(descriptor),
        str(launch.app),
        cwd=launch.app,
        env={**launch.environment, "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        pass_fds=(descriptor,),
        start_new_session=True,  # so that processes that the app starts are killed with it
    )
