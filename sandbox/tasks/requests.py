"""The ARM request bodies of tasks and runs: `Microsoft.ContainerRegistry/registries/tasks`, `.../scheduleRun` and
`.../runs`.

Every struct rejects unknown fields. Fields that only the service sets are accepted and ignored, because clients send
back what they read.
Source: https://learn.microsoft.com/rest/api/container-registry/tasks and .../registries/schedule-run, api-version
2025-03-01-preview
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from sandbox.arm.body import Body, ResourceBody

Switch = Literal["Enabled", "Disabled"]
Timeout = Annotated[int, msgspec.Meta(ge=300, le=28800)]
DEFAULT_TIMEOUT_SECONDS = 3600


class NamedValue(Body, frozen=True):
    """A value (`--set`) or a build argument (`--arg`)."""

    name: str
    value: str
    is_secret: bool | None = None
    type: Literal["SetValue", "Argument"] | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(
            self, "type", None
        )  # `az` 2.91 also sends its model's name; Azure has no such field and returns none


class BaseImageDependency(Body, frozen=True):
    """A base image of a task's last successful run."""

    type: Literal["BuildTime", "RunTime"]
    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None


class FileTaskStep(Body, frozen=True, tag_field="type", tag="FileTask", kw_only=True):
    """Run a task file in the context."""

    task_file_path: str
    values_file_path: str | None = None
    values: list[NamedValue] | None = None
    context_path: str | None = None
    context_access_token: str | None = None
    base_image_dependencies: list[BaseImageDependency] | None = None


class EncodedTaskStep(Body, frozen=True, tag_field="type", tag="EncodedTask", kw_only=True):
    """Run a task file that is embedded in the step, in Base64."""

    encoded_task_content: str
    encoded_values_content: str | None = None
    values: list[NamedValue] | None = None
    context_path: str | None = None
    context_access_token: str | None = None
    base_image_dependencies: list[BaseImageDependency] | None = None


class DockerStep(Body, frozen=True, tag_field="type", tag="Docker", kw_only=True):
    """Build a Dockerfile of the context, and push the image."""

    docker_file_path: str
    image_names: list[str] | None = None
    is_push_enabled: bool | None = None
    no_cache: bool | None = None
    target: str | None = None
    arguments: list[NamedValue] | None = None
    context_path: str | None = None
    context_access_token: str | None = None
    base_image_dependencies: list[BaseImageDependency] | None = None


Step = FileTaskStep | EncodedTaskStep | DockerStep


class Platform(Body, frozen=True):
    """The platform of a run; only Linux on amd64 is available here."""

    os: str
    architecture: str | None = None
    variant: str | None = None


class AgentConfiguration(Body, frozen=True):
    """The number of CPU cores of a run (accepted, but without effect)."""

    cpu: int | None = None


class TimerTrigger(Body, frozen=True):
    """Run at the times of a five-field cron expression, in UTC."""

    name: str
    schedule: str
    status: Switch | None = None


class SourceControlAuth(Body, frozen=True):
    """The token with which ACR would create a webhook; it is not used here."""

    token: str | None = None
    token_type: str | None = None
    refresh_token: str | None = None
    scope: str | None = None
    expires_in: int | None = None


class SourceRepository(Body, frozen=True):
    """The repository and branch that a source trigger watches."""

    source_control_type: str
    repository_url: str
    branch: str | None = None
    source_control_auth_properties: SourceControlAuth | None = None


class SourceTrigger(Body, frozen=True):
    """Run when a commit is pushed to a branch."""

    name: str
    source_repository: SourceRepository
    source_trigger_events: list[Literal["commit", "pullrequest"]]
    status: Switch | None = None


class BaseImageTrigger(Body, frozen=True):
    """Run when any base image of the last successful run changes (All), or only that of the last stage (Runtime).

    `update_trigger_endpoint` must be null: what ACR sends to it is not published.
    """

    name: str
    base_image_trigger_type: Literal["All", "Runtime"]
    update_trigger_endpoint: str | None = None
    update_trigger_payload_type: Literal["Default", "Token"] | None = None
    status: Switch | None = None


class Triggers(Body, frozen=True):
    """The triggers that start a task automatically."""

    timer_triggers: list[TimerTrigger] | None = None
    source_triggers: list[SourceTrigger] | None = None
    base_image_trigger: BaseImageTrigger | None = None


class SecretObject(Body, frozen=True):
    """A secret: the value itself (Opaque), or the URL of a Key Vault secret (Vaultsecret)."""

    value: str | None = None
    type: Literal["Opaque", "Vaultsecret"] | None = None


class CustomRegistry(Body, frozen=True):
    """How to sign in to a registry other than the task's own.

    `identity` is `[system]` (or `system`) or the client id of a user-assigned identity.
    """

    user_name: SecretObject | None = None
    password: SecretObject | None = None
    identity: str | None = None


class SourceRegistry(Body, frozen=True):
    """How to sign in to the task's own registry."""

    identity: str | None = None
    login_mode: Literal["None", "Default"] | None = None


class Credentials(Body, frozen=True):
    """The registries a run signs in to, by login server; a null removes an entry."""

    source_registry: SourceRegistry | None = None
    custom_registries: dict[str, CustomRegistry | None] | None = None


class TaskProperties(Body, frozen=True):
    """The properties of a task.

    `log_template` and `is_system_task` are stored and shown; they apply only to registries with customer-managed keys
    (https://learn.microsoft.com/cli/azure/acr/task#az-acr-task-create), which the sandbox has none of.
    """

    provisioning_state: str | None = None
    creation_date: str | None = None
    status: Switch | None = None
    platform: Platform | None = None
    agent_configuration: AgentConfiguration | None = None
    agent_pool_name: str | None = None
    timeout: Timeout | None = None
    step: Step | None = None
    trigger: Triggers | None = None
    credentials: Credentials | None = None
    log_template: str | None = None
    is_system_task: bool | None = None


class UserIdentity(Body, frozen=True):
    """A user-assigned identity of a task."""

    principal_id: str | None = None
    client_id: str | None = None


class Identity(Body, frozen=True):
    """The managed identities of a task."""

    type: Literal["SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned", "None"] | None = None
    principal_id: str | None = None
    tenant_id: str | None = None
    user_assigned_identities: dict[str, UserIdentity | None] | None = None


class TaskBody(ResourceBody, frozen=True, kw_only=True):
    """The body of `PUT …/tasks/{task}`."""

    location: str
    properties: TaskProperties
    tags: dict[str, str] | None = None
    identity: Identity | None = None


class _Request(Body, frozen=True, tag_field="type", kw_only=True):
    is_archive_enabled: bool | None = None
    agent_pool_name: str | None = None
    log_template: str | None = None


class Overrides(Body, frozen=True):
    """The overrides of a task's step for one run."""

    context_path: str | None = None
    file: str | None = None
    arguments: list[NamedValue] | None = None
    target: str | None = None
    values: list[NamedValue] | None = None
    update_trigger_token: str | None = None


class TaskRunRequest(_Request, frozen=True, tag="TaskRunRequest", kw_only=True):
    """Run a task (`az acr task run`)."""

    task_id: str
    override_task_step_properties: Overrides | None = None


class _QuickRequest(_Request, frozen=True, kw_only=True):
    platform: Platform
    timeout: Timeout | None = None
    agent_configuration: AgentConfiguration | None = None
    source_location: str | None = None
    credentials: Credentials | None = None


class EncodedTaskRunRequest(_QuickRequest, frozen=True, tag="EncodedTaskRunRequest", kw_only=True):
    """Run a task file that is embedded in the request (`az acr run --cmd`, `az acr run -f -`)."""

    encoded_task_content: str
    encoded_values_content: str | None = None
    values: list[NamedValue] | None = None


class FileTaskRunRequest(_QuickRequest, frozen=True, tag="FileTaskRunRequest", kw_only=True):
    """Run a task file of a context (`az acr run -f acr-task.yaml`)."""

    task_file_path: str
    values_file_path: str | None = None
    values: list[NamedValue] | None = None


class DockerBuildRequest(_QuickRequest, frozen=True, tag="DockerBuildRequest", kw_only=True):
    """Build an image (`az acr build`)."""

    docker_file_path: str
    image_names: list[str] | None = None
    is_push_enabled: bool | None = None
    no_cache: bool | None = None
    target: str | None = None
    arguments: list[NamedValue] | None = None


QuickRequest = EncodedTaskRunRequest | FileTaskRunRequest | DockerBuildRequest
RunRequest = TaskRunRequest | QuickRequest


class RunPatch(Body, frozen=True):
    """The body of `PATCH …/runs/{run}`."""

    is_archive_enabled: bool | None = None
