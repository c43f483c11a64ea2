"""Starting and stopping an instance from outside, and asking about it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from sandbox.entra import Issuer
from sandbox.instance import Instance, Settings, read_settings

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"

_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_LOG_TAIL_LINES = 15


class LifecycleError(Exception):
    """An instance does not start, does not stop, or is not there; says what to do."""


def running_pid(instance: Instance) -> int | None:
    """The daemon's process id, or None where none runs. A stale pid file is taken away."""
    try:
        pid = int(instance.pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes() if Path("/proc").is_dir() else b"sandbox.daemon"
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid if b"sandbox.daemon" in command else None


def start(instance: Instance, settings: Settings) -> None:
    """Start an instance in the background and return when everything is ready.

    Raises:
        LifecycleError: it runs already, or ended while starting; shows the end of its log.
    """
    if running_pid(instance):
        raise LifecycleError(f"the sandbox in {instance.root} runs already: stop it, or take another --state")
    instance.pid_file.unlink(missing_ok=True)
    log = instance.folder("logs") / "sandbox.log"
    command = [sys.executable, "-m", "sandbox.daemon", str(instance.root), _encoded(settings), str(TOOLS)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + _START_SECONDS
    while not instance.pid_file.exists():
        if process.poll() is not None:
            raise LifecycleError(f"the sandbox did not start. The end of {log}:\n{_tail(log)}")
        if time.monotonic() > deadline:
            process.terminate()
            raise LifecycleError(f"the sandbox was not ready within {_START_SECONDS:.0f} s. {log} ends:\n{_tail(log)}")
        time.sleep(0.02)


def stop(instance: Instance) -> bool:
    """Stop an instance and wait until it is gone; False where none was running.

    Raises:
        LifecycleError: it does not end.
    """
    pid = running_pid(instance)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _is_alive(pid):
        if time.monotonic() > deadline:
            raise LifecycleError(f"the sandbox (pid {pid}) did not end within {_STOP_SECONDS:.0f} s")
        time.sleep(0.02)
    return True


def client_environment(instance: Instance) -> dict[str, str]:
    """What a process needs to reach a running instance.

    Raises:
        LifecycleError: it does not run.
    """
    if running_pid(instance) is None:
        raise LifecycleError(f"no sandbox runs in {instance.root}: start one with `python -m sandbox up`")
    port = read_settings(instance).port
    return instance.client_environment(port, Issuer(instance.folder("secrets")).identity_header)


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)  # a child of ours is reaped here, or it would stay a zombie
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _encoded(settings: Settings) -> str:
    return msgspec.json.encode(settings).decode()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return "\n".join(f"  {line}" for line in lines)
