"""Makes the virtual environment, and gets Python's own venv package first where Debian left it out.

Runs on the machine's Python with nothing installed: `python3 scripts/make_venv.py FOLDER REQUIREMENTS`.
"""

import os
import shutil
import subprocess
import sys

MINIMUM = (3, 11)


def main(folder, requirements):
    """Make the environment in `folder` and install `requirements` into it."""
    if sys.version_info < MINIMUM:
        sys.exit("Basegate needs Python %d.%d or newer; this is %s. Set PYTHON=…" % (*MINIMUM, sys.version.split()[0]))
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        make(folder)
    print("Python packages into %s" % folder, flush=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", requirements], check=True)


def make(folder):
    """Make an empty environment; on Debian and Ubuntu, install python3-venv where it is missing."""
    try:
        import ensurepip  # noqa: F401 (Debian ships it in a package of its own)
    except ImportError:
        install_venv_package()
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)


def install_venv_package():
    """Install the package that has ensurepip, saying so."""
    package = "python3.%d-venv" % sys.version_info[1]
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    if not shutil.which("apt-get") or (prefix and not shutil.which("sudo")):
        sys.exit("Python's venv module is missing: install it (on Debian and Ubuntu: apt-get install %s)" % package)
    print("installing %s" % package, flush=True)
    subprocess.run([*prefix, "apt-get", "update", "-qq"], check=True)
    subprocess.run([*prefix, "apt-get", "install", "-y", "-qq", "--no-install-recommends", package], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
