"""The runs of every registry: queued, carried out a few at a time, and remembered."""

from __future__ import annotations

import asyncio
import itertools
import logging
import string
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from sandbox.git.commands import GitError
from sandbox.store import Collection
from sandbox.tasks.logs import RunLog, conclude_log, finish_log
from sandbox.tasks.model import TaskFileError
from sandbox.tasks.outcome import ImageReference, RunOutcome, RunStatus
from sandbox.tasks.records import ImageDescriptor, RunRecord, timestamp
from sandbox.tasks.runs_blobs import Blobs
from sandbox.tasks.runs_execution import Execution
from sandbox.tasks.runs_work import Order
from sandbox.web import Fault

log = logging.getLogger(__name__)

_KEPT_PER_REGISTRY = 1000
_INTERRUPTED = "The sandbox was stopped while the run was under way."


class Runs:
    """Starts, cancels and remembers runs.

    Args:
        file: where they are remembered.
        execution: carries one out.
        blobs: where the logs go.
        workers: how many may be under way at the same time; the others are queued.
        time_scale: divides the time a run may take.
    """

    def __init__(
        self, file: Path, execution: Execution, blobs: Blobs, *, workers: int = 3, time_scale: float = 1.0
    ) -> None:
        self._records = Collection(file, RunRecord)
        self._execution, self._blobs, self._time_scale = execution, blobs, time_scale
        self._slots = asyncio.Semaphore(workers)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._concluding: set[str] = set()  # their outcome is there: nothing is left to cancel
        self._stopping = False
        self.on_finish: list[Callable[[RunRecord, RunOutcome], None]] = []

    async def start(self) -> None:
        """Queue again what was queued when the sandbox was stopped; what was under way then ends as Error."""
        self._stopping = False
        for run in list(self._records.values()):
            if run.status == "Queued":
                self._begin(run)
            elif not run.ended:
                await self._end_unwatched(run, "Error", _INTERRUPTED)

    async def stop(self) -> None:
        """Cancel what is under way (it ends as Error) and wait until its containers are gone."""
        self._stopping = True
        tasks = dict(self._under_way)
        for key in tasks.keys() - self._concluding:
            tasks[key].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    def schedule(self, order: Order) -> RunRecord:
        """Queue a run and return it."""
        name, now = order.registry.name, timestamp(datetime.now(UTC))
        self._forget_oldest(name)
        run_id, number = self._next_id(name)
        run = RunRecord(
            id=run_id,
            number=number,
            registry=name,
            registry_id=order.registry.id,
            login_server=order.registry.login_server,
            status="Queued",
            type=order.type,
            created=now,
            updated=now,
            platform=order.platform,
            agent=order.agent,
            task=order.task,
            cause=order.cause,
            work=order.work,
            archived=order.archived,
            update_trigger_token=order.update_trigger_token,
        )
        self._records.put(run.key, run)
        self._begin(run)
        return run

    def get(self, registry: str, run_id: str) -> RunRecord:
        """One run.

        Raises:
            Fault: 404 where the registry has none of that id.
        """
        run = self._records.get(f"{registry}/{run_id}")
        if run is None:
            raise Fault(404, "RunNotFound", f"The registry '{registry}' has no run '{run_id}'.")
        return run

    def newest_first(self, registry: str) -> list[RunRecord]:
        """The runs of a registry."""
        return sorted(self._records.values(f"{registry}/"), key=lambda run: run.number, reverse=True)

    def registries(self) -> dict[str, str]:
        """The names and ARM ids of the registries that have runs."""
        return {run.registry: run.registry_id for run in self._records.values()}

    def archive(self, run: RunRecord, archived: bool) -> RunRecord:
        """Keep a run's log, or let it go (a mark without effect: logs are kept anyway)."""
        return self._change(run.key, archived=archived)

    async def cancel(self, registry: str, run_id: str) -> None:
        """End a run as Canceled: at once where it is queued, when its containers are gone where it is under way.

        Raises:
            Fault: 404 where there is none, 409 where it has ended.
        """
        run = self.get(registry, run_id)
        if run.ended or run.key in self._concluding:
            raise Fault(409, "RunAlreadyFinished", f"The run '{run.id}' has ended already.")
        self._under_way[run.key].cancel()
        if run.status == "Queued":
            await self._end_unwatched(run, "Canceled", "The run was canceled before it began.")

    async def delete_registry(self, registry: str) -> None:
        """Cancel and forget the runs of a registry."""
        for run in self.newest_first(registry):
            task = self._under_way.get(run.key)
            if task:
                if run.key not in self._concluding:
                    task.cancel()
                await asyncio.wait([task])
            self._records.remove(run.key)

    def _begin(self, run: RunRecord) -> None:
        task = asyncio.create_task(self._take_turn(run.key), name=f"run {run.key}")
        self._under_way[run.key] = task
        task.add_done_callback(lambda _: self._under_way.pop(run.key, None))

    async def _take_turn(self, key: str) -> None:
        async with self._slots:
            run = self._change(key, status="Started", started=timestamp(datetime.now(UTC)))
            began = time.monotonic()
            lines = RunLog(self._blobs, run)
            outcome = await self._watch(run, lines)
            self._concluding.add(key)
            await conclude_log(lines, run, outcome, time.monotonic() - began)
            images = [_descriptor(image) for image in outcome.output_images]
            run = self._finish(key, outcome.status.value, outcome.error, images)
            self._concluding.remove(key)
        for listener in self.on_finish:
            listener(run, outcome)

    async def _watch(self, run: RunRecord, lines: RunLog) -> RunOutcome:
        try:
            await lines.open()
            outcome = await self._carry_out(run, lines)
        except TimeoutError:
            outcome = RunOutcome(RunStatus.TIMEOUT, "The run took longer than its timeout.")
        except asyncio.CancelledError:
            outcome = RunOutcome(RunStatus.CANCELED)
        except (Fault, TaskFileError, GitError) as error:
            outcome = RunOutcome(RunStatus.FAILED, error.message if isinstance(error, Fault) else str(error))
        except Exception:  # whatever breaks here must end this run, and not leave it Running for ever
            log.exception("The run %s could not be carried out", run.key)
            outcome = RunOutcome(RunStatus.ERROR, "The sandbox failed to carry out the run; its own log says why.")
        if outcome.status is RunStatus.CANCELED and self._stopping:
            return RunOutcome(RunStatus.ERROR, _INTERRUPTED)
        return outcome

    async def _carry_out(self, run: RunRecord, lines: RunLog) -> RunOutcome:
        assert run.work is not None
        seconds = run.work.timeout / self._time_scale
        run = self._change(run.key, status="Running", custom_registries=_custom(run))
        async with asyncio.timeout(seconds) as limit:
            outcome = await self._execution.carry_out(run, seconds, lines.write)
        if limit.expired():  # the runner took the cancellation for a user's
            raise TimeoutError
        return outcome

    async def _end_unwatched(self, run: RunRecord, status: str, reason: str) -> None:
        self._finish(run.key, status, reason, [])
        await finish_log(self._blobs, run, status, reason)

    def _finish(self, key: str, status: str, error: str, images: list[ImageDescriptor]) -> RunRecord:
        finished = timestamp(datetime.now(UTC))
        return self._change(key, status=status, finished=finished, error=error or None, output_images=images, work=None)

    def _change(self, key: str, **changes: Any) -> RunRecord:
        run = self._records.get(key)
        assert run is not None
        return self._records.put(key, replace(run, updated=timestamp(datetime.now(UTC)), **changes))

    def _next_id(self, registry: str) -> tuple[str, int]:
        runs = self.newest_first(registry)
        if runs:
            prefix, number = _prefix(runs[0]), runs[0].number + 1
        else:
            taken = {_prefix(run) for run in self._records.values()}
            prefix, number = next(name for name in _prefixes() if name not in taken), 1
        return f"{prefix}{number}", number

    def _forget_oldest(self, registry: str) -> None:
        for run in self.newest_first(registry)[_KEPT_PER_REGISTRY - 1 :]:
            if run.ended:
                self._records.remove(run.key)


def _prefix(run: RunRecord) -> str:
    return run.id.rstrip(string.digits)


def _prefixes() -> Iterator[str]:
    return ("".join(pair) for pair in itertools.product("cdefghij", string.ascii_lowercase))


def _custom(run: RunRecord) -> list[str]:
    credentials = run.work.credentials if run.work else None
    return list((credentials.custom_registries if credentials else None) or ())


def _descriptor(image: ImageReference) -> ImageDescriptor:
    return ImageDescriptor(
        registry=image.registry, repository=image.repository, tag=image.tag or None, digest=image.digest or None
    )
