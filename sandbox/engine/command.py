"""Runs programs without a shell, streams their output, and makes sure that they end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
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
    """The result of a program: its exit code and output."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A program with fixed leading arguments and a complete environment."""

    program: tuple[str, ...]
    environment: Mapping[str, str]

    def with_variables(self, variables: Mapping[str, str]) -> CommandLine:
        """The command line with further variables in its environment."""
        return replace(self, environment={**self.environment, **variables})

    async def stream(
        self, arguments: Sequence[str], out: Output, *, folder: Path | None = None, grace: float = GRACE_SECONDS
    ) -> int:
        """Run the program, pass every line of stdout and stderr to `out`, and return the exit code.

        A line over 16 KiB arrives in pieces. If the task is cancelled, the program is ended first, with `grace`
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
        """Run the program and return its result. If the task is cancelled, the program is ended first.

        Raises:
            EngineError: if it does not end within five minutes.
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
        """Run the program and return its stdout.

        Raises:
            EngineError: with its stderr, if the exit code is not 0.
        """
        result = await self.capture(arguments)
        if result.exit_code:
            message = result.stderr.strip().removeprefix("Error: ")
            raise EngineError(message or f"{self.program[0]} {arguments[0]} ended with exit code {result.exit_code}")
        return result.stdout


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Complete `work` even if the task that waits for it is cancelled meanwhile; the cancellation is raised
    afterwards.

    For commands that change a container: if podman is ended while it mounts or starts something, it leaves a container
    that it can no longer remove ("device or resource busy").
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # its error is discarded, because the caller was cancelled
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
    """Make sure that a process and its session have ended: SIGTERM, then SIGKILL if necessary."""
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
