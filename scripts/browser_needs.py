"""Gets what the tests need, where it is missing: a Chromium, axe-core for the accessibility checks, and skopeo.

Runs in the virtual environment, after `python -m sandbox needs` has brought npm: `browser_needs.py FOLDER`. A browser
that is on the machine is taken. Else apt brings Debian's; elsewhere Playwright brings its own (Ubuntu's package is
a stub for a snap, which does not run in containers).
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from make_venv import APT_INSTALL, run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Programs that `tests/browser` takes, the first there is."""

AXE = "axe-core@4.14.1"
AXE_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="


def main(tools: Path) -> None:
    """Make sure that all are there; says nothing and changes nothing where they are."""
    if not shutil.which("skopeo"):
        install_skopeo()
    if not any(shutil.which(name) for name in BROWSERS) and not playwright_browser().exists():
        install_browser()
    if not (tools / "axe" / "package" / "axe.min.js").exists():
        print(f"installing {AXE} into {tools.name}/axe", flush=True)
        unpack(verified(packed(tools)), tools / "axe")


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


def packed(tools: Path) -> bytes:
    """The package as npm's registry has it."""
    tools.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tools) as folder:
        run(["npm", "pack", AXE, "--silent", "--pack-destination", folder])
        (archive,) = Path(folder).iterdir()
        return archive.read_bytes()


def verified(archive: bytes) -> bytes:
    """The package, if it is the one that was looked at when its version was chosen."""
    found = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != AXE_SHA512:
        sys.exit(f"{AXE} is not what it was: its SHA-512 is {found}, not {AXE_SHA512}.")
    return archive


def unpack(archive: bytes, folder: Path) -> None:
    """Unpack beside and rename: what is half there counts for nothing."""
    beside = folder.with_suffix(".new")
    shutil.rmtree(beside, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(beside, filter="data")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
