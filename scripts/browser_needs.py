"""Installs missing dependencies of tests: a Chromium, axe-core for the accessibility checks, skopeo, and sigstore-js.

Runs in the virtual environment, after `python -m sandbox needs` has installed npm: `browser_needs.py FOLDER`. An
installed browser is used. Otherwise apt installs Debian's; on other systems Playwright installs its own (Ubuntu's
package is a stub for a snap, which does not run in containers).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from make_venv import APT_INSTALL, run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Programs that `tests/browser` uses: the first existing one."""

TESTS = Path(__file__).resolve().parents[1] / "tests"
PACKAGES = {"browser": ("axe-core", TESTS / "browser"), "sigstore_js": ("sigstore-js", TESTS / "contract/sigstore_js")}
"""By their folders of tools: packages of npm, and where their lock file is."""

LOCK = "package-lock.json"


def main(tools: Path) -> None:
    """Install what is missing; if nothing is, print nothing and change nothing."""
    if not shutil.which("skopeo"):
        install_skopeo()
    if not any(shutil.which(name) for name in BROWSERS) and not playwright_browser().exists():
        install_browser()
    for folder, (what, source) in PACKAGES.items():
        installed = tools / folder / LOCK
        if not installed.exists() or installed.read_bytes() != (source / LOCK).read_bytes():
            print(f"installing {what} into {tools.name}/{folder}", flush=True)
            install_packages(source, tools / folder)


def playwright_browser() -> Path:
    """The path of the Chromium that Playwright installs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


def install_skopeo() -> None:
    """Install the client with which the sandbox's registries are tested, and print that."""
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    managers = {
        "apt-get": APT_INSTALL,
        "dnf": ("dnf", "install", "-y", "-q"),
        "pacman": ("pacman", "-S", "--noconfirm"),
    }
    command = next((command for manager, command in managers.items() if shutil.which(manager)), None)
    if command is None:
        sys.exit("skopeo is missing and there is no known package manager: install it, the registry tests use it")
    print("installing skopeo for the tests of the registries", flush=True)
    if command is APT_INSTALL:
        subprocess.run([*prefix, "apt-get", "update", "-qq"], stdout=subprocess.DEVNULL, check=False)
    run([*prefix, *command, "skopeo"])


def install_browser() -> None:
    """Install a Chromium, and print that."""
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


def install_packages(source: Path, folder: Path) -> None:
    """Install from a lock file into a temporary folder and rename it: an incomplete one is never used."""
    beside = folder.with_suffix(".new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name in (LOCK, "package.json"):
        shutil.copy(source / name, beside)
    run(["npm", "ci", "--ignore-scripts", "--no-fund", "--no-audit", "--prefix", str(beside)])
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
