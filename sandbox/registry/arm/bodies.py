"""The request bodies of the control plane.

Read-only fields are accepted and ignored, because clients send back what they received; an unknown field is refused.
Source: Azure REST API specification, Microsoft.ContainerRegistry 2023-07-01 to 2025-11-01.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal

import msgspec

from sandbox.arm.body import Body, ResourceBody


class Sku(Body, frozen=True, kw_only=True):
    """The service tier."""

    name: Literal["Basic", "Standard", "Premium"]
    tier: str | None = None


class IpRule(Body, frozen=True, kw_only=True, omit_defaults=False):
    """An IPv4 address or range that may reach a registry although others may not."""

    value: str
    action: Literal["Allow"] = "Allow"

    def __post_init__(self) -> None:
        try:
            ipaddress.IPv4Network(self.value)
        except ValueError as error:
            raise ValueError(f"'{self.value}' is no IPv4 address or range: {error}") from error


class NetworkRuleSet(Body, frozen=True, kw_only=True):
    """Who may reach a registry over the network; rules that are not given are unchanged."""

    default_action: Literal["Allow", "Deny"]
    ip_rules: list[IpRule] | None = None
    virtual_network_rules: list[Any] | None = None


class Policy(Body, frozen=True, kw_only=True):
    """A policy; only some have `days`, `retention_days` or a `type`."""

    status: str | None = None
    type: str | None = None
    days: Annotated[int, msgspec.Meta(ge=0, le=365)] | None = None
    retention_days: Annotated[int, msgspec.Meta(ge=1, le=90)] | None = None
    last_updated_time: str | None = None


class Policies(Body, frozen=True, kw_only=True):
    """The policies of a registry."""

    quarantine_policy: Policy | None = None
    trust_policy: Policy | None = None
    retention_policy: Policy | None = None
    export_policy: Policy | None = None
    azure_ad_authentication_as_arm_policy: Policy | None = msgspec.field(
        default=None, name="azureADAuthenticationAsArmPolicy"
    )
    soft_delete_policy: Policy | None = None


class RegistryProperties(Body, frozen=True, kw_only=True):
    """A registry's properties. Of those after `anonymous_pull_enabled`, only the network rules have an effect here."""

    admin_user_enabled: bool | None = None
    anonymous_pull_enabled: bool | None = None
    auto_generated_domain_name_label_scope: Literal["Unsecure"] | None = None
    data_endpoint_enabled: bool | None = None
    encryption: dict[str, Any] | None = None
    metadata_search: str | None = None
    network_rule_bypass_allowed_for_tasks: bool | None = None
    network_rule_bypass_options: Literal["AzureServices", "None"] | None = None
    network_rule_set: NetworkRuleSet | None = None
    policies: Policies | None = None
    public_network_access: Literal["Enabled", "Disabled"] | None = None
    role_assignment_mode: Literal["LegacyRegistryPermissions"] | None = None
    zone_redundancy: Literal["Enabled", "Disabled"] | None = None
    creation_date: str | None = None
    data_endpoint_host_names: list[str] | None = None
    login_server: str | None = None
    private_endpoint_connections: list[Any] | None = None
    provisioning_state: str | None = None
    status: msgspec.Raw | None = None


class RegistryChange(ResourceBody, frozen=True, kw_only=True):
    """PATCH of a registry; `az acr identity assign` sends all of it back, with its location."""

    location: str | None = None
    identity: dict[str, Any] | None = None
    sku: Sku | None = None
    tags: dict[str, str] | None = None
    properties: RegistryProperties = RegistryProperties()


class RegistryBody(RegistryChange, frozen=True, kw_only=True):
    """PUT of a registry."""

    location: str
    sku: Sku


class NameCheck(Body, frozen=True, kw_only=True):
    """A registry name whose availability is checked."""

    name: str
    type: Literal["Microsoft.ContainerRegistry/registries"]
    resource_group_name: str | None = None
    auto_generated_domain_name_label_scope: Literal["Unsecure"] | None = None


class RegenerateCredential(Body, frozen=True, kw_only=True):
    """Which of the admin user's passwords is generated anew."""

    name: Literal["password", "password2"]


class ReplicationProperties(Body, frozen=True, kw_only=True):
    """A replica's properties."""

    region_endpoint_enabled: bool | None = None
    zone_redundancy: Literal["Enabled", "Disabled"] | None = None
    provisioning_state: str | None = None
    status: msgspec.Raw | None = None


class ReplicationChange(ResourceBody, frozen=True, kw_only=True):
    """PATCH of a replica."""

    tags: dict[str, str] | None = None
    properties: ReplicationProperties = ReplicationProperties()


class ReplicationBody(ReplicationChange, frozen=True, kw_only=True):
    """PUT of a replica."""

    location: str


class WebhookProperties(Body, frozen=True, kw_only=True):
    """A webhook's properties. Registries here have no charts and no quarantine."""

    service_uri: str | None = None
    custom_headers: dict[str, str] | None = None
    status: Literal["enabled", "disabled"] | None = None
    scope: str | None = None
    actions: tuple[Literal["push", "delete"], ...] | None = None
    provisioning_state: str | None = None


class WebhookChange(ResourceBody, frozen=True, kw_only=True):
    """PATCH of a webhook."""

    tags: dict[str, str] | None = None
    properties: WebhookProperties = WebhookProperties()


class WebhookBody(WebhookChange, frozen=True, kw_only=True):
    """PUT of a webhook."""

    location: str


class ScopeMapProperties(Body, frozen=True, kw_only=True):
    """A scope map's actions."""

    actions: tuple[str, ...] | None = None
    description: str | None = None
    creation_date: str | None = None
    provisioning_state: str | None = None
    type: str | None = None


class ScopeMapBody(ResourceBody, frozen=True, kw_only=True):
    """PUT or PATCH of a scope map."""

    properties: ScopeMapProperties


class KeptPassword(Body, frozen=True, kw_only=True):
    """A password that a PATCH of a token retains, by its name."""

    name: Literal["password1", "password2"]
    creation_time: str | None = None
    expiry: str | None = None
    value: str | None = None


class TokenCredentials(Body, frozen=True, kw_only=True):
    """The passwords that a PATCH of a token retains. Certificates are not supported."""

    passwords: tuple[KeptPassword, ...] = ()


class TokenProperties(Body, frozen=True, kw_only=True):
    """A token's scope map, and whether the token is enabled."""

    scope_map_id: str | None = None
    status: Literal["enabled", "disabled"] | None = None
    credentials: TokenCredentials | None = None
    creation_date: str | None = None
    provisioning_state: str | None = None


class TokenBody(ResourceBody, frozen=True, kw_only=True):
    """PUT or PATCH of a token."""

    properties: TokenProperties


class GenerateCredentials(Body, frozen=True, kw_only=True):
    """The token and the password to generate; both passwords if `name` is None."""

    token_id: str
    name: Literal["password1", "password2"] | None = None
    expiry: str | None = None


class ImportCredentials(Body, frozen=True, kw_only=True):
    """The credentials for the source of an import; without a user name the password is an Entra or refresh token."""

    password: str
    username: str | None = None


class ImportSource(Body, frozen=True, kw_only=True):
    """The source of an import: an image of the registry `registry_uri` or `resource_id`."""

    source_image: str
    registry_uri: str | None = None
    resource_id: str | None = None
    credentials: ImportCredentials | None = None


class ImportImage(Body, frozen=True, kw_only=True):
    """The body of importImage."""

    source: ImportSource
    target_tags: tuple[str, ...] | None = None
    untagged_target_repositories: tuple[str, ...] | None = None
    mode: Literal["NoForce", "Force"] = "NoForce"
