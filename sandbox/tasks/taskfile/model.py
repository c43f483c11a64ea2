"""The data model of a task file: `acr-task.yaml` after rendering and validation.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-reference-yaml
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_STEP_TIMEOUT_SECONDS = 600
DEFAULT_RETRY_DELAY_SECONDS = 5
DEFAULT_NETWORK = "acb_default_network"
IMMEDIATELY = "-"


class StepKind(StrEnum):
    """The kind of a step."""

    BUILD = "build"
    PUSH = "push"
    CMD = "cmd"


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A secret that the task file declares: `{{.Secrets.<id>}}` is the value at the Key Vault URL.

    `client_id` is that of a user-assigned identity; empty means the task's system-assigned one.
    """

    id: str
    keyvault: str
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """Secret files (name -> content) that steps can mount."""

    name: str
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """A step. `run` is the value of build or cmd; `images` is that of push. Times are in seconds.

    `when` is empty if the step waits for the previous one. `volume_mounts` are pairs of a volume and a path.
    """

    id: str
    kind: StepKind
    run: str = field(default="", repr=False)
    images: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    env: tuple[str, ...] = field(default=(), repr=False)
    working_directory: str = ""
    disable_working_directory_override: bool = False
    entry_point: str = field(default="", repr=False)
    user: str = ""
    network: str = DEFAULT_NETWORK
    isolation: str = ""
    cpus: str = ""
    cache: str = ""
    ports: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    volume_mounts: tuple[tuple[str, str], ...] = ()
    timeout: int = DEFAULT_STEP_TIMEOUT_SECONDS
    start_delay: int = 0
    retries: int = 0
    retry_delay: int = DEFAULT_RETRY_DELAY_SECONDS
    retry_on_errors: tuple[str, ...] = ()
    cmd_download_retries: int = 0
    cmd_download_retry_delay: int = 0
    repeat: int = 0
    pull: bool = False
    keep: bool = False
    detach: bool = False
    ignore_errors: bool = False


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A valid task file: ids are unique, and every `when` names earlier steps.

    `networks` are those that it declares. `warnings` say what ACR takes and ignores.
    """

    steps: tuple[Step, ...]
    version: str = "v1.0.0"
    step_timeout: int = DEFAULT_STEP_TIMEOUT_SECONDS
    working_directory: str = ""
    env: tuple[str, ...] = field(default=(), repr=False)
    secrets: tuple[SecretReference, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()


class TaskFileError(ValueError):
    """A task file cannot be rendered or is invalid: all faults, one per line, each with its line number."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
