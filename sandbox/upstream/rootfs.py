"""A small root file system: busybox, Node with the libraries it links to, and npm."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

_FOLDERS = (
    "bin",
    "dev",
    "etc",
    "home/node",
    "proc",
    "root",
    "run",
    "sys",
    "usr/bin",
    "usr/local/bin",
    "var/tmp",
    "tmp",
)
_MODULES = "usr/local/lib/node_modules"
_LIBRARY = re.compile(r"(/\S+) \(0x")
_NPM_LEFT_OUT = ("man", "docs", "*.md", "*.map")
_ACCOUNTS = """root:x:0:0:root:/root:/bin/sh
node:x:1000:1000:node:/home/node:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
"""
_GROUP = "root:x:0:\nnode:x:1000:\nnobody:x:65534:\n"
_RELEASE = 'NAME="Stand-in for Alpine Linux"\nID=alpine\nVERSION_ID=3.13\n'


def make_rootfs(folder: Path, busybox: Path, node: Path, npm: Path) -> None:
    """Fill an empty folder.

    Args:
        folder: where.
        busybox: a static busybox; every applet it has becomes a link.
        node: the node binary; the shared libraries it needs are taken from this machine (glibc 2.34 or newer).
        npm: npm's package folder.
    """
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True)
    for name in ("tmp", "var/tmp"):
        (folder / name).chmod(0o1777)
    _install_busybox(folder, busybox)
    target = folder / "usr/local/bin/node"
    shutil.copyfile(node, target)
    target.chmod(0o755)
    for library in _libraries(node):
        place = folder / str(library).lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library.resolve(), place)
        place.chmod(0o755)
    shutil.copytree(npm, folder / _MODULES / "npm", ignore=shutil.ignore_patterns(*_NPM_LEFT_OUT))
    for name in ("npm", "npx"):
        (folder / "usr/local/bin" / name).symlink_to(f"../lib/node_modules/npm/bin/{name}-cli.js")
    for name, text in (("passwd", _ACCOUNTS), ("group", _GROUP), ("os-release", _RELEASE)):
        (folder / "etc" / name).write_text(text)


def _install_busybox(folder: Path, busybox: Path) -> None:
    target = folder / "bin/busybox"
    shutil.copyfile(busybox, target)
    target.chmod(0o755)
    applets = subprocess.run((str(busybox), "--list"), capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (folder / "bin" / applet).symlink_to("/bin/busybox")
    (folder / "usr/bin/env").symlink_to("/bin/busybox")


def _libraries(binary: Path) -> list[Path]:
    """The shared libraries that a binary links to, as the dynamic loader of this machine finds them."""
    listing = subprocess.run(("ldd", str(binary)), capture_output=True, text=True, check=True).stdout
    return sorted({Path(match[1]) for match in _LIBRARY.finditer(listing)})
