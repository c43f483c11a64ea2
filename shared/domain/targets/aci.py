"""Azure Container Instances: an app is a container group with one container."""

from collections.abc import Hashable
from typing import Annotated, Literal, Self

from msgspec import Meta, field
from msgspec.structs import replace

from shared.domain.policy import DeployRule, HealthRule, Name, RegistryRule, Rule, Values


class AciRule(Rule, DeployRule, frozen=True, kw_only=True):
    """The whole definition of a container group.

    Azure resets omitted properties. `cpu` in cores, `memory_gb` in GB; without an `identity`, the registry's Key Vault
    credentials are used to pull.
    """

    kind = "aci"

    name: Name
    resource_group: Annotated[str, Meta(pattern=r"^[-\w._()]{1,90}$")]
    subscription: Annotated[str, Meta(description="if it is not that of the build's registry")] = ""
    location: Annotated[str, Meta(pattern=r"^[a-z0-9]+$")] = "eastus"
    port: Annotated[int, Meta(ge=1, le=65535)] = 80
    cpu: Annotated[float, Meta(gt=0, le=32)] = 1.0
    memory_gb: Annotated[float, Meta(gt=0, le=256)] = 1.0
    environment: Values = field(default_factory=dict)
    dns_label: str = ""
    identity: Annotated[str, Meta(description="id of a user-assigned identity that may pull")] = ""
    restart: Literal["Always", "OnFailure", "Never"] = "Always"
    health: HealthRule = HealthRule()

    @property
    def place(self) -> str:
        """The container group."""
        return f"container group {self.name}"

    @property
    def occupies(self) -> Hashable:
        """The container group by its resource id; the case of the resource group is ignored."""
        return self.kind, self.subscription, self.resource_group.lower(), self.name

    def completed(self, registry: RegistryRule) -> Self:
        """With the subscription of the build's registry, unless the rule has one."""
        return self if self.subscription else replace(self, subscription=registry.subscription)

    def shown(self) -> Self:
        """With the names of the environment's variables, without their values."""
        return replace(self, environment=dict.fromkeys(self.environment, ""))
