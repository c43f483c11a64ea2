"""The bodies of requests about secrets. `created`, `updated` and the recovery fields are read-only and left aside."""

from __future__ import annotations

from typing import Any

import msgspec


class Attributes(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What may be said of a version beside its value; times are seconds since 1970."""

    enabled: bool | None = None
    nbf: int | None = None
    exp: int | None = None
    created: int | None = None
    updated: int | None = None
    recovery_level: str | None = None
    recoverable_days: int | None = None

    def changes(self) -> dict[str, Any]:
        """What is asked for, by the names of `SecretVersion`."""
        asked = {"enabled": self.enabled, "not_before": self.nbf, "expires": self.exp}
        return {name: value for name, value in asked.items() if value is not None}


class UpdateBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A change of a version's attributes, content type or tags."""

    content_type: str | None = None
    tags: dict[str, str] | None = None
    attributes: Attributes = msgspec.field(default_factory=Attributes)

    def changes(self) -> dict[str, Any]:
        """What is asked for, by the names of `SecretVersion`."""
        asked = {"content_type": self.content_type, "tags": self.tags}
        return self.attributes.changes() | {name: value for name, value in asked.items() if value is not None}


class SetBody(UpdateBody, kw_only=True):
    """A new version. That its fields are strict is inherited."""

    value: str
