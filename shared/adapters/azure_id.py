"""The parts of an Azure resource id that the SDKs ask for one by one."""

from dataclasses import dataclass
from typing import Self

from shared.domain.errors import Misconfigured
from shared.domain.policy import RegistryRule


@dataclass(frozen=True, slots=True)
class RegistryId:
    """Subscription, resource group and name of a registry."""

    subscription: str
    group: str
    name: str

    @classmethod
    def of(cls, registry: RegistryRule) -> Self:
        """The parts of a registry's id.

        Raises:
            Misconfigured: the registry has no Azure id.
        """
        parts = registry.id.split("/")
        if len(parts) < 9:
            raise Misconfigured(f"registry {registry.name} has no Azure resource id in the rules")
        return cls(parts[2], parts[4], parts[8])
