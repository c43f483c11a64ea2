"""Programs started without a shell, whose output streams and whose end is certain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sandbox.engine.contract import EngineError, Output

T = TypeVar("T")

_LINE_LIMIT_BYTES = 16 * 1024
_READ_BYTES = 64 * 1024
_LONGEST_SECONDS = 300.0
GRACE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program left: exit code and what it wrote."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A program with fixed leading arguments and a complete environment."""

    program: tuple[str, ...]
    environment: Mapping[str, str]

    async def stream(
        self, arguments: Sequence[str], out: Output, *, folder: Path | None = None, grace: float = GRACE_SECONDS
    ) -> int:
        """Run it, hand every line of stdout and stderr to `out`, return the exit code.

        A line over 16 KiB arrives in pieces. When the task is cancelled the program is ended first, with `grace`
        seconds to end by itself.
        """
        process = await asyncio.create_subprocess_exec(
            *self.program, *arguments, env=self.environment, cwd=folder,
            stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            await _lines(process, out)
            return await process.wait()
        finally:
            await end(process, grace)

    async def capture(self, arguments: Sequence[str]) -> Finished:
        """Run it and return all it wrote. When the task is cancelled the program is ended first.

        Raises:
            EngineError: where it did not end within five minutes.
        """
        process = await asyncio.create_subprocess_exec(
            *self.program, *arguments, env=self.environment,
            stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                stdout, stderr = await process.communicate()
        except TimeoutError as error:
            raise EngineError(f"podman {arguments[0]} did not end within {_LONGEST_SECONDS:g} seconds") from error
        finally:
            await end(process)
        assert process.returncode is not None
        return Finished(process.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    async def check(self, arguments: Sequence[str]) -> str:
        """Run it and return what it wrote to stdout.

        Raises:
            EngineError: with the last thing it wrote to stderr, where the exit code is not 0.
        """
        result = await self.capture(arguments)
        if result.exit_code:
            said = result.stderr.strip().removeprefix("Error: ")
            raise EngineError(said or f"{self.program[0]} {arguments[0]} ended with exit code {result.exit_code}")
        return result.stdout


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Do a piece of work to its end also where the task that waits for it is cancelled meanwhile; the cancellation
    comes after.

    For commands that change a container: podman, ended while it mounts or starts something, leaves a container that
    it cannot remove any more ("device or resource busy").
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # its failure goes with whoever wanted to know of it
        raise


async def _lines(process: Process, out: Output) -> None:
    assert process.stdout
    rest = b""
    while data := await process.stdout.read(_READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            await out(line.rstrip(b"\r").decode(errors="replace"))
        while len(rest) > _LINE_LIMIT_BYTES:
            await out(rest[:_LINE_LIMIT_BYTES].decode(errors="replace"))
            rest = rest[_LINE_LIMIT_BYTES:]
    if rest:
        await out(rest.rstrip(b"\r").decode(errors="replace"))


async def end(process: Process, grace: float = GRACE_SECONDS) -> None:
    """Make sure that a process and its session are gone: SIGTERM, and SIGKILL if that was not enough."""
    if process.returncode is not None:
        return
    if grace:
        _signal(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(grace):
            await process.wait()
    except TimeoutError:
        _signal(process.pid, signal.SIGKILL)
        await process.wait()


def _signal(session: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, number)
