"""What ACR Tasks asks of the services around it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from sandbox.tasks.outcome import RunInfo, RunOutcome
from sandbox.tasks.taskfile.model import TaskFile


class Registry(Protocol):
    """A container registry resource."""

    @property
    def name(self) -> str:
        """The resource's name."""

    @property
    def id(self) -> str:
        """The ARM id."""

    @property
    def login_server(self) -> str:
        """The host name, `contoso.azurecr.io`."""

    @property
    def location(self) -> str:
        """The Azure region."""


class Registries(Protocol):
    """The container registries of the sandbox."""

    def find(self, name_or_login_server: str) -> Registry | None:
        """The registry of that name or host name."""

    def issue_login(
        self, login_server: str, *, actor: str, repositories: Mapping[str, Sequence[str]] | None
    ) -> tuple[str, str]:
        """A user name and a password; None as `repositories` gives every right."""


class ImagePush(Protocol):
    """A manifest that a registry got or lost. `registry` is its name; `tag` is None where it was by digest."""

    @property
    def registry(self) -> str:
        """The registry's name."""

    @property
    def repository(self) -> str:
        """The repository's name."""

    @property
    def tag(self) -> str | None:
        """The tag it was pushed to."""

    @property
    def digest(self) -> str:
        """The manifest's digest."""

    @property
    def action(self) -> str:
        """`push` or `delete`."""

    @property
    def user_agent(self) -> str:
        """What program did it; `importImage` for an import."""

    @property
    def timestamp(self) -> datetime:
        """When it happened."""


class Vaults(Protocol):
    """The key vaults of the sandbox."""

    def read(self, secret_url: str, *, principal_id: str | None = None) -> str:
        """The value of a secret, for a principal that must be allowed to get it. Raises `Fault` that names it."""


class Principal(Protocol):
    """A user-assigned managed identity."""

    @property
    def client_id(self) -> str:
        """What callers name it by."""

    @property
    def principal_id(self) -> str:
        """What is given rights."""


class Storage(Protocol):
    """Where logs and uploaded sources lie."""

    async def create_container(self, name: str) -> None:
        """Make a blob container unless it is there."""

    def sas_url(self, container: str, blob: str, *, permissions: str, minutes: int) -> str:
        """A URL by real name that grants `permissions` (of `racwd`) on one blob for a while."""


class Repositories(Protocol):
    """Git repositories."""

    async def checkout(self, repository: str, ref: str | None, folder: Path, subfolder: str = "") -> str:
        """Clone into `folder` and return the commit id. Raises `Fault` 404."""


class TaskRunner(Protocol):
    """Carries out task files."""

    async def run(
        self, task: TaskFile, context: Path, run: RunInfo, log: Callable[[str], Awaitable[None]]
    ) -> RunOutcome:
        """Run the task; never raises for what a task does, and returns `Canceled` when it was cancelled."""


class Clock(Protocol):
    """The time, for timers."""

    def now(self) -> datetime:
        """The present, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """The present, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
