"""Changes of container groups, one at a time per group: first the images are pulled, then the containers replaced."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator
from typing import Any

import msgspec

from sandbox.containers.backoff import Backoff
from sandbox.containers.group import GroupRuntime
from sandbox.containers.images import HostingEngine, Images
from sandbox.containers.journal import Journal
from sandbox.containers.shapes import Ending, GroupRecord
from sandbox.containers.validation import require_updatable
from sandbox.containers.view import id_of
from sandbox.engine.contract import EngineError
from sandbox.store import Collection
from sandbox.web import Fault

log = logging.getLogger(__name__)


class Deployments:
    """The deployed groups, by case-insensitive ARM id."""

    def __init__(
        self, records: Collection[GroupRecord], engine: HostingEngine, images: Images, restarts: Backoff
    ) -> None:
        self._records, self._engine, self._images, self._restarts = records, engine, images, restarts
        self._runtimes: dict[str, GroupRuntime] = {}
        self._resuming: set[asyncio.Task[None]] = set()

    def runtime(self, record: GroupRecord) -> GroupRuntime:
        """The runtime of a group on the engine."""
        key = id_of(record).lower()
        if key not in self._runtimes:
            self._runtimes[key] = GroupRuntime(key, self._engine, self._restarts)
        return self._runtimes[key]

    def runs(self, record: GroupRecord) -> bool:
        """Whether a group is running: one that is stopped, has ended or never started is deployed as new."""
        runtime = self.runtime(record)
        up = bool(runtime.containers) and runtime.provisioning != "Failed"
        return up and not record.stopped and not runtime.ended

    async def prepare(self, requested: GroupRecord) -> Coroutine[Any, Any, None]:
        """Check a definition against the running group and pull its images while it keeps running; return the swap.

        The group is in transition until the swap has ended. As in Azure, the containers are restarted even if
        the definition is unchanged.

        Source: https://learn.microsoft.com/azure/container-instances/container-instances-update

        Raises:
            Fault: 409 ContainerGroupTransitioning, 409 OperationPreempted, 400 InvalidContainerGroupUpdate, or an
                error of the pull; the group is then unchanged.
        """
        runtime = self._begin(requested)
        before = runtime.provisioning
        try:
            old = self._records.get(id_of(requested))
            if old and self.runs(old):
                require_updatable(requested.name, old.properties, requested.properties)
            runtime.provisioning = "Pending"
            journals = {container.name: Journal() for container in requested.properties.containers}
            images = await runtime.transition.run(self._pull(requested, journals))
        except BaseException:  # a cancellation, too: the group must not stay reserved
            runtime.provisioning = before
            runtime.transition.end()
            if self._records.get(id_of(requested)) is None:
                self._runtimes.pop(id_of(requested).lower(), None)
            raise
        record = self._keep(msgspec.structs.replace(requested, images=images, endings={}))
        return self._swap(record, runtime, journals)

    async def halt(self, record: GroupRecord) -> None:
        """Stop a group until it is started or deployed again. One that has ended by itself is left unchanged.

        Source: https://learn.microsoft.com/azure/container-instances/container-instances-stop-start

        Raises:
            Fault: 409 ContainerGroupTransitioning, 409 OperationPreempted, or 500 if the engine fails.
        """
        with _turn_of(self._begin(record)) as runtime:
            if not runtime.ended:
                await runtime.transition.run(runtime.stop())
                self._amend(record, stopped=True, endings=_endings(runtime))

    async def restart(self, record: GroupRecord) -> None:
        """Restart the containers from their current images. Raises like `halt` and `GroupRuntime.deploy`."""
        runtime = self._begin(record)
        updated = self._amend(record, stopped=False, endings={})
        await self._swap(updated, runtime, {name: c.journal for name, c in runtime.containers.items()})

    async def delete(self, group_id: str) -> None:
        """Remove a group, its containers and its address; a change in progress is cancelled first.

        Raises:
            Fault: 500 if the engine fails; the group then still exists, and can be deleted again.
        """
        key = group_id.lower()
        runtime = self._runtimes.get(key)
        if runtime is None:
            self._records.remove(key)
            return
        async with runtime.transition.takeover():
            with _errors(runtime):
                await runtime.close()
            # Another deletion may have finished first, and a new group with this name may exist since.
            if self._runtimes.get(key) is runtime:
                del self._runtimes[key]
                self._records.remove(key)

    async def delete_all(self, prefix: str) -> None:
        """Delete all groups whose id starts with `prefix`, even during their first deployment. Raises like `delete`."""
        while found := self._ids(prefix.lower()):
            await asyncio.gather(*map(self.delete, found))

    def resume_all(self) -> None:
        """Start to restore every group that is neither stopped nor ended."""
        for record in self._records.values():
            runtime = self.runtime(record)
            if record.stopped or record.endings:
                runtime.rest(record)
                continue
            task = asyncio.get_running_loop().create_task(self._resume(id_of(record)))
            self._resuming.add(task)
            task.add_done_callback(self._resuming.discard)

    async def close_all(self) -> None:
        """Store which groups have ended, then cancel all changes, and stop and remove all containers."""
        for task in list(self._resuming):
            task.cancel()
        await asyncio.gather(*self._resuming, return_exceptions=True)
        for record in list(self._records.values()):
            runtime = self.runtime(record)
            if runtime.ended and not record.stopped:
                self._amend(record, endings=_endings(runtime))
        await asyncio.gather(*map(_close, self._runtimes.values()))
        self._runtimes.clear()

    async def _swap(self, record: GroupRecord, runtime: GroupRuntime, journals: dict[str, Journal]) -> None:
        with _turn_of(runtime):
            await runtime.transition.run(runtime.deploy(record, journals))

    async def _resume(self, group_id: str) -> None:
        record = self._records.get(group_id)
        if record is None or self.runtime(record).containers:
            return  # It was deleted or deployed again before this task ran.
        try:
            with _turn_of(self._begin(record)) as runtime:
                await runtime.transition.run(runtime.resume(record, self._images))
                self._amend(record, images=record.images)
        except Fault as fault:
            log.warning("Container group %s cannot be restored: %s", record.name, fault)

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
        runtime.transition.begin(record.name)
        return runtime

    def _ids(self, prefix: str) -> set[str]:
        stored = {id_of(record).lower() for record in self._records.values(prefix)}
        return stored | {key for key in self._runtimes if key.startswith(prefix)}

    def _amend(self, record: GroupRecord, **changes: Any) -> GroupRecord:
        # The tags may have been patched since the record was read.
        latest = self._records.get(id_of(record)) or record
        return self._keep(msgspec.structs.replace(latest, **changes))

    def _keep(self, record: GroupRecord) -> GroupRecord:
        return self._records.put(id_of(record), record)


@contextlib.contextmanager
def _turn_of(runtime: GroupRuntime) -> Iterator[GroupRuntime]:
    """Run the rest of a change that has begun, and end its transition."""
    try:
        with _errors(runtime):
            yield runtime
    finally:
        runtime.transition.end()


@contextlib.contextmanager
def _errors(runtime: GroupRuntime) -> Iterator[None]:
    """Convert an engine error to an ARM error, and mark the group as failed."""
    try:
        yield
    except EngineError as error:
        runtime.provisioning = "Failed"
        raise Fault(500, "InternalServerError", f"The container engine refused: {error}") from error


async def _close(runtime: GroupRuntime) -> None:
    async with runtime.transition.takeover():
        await runtime.close()


def _endings(runtime: GroupRuntime) -> dict[str, Ending]:
    return {
        name: Ending(
            exit_code=container.current.exit_code or 0,
            started=container.current.started,
            finished=container.current.finished,
        )
        for name, container in runtime.containers.items()
    }
