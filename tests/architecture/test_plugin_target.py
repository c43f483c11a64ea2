"""A deployment target is its rule and what fulfils the port: a toy of both, from gates.yaml to an image put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import msgspec
import pytest

from scripts.schema import gates_schema
from shared.domain.errors import NeedsRecreation
from shared.domain.policy import DeployRule, HealthRule, Name, RegistryRule, Rule
from shared.domain.rollout import BuiltImage, RolloutState
from shared.domain.targets import TARGETS
from shared.ports import DeploymentState
from shared.queries.records import Queries
from shared.rules import InvalidGates, parse_gates
from tests.architecture.tree import ROOT
from tests.fakes import World, digest

SAMPLE, _, _ = (ROOT / "gates.sample.yaml").read_text(encoding="utf-8").partition("    deploy:\n")
RULES = f"{SAMPLE}    deploy: {{toy: {{name: train, secret: choo, health: {{within: 10s}}}}}}\n"


class ToyRule(Rule, DeployRule, frozen=True, kw_only=True):
    """A toy on a shelf."""

    kind = "toy"

    name: Name
    shelf: str = ""
    secret: str = ""
    health: HealthRule = HealthRule()

    def completed(self, registry: RegistryRule) -> Self:
        return msgspec.structs.replace(self, shelf=registry.name)

    def shown(self) -> Self:
        return msgspec.structs.replace(self, secret="")


class Shelf:
    """Toys by their names: the image of each. What is `broken` does not come up, what is `glued` cannot be changed."""

    def __init__(self) -> None:
        self.toys: dict[str, str] = {}
        self.broken: set[str] = set()
        self.glued = False

    def put(self, rule: ToyRule, image: BuiltImage, registry: RegistryRule) -> None:
        assert rule.shelf == registry.name
        if self.glued and rule.name in self.toys:
            raise NeedsRecreation("it is glued")
        self.toys[rule.name] = image.reference

    def get(self, rule: ToyRule) -> DeploymentState | None:
        image = self.toys.get(rule.name)
        if image is None:
            return None
        broken = image in self.broken
        return DeploymentState(image=image, running=not broken, failed=broken, address="shelf:1")

    def delete(self, rule: ToyRule) -> None:
        self.toys.pop(rule.name, None)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def world(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> World:
    """Green is live."""
    monkeypatch.setitem(TARGETS, ToyRule.kind, ToyRule)
    world = World(parse_gates(RULES))
    monkeypatch.setattr(world.probe, "check", lambda address, path: None)
    world.more_targets[ToyRule.kind] = shelf
    world.restart()
    world.push("15-alpine", digest("Green"))
    world.settle()
    return world


def test_an_app_is_built_and_deployed_to_the_target_of_its_rule(world: World, shelf: Shelf) -> None:
    live = world.app().live
    assert live
    assert shelf.toys == {"train": live.reference}
    assert world.containers.puts == []


def test_what_is_not_well_there_is_put_back(world: World, shelf: Shelf) -> None:
    good, put = shelf.toys["train"], shelf.put

    def breaks(rule: ToyRule, image: BuiltImage, registry: RegistryRule) -> None:
        put(rule, image, registry)
        shelf.broken = set(shelf.toys.values()) - {good}

    shelf.put, shelf.glued = breaks, True  # type: ignore[method-assign]
    world.push("15-alpine", digest("Blue"))
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.RESTORED
    assert "deleted and created again: it is glued" in " ".join(one.why for one in world.rollouts()[-1].history)
    assert shelf.toys == {"train": good}


def test_the_sweep_finds_what_is_gone_and_says_it_in_the_target_s_words(world: World, shelf: Shelf) -> None:
    there = dict(shelf.toys)
    shelf.toys.clear()
    result = world.sweep.run(world.clock.now().replace(year=2099))
    world.settle()
    assert [effect.what for effect in result.effects] == ["redeploy", "alarm"]
    assert shelf.toys == there
    assert "toy train is not contoso.azurecr.io/hello-world:ct1: it is gone" in result.effects[1].subject


def test_its_rule_is_part_of_the_schema_and_answered_without_its_secret(world: World) -> None:
    assert gates_schema()["$defs"]["Deploy"]["properties"].keys() == {"aci", "toy"}
    answered = msgspec.to_builtins(Queries(world.services).app("hello-world").rule)["deploy"]
    assert answered["toy"] == {"name": "train", "shelf": "team", "secret": "", "health": {"path": "/", "within": "10s"}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text.replace("name: train", "name: Train"), "apps.hello-world.deploy.toy.name: 'Train' is not"),
        (
            lambda text: text + text.partition("apps:\n")[2].replace("hello-world:\n", "other:\n"),
            "deploys to train too",
        ),
    ],
)
def test_what_is_wrong_with_its_rule_is_told_with_its_place(
    world: World, change: Callable[[str], str], expected: str
) -> None:
    with pytest.raises(InvalidGates, match=expected):
        parse_gates(change(RULES))
