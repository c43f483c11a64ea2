"""Everything that the rules need is tried, and each says what is wrong and what to do."""

from __future__ import annotations

import threading
from datetime import timedelta

import msgspec
import pytest

from shared.domain.errors import BasegateError, Cause, Misconfigured, Rejected, Retry
from shared.domain.policy import RegistryRule
from shared.health import HealthChecks, HealthResult
from tests.fakes import World, digest, sample_policy


def results(world: World) -> dict[str, HealthResult]:
    return {result.dependency: result for result in HealthChecks(world.services).run()}


def states(world: World) -> dict[str, str]:
    return {name: result.state for name, result in results(world).items()}


def with_credentials() -> World:
    registries = sample_policy().registries
    named = {name: msgspec.structs.replace(rule, credentials=f"registry-{name}") for name, rule in registries.items()}
    return World(sample_policy(registries=named))


def test_every_dependency_of_the_rules_is_tried() -> None:
    world = World()
    world.sweep_now()
    found = states(world)
    assert set(found.values()) == {"ok"}
    assert {name.split(" ")[0] for name in found} == {
        "ledger", "queues", "poison", "login", "clock", "evidence", "signing", "registry", "task", "container",
        "records", "outcomes", "sweep",
    }  # fmt: skip


def test_what_passes_and_what_a_person_must_mend_are_told_apart() -> None:
    world = with_credentials()
    world.registry.fault = Retry("the registry answers 503")
    world.secrets.fault = Misconfigured("there is no secret registry-public-user", cause=Cause.SECRET, remedy="make it")
    found = results(world)
    away, missing = (
        found["registry publicregistry.azurecr.io/node"],
        found["secrets registry-public-user and -password"],
    )
    assert (away.state, away.stops) == ("unavailable", True)
    assert (missing.state, missing.cause, missing.remedy) == ("misconfigured", "secret", "make it")
    assert found["ledger (tables)"].state == "ok"


@pytest.mark.parametrize(
    "fault", [Misconfigured("BASEGATE_X is wrong"), Retry("503"), Rejected("409 no"), Misconfigured("x", remedy="do y")]
)
def test_whatever_is_wrong_comes_with_a_sentence_that_says_what_to_do(fault: BasegateError) -> None:
    world = World()
    world.registry.fault = fault
    sick = [result for result in results(world).values() if result.state != "ok"]
    assert sick
    assert all(len(result.remedy) > 3 for result in sick)
    assert all(result.remedy not in result.detail for result in sick)


def test_a_subscription_that_may_run_no_tasks_is_told_before_the_first_push() -> None:
    world = World()
    world.tasks.start_fault = Misconfigured("400", cause=Cause.TASKS_NOT_ALLOWED, remedy="ask Azure support")
    found = results(world)["task base-import-node of contosobaseartifacts.azurecr.io"]
    assert (found.state, found.cause) == ("misconfigured", "tasks-not-allowed")


@pytest.mark.parametrize(
    ("seconds", "state", "said"),
    [
        (0, "ok", ""),
        (60, "ok", ""),
        (-61, "warning", "61 s ahead of"),
        (61, "warning", "61 s behind"),
        (901, "misconfigured", "claims end too early or too late"),
        (-901, "misconfigured", "901 s ahead of"),
    ],
)
def test_a_clock_that_is_wrong_is_a_warning_first_and_then_a_stop(seconds: float, state: str, said: str) -> None:
    world = World()
    world.queue.server_ahead = timedelta(seconds=seconds)
    clock = results(world)["clock"]
    assert clock.state == state
    assert said in clock.detail
    assert bool(clock.remedy) == (state != "ok")


def test_messages_that_the_host_gave_up_on_are_seen_and_stop_nothing() -> None:
    world = World()
    world.queue.given_up = 3
    poison = results(world)["poison queues"]
    assert (poison.state, poison.cause, poison.stops) == ("warning", "poison", False)
    assert poison.detail.startswith("3 messages in basegate-work-poison or basegate-hints-poison")


def test_a_timer_that_does_not_sweep_is_seen() -> None:
    world = World()
    assert "no sweep has run yet" in results(world)["sweep"].detail
    world.sweep_now()
    assert results(world)["sweep"].state == "ok"
    world.clock.forward(2 * 3600)
    silent = results(world)["sweep"]
    assert (silent.state, silent.stops) == ("warning", False)
    assert "for 120 minutes" in silent.detail
    assert "drift-timer" in silent.remedy


def test_an_outcome_that_nobody_heard_is_seen_until_it_is_announced() -> None:
    world = World()
    world.announcer.fault = Misconfigured("announcing: 403", remedy="give the app EventGrid Data Sender")
    world.push("15-alpine", digest("Green"))
    world.settle()
    result = results(world)["outcomes"]
    assert (result.state, result.cause, result.stops) == ("warning", "stalled", False)
    assert "on listener topic: announcing: 403" in result.detail
    assert "EventGrid Data Sender" in result.remedy
    assert results(world)["records of gate node"].state == "ok"

    world.announcer.fault = None
    world.pass_time(2 * 3600)
    assert results(world)["outcomes"].state == "ok"
    assert results(world)["records of app hello-world"].state == "ok"


def test_outcomes_that_a_listener_refuses_are_seen() -> None:
    world = World()
    world.announcer.fault = Rejected("announcing Promoted: 413 PayloadTooLarge")
    world.push("15-alpine", digest("Green"))
    world.settle()
    result = results(world)["outcomes"]
    assert (result.state, result.cause, result.stops) == ("warning", "outcomes", False)
    assert "listener topic refuses" in result.detail
    assert "413" in result.detail
    assert result.remedy


def test_what_records_stall_on_is_seen_once_a_cause_until_it_works_again() -> None:
    world = World()
    world.tasks.start_fault = Misconfigured("starting the task: 403", cause=Cause.ROLE, remedy="give the app a role")
    for number in range(3):
        world.push(f"15.{number}", digest(f"version {number}"))
    world.settle()
    result = results(world)["records of gate node"]
    assert (result.state, result.cause, result.remedy) == ("warning", "role", "give the app a role")
    assert "on task base/base-import-node: starting the task: 403" in result.detail
    world.tasks.start_fault = None
    world.pass_time(3600)
    assert results(world)["records of gate node"].state == "ok"


def test_services_that_hang_hold_up_neither_the_answer_nor_a_thread_more_at_each_call() -> None:
    world, released, asked = World(), threading.Event(), list[str]()

    def hang(registry: RegistryRule, repository: str, tag: str) -> None:
        asked.append(registry.name)
        released.wait(30)

    world.registry.digest_of = hang  # type: ignore[method-assign]
    checks = HealthChecks(world.services, timeout_seconds=0.2)
    try:
        for _ in range(3):
            found = {result.dependency: result for result in checks.run()}
            slow = found["registry publicregistry.azurecr.io/node"]
            assert (slow.state, slow.cause) == ("slow", "network")
            assert "firewall" in slow.remedy
            assert found["ledger (tables)"].state == "ok"
        assert sorted(asked) == ["base", "public"]
    finally:
        released.set()


def test_a_thing_that_two_rules_name_is_tried_once() -> None:
    gate = sample_policy().gates["node"]
    world = World(sample_policy(gates={"node": gate, "other": msgspec.structs.replace(gate, name="other")}))
    names = [result.dependency for result in HealthChecks(world.services).run()]
    assert len(names) == len(set(names))


def test_a_registry_that_is_not_azure_s_is_asked_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = RegistryRule(name="public", server="docker.io")
    world = World(sample_policy(registries={**sample_policy().registries, "public": hub}))

    def refuse(*_: object) -> None:
        raise Misconfigured("docker.io cannot be resolved", cause=Cause.NETWORK)

    monkeypatch.setattr(world.tags, "digest_of", refuse)
    upstream = results(world)["registry docker.io/node"]
    assert (upstream.state, upstream.cause) == ("misconfigured", "network")
    assert states(world)["registry contosobaseartifacts.azurecr.io/node"] == "ok"
