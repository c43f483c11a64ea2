"""The peak resident memory of a process, for benchmarks that measure a fresh one."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_MEGABYTES_PER_UNIT = 1 / 1024**2 if sys.platform == "darwin" else 1 / 1024  # ru_maxrss is in bytes on macOS


def peak_megabytes() -> float:
    """The peak resident MB of this process. `getrusage` is the fallback: on Linux it includes the parent's."""
    if _STATUS.exists() and (found := _PEAK.search(_STATUS.read_text())):
        return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MEGABYTES_PER_UNIT
