"""The bodies that start or change a run: `POST …/scheduleRun` and `PATCH …/runs/{run}`.

Source: https://learn.microsoft.com/rest/api/container-registry/registries/schedule-run, api-version 2025-03-01-preview
"""

from __future__ import annotations

from sandbox.tasks.requests import AgentConfiguration, Body, Credentials, NamedValue, Platform, Timeout


class _Request(Body, tag_field="type", kw_only=True):
    is_archive_enabled: bool | None = None
    agent_pool_name: str | None = None
    log_template: str | None = None


class Overrides(Body):
    """What one run of a task does differently."""

    context_path: str | None = None
    file: str | None = None
    arguments: list[NamedValue] | None = None
    target: str | None = None
    values: list[NamedValue] | None = None
    update_trigger_token: str | None = None


class TaskRunRequest(_Request, tag="TaskRunRequest", kw_only=True):
    """Run a task (`az acr task run`)."""

    task_id: str
    override_task_step_properties: Overrides | None = None


class _QuickRequest(_Request, kw_only=True):
    platform: Platform
    timeout: Timeout | None = None
    agent_configuration: AgentConfiguration | None = None
    source_location: str | None = None
    credentials: Credentials | None = None


class EncodedTaskRunRequest(_QuickRequest, tag="EncodedTaskRunRequest", kw_only=True):
    """Run a task file that is given here (`az acr run --cmd`, `az acr run -f -`)."""

    encoded_task_content: str
    encoded_values_content: str | None = None
    values: list[NamedValue] | None = None


class FileTaskRunRequest(_QuickRequest, tag="FileTaskRunRequest", kw_only=True):
    """Run a task file of a context (`az acr run -f acr-task.yaml`)."""

    task_file_path: str
    values_file_path: str | None = None
    values: list[NamedValue] | None = None


class DockerBuildRequest(_QuickRequest, tag="DockerBuildRequest", kw_only=True):
    """Build an image (`az acr build`)."""

    docker_file_path: str
    image_names: list[str] | None = None
    is_push_enabled: bool | None = None
    no_cache: bool | None = None
    target: str | None = None
    arguments: list[NamedValue] | None = None


QuickRequest = EncodedTaskRunRequest | FileTaskRunRequest | DockerBuildRequest
RunRequest = TaskRunRequest | QuickRequest


class RunPatch(Body):
    """The body of `PATCH …/runs/{run}`."""

    is_archive_enabled: bool | None = None
