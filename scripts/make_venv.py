"""Makes the virtual environment, and gets Python's own venv package first where Debian left it out.

Runs on the machine's Python with nothing installed: `python3 scripts/make_venv.py FOLDER REQUIREMENTS`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

MINIMUM = (3, 11)


def main(folder: Path, requirements: str) -> None:
    """Make the environment in `folder` and install `requirements` into it."""
    if sys.version_info < MINIMUM:
        wanted = ".".join(map(str, MINIMUM))
        sys.exit(
            f"Basegate needs Python {wanted} or newer, this is {sys.version.split()[0]}: make PYTHON=python{wanted}"
        )
    python = folder / "bin" / "python"
    if not python.exists():
        make(folder)
    print(f"Python packages into {folder}", flush=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-r", requirements], check=True)


def make(folder: Path) -> None:
    """Make an empty environment; on Debian and Ubuntu, install python3-venv where it is missing."""
    if find_spec("ensurepip") is None:  # Debian ships it in a package of its own
        install_venv_package()
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)


def install_venv_package() -> None:
    """Install the package that has ensurepip, saying so."""
    package = f"python3.{sys.version_info[1]}-venv"
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    if not shutil.which("apt-get") or (prefix and not shutil.which("sudo")):
        sys.exit(f"Python's venv module is missing: install it (on Debian and Ubuntu: apt-get install {package})")
    print(f"installing {package}", flush=True)
    subprocess.run([*prefix, "apt-get", "update", "-qq"], check=True)
    subprocess.run([*prefix, "apt-get", "install", "-y", "-qq", "--no-install-recommends", package], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
