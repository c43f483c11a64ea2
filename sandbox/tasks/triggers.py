"""Starts tasks automatically: on a commit, a new version of a base image, or a timer.

Times of timers are UTC and not scaled. Occurrences that were missed while the sandbox was off are not caught up.
Source: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-scheduled
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from cronsim import CronSim
from msgspec.structs import replace

from sandbox.git import GitContext, GitPush
from sandbox.store import Collection
from sandbox.tasks.outcome import ImageReference, RunOutcome, RunStatus
from sandbox.tasks.ports import Clock, ImagePush, Registries
from sandbox.tasks.records import (
    Cause,
    ImageDescriptor,
    ImageUpdateTrigger,
    RunRecord,
    SourceTriggerDescriptor,
    TaskRecord,
    TimerTriggerDescriptor,
    timestamp,
)
from sandbox.tasks.requests import BaseImageDependency, SourceTrigger, TimerTrigger

_IMPORT = "importImage"
_POLL_EVERY = timedelta(seconds=15)

Start = Callable[[TaskRecord, Cause], None]


class CommitTriggers:
    """Starts the tasks that watch a branch. `start` queues a run."""

    def __init__(self, tasks: Collection[TaskRecord], start: Start) -> None:
        self._tasks, self._start = tasks, start

    async def on_commit(self, push: GitPush) -> None:
        """Start the tasks that watch a branch, which has a new head."""
        for task in self._tasks.values():
            triggers = (task.properties.trigger and task.properties.trigger.source_triggers) or ()
            trigger = next((one for one in triggers if _watches(one, push)), None)
            if trigger is not None and task.enabled:
                descriptor = SourceTriggerDescriptor(
                    id=str(uuid.uuid4()),
                    event_type="commit",
                    commit_id=push.commit,
                    branch_name=push.branch,
                    repository_url=trigger.source_repository.repository_url,
                )
                self._start(task, Cause(source_trigger=descriptor))


class BaseImageTriggers:
    """Starts the tasks whose base image has changed; records the base images of successful runs."""

    def __init__(self, tasks: Collection[TaskRecord], registries: Registries, start: Start) -> None:
        self._tasks, self._registries, self._start = tasks, registries, start

    async def on_push(self, push: ImagePush) -> None:
        """Start the tasks that are based on an image that was pushed to a registry of the sandbox.

        A push by digest, or of the digest already known, starts nothing; nor does an import
        (https://github.com/Azure/acr/issues/459). Images of Docker Hub are not watched.
        """
        registry = self._registries.find(push.registry)
        if push.action != "push" or push.tag is None or push.user_agent == _IMPORT or registry is None:
            return
        image = ImageDescriptor(
            registry=registry.login_server, repository=push.repository, tag=push.tag, digest=push.digest
        )
        for task in self._tasks.values():
            if _is_based_on(task, image):
                update = ImageUpdateTrigger(id=str(uuid.uuid4()), timestamp=timestamp(push.timestamp), images=[image])
                # The digest is recorded: pushing it twice starts one run.
                images = [_at(known, image) for known in task.base_images]
                task = self._tasks.put(task.key, replace(task, base_images=images))  # noqa: PLW2901
                self._start(task, Cause(image_update_trigger=update))

    def learn(self, run: RunRecord, outcome: RunOutcome) -> None:
        """Record the base images of a task's run if it has succeeded."""
        task = self._tasks.get(f"{run.registry}/{run.task}") if run.task else None
        if task is not None and outcome.status is RunStatus.SUCCEEDED:
            images = list({_key(image): image for image in _dependencies(outcome)}.values())
            self._tasks.put(task.key, replace(task, base_images=images))


def _watches(trigger: SourceTrigger, push: GitPush) -> bool:
    if trigger.status == "Disabled" or "commit" not in trigger.source_trigger_events:
        return False
    source = GitContext.parse(trigger.source_repository.repository_url)
    if source is None or source.repository != push.repository:
        return False
    return push.branch == (trigger.source_repository.branch or source.ref or "main")


def _is_based_on(task: TaskRecord, image: ImageDescriptor) -> bool:
    trigger = task.properties.trigger and task.properties.trigger.base_image_trigger
    if not trigger or trigger.status == "Disabled" or not task.enabled:
        return False
    kinds = ("RunTime",) if trigger.base_image_trigger_type == "Runtime" else ("RunTime", "BuildTime")
    return any(
        known.type in kinds and _same_tag(known, image) and known.digest != image.digest for known in task.base_images
    )


def _same_tag(known: BaseImageDependency, image: ImageDescriptor) -> bool:
    return (known.registry, known.repository, known.tag) == (image.registry, image.repository, image.tag)


def _at(known: BaseImageDependency, image: ImageDescriptor) -> BaseImageDependency:
    return replace(known, digest=image.digest) if _same_tag(known, image) else known


def _dependencies(outcome: RunOutcome) -> Iterator[BaseImageDependency]:
    for built in outcome.dependencies:
        for image in built.buildtime:
            yield _dependency("BuildTime", image)
        if built.runtime is not None:
            yield _dependency("RunTime", built.runtime)


def _dependency(kind: str, image: ImageReference) -> BaseImageDependency:
    return BaseImageDependency(
        type="RunTime" if kind == "RunTime" else "BuildTime",
        registry=image.registry,
        repository=image.repository,
        tag=image.tag or None,
        digest=image.digest or None,
    )


def _key(image: BaseImageDependency) -> tuple[str, ...]:
    return image.type, image.registry, image.repository, image.tag or ""


class Timers:
    """Checks every 15 seconds which timers have become due since the last check."""

    def __init__(self, tasks: Collection[TaskRecord], start: Start, clock: Clock) -> None:
        self._tasks, self._start, self._clock = tasks, start, clock
        self._polling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start polling."""
        self._polling = asyncio.create_task(self._poll(self._clock.now()))

    async def stop(self) -> None:
        """Stop polling."""
        if self._polling:
            self._polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polling

    async def _poll(self, last: datetime) -> None:
        while True:
            await self._clock.sleep(_POLL_EVERY.total_seconds())
            now = self._clock.now()
            for task, trigger, occurrence in list(self._due(last, now)):
                descriptor = TimerTriggerDescriptor(
                    timer_trigger_name=trigger.name, schedule_occurrence=f"{occurrence:%Y-%m-%dT%H:%M:%SZ}"
                )
                self._start(task, Cause(timer_trigger=descriptor))
            last = now

    def _due(self, after: datetime, until: datetime) -> Iterator[tuple[TaskRecord, TimerTrigger, datetime]]:
        for task in self._tasks.values():
            timers = (task.properties.trigger and task.properties.trigger.timer_triggers) or ()
            for trigger in timers if task.enabled else ():
                if trigger.status != "Disabled":
                    for occurrence in _occurrences(trigger.schedule, after, until):
                        yield task, trigger, occurrence


def _occurrences(schedule: str, after: datetime, until: datetime) -> Iterator[datetime]:
    for occurrence in CronSim(schedule, after.astimezone(UTC)):
        if occurrence > until:
            return
        yield occurrence
