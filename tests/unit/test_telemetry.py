"""Telemetry that is switched off costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_OFF = """
import sys
from shared.settings import Settings
from shared.telemetry import configure_telemetry

before = set(sys.modules)
configure_telemetry(Settings(storage_account="x"))
print(sorted(set(sys.modules) - before))
print([name for name in sys.modules if name.split(".")[0] == "opentelemetry" or name.startswith("azure.monitor")])
"""


def test_switched_off_it_imports_nothing() -> None:
    program = [sys.executable, "-c", _OFF]
    result = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.splitlines() == ["[]", "[]"]
