"""The machine as the search for needs sees it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))


class Machine:
    """This machine. Debian keeps some programs in `/usr/sbin`, which is on no ordinary user's path."""

    @property
    def system(self) -> str:
        """`linux`, `darwin`, …"""
        return sys.platform

    @property
    def is_root(self) -> bool:
        """Whether this process may install packages by itself."""
        return os.geteuid() == 0

    def which(self, program: str) -> Path | None:
        """Where a program is, or None."""
        found = shutil.which(program, path=_SEARCH_PATH)
        return Path(found) if found else None

    def exists(self, path: Path) -> bool:
        """Whether there is a file."""
        return path.exists()

    def is_static(self, program: Path) -> bool:
        """Whether a program needs no loader, so that it runs in an image that holds nothing else.

        An ELF file that needs one names it in a program header (PT_INTERP), which is in its first page.
        """
        with program.open("rb") as file:
            return b"ld-linux" not in file.read(4096)

    def run(self, command: Sequence[str], output: IO[bytes], environment: Mapping[str, str] | None = None) -> int:
        """Run a program to its end and return its exit code; 127 where there is no such program."""
        merged = {**os.environ, **(environment or {})}
        try:
            return subprocess.run(command, stdout=output, stderr=output, env=merged, check=False).returncode
        except FileNotFoundError:
            return 127
