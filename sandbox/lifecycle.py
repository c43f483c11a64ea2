"""Starts, stops and queries an instance from another process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar

import msgspec

from sandbox.control import ControlConnection, Health, Listed
from sandbox.engine import EngineError, Podman
from sandbox.entra import Issuer
from sandbox.instance import Instance, Settings, read_settings

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent


def _tools() -> Path:
    if Path(__file__).with_name("pyproject.toml").exists():  # not part of an installed package
        return ROOT / ".tools"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "basegate-sandbox"


TOOLS = _tools()
"""The folder of downloads (Azurite, Node 15): in a repository its `.tools`, else a folder of the user's cache."""

_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
"""The daemons that this process started, by process id: a child stays a zombie until its parent waits for it."""

_DAEMON = "sandbox.daemon"
"""The module that the daemon's process runs; its next argument is the folder of the instance."""

_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_ANSWER_SECONDS = 10.0
_LOG_TAIL_LINES = 15


class SandboxError(Exception):
    """A sandbox does not start, stop or run, or refuses an operation; the text gives the remedy."""


def running_pid(instance: Instance) -> int | None:
    """The daemon's process id, or None if none runs.

    A pid file left by a killed daemon is ignored: its number may be that of another process, also of the daemon of
    another instance.
    """
    try:
        pid = int(instance.pid_file.read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid if _own(instance) in itertools.pairwise(arguments) else None


def _starting_pid(instance: Instance) -> int | None:
    """The process id of a daemon that has not written its file yet."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if _own(instance) in itertools.pairwise(file.read_bytes().split(b"\0")):
                return int(file.parent.name)
    return None


def _own(instance: Instance) -> tuple[bytes, bytes]:
    """Two arguments that only the daemon of this instance has, one after the other."""
    return _DAEMON.encode(), os.fsencode(instance.root.resolve())


def start(instance: Instance, settings: Settings) -> None:
    """Start an instance in the background and return when everything is ready.

    Raises:
        SandboxError: it runs already, its folder is not its own, its port is in use, or it exited while starting;
            includes the end of its log.
    """
    if running_pid(instance):
        raise SandboxError(f"the sandbox in {instance.root} runs already: stop it, or use another --state")
    _check_port(settings.port)
    try:
        instance.create()
    except OSError as error:
        raise SandboxError(f"{error}: use another --state") from error
    instance.pid_file.unlink(missing_ok=True)
    log = instance.folder("logs") / "sandbox.log"
    command = [sys.executable, "-m", _DAEMON, str(instance.root.resolve()), _encoded(settings), str(TOOLS)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    _CHILDREN[process.pid] = process
    deadline = time.monotonic() + _START_SECONDS
    while running_pid(instance) is None:  # an existing file may still be empty
        if not _is_alive(process.pid):
            raise SandboxError(f"the sandbox did not start. The end of {log}:\n{_tail(instance)}")
        if time.monotonic() > deadline:
            process.terminate()
            raise SandboxError(
                f"the sandbox was not ready within {_START_SECONDS:.0f} s. {log} ends:\n{_tail(instance)}"
            )
        time.sleep(0.02)


def stop(instance: Instance) -> bool:
    """Stop an instance and wait until it has exited; False if none was running.

    What a killed one left is removed: its containers keep running, and whoever deletes the folder would delete what is
    mounted in it.

    Raises:
        SandboxError: it does not exit, what it left cannot be removed, or it belongs to another user.
    """
    pid = running_pid(instance) or _starting_pid(instance)
    try:
        if pid is not None:
            _end(pid)
        engine = Podman(instance.root / "engine", instance.key, {})
        needs_recovery = engine.needs_recovery
    except PermissionError as error:
        raise SandboxError(_not_ours(instance)) from error
    if needs_recovery:
        try:
            asyncio.run(engine.recover())
        except (EngineError, OSError) as error:
            raise SandboxError(f"what a killed sandbox left in {instance.root} cannot be removed: {error}") from error
    return pid is not None


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _is_alive(pid):
        if time.monotonic() > deadline:
            raise SandboxError(f"the sandbox (pid {pid}) did not exit within {_STOP_SECONDS:.0f} s")
        time.sleep(0.02)


def client_environment(instance: Instance) -> dict[str, str]:
    """The environment variables with which a process reaches a running instance.

    Raises:
        SandboxError: it does not run.
    """
    if running_pid(instance) is None:
        command = f"python -m sandbox --state {instance.root} up"
        raise SandboxError(f"no sandbox runs in {instance.root}: start one with `{command}`")
    port = read_settings(instance).port
    return instance.client_environment(port, Issuer(instance.folder("secrets")).identity_header)


def resources(instance: Instance) -> Sequence[Listed]:
    """The resources of a running instance. Raises like `control`."""
    return control(instance, "GET", "/resources", answer=list[Listed])


def health(instance: Instance) -> Health:
    """What a running instance says about itself. Raises like `control`."""
    return control(instance, "GET", "/health", answer=Health)


def control(
    instance: Instance,
    method: str,
    path: str,
    body: object = None,
    *,
    answer: type[T],
    seconds: float = _ANSWER_SECONDS,
) -> T:
    """Call one of the sandbox's own operations on a running instance (COVERAGE.md, "Sandbox").

    Args:
        body: sent as JSON; None for no body.
        answer: the type of the response.
        seconds: the timeout.

    Raises:
        SandboxError: it does not respond, or refuses; includes the reason.
    """
    connection = ControlConnection(instance.control_socket, seconds)
    try:
        connection.request(method, path, None if body is None else msgspec.json.encode(body))
        response = connection.getresponse()
        raw = response.read()
        if response.status >= 300:
            raise SandboxError(f"the sandbox refuses {method} {path}: {raw.decode(errors='replace')}")
        return msgspec.json.decode(raw, type=answer)
    except PermissionError as error:
        raise SandboxError(_not_ours(instance)) from error
    except (OSError, HTTPException, msgspec.DecodeError) as error:
        raise SandboxError(f"the sandbox in {instance.root} runs but does not respond: {error}") from error
    finally:
        connection.close()


def log_names(instance: Instance) -> Sequence[str]:
    """The logs that an instance has written, by the names that `log_end` accepts."""
    return sorted(file.stem for file in (instance.root / "logs").glob("*.log"))


def log_end(instance: Instance, name: str, lines: int) -> str:
    """The last lines of a log.

    Raises:
        SandboxError: there is no log of that name; the text lists the existing ones.
    """
    known = log_names(instance)
    if name not in known:
        raise SandboxError(f"there is no log '{name}' in {instance.root}/logs; existing: {', '.join(known) or 'none'}")
    text = (instance.root / "logs" / f"{name}.log").read_text(errors="replace")
    return "\n".join(text.splitlines()[-lines:] if lines > 0 else [])


def _not_ours(instance: Instance) -> str:
    return f"the sandbox in {instance.root} belongs to another user: act as that one"


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as in the gateway
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            problem = f"port {port} is not available ({error.strerror}): use another with --port, or any with --port 0"
            raise SandboxError(problem) from error


def _is_alive(pid: int) -> bool:
    child = _CHILDREN.get(pid)
    if child and child.poll() is not None:
        del _CHILDREN[pid]
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _encoded(settings: Settings) -> str:
    return msgspec.json.encode(settings).decode()


def _tail(instance: Instance) -> str:
    return textwrap.indent(log_end(instance, "sandbox", _LOG_TAIL_LINES), "  ")
