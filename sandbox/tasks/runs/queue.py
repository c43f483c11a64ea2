"""The runs of every registry: queued, executed a few at a time, and stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from sandbox.git.commands import GitError
from sandbox.tasks.outcome import RunOutcome, RunStatus
from sandbox.tasks.records import RunRecord, timestamp
from sandbox.tasks.runs.agent import Agent
from sandbox.tasks.runs.blobs import Blobs
from sandbox.tasks.runs.logs import LogBlob, close_log, finish_log
from sandbox.tasks.runs.order import Order
from sandbox.tasks.runs.register import RunRegister
from sandbox.tasks.taskfile.model import TaskFileError
from sandbox.web import Fault

log = logging.getLogger(__name__)

_INTERRUPTED = "The sandbox was stopped while the run was under way."


class Runs:
    """Starts, cancels and stores runs.

    Args:
        register: stores the runs.
        agent: executes a run.
        blobs: stores the logs.
        workers: the maximum number of concurrent runs; the others are queued.
        time_scale: divides the timeouts of runs.
    """

    def __init__(
        self, register: RunRegister, agent: Agent, blobs: Blobs, *, workers: int = 3, time_scale: float = 1.0
    ) -> None:
        self._register = register
        self._agent, self._blobs, self._time_scale = agent, blobs, time_scale
        self._slots = asyncio.Semaphore(workers)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._concluding: set[str] = set()  # their outcome is known: nothing is left to cancel
        self._stopping = False
        self.on_finish: list[Callable[[RunRecord, RunOutcome], None]] = []

    async def start(self) -> None:
        """Requeue the runs that were queued when the sandbox was stopped; those in progress then end as Error."""
        self._stopping = False
        for run in list(self._register.all()):
            if run.status == "Queued":
                self._begin(run)
            elif not run.ended:
                await self._end_unwatched(run, "Error", _INTERRUPTED)

    async def stop(self) -> None:
        """Cancel the runs in progress (they end as Error) and wait until their containers are removed."""
        self._stopping = True
        tasks = dict(self._under_way)
        for key in tasks.keys() - self._concluding:
            tasks[key].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    def schedule(self, order: Order) -> RunRecord:
        """Queue a run and return it."""
        run = self._register.add(order)
        self._begin(run)
        return run

    async def cancel(self, registry: str, run_id: str) -> None:
        """End a run as Canceled: immediately if it is queued, otherwise when its containers are removed.

        Raises:
            Fault: 404 if it does not exist, 409 if it has ended.
        """
        run = self._register.get(registry, run_id)
        if run.ended or run.key in self._concluding:
            raise Fault(409, "RunAlreadyFinished", f"The run '{run.id}' has ended already.")
        self._under_way[run.key].cancel()
        if run.status == "Queued":
            await self._end_unwatched(run, "Canceled", "The run was canceled before it began.")

    async def delete_registry(self, registry: str) -> None:
        """Cancel and delete the runs of a registry."""
        for run in self._register.newest_first(registry):
            task = self._under_way.get(run.key)
            if task:
                if run.key not in self._concluding:
                    task.cancel()
                await asyncio.wait([task])
            self._register.remove(run.key)

    def _begin(self, run: RunRecord) -> None:
        task = asyncio.create_task(self._take_turn(run.key), name=f"run {run.key}")
        self._under_way[run.key] = task
        task.add_done_callback(lambda _: self._under_way.pop(run.key, None))

    async def _take_turn(self, key: str) -> None:
        async with self._slots:
            run = self._register.change(key, status="Started", started=timestamp(datetime.now(UTC)))
            lines = LogBlob(self._blobs, run)
            outcome = await self._watch(run, lines)
            self._concluding.add(key)
            try:
                await close_log(lines, run, outcome.status.value)
            finally:
                run = self._register.finish(key, outcome.status.value, outcome.error, outcome.output_images)
                self._concluding.remove(key)
        for listener in self.on_finish:
            listener(run, outcome)

    async def _watch(self, run: RunRecord, lines: LogBlob) -> RunOutcome:
        began = time.monotonic()
        try:
            await lines.open()
            outcome = await self._carry_out(run, lines)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (any error ends this run, not the sandbox)
            outcome = _outcome_of(error, run)
            seconds = time.monotonic() - began
            await lines.write(f"Run ID: {run.id} failed after {seconds:.0f}s. Error: {outcome.error}")
        if outcome.status is RunStatus.CANCELED and self._stopping:
            return RunOutcome(RunStatus.ERROR, _INTERRUPTED)
        return outcome

    async def _carry_out(self, run: RunRecord, lines: LogBlob) -> RunOutcome:
        assert run.work is not None
        seconds = run.work.timeout / self._time_scale
        run = self._register.change(run.key, status="Running", custom_registries=_custom(run))
        return await self._agent.carry_out(run, seconds, lines.write)

    async def _end_unwatched(self, run: RunRecord, status: str, reason: str) -> None:
        self._register.finish(run.key, status, reason)
        await finish_log(self._blobs, run, status, reason)


def _outcome_of(error: BaseException, run: RunRecord) -> RunOutcome:
    """The outcome of a run that ended before it reached the runner."""
    if isinstance(error, asyncio.CancelledError):
        return RunOutcome(RunStatus.CANCELED, "the run was canceled")
    if isinstance(error, TimeoutError):
        return RunOutcome(RunStatus.TIMEOUT, "the run did not end within its timeout")
    if isinstance(error, Fault):
        return RunOutcome(RunStatus.FAILED, error.message)
    if isinstance(error, TaskFileError | GitError):
        return RunOutcome(RunStatus.FAILED, str(error))
    log.error("The run %s could not be executed", run.key, exc_info=error)
    return RunOutcome(RunStatus.ERROR, "The sandbox failed to carry out the run; its own log says why.")


def _custom(run: RunRecord) -> list[str]:
    credentials = run.work.credentials if run.work else None
    return list((credentials.custom_registries if credentials else None) or ())
