"""The rules of the reference scenario."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from shared.checks.task import TaskCheck
from shared.domain.image import Digest, parse_digest
from shared.domain.policy import (
    App,
    BaseRule,
    BuildRule,
    Gate,
    HealthRule,
    Policy,
    PromotionRule,
    RegistryRule,
    Source,
)
from shared.domain.targets.aci import AciRule

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000001"


def digest(name: str) -> Digest:
    """A digest that is derived from a name, and different for each."""
    return parse_digest("sha256:" + hashlib.sha256(name.encode()).hexdigest())


def registry_rule(name: str, short_name: str) -> RegistryRule:
    """A registry of the reference scenario."""
    scope = f"{SUBSCRIPTION}/resourceGroups/{name}-rg/providers/Microsoft.ContainerRegistry/registries/{name}"
    return RegistryRule(name=short_name, server=f"{name}.azurecr.io", id=scope)


def sample_policy(**changes: Any) -> Policy:
    """The reference scenario's rules: gate `node`, app `hello-world`."""
    gate = Gate(
        name="node",
        source=Source(registry="public", repository="node", tags=("15-alpine", "15.*")),
        checks=(TaskCheck(registry="base", task="base-import-node", timeout="600s"),),
        promote=PromotionRule(registry="base", repository="node"),
    )
    app = App(
        name="hello-world",
        base=BaseRule(gate="node", tag="15-alpine"),
        build=BuildRule(registry="team", task="hello-world", image="hello-world:{run}"),
        deploy=AciRule(
            name="hello-world-aci",
            resource_group="hello-world-aci-rg",
            subscription="00000000-0000-0000-0000-000000000001",
            health=HealthRule(path="/", within="10s"),
        ),
    )
    policy = Policy(
        registries={
            "public": registry_rule("publicregistry", "public"),
            "base": registry_rule("contosobaseartifacts", "base"),
            "team": registry_rule("contoso", "team"),
        },
        gates={"node": gate},
        apps={"hello-world": app},
    )
    return msgspec.structs.replace(policy, **changes)
