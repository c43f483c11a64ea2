"""Creates the virtual environment, and installs Python's venv package first if Debian left it out.

Runs on the machine's Python with nothing installed: `python3 scripts/make_venv.py FOLDER LOCK_FILE`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

MINIMUM = (3, 11)
APT_INSTALL = (
    *("env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l"),
    # A freshly started Ubuntu installs updates automatically, and holds the lock meanwhile.
    *("apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"),
)


def main(folder: Path, requirements: str) -> None:
    """Create the environment in `folder` and install the lock file `requirements` into it, verifying hashes."""
    if sys.version_info < MINIMUM:
        minimum = ".".join(map(str, MINIMUM))
        sys.exit(
            f"Basegate needs Python {minimum} or newer, this is {sys.version.split()[0]}: make PYTHON=python{minimum}"
        )
    if not (folder / "bin" / "pip").exists():  # missing, or incomplete
        make(folder)
    print(f"Python packages into {folder}", flush=True)
    # -qq hides pip's warnings, which are about the machine's settings. Errors are shown.
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check")
    if subprocess.run([*pip, "--require-hashes", "-r", requirements], check=False).returncode:
        sys.exit(f"pip cannot install {requirements} into {folder}: see above.")


def make(folder: Path) -> None:
    """Create an empty environment; on Debian and Ubuntu, install python3-venv if it is missing."""
    if find_spec("ensurepip") is None:  # Debian ships it in a separate package
        install_venv_package()
    run([sys.executable, "-m", "venv", "--clear", str(folder)])


def install_venv_package() -> None:
    """Install the package that contains ensurepip, and print that."""
    package = f"python3.{sys.version_info[1]}-venv"
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    if not shutil.which("apt-get") or (prefix and not shutil.which("sudo")):
        sys.exit(f"Python's venv module is missing: install it (on Debian and Ubuntu: apt-get install {package})")
    print(f"installing {package}", flush=True)
    # One broken package source makes this fail, although all others were read.
    subprocess.run([*prefix, "apt-get", "update", "-qq"], stdout=subprocess.DEVNULL, check=False)
    run([*prefix, *APT_INSTALL, package])


def run(command: Sequence[str]) -> None:
    """Run a command; if it fails, print its output and exit. sudo asks at the terminal itself."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout.strip()}\n`{' '.join(command)}` failed.")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
