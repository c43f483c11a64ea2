"""`python -m tests.scan_real`: the verdicts on reports of real scanners, and on those of the sandbox's stand-in.

0 if all agree, or if there is no real scanner on the PATH; 1 if a verdict differs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.scan_real.comparing import REAL, STAND_IN, compared, differing, found
from tests.scan_real.images import FILES


def main() -> int:
    """Compare them on each image."""
    scanners = found()
    if not scanners:
        print(f"Nothing was compared: none of {', '.join(one.program for one in REAL)} is on the PATH.")
        return 0
    different = 0
    for name, files in FILES.items():
        with tempfile.TemporaryDirectory() as folder:
            results = compared(files, scanners, Path(folder))
        others = differing(results)
        different += len(others)
        print(name)
        for scanner, result in results.items():
            mark = " (differs)" if scanner in others else ""
            print(f"  {scanner:<12} {result.verdict}{mark}: {result.reason}")
    if different:
        print(f"{different} verdicts differ from those of {STAND_IN}, which knows two advisories and no others.")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
