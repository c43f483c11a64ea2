"""A short run: five kills, one of each kind of process. `make chaos` makes 200."""

from __future__ import annotations

import subprocess
import sys

import pytest

from demo import scenario
from sandbox.testing import unavailable

_SECONDS = 560


@pytest.mark.e2e
@pytest.mark.containers
@pytest.mark.timeout(_SECONDS + 30)
def test_what_stays_gets_its_verdict_and_nothing_waits_though_every_process_is_killed() -> None:
    if reason := unavailable():
        pytest.skip(reason)
    command = [sys.executable, "-m", "tests.chaos", "--kills", "5", "--seed", "2", "--pause", "1.5"]
    done = subprocess.run(
        command, cwd=scenario.ROOT, capture_output=True, text=True, timeout=_SECONDS, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("seed 2, in "), done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("5 kills (") and last.endswith(", 0 violations"), done.stdout
    for kind in ("worker", "Functions host", "Azurite", "registry", "sandbox itself"):
        assert kind in last, done.stdout
