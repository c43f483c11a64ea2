"""What the registries remember, and what they tell others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from sandbox.arm.surface import ResourceId

PROVIDER = "Microsoft.ContainerRegistry"
SUFFIX = ".azurecr.io"

# What the azure-mgmt-containerregistry packages of 2025 and 2026 and `az` 2.91 send.
API_VERSIONS = ("2023-07-01", "2023-11-01-preview", "2025-04-01", "2025-11-01", "2026-09-01-preview")


def now() -> str:
    """The present as Azure writes it: ISO 8601, UTC, with a Z."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    """A moment as Azure writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class RegistryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One `Microsoft.ContainerRegistry/registries` resource.

    `settings` are the properties that are kept and given back without an effect here (network rules,
    policies, redundancy).
    """

    name: str
    group: str
    location: str
    sku: str
    created: str
    tags: dict[str, str] = {}
    identity: dict[str, Any] | None = None
    admin_user_enabled: bool = False
    admin_passwords: tuple[str, str]
    anonymous_pull_enabled: bool = False
    settings: dict[str, Any] = {}

    @property
    def login_server(self) -> str:
        """The host name, `contoso.azurecr.io`."""
        return self.name.lower() + SUFFIX

    @property
    def id(self) -> str:
        """The ARM id."""
        return str(ResourceId(self.group, PROVIDER, "registries", self.name))


class ScopeMapRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A named list of actions such as `repositories/node/content/read`."""

    registry: str
    name: str
    actions: tuple[str, ...]
    created: str
    description: str | None = None
    type: str = "UserDefined"


class PasswordRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A password of a token, kept as the SHA-256 of its value (the value is random and 256 bits strong)."""

    name: str
    digest: str
    created: str
    expiry: str | None = None


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A user of one registry whose rights are a scope map's."""

    registry: str
    name: str
    scope_map: str
    created: str
    status: str = "enabled"
    passwords: tuple[PasswordRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked for a change of a registry, and with what request."""

    actor: str
    method: str
    user_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A manifest that was pushed or deleted.

    `registry` is the registry's name, `tag` is None for a push by digest and for every delete, `size` is
    the manifest's in bytes (0 for a delete), `actor` is the user, token or principal that did it.
    """

    id: str
    request_id: str
    registry: str
    repository: str
    tag: str | None
    digest: str
    media_type: str
    size: int
    action: Literal["push", "delete"]
    actor: str
    method: str
    user_agent: str
    timestamp: datetime
