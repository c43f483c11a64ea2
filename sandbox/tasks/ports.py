"""Protocols of the services that ACR Tasks depends on."""

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
        """The registry with this name or login server."""

    def issue_login(
        self, login_server: str, *, actor: str, repositories: Mapping[str, Sequence[str]] | None
    ) -> tuple[str, str]:
        """Issue a user name and a password; with `repositories` None, they have full access."""


class ImagePush(Protocol):
    """A push or deletion of a manifest. `registry` is the registry's name; `tag` is None if it was by digest."""

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
        """The client program; `importImage` for an import."""

    @property
    def timestamp(self) -> datetime:
        """The time of the push or deletion."""


class Vaults(Protocol):
    """The key vaults of the sandbox."""

    def read(self, secret_url: str, *, principal_id: str | None = None) -> str:
        """The value of a secret, read as a principal that must have access. Raises a `Fault` that names the secret."""


class Principal(Protocol):
    """A user-assigned managed identity."""

    @property
    def client_id(self) -> str:
        """The client id, which identifies it in requests."""

    @property
    def principal_id(self) -> str:
        """The principal id, to which rights are granted."""


class Storage(Protocol):
    """The storage of logs and uploaded sources."""

    async def create_container(self, name: str) -> None:
        """Create a blob container if it does not exist."""

    def sas_url(self, container: str, blob: str, *, permissions: str, minutes: int) -> str:
        """A URL with the real host name that grants `permissions` (of `racwd`) on one blob for a number of minutes."""


class Repositories(Protocol):
    """Git repositories."""

    async def checkout(self, repository: str, ref: str | None, folder: Path, subfolder: str = "") -> str:
        """Clone into `folder` and return the commit id. Raises `Fault` 404."""


class TaskRunner(Protocol):
    """Executes task files."""

    async def run(
        self, task: TaskFile, context: Path, run: RunInfo, log: Callable[[str], Awaitable[None]]
    ) -> RunOutcome:
        """Run the task. Failures of the task are returned, not raised; a cancelled run returns `Canceled`."""


class Clock(Protocol):
    """The clock of timers."""

    def now(self) -> datetime:
        """The current time, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""


class SystemClock:
    """The system clock."""

    def now(self) -> datetime:
        """The current time, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""
        await asyncio.sleep(seconds)
