"""The stored records of the registries, and the pushes that they announce."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from sandbox.arm.surface import ResourceId

PROVIDER = "Microsoft.ContainerRegistry"
SUFFIX = ".azurecr.io"

# The versions that the azure-mgmt-containerregistry packages of 2025 and 2026 and `az` 2.91 send.
API_VERSIONS = ("2023-07-01", "2023-11-01-preview", "2025-04-01", "2025-11-01", "2026-09-01-preview")


def now() -> str:
    """The current time in Azure's format: ISO 8601, UTC, with a Z."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    """A time in Azure's format."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class RegistryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One `Microsoft.ContainerRegistry/registries` resource.

    `settings` are the properties that are stored and returned as they were sent (network rules, policies,
    redundancy). Of these, only the network rules have an effect.
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
    """A password of a token, stored as the SHA-256 of its value (the value is random and 256 bits strong)."""

    name: str
    digest: str
    created: str
    expiry: str | None = None


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A user of one registry, with the rights of a scope map."""

    registry: str
    name: str
    scope_map: str
    created: str
    status: str = "enabled"
    passwords: tuple[PasswordRecord, ...] = ()


class ReplicationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A replica of a registry in another region."""

    registry: str
    name: str
    location: str
    created: str
    tags: dict[str, str] = {}
    region_endpoint_enabled: bool = True
    zone_redundancy: str = "Disabled"


class WebhookRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook of a registry. `service_uri` and `custom_headers` may contain secrets."""

    registry: str
    name: str
    location: str
    service_uri: str
    actions: tuple[str, ...]
    custom_headers: dict[str, str] = {}
    status: str = "enabled"
    scope: str = ""
    tags: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Origin:
    """The actor that changed a registry, with the method and user agent of the request."""

    actor: str
    method: str
    user_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A manifest that was pushed or deleted.

    `registry` is the registry's name, `tag` is None for a push by digest and for every delete, `size` is
    the manifest's size in bytes (0 for a delete), `actor` is the user, token or principal that made the request.
    `replica` is the region of the replica that received it by replication, "" at the registry itself.
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
    replica: str = ""
