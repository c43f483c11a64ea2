"""An Azure registry that the app builds in or promotes to: tags, locks, and copies that the service makes by itself.

What may be a registry of any make, and what is looked at often, is read through `TagReader`.
"""

from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from shared.domain.image import Digest, ImageRef
from shared.domain.policy import RegistryRule


class CopyState(StrEnum):
    """How a server-side copy stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class CopyStatus(msgspec.Struct, frozen=True):
    """A copy's state, and the service's words where it failed."""

    state: CopyState
    message: str = ""


class TagState(msgspec.Struct, frozen=True):
    """What a tag points at, and whether it is locked against writes and deletes (None: that was not asked for)."""

    digest: Digest
    locked: bool | None = False


class TagPush(msgspec.Struct, frozen=True):
    """A tag, what it points at, and when it was pushed last."""

    tag: str
    digest: Digest
    pushed_at: datetime


class Registry(Protocol):
    """An Azure registry's data and its server-side copy."""

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        """The digest a tag points at now, or None where there is no such tag: what every change is read back with."""
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

    def tag_state(self, registry: RegistryRule, repository: str, tag: str) -> TagState | None:
        """What a tag points at and whether it is locked, or None where there is no such tag."""
        ...

    def newest_tags(self, registry: RegistryRule, repository: str, limit: int) -> list[TagPush]:
        """The tags of a repository that were pushed last, the newest first; none where there is no such repository."""
        ...

    def token_expiry(self, registry: RegistryRule, token: str, now: datetime) -> datetime | None:
        """When the next password of one of the registry's own tokens expires after `now`.

        None where none does, where there is no such token, and where the app may not look.
        """
        ...

    def lock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        """Lock a tag against writes and deletes, and its manifest against deletes only."""
        ...

    def point(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        """Point a tag at a digest of the same repository.

        Raises:
            Gone: the digest is not there. Rejected: the tag is locked.
        """
        ...

    def remove_tag(self, registry: RegistryRule, repository: str, tag: str) -> None:
        """Remove a tag; the manifest stays. One that is gone already is fine.

        Raises:
            Misconfigured: the role for it is missing. Rejected: the tag is locked.
        """
        ...
