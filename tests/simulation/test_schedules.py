"""2,000 schedules, in parts. `make simulate SEEDS=n` plays more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PARTS, SEEDS_A_PART = 8, 250


@pytest.mark.parametrize("part", range(PARTS))
def test_the_invariants_hold_and_there_is_one_right_end(part: int) -> None:
    command = [sys.executable, "-m", "tests.simulation", str(SEEDS_A_PART), "--first", str(part * SEEDS_A_PART)]
    played = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONHASHSEED": "0"}
    )
    assert f"{SEEDS_A_PART} schedules, 0 violations" in played.stdout, played.stdout + played.stderr
