"""The processes of a running sandbox that are killed.

Containers are not: they belong to the examined image, and a test that is killed fails.
"""

from __future__ import annotations

import os
import signal
from random import Random

from sandbox.testing import ProcessKind

_WEIGHTS = {
    ProcessKind.WORKER: 8,
    ProcessKind.AZURITE: 5,
    ProcessKind.REGISTRY: 4,
    ProcessKind.HOST: 2,
    ProcessKind.SANDBOX: 1,
}


def drawn(kills: int, draw: Random) -> list[ProcessKind]:
    """The kinds to kill, in order: each at least once, if there are enough kills."""
    kinds = draw.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()), k=max(0, kills - len(ProcessKind)))
    kinds = [*ProcessKind, *kinds][:kills]
    draw.shuffle(kinds)
    return kinds


def kill(pid: int) -> bool:
    """Send SIGKILL; False if the process did not exist any more."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
