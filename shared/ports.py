"""What the workflows need of the world. One protocol a need; `adapters` fulfil them, tests bring fakes.

Every method may raise `Retry` (a passing fault) or `Misconfigured` (a role, name or secret is wrong);
what else it raises is said beside it. Names of registries are those of the rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

import msgspec

from shared.domain.image import Digest, ImageRef
from shared.domain.policy import DeployRule, RegistryRule
from shared.domain.record import Look
from shared.domain.rollout import BuiltImage


class Keyed(Protocol):
    """A record with its place in the ledger."""

    @property
    def partition(self) -> str:
        """What it belongs to: a gate or an app."""
        ...

    @property
    def row(self) -> str:
        """Which one it is."""
        ...


R = TypeVar("R", bound=Keyed)


class Stored(msgspec.Struct, Generic[R], frozen=True):
    """A record as it was read or written, with the ETag that a later write must match."""

    record: R
    etag: str


class Ledger(Protocol):
    """The durable record of everything."""

    def insert(self, record: R) -> Stored[R] | None:
        """Store a new record; None where one with its key is there already."""
        ...

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        """A record, or None."""
        ...

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        """Replace a record that nobody changed since `stored` was read.

        Raises:
            Conflict: somebody did.
        """
        ...

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        """The records of a partition whose row begins with a prefix, in the order of their rows."""
        ...


class WorkQueue(Protocol):
    """Brings records up again."""

    def send(self, look: Look, wait_seconds: float) -> None:
        """Queue a look, hidden for a time (whole seconds, rounded up)."""
        ...


class CopyState(StrEnum):
    """How a server-side copy stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class CopyStatus(msgspec.Struct, frozen=True):
    """A copy's state, and the service's words where it failed."""

    state: CopyState
    message: str = ""


class Registry(Protocol):
    """A container registry's data and its server-side copy."""

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        """The digest a tag points at now, or None where there is no such tag."""
        ...

    def start_copy(self, source: ImageRef, source_rule: RegistryRule, target: RegistryRule, name: str) -> str:
        """Begin to copy an image, index and all platforms, to the tag `name` (`repository:tag`) of the target.

        Returns the operation to ask about. An existing tag of that name is replaced only if it is not locked.

        Raises:
            Rejected: the source is gone, or the target refuses.
        """
        ...

    def copy_status(self, target: RegistryRule, operation: str) -> CopyStatus:
        """How a copy stands."""
        ...

    def lock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        """Lock a tag against writes and deletes, and its manifest against deletes only."""
        ...

    def point(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        """Point a tag at a digest of the same repository.

        Raises:
            Rejected: the digest is not there, or the tag is locked.
        """
        ...


class RunStatus(StrEnum):
    """How a task run stands, in the gate's words."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BROKEN = "broken"
    """It ended without saying anything about the image: canceled, timed out, or the service failed."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A task run. `detail` is the service's own status, and its message where it gave one."""

    run_id: str
    status: RunStatus
    detail: str = ""
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

    def get(self, registry: RegistryRule, run_id: str) -> Run | None:
        """A run, or None where there is no such run."""
        ...

    def log(self, registry: RegistryRule, run_id: str, limit_bytes: int) -> str:
        """The log of a run, its last `limit_bytes` at most."""
        ...

    def cancel(self, registry: RegistryRule, run_id: str) -> None:
        """Ask a run to stop; one that has ended is left as it is."""
        ...


class GroupState(msgspec.Struct, frozen=True, kw_only=True):
    """What a container group looks like now.

    `address` is `host:port` or ""; `failed` says that it will not come up by itself; `detail` is for the reader.
    """

    image: str
    running: bool
    failed: bool = False
    restarts: int = 0
    address: str = ""
    detail: str = ""


class ContainerRunner(Protocol):
    """Azure Container Instances."""

    def put(self, rule: DeployRule, image: BuiltImage, registry: RegistryRule) -> None:
        """Send the whole definition of a container group with an image.

        Raises:
            Transitioning: an earlier change goes on.
            NeedsRecreation: it cannot be changed in place.
            Rejected: the definition or the image is refused.
        """
        ...

    def get(self, rule: DeployRule) -> GroupState | None:
        """What the group looks like, or None where there is none."""
        ...

    def delete(self, rule: DeployRule) -> None:
        """Delete a group; one that is gone already is fine."""
        ...


class Probe(Protocol):
    """Asks a deployed app whether it is well."""

    def check(self, address: str, path: str) -> str | None:
        """None if `http://address/path` answers 2xx or 3xx, else what it did instead."""
        ...


class Archive(Protocol):
    """Keeps evidence that is too long for a record."""

    def keep(self, name: str, text: str) -> str:
        """Store a text under a name, replacing an earlier one, and return where it is."""
        ...


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome to tell: `Basegate.<name>` about a subject, with what an operator wants to know."""

    name: str
    subject: str
    data: Mapping[str, object]


class Announcer(Protocol):
    """Tells outcomes to people and programs."""

    def announce(self, notice: Notice) -> None:
        """Tell an outcome."""
        ...


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        ...
