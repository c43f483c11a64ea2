"""ACR Tasks: the tasks and runs of the sandbox's container registries."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from sandbox.arm.surface import ResourceId
from sandbox.git import GitPush
from sandbox.store import Collection
from sandbox.tasks.arm.runs import RunResources
from sandbox.tasks.arm.tasks import FindIdentity, TaskResources
from sandbox.tasks.ports import (
    Clock,
    ImagePush,
    Registries,
    Repositories,
    Storage,
    SystemClock,
    TaskRunner,
    Vaults,
)
from sandbox.tasks.records import Cause, TaskRecord
from sandbox.tasks.runs.agent import Agent
from sandbox.tasks.runs.blobs import Blobs
from sandbox.tasks.runs.context import Contexts
from sandbox.tasks.runs.logins import Logins
from sandbox.tasks.runs.order import order_task
from sandbox.tasks.runs.queue import Runs
from sandbox.tasks.runs.register import RunRegister
from sandbox.tasks.triggers import BaseImageTriggers, CommitTriggers, Timers
from sandbox.web import Fault, Surface


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services that ACR Tasks uses.

    `session` creates a client that reaches the sandbox by real names (`Gateway.outside`); `find_identity` looks up
    a user-assigned identity by its ARM id.
    """

    registries: Registries
    vaults: Vaults
    storage: Storage
    repositories: Repositories
    runner: TaskRunner
    session: Callable[[], aiohttp.ClientSession]
    find_identity: FindIdentity
    clock: Clock = field(default_factory=SystemClock)


class Tasks:
    """Stores tasks, runs them on request or when triggered, and serves their operations on the ARM surface.

    Args:
        folder: stores tasks, runs and, in `contexts`, what runs in progress use; what a killed process left there is
            removed.
        services: the services that it uses.
        workers: the maximum number of concurrent runs.
        time_scale: divides the timeouts of runs.
    """

    def __init__(self, folder: Path, services: Services, *, workers: int = 3, time_scale: float = 1.0) -> None:
        folder.chmod(0o700)  # it contains secret values and access tokens of tasks
        self._registries = services.registries
        self._tasks = Collection(folder / "tasks.json", TaskRecord)
        self._blobs = Blobs(services.storage, services.session)
        scratch = folder / "contexts"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        contexts = Contexts(services.repositories, self._blobs)
        logins = Logins(services.registries, services.vaults)
        agent = Agent(scratch, contexts, logins, services.runner)
        self._register = RunRegister(folder / "runs.json")
        self._runs = Runs(self._register, agent, self._blobs, workers=workers, time_scale=time_scale)
        self._commits = CommitTriggers(self._tasks, self._start)
        self._images = BaseImageTriggers(self._tasks, services.registries, self._start)
        self._timers = Timers(self._tasks, self._start, services.clock)
        self._task_resources = TaskResources(self._tasks, services.registries, services.find_identity)
        self._run_resources = RunResources(
            self._runs, self._register, self._task_resources, services.registries, self._blobs
        )
        self._runs.on_finish.append(self._images.learn)

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        self._task_resources.mount(arm)
        self._run_resources.mount(arm)

    async def start(self) -> None:
        """Resume queued runs and start polling timers. Storage must be available."""
        await self._runs.start()
        await self._timers.start()

    async def stop(self) -> None:
        """Stop all runs in progress. Storage must still be available, for the last lines of the logs."""
        await self._timers.stop()
        await self._runs.stop()
        await self._blobs.close()

    async def on_commit(self, push: GitPush) -> None:
        """Start the tasks that watch a branch of a Git repository, which has a new head."""
        await self._commits.on_commit(push)

    async def on_push(self, push: ImagePush) -> None:
        """Start the tasks that are based on an image that was pushed to a registry."""
        await self._images.on_push(push)

    async def delete_group(self, group: str) -> None:
        """Delete the tasks and runs of a resource group's registries."""
        ids = {task.registry: task.id for task in self._tasks.values()} | self._register.registries()
        for registry, resource_id in ids.items():
            if ResourceId.parse(resource_id).group.lower() == group.lower():
                await self.delete_registry(registry)

    async def delete_registry(self, registry: str) -> None:
        """Delete the tasks and runs of a registry that was deleted."""
        for task in self._tasks.values(f"{registry}/"):
            self._tasks.remove(task.key)
        await self._runs.delete_registry(registry)

    def _start(self, task: TaskRecord, cause: Cause) -> None:
        registry = self._registries.find(task.registry)
        if registry is None:
            raise Fault(404, "ResourceNotFound", f"There is no registry '{task.registry}'.")
        self._runs.schedule(order_task(registry, task, cause))
