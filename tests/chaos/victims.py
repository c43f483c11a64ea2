"""The processes of a running sandbox that are killed, found by who started them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import NamedTuple

from sandbox.instance import Instance
from sandbox.lifecycle import running_pid


class Kind(StrEnum):
    """What can be killed. Containers are not: they are the examined image's own, and a test that is killed fails."""

    WORKER = "app's worker"
    HOST = "Functions host"
    AZURITE = "Azurite"
    REGISTRY = "registry"
    SANDBOX = "sandbox itself"


_WEIGHTS = {Kind.WORKER: 8, Kind.AZURITE: 5, Kind.REGISTRY: 4, Kind.HOST: 2, Kind.SANDBOX: 1}


class Process(NamedTuple):
    """A process: its id, its parent's, and its command line."""

    pid: int
    parent: int
    command: str


def drawn(kills: int, draw: Random) -> list[Kind]:
    """Which kinds are killed, in order: each at least once, where the kills are enough for that."""
    kinds = draw.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()), k=max(0, kills - len(Kind)))
    kinds = [*Kind, *kinds][:kills]
    draw.shuffle(kinds)
    return kinds


def pids(instance: Instance, kind: Kind) -> list[int]:
    """The processes of a kind that run now, in a fixed order."""
    daemon = running_pid(instance)
    if daemon is None:
        return []
    if kind is Kind.SANDBOX:
        return [daemon]
    there = list(_processes())
    children = [process for process in there if process.parent == daemon]
    hosts = _with(children, "sandbox.host")
    if kind is Kind.WORKER:
        return _with([process for process in there if process.parent in hosts], "worker/start.py")
    return hosts if kind is Kind.HOST else _with(children, "azurite.js" if kind is Kind.AZURITE else "docker-registry")


def kill(pid: int) -> bool:
    """SIGKILL; False where the process was gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _with(processes: list[Process], part: str) -> list[int]:
    return sorted(process.pid for process in processes if part in process.command)


def _processes() -> Iterator[Process]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
        if command:  # a zombie has none
            yield Process(int(folder.name), parent, command)
