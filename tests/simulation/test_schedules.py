"""1,000 schedules, in parts. `make simulate SEEDS=n` plays more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PARTS, SEEDS_A_PART = 4, 250


def played(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONHASHSEED": "0"})
    return run.stdout + run.stderr


@pytest.mark.parametrize("part", range(PARTS))
def test_the_invariants_hold_and_there_is_one_right_end(part: int) -> None:
    said = played(str(SEEDS_A_PART), "--first", str(part * SEEDS_A_PART))
    assert f"{SEEDS_A_PART} schedules, 0 violations" in said, said


def test_a_schedule_can_be_told() -> None:
    """With all kinds of records: one that promotes, builds and deploys."""
    said = played("--seed", "25062", "--lines", "2000")
    assert "containers.put hello-aci" in said, said
    assert said.endswith("no violation\n"), said
