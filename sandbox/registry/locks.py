"""Locks: the changeable attributes of repositories, tags and manifests, and the operations that they refuse.

`writeEnabled=false` blocks updates and deletes, `deleteEnabled=false` blocks deletes only; the locks of a tag
and of its manifest are separate.
Source: https://learn.microsoft.com/azure/container-registry/container-registry-image-lock, Azure/acr#561
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from sandbox.store import Collection
from sandbox.web import Fault


class Attributes(msgspec.Struct, frozen=True, rename="camel"):
    """The operations that are allowed on a repository, tag or manifest."""

    delete_enabled: bool = True
    write_enabled: bool = True
    list_enabled: bool = True
    read_enabled: bool = True


class AttributesChange(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The attributes to change; None leaves one unchanged."""

    delete_enabled: bool | None = None
    write_enabled: bool | None = None
    list_enabled: bool | None = None
    read_enabled: bool | None = None


_OPEN = Attributes()


class Locks:
    """The attributes of one registry's content.

    A subject is `repository`, `repository:tag` or `repository@digest`.
    """

    def __init__(self, file: Path) -> None:
        self._records = Collection(file, Attributes)

    def get(self, subject: str) -> Attributes:
        """The attributes of a subject; by default, everything is allowed."""
        return self._records.get(_key(subject)) or _OPEN

    def change(self, subject: str, change: AttributesChange) -> Attributes:
        """Change some attributes and return all of them."""
        given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
        return self._records.put(_key(subject), msgspec.structs.replace(self.get(subject), **given))

    def forget(self, subject: str) -> None:
        """Remove the attributes of a deleted subject: a new one with the same name is unlocked."""
        self._records.remove(_key(subject))

    def require_write(self, *subjects: str) -> None:
        """Refuse a change if any subject is write-locked.

        Raises:
            Fault: 405 REGISTRY_DISALLOWED_OPERATION that names the lock.
        """
        for subject in subjects:
            if not self.get(subject).write_enabled:
                raise _disallowed(subject, "writeEnabled")

    def require_delete(self, *subjects: str) -> None:
        """Refuse a deletion if any subject is locked.

        Raises:
            Fault: 405 REGISTRY_DISALLOWED_OPERATION that names the lock.
        """
        self.require_write(*subjects)
        for subject in subjects:
            if not self.get(subject).delete_enabled:
                raise _disallowed(subject, "deleteEnabled")

    def require_read(self, *subjects: str) -> None:
        """Refuse a read if any subject is read-locked.

        Raises:
            Fault: 405 REGISTRY_DISALLOWED_OPERATION that names the lock.
        """
        for subject in subjects:
            if not self.get(subject).read_enabled:
                raise _disallowed(subject, "readEnabled")


def _disallowed(subject: str, attribute: str) -> Fault:
    message = (
        "The operation is disallowed on this registry, repository or image. View troubleshooting steps at "
        "https://aka.ms/acr/faq/#why-does-my-pull-or-push-request-fail-with-disallowed-operation "
        f"('{subject}' has {attribute}=false)"
    )
    return Fault(405, "REGISTRY_DISALLOWED_OPERATION", message)


def _key(subject: str) -> str:
    # A collection's keys are case-insensitive, tags are not; '^' does not occur in names, tags or digests.
    return re.sub("[A-Z]", lambda match: "^" + match[0].lower(), subject)
