"""The parts of the upstream image: npm packages that hold the real Node 15 and its npm, and a static busybox."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

NODE_VERSION, NPM_VERSION = "15.14.0", "7.7.6"

_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}
_FETCH_SECONDS = 300


class UpstreamError(Exception):
    """A part of the upstream image cannot be had; says which, and what to do."""


def fetch_parts(cache: Path) -> tuple[Path, Path]:
    """The node binary and npm's package folder, from the cache or from the npm registry.

    Raises:
        UpstreamError: there is no Node 15 for this machine, or npm cannot fetch it.
    """
    machine = _ARCHITECTURES.get(platform.machine())
    if machine is None:
        raise UpstreamError(f"There is no Node {NODE_VERSION} for {platform.machine()}: x86_64 or aarch64 is needed.")
    node = _package(cache, f"node-linux-{machine}", NODE_VERSION)
    npm = _package(cache, "npm", NPM_VERSION)
    return node / "bin/node", npm


def find_busybox() -> Path:
    """A busybox to put into the image.

    Raises:
        UpstreamError: there is none.
    """
    found = shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin")
    if not found:
        raise UpstreamError("There is no busybox: install busybox-static, or run `python -m sandbox needs`.")
    return Path(found)


def _package(cache: Path, name: str, version: str) -> Path:
    folder = cache / f"{name}-{version}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        archive = _pack(cache, name, version)
        beside = folder.with_suffix(".new")
        shutil.rmtree(beside, ignore_errors=True)
        with tarfile.open(archive) as content:
            content.extractall(beside, filter="data")
        (beside / "package").rename(folder)
        shutil.rmtree(beside, ignore_errors=True)
        archive.unlink()
    return folder


def _pack(cache: Path, name: str, version: str) -> Path:
    command = ("npm", "pack", "--silent", "--pack-destination", str(cache), f"{name}@{version}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpstreamError(f"npm cannot fetch {name}@{version}: {error}") from error
    if done.returncode:
        raise UpstreamError(f"npm cannot fetch {name}@{version}: {done.stderr.strip()[-300:]}")
    return cache / f"{name}-{version}.tgz"
