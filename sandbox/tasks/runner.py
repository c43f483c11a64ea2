"""The runner of task files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from sandbox.engine.contract import Engine
from sandbox.tasks.model import TaskFile
from sandbox.tasks.outcome import RunInfo, RunOutcome


class Runner:
    """Carries out task files on a container engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(
        self, task: TaskFile, context: Path, run: RunInfo, log: Callable[[str], Awaitable[None]]
    ) -> RunOutcome:
        """Run the task with `context` as the shared working directory; `log` gets one line a call.

        Never raises for what a task does; when cancelled it ends every container, logs, and returns `Canceled`.
        """
        raise NotImplementedError
