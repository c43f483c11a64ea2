"""Runs git as a child process, without the user's configuration."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from sandbox.programs import search_path
from sandbox.rights import Rights

_TIMEOUT_SECONDS = 120


class GitError(Exception):
    """A git command failed; the message is its standard error output."""


def git_environment() -> dict[str, str]:
    """An environment in which git reads only the configuration of the repository."""
    return {
        "PATH": search_path(),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        # The sandbox created these repositories itself; a container or a restored folder may change their owner.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }


async def git(rights: Rights, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run `git -C folder …` with some rights, and return its standard output, without the trailing line break.

    Raises:
        GitError: it exited with a status other than 0, or not within two minutes.
    """
    process = await asyncio.create_subprocess_exec(
        *rights.command("git", "-C", str(folder), *arguments),
        **rights.server(),
        cwd="/",  # this process's may be one that the user cannot enter
        env=git_environment() | dict(environment or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError as error:
        raise GitError(f"git {arguments[0]} took more than {_TIMEOUT_SECONDS} s.") from error
    finally:
        await end(process)
    if process.returncode:
        raise GitError(errors.decode(errors="replace").strip() or f"git {arguments[0]} failed.")
    return output.decode(errors="replace").rstrip("\n")


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill a child process that is still running, and wait until it has exited."""
    if process.returncode is None:
        process.kill()
        await process.wait()
