"""Processes that outlived the engine command that started them.

An interrupted build leaves its RUN command running, outside every session and name known here. But its root file
system is in the store, which identifies it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

_MOUNT_POINT = 4  # the field of /proc/<pid>/mountinfo


def end_strays(graph: Path) -> None:
    """Kill every process whose root file system is in the store `graph`."""
    for folder in Path("/proc").glob("[0-9]*"):
        if _lives_in(folder / "mountinfo", f"{graph.resolve()}/"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(folder.name), signal.SIGKILL)


def end_monitors(graph: Path) -> None:
    """Kill every container monitor (conmon) of the store `graph`: when its container ends, it would start a podman that
    has paths of the store that no longer exist."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if arguments[0].endswith(b"conmon") and os.fsencode(graph.resolve()) in arguments:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.parent.name), signal.SIGKILL)


def _lives_in(mounts: Path, graph: str) -> bool:
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return False
    return any(graph in line and line.split(" ")[_MOUNT_POINT] == "/" for line in lines)
