"""Detects what this machine lets containers do, and verifies it by running one."""

from __future__ import annotations

import resource
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandbox.engine.command import CommandLine
from sandbox.engine.contract import EngineError
from sandbox.programs import find_program

_HYBRID_CONTROLLERS = Path("/sys/fs/cgroup/unified/cgroup.controllers")
_PID_MAX = Path("/proc/sys/kernel/pid_max")
_MOST_OPEN_FILES = 1 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """The runtimes in order of preference, and the limits that can be set on a container."""

    runtimes: tuple[str, ...]
    open_files: int
    processes: int


def inspect_machine() -> Machine:
    """Detect the machine's runtimes and limits.

    crun rejects hosts that mix cgroup v1 and v2 if the v2 part has controllers; runc accepts them. podman requests
    1048576 open files by default, which fails if the hard limit is lower and CAP_SYS_RESOURCE is missing;
    requesting the hard limits always works. podman first lowers its own process limit to pid_max.

    Raises:
        EngineError: if no runtime is installed.
    """
    order = ("runc", "crun") if _read(_HYBRID_CONTROLLERS) else ("crun", "runc")
    runtimes = tuple(name for name in order if find_program(name))
    if not runtimes:
        raise EngineError("Containers need an OCI runtime: install crun or runc.")
    files = _hard_limit(resource.RLIMIT_NOFILE, _MOST_OPEN_FILES)
    processes = _hard_limit(resource.RLIMIT_NPROC, int(_read(_PID_MAX) or 32768))
    return Machine(runtimes, files, processes)


def _hard_limit(kind: int, most: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


async def prove(podman: CommandLine) -> None:
    """Verify the engine with a container that needs no image: /bin/busybox in a temporary folder.

    Without busybox on the machine there is nothing to run, and the first task run is the verification.

    Raises:
        EngineError: with the engine's message, if it cannot run one.
    """
    busybox = find_program("busybox")
    if not busybox:
        return
    with tempfile.TemporaryDirectory(prefix="basegate-probe-") as folder:
        _lay_out(Path(folder), busybox)
        await podman.check(
            ["run", "--rm", "--http-proxy=false", "--network", "none", "--rootfs", folder, "/bin/busybox", "true"]
        )


def _lay_out(root: Path, busybox: str) -> None:
    for name in ("bin", "dev", "proc", "sys", "etc", "run", "tmp"):
        (root / name).mkdir()
    shutil.copy(busybox, root / "bin" / "busybox")
