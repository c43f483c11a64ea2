"""The memory of a sweep, in a fresh process: run as a program, this module is the measured process.

It reads from standard input which gate to sweep first, so that everything is loaded, and which one next. At the end it
prints its peak resident MB, and by how much the second sweep raised it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.peak import peak_megabytes
from bench.sweep_gate import BenchGate, Where
from shared.sweep.sweep import JobState

_ROOT = Path(__file__).resolve().parent.parent


def measure_memory(first: Where, then: Where) -> tuple[float, float]:
    """The peak resident MB of a process that sweeps both, and by how much the second raised it."""
    command = [sys.executable, "-m", "bench.sweep_memory"]
    given = msgspec.json.encode((first, then))
    output = subprocess.run(command, cwd=_ROOT, input=given, stdout=subprocess.PIPE, check=True).stdout
    peak, raised = json.loads(output.splitlines()[-1])
    return float(peak), float(raised)


def _sweep(where: Where) -> None:
    result = BenchGate(where).sweep()
    (job,) = result.jobs
    assert (job.state, result.effects) == (JobState.DONE, ()), job
    assert where.repository == f"of-{job.checked}", job


def _child() -> None:
    first, then = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Where, Where])
    _sweep(first)
    loaded = peak_megabytes()
    _sweep(then)
    print(json.dumps([peak_megabytes(), peak_megabytes() - loaded]))


if __name__ == "__main__":
    _child()
