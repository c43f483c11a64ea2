"""`skopeo inspect` in a loop: what a script that reads tags one by one would do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from bench.sweep_registry import BenchRegistry
from sandbox.testing import find_program

WAYS = ("inspect", "inspect --no-tags", "inspect --raw")
"""By default it lists the repository's tags too; `--no-tags` omits that, `--raw` also the image's configuration."""


def inspect_each(registry: BenchRegistry, way: str, repository: str, tags: Sequence[str]) -> float:
    """Seconds per tag. It connects like the sweep: over TLS, without a proxy."""
    program = find_program("skopeo")
    if program is None:
        sys.exit("skopeo is not installed: make setup")
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment["SSL_CERT_FILE"] = str(registry.bundle)
    began = time.perf_counter()
    for tag in tags:
        command = [program, *way.split(), f"docker://{registry.host}/{repository}:{tag}"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) / len(tags)
