"""`python -m sandbox.host` as a process: exit codes, signals, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.tests.apps.running import SAMPLE

_ROOT = Path(__file__).resolve().parents[2]
_SLOW = """
import os, pathlib, time
pathlib.Path(os.environ["NOTES"], "loading").write_text(str(os.getpid()))
time.sleep(600)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def launch(app: Path = SAMPLE, *arguments: str) -> subprocess.Popen[str]:
        environment = {"PATH": "/usr/bin:/bin", "JOBS": "jobs", "SWEEP": "0 0 0 1 1 *", "NOTES": str(tmp_path)}
        environment |= {"Store__queueServiceUri": "https://127.0.0.1:9", "IDENTITY_ENDPOINT": "http://127.0.0.1:9"}
        command = [sys.executable, "-m", "sandbox.host", "--app", str(app), "--name", "sample"]
        command += ["--state", str(tmp_path / "state"), *arguments]
        return subprocess.Popen(
            command,
            cwd=_ROOT,
            env=environment | {"IDENTITY_HEADER": "x"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return launch


def slow_app(folder: Path) -> Path:
    app = folder / "app"
    app.mkdir()
    (app / "host.json").write_text('{"version": "2.0"}')
    (app / "function_app.py").write_text(_SLOW)
    return app


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("lifeline", [False, True])
def test_a_host_that_is_told_to_end_leaves_nothing_behind(start: Start, tmp_path: Path, *, lifeline: bool) -> None:
    with start(SAMPLE, *(["--lifeline"] if lifeline else [])) as host:
        until((tmp_path / "state" / "endpoint.json").exists)
        workers = children(host.pid)
        assert workers
        if lifeline:
            assert host.stdin
            host.stdin.close()
        else:
            host.send_signal(signal.SIGTERM)
        assert host.wait(20) == 0
    assert all(is_gone(worker) for worker in workers)
    assert not (tmp_path / "state" / "endpoint.json").exists()


def test_a_host_can_be_ended_while_the_app_still_loads(start: Start, tmp_path: Path) -> None:
    with start(slow_app(tmp_path)) as host:
        until((tmp_path / "loading").exists)
        host.send_signal(signal.SIGTERM)
        assert host.wait(20) == 0
    until(lambda: is_gone(int((tmp_path / "loading").read_text())))


def test_an_app_that_cannot_be_served_ends_the_host_with_the_reason(start: Start, tmp_path: Path) -> None:
    app = slow_app(tmp_path)
    (app / "function_app.py").write_text("import nowhere\n")
    with start(app) as host:
        output, _ = host.communicate(timeout=20)
        assert host.returncode == 1
    assert "The app 'sample' cannot be served." in output
    assert "No module named 'nowhere'" in output
