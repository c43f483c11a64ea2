"""Gets what the tests need, where it is missing: a Chromium, axe-core for the accessibility checks, and skopeo.

Runs in the virtual environment, after `python -m sandbox needs` has brought npm: `browser_needs.py FOLDER`. A browser
that is on the machine is taken. Else apt brings Debian's; elsewhere Playwright brings its own (Ubuntu's package is
a stub for a snap, which does not run in containers).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from make_venv import APT_INSTALL, run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Programs that `tests/browser` takes, the first there is."""

LOCK = Path(__file__).resolve().parents[1] / "tests" / "browser" / "package-lock.json"
"""axe-core, and nothing else."""


def main(tools: Path) -> None:
    """Make sure that all are there; says nothing and changes nothing where they are."""
    if not shutil.which("skopeo"):
        install_skopeo()
    if not any(shutil.which(name) for name in BROWSERS) and not playwright_browser().exists():
        install_browser()
    installed = tools / "browser" / LOCK.name
    if not installed.exists() or installed.read_bytes() != LOCK.read_bytes():
        print(f"installing axe-core into {tools.name}/browser", flush=True)
        install_packages(tools / "browser")


def playwright_browser() -> Path:
    """Where Playwright keeps the Chromium that it brings."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


def install_skopeo() -> None:
    """Install the client with which the sandbox's registries are tested, saying so."""
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    managers = {
        "apt-get": APT_INSTALL,
        "dnf": ("dnf", "install", "-y", "-q"),
        "pacman": ("pacman", "-S", "--noconfirm"),
    }
    command = next((command for manager, command in managers.items() if shutil.which(manager)), None)
    if command is None:
        sys.exit("skopeo is missing and no known package manager is here: install it, the registry tests use it")
    print("installing skopeo for the tests of the registries", flush=True)
    if command is APT_INSTALL:
        subprocess.run([*prefix, "apt-get", "update", "-qq"], stdout=subprocess.DEVNULL, check=False)
    run([*prefix, *command, "skopeo"])


def install_browser() -> None:
    """Install a Chromium, saying so."""
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    release = Path("/etc/os-release")
    is_debian = release.exists() and "\nID=debian\n" in "\n" + release.read_text(encoding="utf-8")
    if is_debian and shutil.which("apt-get"):
        print("installing chromium for the tests of the board (minutes)", flush=True)
        subprocess.run([*prefix, "apt-get", "update", "-qq"], stdout=subprocess.DEVNULL, check=False)
        run([*prefix, *APT_INSTALL, "chromium"])
        return
    print("Playwright installs its Chromium for the tests of the board (minutes)", flush=True)
    libraries = ["--with-deps"] if shutil.which("apt-get") else []
    run([sys.executable, "-m", "playwright", "install", *libraries, "chromium"])


def install_packages(folder: Path) -> None:
    """Install what the lock file names beside, and rename: what is half there counts for nothing."""
    beside = folder.with_suffix(".new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for file in (LOCK, LOCK.with_name("package.json")):
        shutil.copy(file, beside)
    run(["npm", "ci", "--ignore-scripts", "--no-fund", "--no-audit", "--prefix", str(beside)])
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
