"""Executes a run, from its context to its outcome."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sandbox.tasks.outcome import RunInfo, RunOutcome
from sandbox.tasks.ports import TaskRunner
from sandbox.tasks.records import Cause, RunRecord
from sandbox.tasks.runs.context import Context, Contexts
from sandbox.tasks.runs.logins import Logins
from sandbox.tasks.runs.taskfile import read_alias_file, read_task, secret_values
from sandbox.tasks.taskfile.model import TaskFile
from sandbox.tasks.taskfile.parser import declared_secrets, load_task_file

Log = Callable[[str], Awaitable[None]]


class Agent:
    """Executes runs: gathers the inputs of a run and passes them to the runner.

    Args:
        scratch: the folder for contexts while runs use them.
        contexts: fetches the sources.
        logins: gathers credentials and secrets.
        runner: runs the steps.
    """

    def __init__(self, scratch: Path, contexts: Contexts, logins: Logins, runner: TaskRunner) -> None:
        self._scratch, self._contexts, self._logins, self._runner = scratch, contexts, logins, runner

    async def carry_out(self, run: RunRecord, timeout_seconds: float, log: Log) -> RunOutcome:
        """Execute the run's work. The runner writes the log from its setup to its end.

        Raises:
            Fault: the context, a file, a credential or a secret is unavailable.
            TaskFileError: the task file is invalid.
            TimeoutError: the timeout elapsed before the runner started.
        """
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"{run.id}-", dir=self._scratch) as scratch:
            async with asyncio.timeout(timeout_seconds):
                task, context, info = await self._prepare(run, Path(scratch), log)
            info = replace(info, timeout_seconds=timeout_seconds - (time.monotonic() - started))
            return await self._runner.run(task, context, info, log)

    async def _prepare(self, run: RunRecord, scratch: Path, log: Log) -> tuple[TaskFile, Path, RunInfo]:
        assert run.work is not None
        step = run.work.step
        await log(_stamped("Downloading source code..."))
        context = await self._contexts.fetch(run, step.context_path, scratch)
        await log(_stamped("Finished downloading source code"))
        await log(_stamped("Setting up agent"))
        info = replace(_describe(run, context), logins=self._logins.gather(run))
        # In threads: a hostile file may take seconds, in which everything else must go on.
        text, values = await asyncio.to_thread(read_task, step, context.folder, (info.registry, *info.logins))
        files = partial(read_alias_file, context.folder)
        declared = await asyncio.to_thread(declared_secrets, text, info, values, files)
        info = replace(info, secrets=secret_values(step) | self._logins.secrets(run, declared))
        return await asyncio.to_thread(load_task_file, text, info, values, files), context.folder, info


def _describe(run: RunRecord, context: Context) -> RunInfo:
    return RunInfo(
        id=run.id,
        registry=run.login_server,
        date=datetime.fromisoformat(run.created),
        task_name=run.task or "",
        commit=context.commit,
        branch=context.branch,
        repository=context.repository,
        triggered_by=_triggered_by(run.cause),
        os=run.platform.os,
        architecture=run.platform.architecture or "amd64",
    )


def _triggered_by(cause: Cause) -> str:
    if cause.source_trigger:
        return cause.source_trigger.event_type
    if cause.timer_trigger:
        return "timer"
    return "imageupdate" if cause.image_update_trigger else "manual"


def _stamped(line: str) -> str:
    return f"{datetime.now(UTC):%Y/%m/%d %H:%M:%S} {line}"
