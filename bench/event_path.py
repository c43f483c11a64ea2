"""The event path from a cold start: load the app and recognize one event, with lazy imports and with eager ones.

Run as a program, this is the fresh process that is measured; it prints milliseconds and peak resident MB.
"""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.figure import Figure
from bench.peak import peak_megabytes

_ROUNDS = 7
_ROOT = Path(__file__).resolve().parent.parent
_EVERY_SDK = (
    "azure.identity",
    "azure.data.tables",
    "azure.containerregistry",
    "azure.eventgrid",
    "azure.keyvault.secrets",
    "azure.mgmt.containerinstance",
    "azure.mgmt.containerregistry",
    "azure.mgmt.containerregistrytasks",
    "azure.mgmt.eventgrid",
    "azure.storage.blob",
    "azure.storage.queue",
)


def measure() -> list[Figure]:
    """Time and memory of both ways, the median of seven fresh processes each, taken by turns."""
    _run("lazy"), _run("eager")  # the first of each reads from disk what the others find in memory
    lazy, eager = [], []
    for _ in range(_ROUNDS):
        lazy.append(_run("lazy"))
        eager.append(_run("eager"))
    return [
        Figure("event_path_time", "ms", "as needed", _median(lazy, 0), "every SDK", _median(eager, 0)),
        Figure("event_path_memory", "MB", "as needed", _median(lazy, 1), "every SDK", _median(eager, 1)),
    ]


def _median(runs: list[tuple[float, float]], index: int) -> float:
    return statistics.median(run[index] for run in runs)


def _run(way: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.event_path", way]
    output = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True).stdout
    milliseconds, megabytes = json.loads(output.splitlines()[-1])
    return float(milliseconds), float(megabytes)


def _child(way: str) -> None:
    """Load the app as the Functions worker does, and recognize one event. It needs the rules and no SDK."""
    began = time.perf_counter()
    for module in _EVERY_SDK if way == "eager" else ():
        importlib.import_module(module)
    importlib.import_module("function_app")
    from shared.bootstrap import Basegate
    from shared.settings import Settings
    from tests.events import event

    app = Basegate(Settings(storage_account="x", gates="gates.sample.yaml"))
    recognized = app.recognize(event("image_pushed"))
    assert recognized[0].hint, recognized
    milliseconds = (time.perf_counter() - began) * 1000
    print(json.dumps([milliseconds, peak_megabytes()]))


if __name__ == "__main__":
    _child(sys.argv[1])
