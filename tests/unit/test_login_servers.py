"""Where a registry is, Azure says: its name does not tell."""

from __future__ import annotations

import dataclasses
import threading

import msgspec
import pytest

from shared import health
from shared.domain.errors import BasegateError, Misconfigured, Rejected, Retry
from shared.domain.policy import Policy, RegistryRule
from shared.health import HealthChecks, HealthResult
from shared.rules import login_servers
from shared.rules.login_servers import LoginServer, LoginServers
from tests.fakes import World, sample_policy

LABELED = "contosobaseartifacts-a1b2c3d4e5f6g7h8.azurecr.io"


def unnamed() -> Policy:
    """The sample rules as people write them: ids alone."""
    policy = sample_policy()
    registries = {name: msgspec.structs.replace(rule, server="") for name, rule in policy.registries.items()}
    return msgspec.structs.replace(policy, registries=registries)


def resolved(world: World, policy: Policy) -> dict[str, str]:
    found = LoginServers(policy, world.ledger, world.registry).policy()
    return {name: rule.login_server for name, rule in found.registries.items()}


def test_the_login_server_is_what_azure_says_and_not_made_from_the_name() -> None:
    world = World()
    world.registry.servers["base"] = LABELED
    assert resolved(world, unnamed()) == {
        "public": "publicregistry.azurecr.io",
        "base": LABELED,
        "team": "contoso.azurecr.io",
    }


def test_it_is_asked_for_once_and_a_new_process_needs_no_resource_manager() -> None:
    world = World()
    world.registry.servers["base"] = LABELED
    resolved(world, unnamed())
    world.registry.fault = Retry("Azure Resource Manager is away")
    assert resolved(world, unnamed())["base"] == LABELED


def test_nothing_is_guessed_while_azure_cannot_be_asked() -> None:
    world = World()
    world.registry.fault = Retry("Azure Resource Manager is away")
    with pytest.raises(Retry):
        resolved(world, unnamed())


def test_what_azure_says_too_late_is_there_for_the_next_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    world, answer = World(), threading.Event()
    say = world.registry.login_server

    def slow(rule: RegistryRule) -> str:
        answer.wait(10)
        return say(rule)

    monkeypatch.setattr(world.registry, "login_server", slow)
    monkeypatch.setattr(login_servers, "PATIENCE_SECONDS", 0.01)
    servers = LoginServers(unnamed(), world.ledger, world.registry)
    with pytest.raises(Retry, match="could not be read from Azure in time"):
        servers.policy()
    answer.set()
    monkeypatch.setattr(login_servers, "PATIENCE_SECONDS", 10.0)
    assert servers.policy() is servers.policy()


def test_readyz_waits_for_no_azure_that_does_not_say_where_the_registries_are(monkeypatch: pytest.MonkeyPatch) -> None:
    world, answer = World(), threading.Event()
    monkeypatch.setattr(world.registry, "login_server", lambda _: answer.wait(10) and "late.azurecr.io")
    monkeypatch.setattr(health, "RULES_SECONDS", 0.01)
    servers = LoginServers(unnamed(), world.ledger, world.registry)
    world.services = dataclasses.replace(world.services, rules=servers.policy)
    found = {result.dependency: result for result in HealthChecks(world.services, timeout_seconds=0.2).run()}
    answer.set()
    assert (found["login servers"].state, found["ledger (tables)"].state) == ("slow", "ok")


def test_it_is_asked_again_after_a_fault_and_readyz_says_what_is_away() -> None:
    world = World()
    world.registry.fault = Retry("Azure Resource Manager is away")
    servers = LoginServers(unnamed(), world.ledger, world.registry)
    world.services = dataclasses.replace(world.services, rules=servers.policy)
    found = {result.dependency: result for result in HealthChecks(world.services).run()}
    assert (found["login servers"].state, found["ledger (tables)"].state) == ("unavailable", "ok")
    world.registry.fault = None
    assert servers.policy().registries["base"].login_server == "contosobaseartifacts.azurecr.io"


def test_a_ledger_that_is_away_has_azure_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.registry.servers["base"] = LABELED

    def away(*_: object) -> object:
        raise Retry("the table service is away")

    monkeypatch.setattr(world.ledger, "list", away)
    monkeypatch.setattr(world.ledger, "insert", away)
    assert resolved(world, unnamed())["base"] == LABELED


@pytest.mark.parametrize("error", [Misconfigured("403", remedy="give Reader"), Rejected("400")])
def test_where_the_app_may_not_read_the_registry_its_name_is_believed_and_not_kept(error: BasegateError) -> None:
    world = World()
    world.registry.read_fault = error
    assert resolved(world, unnamed())["base"] == "contosobaseartifacts.azurecr.io"
    assert not list(world.ledger.list(LoginServer, "login-server"))


def test_what_the_rules_write_is_not_asked_for_nor_is_what_is_not_azures() -> None:
    world = World()
    world.registry.fault = Retry("Azure Resource Manager is away")
    hub = RegistryRule(name="hub", server="docker.io")
    policy = sample_policy()
    policy = msgspec.structs.replace(policy, registries={**policy.registries, "hub": hub})
    assert resolved(world, policy)["hub"] == "docker.io"


def readiness(world: World) -> HealthResult:
    found = {result.dependency: result for result in HealthChecks(world.services).run()}
    return found["login server of registry base"]


def test_readyz_says_where_rules_and_azure_differ_and_what_to_write() -> None:
    world = World()
    assert readiness(world).state == "ok"
    world.registry.servers["base"] = LABELED
    differing = readiness(world)
    assert (differing.state, differing.stops) == ("misconfigured", True)
    assert differing.detail == f"Azure reports {LABELED}, Basegate uses contosobaseartifacts.azurecr.io"
    assert differing.remedy.endswith(LABELED)


def test_readyz_says_that_a_login_server_is_believed_and_not_known() -> None:
    world = World()
    world.registry.read_fault = Misconfigured("reading registry base: 403", remedy="give the app Reader on it")
    believed = readiness(world)
    assert (believed.state, believed.remedy) == ("warning", "give the app Reader on it")
    assert "assumed to be contosobaseartifacts.azurecr.io" in believed.detail
