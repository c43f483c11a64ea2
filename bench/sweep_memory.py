"""The memory of a sweep, in a fresh process: run as a program, this is the process that is measured.

It reads from standard input which gate to sweep first, so that everything is loaded, and which one then. It prints
its peak resident MB at the end, and by how much the second sweep raised it.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.sweep_gate import BenchGate, Where
from shared.workflow.sweep import Standing

_ROOT = Path(__file__).resolve().parent.parent
_STATUS = Path("/proc/self/status")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_MEGABYTES_PER_UNIT = 1 / 1024**2 if sys.platform == "darwin" else 1 / 1024  # ru_maxrss is in bytes on macOS


def measure_memory(first: Where, then: Where) -> tuple[float, float]:
    """The peak resident MB of a process that sweeps both, and by how much the second raised it."""
    command = [sys.executable, "-m", "bench.sweep_memory"]
    given = msgspec.json.encode((first, then))
    output = subprocess.run(command, cwd=_ROOT, input=given, stdout=subprocess.PIPE, check=True).stdout
    peak, raised = json.loads(output.splitlines()[-1])
    return float(peak), float(raised)


def _peak() -> float:
    """The peak resident MB of this process. `getrusage` is second choice: on Linux it counts the parent's as well."""
    if _STATUS.exists() and (found := _PEAK.search(_STATUS.read_text())):
        return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MEGABYTES_PER_UNIT


def _sweep(where: Where) -> None:
    report = BenchGate(where).sweep()
    (beat,) = report.beats
    assert (beat.standing, report.effects) == (Standing.DONE, ()), beat
    assert where.repository == f"of-{beat.looked}", beat


def _child() -> None:
    first, then = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Where, Where])
    _sweep(first)
    loaded = _peak()
    _sweep(then)
    print(json.dumps([_peak(), _peak() - loaded]))


if __name__ == "__main__":
    _child()
