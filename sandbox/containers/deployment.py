"""Changes of container groups, one at a time for each group: the images first, then the short swap."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator
from typing import Any

import msgspec

from sandbox.containers.group import GroupRuntime
from sandbox.containers.images import HostingEngine, Images
from sandbox.containers.journal import Journal
from sandbox.containers.pace import Pace
from sandbox.containers.shapes import Ending, GroupRecord
from sandbox.containers.updates import require_updatable
from sandbox.containers.view import id_of
from sandbox.engine.contract import EngineError
from sandbox.store import Collection
from sandbox.web import Fault

log = logging.getLogger(__name__)


class Deployments:
    """The groups at work, by ARM id without regard to case."""

    def __init__(self, records: Collection[GroupRecord], engine: HostingEngine, images: Images, pace: Pace) -> None:
        self._records, self._engine, self._images, self._pace = records, engine, images, pace
        self._runtimes: dict[str, GroupRuntime] = {}
        self._resuming: set[asyncio.Task[None]] = set()

    def runtime(self, record: GroupRecord) -> GroupRuntime:
        """What exists of a group on the engine."""
        key = id_of(record).lower()
        if key not in self._runtimes:
            self._runtimes[key] = GroupRuntime(key, self._engine, self._pace)
        return self._runtimes[key]

    @contextlib.contextmanager
    def transition(self, record: GroupRecord) -> Iterator[GroupRuntime]:
        """Nobody else may change the group meanwhile.

        Raises:
            Fault: 409 ContainerGroupTransitioning where somebody does.
        """
        runtime = self._begin(record)
        try:
            yield runtime
        finally:
            runtime.transitioning = False

    async def prepare(self, wanted: GroupRecord) -> Coroutine[Any, Any, None] | None:
        """Check a definition against what runs and fetch its images, while that runs on; return the swap.

        None where nothing has to change on the engine. The group is in transition until the swap has ended.

        Raises:
            Fault: 409 ContainerGroupTransitioning, 400 InvalidContainerGroupUpdate, or the pull's; the group is then
                as it was.
        """
        runtime = self._begin(wanted)
        before = runtime.provisioning
        try:
            old = self._records.get(id_of(wanted))
            if old and self._runs(old, runtime):
                if not _differs(old, wanted):
                    self._keep(msgspec.structs.replace(old, tags=wanted.tags))
                    runtime.transitioning = False
                    return None
                require_updatable(wanted.name, old.properties, wanted.properties)
            runtime.provisioning = "Pending"
            journals = {container.name: Journal() for container in wanted.properties.containers}
            images = await self._pull(wanted, journals)
        except BaseException:
            runtime.provisioning, runtime.transitioning = before, False
            if self._records.get(id_of(wanted)) is None:
                self._runtimes.pop(id_of(wanted).lower(), None)
            raise
        record = self._keep(msgspec.structs.replace(wanted, images=images, endings={}))
        return self._swap(record, runtime, journals)

    async def halt(self, record: GroupRecord) -> None:
        """Stop a group until it is started again. Raises as `transition`."""
        with self.transition(record) as runtime:
            await runtime.halt()
            self._keep(msgspec.structs.replace(record, stopped=True, endings={}))

    async def restart(self, record: GroupRecord) -> None:
        """Start the containers anew from the images they have. Raises as `transition` and `GroupRuntime.deploy`."""
        with self.transition(record) as runtime:
            kept = self._keep(msgspec.structs.replace(record, stopped=False, endings={}))
            await runtime.deploy(kept, {name: c.journal for name, c in runtime.containers.items()})

    async def delete(self, group_id: str) -> None:
        """Remove a group, its containers and its address."""
        runtime = self._runtimes.pop(group_id.lower(), None)
        if runtime:
            await runtime.close()
        self._records.remove(group_id)

    def resume_all(self) -> None:
        """Begin to bring back every group that is neither stopped nor ended."""
        for record in self._records.values():
            runtime = self.runtime(record)
            if record.stopped or record.endings:
                runtime.rest(record)
                continue
            task = asyncio.get_running_loop().create_task(self._resume(record))
            self._resuming.add(task)
            task.add_done_callback(self._resuming.discard)

    async def close_all(self) -> None:
        """Remember which groups have ended, then stop and remove all containers."""
        for task in list(self._resuming):
            task.cancel()
        await asyncio.gather(*self._resuming, return_exceptions=True)
        for record in list(self._records.values()):
            runtime = self.runtime(record)
            if runtime.ended and not record.stopped:
                self._keep(msgspec.structs.replace(record, endings=_endings(runtime)))
        await asyncio.gather(*(runtime.close() for runtime in self._runtimes.values()))
        self._runtimes.clear()

    async def _swap(self, record: GroupRecord, runtime: GroupRuntime, journals: dict[str, Journal]) -> None:
        try:
            await runtime.deploy(record, journals)
        except EngineError as error:
            runtime.provisioning = "Failed"
            raise Fault(500, "InternalServerError", f"The container engine refused: {error}") from error
        finally:
            runtime.transitioning = False

    async def _resume(self, record: GroupRecord) -> None:
        with self.transition(record) as runtime:
            try:
                await runtime.resume(record, self._images)
            except (Fault, EngineError) as error:
                runtime.provisioning = "Failed"
                log.warning("Container group %s does not come back: %s", record.name, error)
            else:
                self._keep(record)

    async def _pull(self, record: GroupRecord, journals: dict[str, Journal]) -> dict[str, str]:
        properties, images = record.properties, {}
        for container in properties.containers:
            images[container.name] = await self._images.pull(
                container.properties.image,
                properties.image_registry_credentials,
                record.name,
                journals[container.name],
            )
        return images

    def _begin(self, record: GroupRecord) -> GroupRuntime:
        runtime = self.runtime(record)
        if runtime.transitioning:
            message = f"The container group '{record.name}' is still transitioning, please retry later."
            raise Fault(409, "ContainerGroupTransitioning", message)
        runtime.transitioning = True
        return runtime

    @staticmethod
    def _runs(record: GroupRecord, runtime: GroupRuntime) -> bool:
        # A stopped or ended group cannot be updated: it is deployed as new.
        return not record.stopped and not runtime.ended

    def _keep(self, record: GroupRecord) -> GroupRecord:
        return self._records.put(id_of(record), record)


def _differs(old: GroupRecord, new: GroupRecord) -> bool:
    return (old.properties, old.identity) != (new.properties, new.identity)


def _endings(runtime: GroupRuntime) -> dict[str, Ending]:
    return {
        name: Ending(
            exit_code=container.current.exit_code or 0,
            started=container.current.started,
            finished=container.current.finished,
        )
        for name, container in runtime.containers.items()
    }
