"""Table writes through the sandbox's gateway, with and without its immediate acknowledgement of TCP segments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.figure import Figure

_ROOT = Path(__file__).resolve().parent.parent


def measure() -> list[Figure]:
    """Milliseconds for an insert both ways; empty if the sandbox cannot measure it."""
    prompt, patient = map(_run, ("prompt", "patient"))
    if prompt is None or patient is None:
        return []
    return [Figure("gateway_quickack", "ms/insert", "acknowledged at once", prompt, "as the kernel decides", patient)]


def _run(way: str) -> float | None:
    command = [sys.executable, "-m", "sandbox.tests.gateway_speed", way]
    output = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True).stdout
    return float(output) if output else None
