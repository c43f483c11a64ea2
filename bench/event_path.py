"""A cold start: indexing the app, and handling its first event, each in fresh processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

from bench.figure import Figure
from tests.events import event_text

_ROUNDS = 7
_ROOT = Path(__file__).resolve().parent.parent
_SETTINGS = {"AzureWebJobsStorage__accountName": "x", "BASEGATE_GATES": "gates.sample.yaml"}
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
_PROGRAM = """
import sys, time
event, hints = sys.stdin.read(), type("Out", (list,), {"set": list.extend})()
began = time.perf_counter()
%s
milliseconds = (time.perf_counter() - began) * 1000
from bench.peak import peak_megabytes
print(milliseconds, peak_megabytes())
"""
_INDEX = "import function_app; function_app.app.get_functions()"
_EVENT = f"{_INDEX}; from functions import registry_events as r; r.registry_events(event, hints); assert hints"
_WAYS = {
    "alone": "import azure.functions",
    "index": _INDEX,
    "event": _EVENT,
    "eager": f"import {', '.join(_EVERY_SDK)}; {_EVENT}",
}


def measure() -> list[Figure]:
    """Time and memory of each way: the median of seven fresh processes, measured by turns."""
    runs: dict[str, list[tuple[float, float]]] = {way: [] for way in _WAYS}
    for number in range(_ROUNDS + 1):
        for way, program in _WAYS.items():
            figures = _run(program)
            if number:  # the first one reads from disk what the others have in the page cache
                runs[way].append(figures)
    time_of, memory_of = ({way: statistics.median(run[i] for run in runs[way]) for way in _WAYS} for i in (0, 1))
    alone = "azure.functions alone"
    return [
        Figure("index_time", "ms", alone, time_of["alone"], "the app, indexed", time_of["index"]),
        Figure("first_event_time", "ms", alone, time_of["alone"], "and one event", time_of["event"]),
        Figure("event_path_time", "ms", "as needed", time_of["event"], "every SDK", time_of["eager"]),
        Figure("event_path_memory", "MB", "as needed", memory_of["event"], "every SDK", memory_of["eager"]),
    ]


def _run(way: str) -> tuple[float, float]:
    done = subprocess.run(
        (sys.executable, "-c", _PROGRAM % way),
        cwd=_ROOT,
        env=os.environ | _SETTINGS,
        input=event_text("image_pushed"),
        capture_output=True,
        text=True,
        check=True,
    )
    milliseconds, megabytes = done.stdout.split()
    return float(milliseconds), float(megabytes)
