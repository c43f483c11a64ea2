"""Task runs: started, found, read, canceled."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from shared.domain.image import Digest
from shared.domain.policy import RegistryRule


class RunStatus(StrEnum):
    """How a task run stands, in the gate's words."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BROKEN = "broken"
    """It ended without saying anything about the image: canceled, timed out, or the service failed."""


class OutputImage(msgspec.Struct, frozen=True):
    """An image that the service lists as the output of a run."""

    login_server: str
    repository: str
    tag: str
    digest: Digest


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A task run. `detail` is the service's own status, and its message where it gave one.

    `task` is the task's name ("": it was started without one), `mark` what its starter marked it with, `outputs` the
    images it built, as far as the service lists them with their digest. Times are the service's.
    """

    run_id: str
    status: RunStatus
    detail: str = ""
    task: str = ""
    mark: str = ""
    outputs: tuple[OutputImage, ...] = ()
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class TaskRunner(Protocol):
    """ACR Tasks."""

    def start(self, registry: RegistryRule, task: str, values: Mapping[str, str], token: str) -> str:
        """Start a run of a task with values, marked with a token to find it by; returns its id."""
        ...

    def find(self, registry: RegistryRule, task: str, token: str, since: datetime) -> str | None:
        """The id of the run that was marked with a token at or after `since`, or None."""
        ...

    def marked(self, registry: RegistryRule, task: str, since: datetime) -> Iterator[tuple[str, str]]:
        """The runs of a task that were created at or after `since`, the newest first: run id and mark."""
        ...

    def get(self, registry: RegistryRule, run_id: str) -> Run | None:
        """A run, or None where there is no such run."""
        ...

    def log(self, registry: RegistryRule, run_id: str, limit_bytes: int) -> str:
        """The log of a run, its last `limit_bytes` at most."""
        ...

    def check(self, registry: RegistryRule, task: str) -> None:
        """See whether a task is there and runs may be started; none is."""
        ...

    def cancel(self, registry: RegistryRule, run_id: str) -> None:
        """Ask a run to stop; one that has ended is left as it is."""
        ...
