"""Finds the machine's programs.

Debian installs some in `/usr/sbin`, which is not in the PATH of an ordinary user.
"""

from __future__ import annotations

import os
import shutil

_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def search_path() -> str:
    """This process's `PATH`, followed by the system folders."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS))


def find_program(name: str) -> str | None:
    """The full path of a program, or None."""
    return shutil.which(name, path=search_path())
