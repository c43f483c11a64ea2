"""Executes task files, as the agents of ACR Tasks do.

A step starts when those it waits for have succeeded; steps that wait for none run concurrently; the first failure
ends the run. Containers of steps share one isolated network, in which the host name of each is its step's id; it is
made only for tasks in which two containers may run at the same time.

Source of the order and the wording: https://github.com/Azure/acr-builder
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sandbox.engine.configuration import write_docker_logins
from sandbox.engine.contract import Engine, EngineError, Login
from sandbox.tasks.outcome import RunInfo, RunOutcome, RunStatus
from sandbox.tasks.runner.dependencies import DigestUnknown, populate_dependencies
from sandbox.tasks.runner.execution import Execution, Sleep
from sandbox.tasks.runner.log import RunLog, masker_of
from sandbox.tasks.runner.steps import RunStopped, carry_out
from sandbox.tasks.taskfile.graph import concurrent
from sandbox.tasks.taskfile.model import DEFAULT_NETWORK, StepKind, TaskFile, Volume

_MARKED = "Step ID: {0} marked as successful (elapsed time in seconds: {1:.6f})"


class Runner:
    """Executes task files on a container engine.

    `folder` has what containers get while they run: their home and secret volumes; by default it is the system's
    temporary folder. `sleep` is used for delays and between retries.
    """

    def __init__(self, engine: Engine, folder: Path | None = None, *, sleep: Sleep = asyncio.sleep) -> None:
        self._engine, self._folder, self._sleep = engine, folder, sleep

    async def run(
        self, task: TaskFile, context: Path, run: RunInfo, log: Callable[[str], Awaitable[None]]
    ) -> RunOutcome:
        """Run the task with `context` as the shared working directory; `log` receives one line per call.

        Never raises for failures of the task; when cancelled, it stops every container, logs, and returns `Canceled`.
        """
        started = time.monotonic()
        journal = RunLog(log, masker_of(run))
        try:
            outcome = await self._limited(task, context, run, journal)
        except asyncio.CancelledError:
            if current := asyncio.current_task():
                current.uncancel()
            outcome = RunOutcome(RunStatus.CANCELED, "the run was canceled")
        except EngineError as error:
            outcome = RunOutcome(RunStatus.ERROR, f"failed to set up the run, err: {error}")
        return await _finish(outcome, run, journal, time.monotonic() - started)

    async def _limited(self, task: TaskFile, context: Path, run: RunInfo, journal: RunLog) -> RunOutcome:
        store = await self._engine.prepare_run(run.id, run.logins)
        execution = Execution(task, run, context, store, journal, self._sleep)
        try:
            async with asyncio.timeout(run.timeout_seconds):
                return await self._execute(execution)
        except TimeoutError:
            reason = f"the run did not end within its timeout of {run.timeout_seconds:g} seconds"
            return RunOutcome(RunStatus.TIMEOUT, reason, output_images=tuple(execution.pushed))
        finally:
            await store.close()

    async def _execute(self, execution: Execution) -> RunOutcome:
        await _set_up(execution)
        try:
            with _folders(execution.task.volumes, execution.run.logins, self._folder) as folders:
                execution.home, execution.volumes = folders
                elapsed = await carry_out(execution)
        except RunStopped as stopped:
            await execution.log.raw(f"failed to run step ID: {stopped.step_id}: {stopped.failure}")
            reason = f"failed during run, err: {stopped.failure}"
            return RunOutcome(
                RunStatus.FAILED, reason, stopped.step_id, stopped.failure.exit_code, tuple(execution.pushed)
            )
        for step in execution.task.steps:
            await execution.log.say(_MARKED.format(step.id, elapsed[step.id]))
        pushed = tuple(execution.pushed)
        try:
            dependencies = await populate_dependencies(execution)
        except DigestUnknown:
            return RunOutcome(
                RunStatus.FAILED, "failed during run, err: exit status 1", exit_code=1, output_images=pushed
            )
        return RunOutcome(RunStatus.SUCCEEDED, output_images=pushed, dependencies=tuple(dependencies))


async def _set_up(execution: Execution) -> None:
    log, steps = execution.log, execution.task.steps
    for warning in execution.task.warnings:
        await log.say(f"WARNING: {warning}")
    if _shares_a_network(execution.task):
        names = execution.task.networks or (DEFAULT_NETWORK,)
        for name in names:
            await log.say(f"Creating Docker network: {name}, driver: 'bridge'")
        containers = [step.id for step in steps if step.kind is StepKind.CMD]
        execution.addresses = {name: execution.store.allocate_address() for name in containers}
        for name in names:
            await log.say(f"Successfully set up Docker network: {name}")
    await log.say("Setting up Docker configuration...")
    await log.say("Successfully set up Docker configuration")
    for server in execution.run.logins:
        await log.say(f"Logging in to registry: {server}")


def _shares_a_network(task: TaskFile) -> bool:
    """Whether two containers may run at the same time, or the task asks for a network."""
    asked = any(step.detach or step.ports or step.expose or step.network != DEFAULT_NETWORK for step in task.steps)
    containers = [step for step in task.steps if step.kind is StepKind.CMD and not step.run.startswith("docker ")]
    return asked or concurrent(containers, task.steps)


async def _finish(outcome: RunOutcome, run: RunInfo, journal: RunLog, elapsed: float) -> RunOutcome:
    await journal.raw("")
    if outcome.status is RunStatus.SUCCEEDED:
        await journal.raw(f"Run ID: {run.id} was successful after {elapsed:.0f}s")
    else:
        await journal.raw(f"Run ID: {run.id} failed after {elapsed:.0f}s. Error: {outcome.error}")
    return replace(outcome, error=journal.masker.mask(outcome.error), elapsed_seconds=elapsed)


@contextmanager
def _folders(
    volumes: Sequence[Volume], logins: Mapping[str, Login], below: Path | None
) -> Iterator[tuple[Path, dict[str, Path]]]:
    """The home folder of the containers, with the run's logins as `docker login` stores them, and those of the volumes
    by name.

    Only this user has access here; in a container every user can read the volumes, and root alone the logins.
    Source: https://github.com/Azure/acr-builder, builder/setup_unix.go and builder/login.go
    """
    with tempfile.TemporaryDirectory(prefix="basegate-volumes-", dir=below) as private:
        home = Path(private, "home")
        (home / ".docker").mkdir(parents=True)
        write_docker_logins(home / ".docker" / "config.json", logins)
        folders = {}
        for number, volume in enumerate(volumes):
            folder = folders[volume.name] = Path(private, str(number))
            folder.mkdir()
            for name, content in volume.files.items():
                (folder / name).write_bytes(content)
        yield home, folders
