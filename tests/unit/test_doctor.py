"""Everything that the rules need is tried, and each says what is wrong."""

from __future__ import annotations

import msgspec

from shared.domain.errors import Misconfigured, Retry
from shared.workflow.doctor import Doctor
from tests.fakes import World, sample_policy


def states(world: World) -> dict[str, str]:
    return {finding.dependency: finding.state for finding in Doctor(world.services).examine()}


def test_every_dependency_of_the_rules_is_tried() -> None:
    found = states(World())
    assert set(found.values()) == {"ok"}
    assert {name.split(" ")[0] for name in found} == {"ledger", "queue", "evidence", "registry", "task", "container"}


def test_what_passes_and_what_a_person_must_mend_are_told_apart() -> None:
    policy = sample_policy()
    named = {
        name: msgspec.structs.replace(rule, credentials=f"registry-{name}") for name, rule in policy.registries.items()
    }
    world = World(sample_policy(registries=named))
    world.registry.fault = Retry("the registry answers 503")
    world.secrets.fault = Misconfigured("there is no secret registry-public-user: create it")
    found = states(world)
    assert found["registry publicregistry.azurecr.io/node"] == "away"
    assert found["secrets registry-public-user and -password"] == "misconfigured"
    assert found["ledger (tables)"] == "ok"
