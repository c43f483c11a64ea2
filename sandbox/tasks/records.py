"""The records of tasks and runs, and their ARM views."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from sandbox.arm.body import Body
from sandbox.tasks.requests import (
    AgentConfiguration,
    BaseImageDependency,
    Credentials,
    Identity,
    Platform,
    Step,
    TaskProperties,
)

RunType = Literal["QuickRun", "QuickBuild", "AutoRun", "AutoBuild"]
TERMINAL = frozenset(("Succeeded", "Failed", "Canceled", "Error", "Timeout"))
_PROVISIONING = {"Succeeded": "Succeeded", "Canceled": "Canceled"}


def timestamp(moment: datetime) -> str:
    """A time in Azure's format: ISO 8601, UTC, with a Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A task. `registry` is the registry's name; `base_images` are known once a run has succeeded."""

    id: str
    name: str
    registry: str
    location: str
    created: str
    properties: TaskProperties
    tags: dict[str, str] | None = None
    identity: Identity | None = None
    base_images: list[BaseImageDependency] = []

    @property
    def key(self) -> str:
        """Its key in a collection."""
        return f"{self.registry}/{self.name}"

    @property
    def enabled(self) -> bool:
        """Whether the task may run."""
        return self.properties.status != "Disabled"


class ImageDescriptor(Body, frozen=True):
    """An image in a registry."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None


class SourceTriggerDescriptor(Body, frozen=True):
    """The commit that started a run."""

    id: str
    event_type: str
    commit_id: str
    branch_name: str
    repository_url: str
    provider_type: str = "Github"


class TimerTriggerDescriptor(Body, frozen=True):
    """The timer that started a run, and its scheduled time."""

    timer_trigger_name: str
    schedule_occurrence: str


class ImageUpdateTrigger(Body, frozen=True):
    """The updated images that started a run."""

    id: str
    timestamp: str
    images: list[ImageDescriptor]


class Cause(Body, frozen=True):
    """The trigger that started a run; all fields are None if a person or a program started it."""

    source_trigger: SourceTriggerDescriptor | None = None
    timer_trigger: TimerTriggerDescriptor | None = None
    image_update_trigger: ImageUpdateTrigger | None = None

    @property
    def automatic(self) -> bool:
        """Whether a trigger started the run."""
        return bool(self.source_trigger or self.timer_trigger or self.image_update_trigger)


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The work of a run: a step with its overrides applied, its timeout, credentials and identity.

    It contains secrets, so it is deleted as soon as the run has ended.
    """

    step: Step
    timeout: int
    credentials: Credentials | None = None
    identity: Identity | None = None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `number` counts the runs of its registry; `registry_id` is the registry's ARM id."""

    id: str
    number: int
    registry: str
    registry_id: str
    login_server: str
    status: str
    type: RunType
    created: str
    updated: str
    platform: Platform
    agent: AgentConfiguration | None = None
    task: str | None = None
    cause: Cause = msgspec.field(default_factory=Cause)
    work: Work | None = None
    archived: bool = False
    update_trigger_token: str | None = None
    started: str | None = None
    finished: str | None = None
    error: str | None = None
    custom_registries: list[str] = []
    output_images: list[ImageDescriptor] = []

    @property
    def key(self) -> str:
        """Its key in a collection."""
        return f"{self.registry}/{self.id}"

    @property
    def ended(self) -> bool:
        """Whether the status is terminal."""
        return self.status in TERMINAL

    def answer(self) -> dict[str, Any]:
        """The run as an ARM resource."""
        return {
            "type": "Microsoft.ContainerRegistry/registries/runs",
            "id": f"{self.registry_id}/runs/{self.id}",
            "name": self.id,
            "properties": {name: value for name, value in self._properties().items() if value is not None},
        }

    def _properties(self) -> dict[str, Any]:
        return {
            "runId": self.id,
            "status": self.status,
            "lastUpdatedTime": self.updated,
            "runType": self.type,
            "createTime": self.created,
            "startTime": self.started,
            "finishTime": self.finished,
            "outputImages": self.output_images or None,
            "task": self.task,
            "sourceTrigger": self.cause.source_trigger,
            "timerTrigger": self.cause.timer_trigger,
            "imageUpdateTrigger": self.cause.image_update_trigger,
            "platform": self.platform,
            "agentConfiguration": self.agent,
            "customRegistries": self.custom_registries or None,
            "runErrorMessage": self.error,
            "updateTriggerToken": self.update_trigger_token,
            "isArchiveEnabled": self.archived,
            "provisioningState": _PROVISIONING.get(self.status, "Failed" if self.ended else "Creating"),
        }
