"""Converts a request or a task into an order for a run, with the overrides applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from sandbox.tasks.ports import Registry
from sandbox.tasks.records import Cause, RunType, TaskRecord, Work
from sandbox.tasks.requests import (
    DEFAULT_TIMEOUT_SECONDS,
    AgentConfiguration,
    DockerBuildRequest,
    DockerStep,
    EncodedTaskRunRequest,
    EncodedTaskStep,
    FileTaskStep,
    NamedValue,
    Overrides,
    Platform,
    QuickRequest,
    Step,
)
from sandbox.web import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A requested run."""

    registry: Registry
    type: RunType
    work: Work
    platform: Platform
    agent: AgentConfiguration | None = None
    task: str | None = None
    cause: Cause = field(default_factory=Cause)
    archived: bool = False
    update_trigger_token: str | None = None


def order_task(registry: Registry, task: TaskRecord, cause: Cause, overrides: Overrides | None = None) -> Order:
    """Order a run of a task, started by a trigger or manually.

    Raises:
        Fault: 400 if the task is disabled, has no step, or does not support the overrides.
    """
    properties = task.properties
    if not task.enabled:
        raise Fault(400, "TaskDisabled", f"The task '{task.name}' of {registry.name} is disabled.")
    if properties.step is None:
        raise Fault(400, "InvalidTask", f"The task '{task.name}' of {registry.name} has no step to run.")
    overrides = overrides or Overrides()
    step = _override(properties.step, overrides)
    timeout = properties.timeout or DEFAULT_TIMEOUT_SECONDS
    work = Work(step=step, timeout=timeout, credentials=properties.credentials, identity=task.identity)
    return Order(
        registry=registry,
        type=_run_type(step, cause.automatic),
        work=work,
        platform=_complete(properties.platform or Platform(os="linux")),
        agent=properties.agent_configuration,
        task=task.name,
        cause=cause,
        update_trigger_token=overrides.update_trigger_token,
    )


def order_quick(registry: Registry, request: QuickRequest) -> Order:
    """Order a run without a task."""
    step = _quick_step(request)
    timeout = request.timeout or DEFAULT_TIMEOUT_SECONDS
    return Order(
        registry=registry,
        type=_run_type(step, automatic=False),
        work=Work(step=step, timeout=timeout, credentials=request.credentials),
        platform=_complete(request.platform),
        agent=request.agent_configuration,
        archived=bool(request.is_archive_enabled),
    )


def _run_type(step: Step, automatic: bool) -> RunType:
    if isinstance(step, DockerStep):
        return "AutoBuild" if automatic else "QuickBuild"
    return "AutoRun" if automatic else "QuickRun"


def _complete(platform: Platform) -> Platform:
    return replace(platform, os=platform.os.lower(), architecture=platform.architecture or "amd64")


def _quick_step(request: QuickRequest) -> Step:
    if isinstance(request, DockerBuildRequest):
        return DockerStep(
            docker_file_path=request.docker_file_path,
            image_names=request.image_names,
            is_push_enabled=request.is_push_enabled,
            no_cache=request.no_cache,
            target=request.target,
            arguments=request.arguments,
            context_path=request.source_location,
        )
    if isinstance(request, EncodedTaskRunRequest):
        return EncodedTaskStep(
            encoded_task_content=request.encoded_task_content,
            encoded_values_content=request.encoded_values_content,
            values=request.values,
            context_path=request.source_location,
        )
    return FileTaskStep(
        task_file_path=request.task_file_path,
        values_file_path=request.values_file_path,
        values=request.values,
        context_path=request.source_location,
    )


def _override(step: Step, overrides: Overrides) -> Step:
    if overrides.context_path:
        step = replace(step, context_path=overrides.context_path)
    if isinstance(step, DockerStep):
        _refuse("values", overrides.values, step)
        return replace(
            step,
            docker_file_path=overrides.file or step.docker_file_path,
            target=overrides.target or step.target,
            arguments=_merge(step.arguments, overrides.arguments),
        )
    _refuse("arguments", overrides.arguments, step)
    _refuse("target", overrides.target, step)
    step = replace(step, values=_merge(step.values, overrides.values))
    if isinstance(step, FileTaskStep):
        return replace(step, task_file_path=overrides.file or step.task_file_path)
    _refuse("file", overrides.file, step)
    return step


def _merge(old: Sequence[NamedValue] | None, new: Sequence[NamedValue] | None) -> list[NamedValue]:
    return list({item.name: item for item in (*(old or ()), *(new or ()))}.values())


def _refuse(name: str, value: object, step: Step) -> None:
    if value:
        kind = type(step).__name__.removesuffix("Step")
        field = f"overrideTaskStepProperties.{name}"
        message = f"'{field}' does not apply to a step of type {kind}, and the sandbox ignores no field."
        raise Fault(400, "InvalidRequestContent", message)
