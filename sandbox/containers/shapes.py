"""Request bodies that define a container group.

Fields that Azure has and the sandbox does not support have the type `NotHere`, so that `validation` can reject them by
name; an unknown field is rejected when the body is parsed. Fields that only responses have (`Ignored`) are accepted, as
in Azure: `az` and ARM templates send back what they have read.

Source: Microsoft.ContainerInstance, containerInstance.json, 2023-05-01 to 2025-09-01.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from sandbox.arm.body import Body, ResourceBody

NotHere = Any
Ignored = Any

RestartPolicy = Literal["Always", "OnFailure", "Never"]
Protocol = Literal["TCP", "UDP"]


class Amounts(Body, frozen=True, kw_only=True):
    """Cores and memory; `memory_gb` is in GB of 1024 MB."""

    cpu: float
    memory_gb: float = msgspec.field(name="memoryInGB")
    gpu: NotHere = None


class Limits(Body, frozen=True, kw_only=True):
    """Upper limits; if one is absent, the requested amount is the limit."""

    cpu: float | None = None
    memory_gb: float | None = msgspec.field(name="memoryInGB", default=None)
    gpu: NotHere = None


class Resources(Body, frozen=True, kw_only=True):
    """The resources of a container."""

    requests: Amounts
    limits: Limits | None = None


class Variable(Body, frozen=True, kw_only=True):
    """An environment variable; a secure value is never returned."""

    name: str
    value: str | None = None
    secure_value: str | None = None


class Port(Body, frozen=True, kw_only=True):
    """A port that a container listens on, or that a group exposes."""

    port: int
    protocol: Protocol = "TCP"


class ContainerProperties(Body, frozen=True, kw_only=True):
    """The definition of one container. A `command` replaces the image's entry point and arguments."""

    image: str
    resources: Resources
    command: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    environment_variables: tuple[Variable, ...] = ()
    volume_mounts: NotHere = None
    liveness_probe: NotHere = None
    readiness_probe: NotHere = None
    security_context: NotHere = None
    config_map: NotHere = None
    instance_view: Ignored = None


class Container(Body, frozen=True, kw_only=True):
    """One container of a group."""

    name: str
    properties: ContainerProperties


class Credential(Body, frozen=True, kw_only=True):
    """The credentials for one registry: a user with a password, or a user-assigned identity of the group."""

    server: str
    username: str | None = None
    password: str | None = None
    identity: str | None = None
    identity_url: NotHere = None


class Address(Body, frozen=True, kw_only=True):
    """The group's address; `ip` and `fqdn` are chosen by the service.

    The SDK always sends the scope `Unsecure`: the label unchanged, the only scope supported here.
    """

    ports: tuple[Port, ...]
    type: Literal["Public", "Private"]
    dns_name_label: str | None = None
    auto_generated_domain_name_label_scope: Literal["Unsecure"] | None = None
    dns_name_label_reuse_policy: NotHere = None
    ip: Ignored = None
    fqdn: Ignored = None


class Properties(Body, frozen=True, kw_only=True):
    """The definition of a container group."""

    containers: tuple[Container, ...]
    os_type: str
    restart_policy: RestartPolicy = "Always"
    image_registry_credentials: tuple[Credential, ...] = ()
    ip_address: Address | None = None
    sku: str = "Standard"
    priority: str = "Regular"
    volumes: NotHere = None
    init_containers: NotHere = None
    diagnostics: NotHere = None
    subnet_ids: NotHere = None
    dns_config: NotHere = None
    encryption_properties: NotHere = None
    extensions: NotHere = None
    confidential_compute_properties: NotHere = None
    container_group_profile: NotHere = None
    standby_pool_profile: NotHere = None
    identity_acls: NotHere = None
    provisioning_state: Ignored = None
    instance_view: Ignored = None
    is_custom_provisioning_timeout: Ignored = None
    provisioning_timeout_in_seconds: Ignored = None
    is_created_from_standby_pool: Ignored = None


class Identity(Body, frozen=True, kw_only=True):
    """The managed identities of the group."""

    type: Literal["SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned", "None"] = "None"
    user_assigned_identities: dict[str, Any] = msgspec.field(default_factory=dict)
    principal_id: Ignored = None
    tenant_id: Ignored = None


class GroupBody(ResourceBody, frozen=True, kw_only=True):
    """The body of a PUT."""

    location: str = ""
    properties: Properties
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    identity: Identity | None = None
    zones: NotHere = None


class TagsBody(ResourceBody, frozen=True, kw_only=True):
    """The body of a PATCH."""

    tags: dict[str, str] | None = None
    location: Ignored = None
    zones: NotHere = None


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a container that is not restarted. Times are ISO 8601, "" if unknown."""

    exit_code: int
    started: str
    finished: str


class GroupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stored container group.

    `images` has the engine's image id of each container, so that a restart of the sandbox runs the same bytes even if a
    tag has moved. `endings` is set once all containers have ended permanently.
    """

    group: str
    name: str
    location: str
    tags: dict[str, str]
    identity: Identity | None
    properties: Properties
    images: dict[str, str]
    stopped: bool = False
    endings: dict[str, Ending] = {}
