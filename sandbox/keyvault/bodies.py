"""The bodies of requests about secrets. `created`, `updated` and the recovery fields are read-only and left aside."""

from __future__ import annotations

from typing import Any

import msgspec


class _Attributes(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    enabled: bool | None = None
    nbf: int | None = None
    exp: int | None = None
    created: int | None = None
    updated: int | None = None
    recovery_level: str | None = None
    recoverable_days: int | None = None


class UpdateBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A change of a version's attributes, content type or tags."""

    content_type: str | None = None
    tags: dict[str, str] | None = None
    attributes: _Attributes = msgspec.field(default_factory=_Attributes)

    def changes(self) -> dict[str, Any]:
        """What is asked for, by the names of `SecretVersion`."""
        asked = {
            "content_type": self.content_type,
            "tags": self.tags,
            "enabled": self.attributes.enabled,
            "not_before": self.attributes.nbf,
            "expires": self.attributes.exp,
        }
        return {name: value for name, value in asked.items() if value is not None}


class SetBody(UpdateBody, kw_only=True):
    """A new version. That its fields are strict is inherited."""

    value: str
