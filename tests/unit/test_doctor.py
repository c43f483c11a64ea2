"""Everything that the rules need is tried, and each says what is wrong and what to do."""

from __future__ import annotations

import threading
from datetime import timedelta

import msgspec
import pytest

from shared.domain.errors import BasegateError, Cause, Misconfigured, Rejected, Retry
from shared.domain.policy import RegistryRule
from shared.workflow.doctor import Doctor
from shared.workflow.findings import Finding
from tests.fakes import World, digest, sample_policy


def findings(world: World) -> dict[str, Finding]:
    return {finding.dependency: finding for finding in Doctor(world.services).examine()}


def states(world: World) -> dict[str, str]:
    return {name: finding.state for name, finding in findings(world).items()}


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
        "ledger", "queue", "lost", "clock", "evidence", "registry", "task", "container", "outcomes", "sweep",
    }  # fmt: skip


def test_what_passes_and_what_a_person_must_mend_are_told_apart() -> None:
    world = with_credentials()
    world.registry.fault = Retry("the registry answers 503")
    world.secrets.fault = Misconfigured("there is no secret registry-public-user", cause=Cause.SECRET, remedy="make it")
    found = findings(world)
    away, missing = (
        found["registry publicregistry.azurecr.io/node"],
        found["secrets registry-public-user and -password"],
    )
    assert (away.state, away.stops) == ("away", True)
    assert (missing.state, missing.cause, missing.remedy) == ("misconfigured", "secret", "make it")
    assert found["ledger (tables)"].state == "ok"


@pytest.mark.parametrize(
    "fault", [Misconfigured("BASEGATE_X is wrong"), Retry("503"), Rejected("409 no"), Misconfigured("x", remedy="do y")]
)
def test_whatever_is_wrong_comes_with_a_sentence_that_says_what_to_do(fault: BasegateError) -> None:
    world = World()
    world.registry.fault = fault
    sick = [finding for finding in findings(world).values() if finding.state != "ok"]
    assert sick
    assert all(len(finding.remedy) > 3 for finding in sick)
    assert all(finding.remedy not in finding.detail for finding in sick)


def test_a_subscription_that_may_run_no_tasks_is_told_before_the_first_push() -> None:
    world = World()
    world.tasks.start_fault = Misconfigured("400", cause=Cause.TASKS_NOT_ALLOWED, remedy="ask Azure support")
    found = findings(world)["task base-import-node of contosobaseartifacts.azurecr.io"]
    assert (found.state, found.cause) == ("misconfigured", "tasks-not-allowed")


@pytest.mark.parametrize(
    ("seconds", "state", "said"),
    [
        (0, "ok", ""),
        (60, "ok", ""),
        (-61, "warning", "61 s ahead of"),
        (61, "warning", "61 s behind"),
        (901, "misconfigured", "pushes are refused"),
        (-901, "misconfigured", "901 s ahead of"),
    ],
)
def test_a_clock_that_is_wrong_is_a_warning_first_and_then_a_stop(seconds: float, state: str, said: str) -> None:
    world = World()
    world.queue.server_ahead = timedelta(seconds=seconds)
    clock = findings(world)["clock"]
    assert clock.state == state
    assert said in clock.detail
    assert bool(clock.remedy) == (state != "ok")


def test_steps_that_the_host_gave_up_on_are_seen_and_stop_nothing() -> None:
    world = World()
    world.queue.given_up = 3
    lost = findings(world)["lost steps"]
    assert (lost.state, lost.cause, lost.stops) == ("warning", "lost-steps", False)
    assert lost.detail.startswith("3 messages lie in basegate-steps-poison")


def test_a_timer_that_does_not_sweep_is_seen() -> None:
    world = World()
    assert "no sweep has come by yet" in findings(world)["sweep"].detail
    world.sweep_now()
    assert findings(world)["sweep"].state == "ok"
    world.clock.forward(2 * 3600)
    silent = findings(world)["sweep"]
    assert (silent.state, silent.stops) == ("warning", False)
    assert "for 120 minutes" in silent.detail
    assert "drift-timer" in silent.remedy


def test_an_outcome_that_nobody_heard_is_seen_until_one_is_told_again() -> None:
    world = World()
    world.announcer.fault = Misconfigured(
        "announcing CandidatePromoted: 403", remedy="give the app EventGrid Data Sender"
    )
    world.push("15-alpine", digest("Green"))
    world.settle()
    untold = findings(world)["outcomes of gate node"]
    assert (untold.state, untold.cause) == ("warning", "outcomes")
    assert world.candidates()[0].id in untold.detail
    assert "EventGrid Data Sender" in untold.detail
    assert findings(world)["outcomes of app hello-world"].state == "warning"

    world.announcer.fault = None
    world.clock.forward(60)
    world.push("15-alpine", digest("Blue"))
    world.settle()
    assert findings(world)["outcomes of gate node"].state == "ok"


def test_services_that_hang_hold_up_neither_the_answer_nor_a_thread_more_at_each_call() -> None:
    world, released, asked = World(), threading.Event(), list[str]()

    def hang(registry: RegistryRule, repository: str, tag: str) -> None:
        asked.append(registry.name)
        released.wait(30)

    world.registry.digest_of = hang  # type: ignore[method-assign]
    doctor = Doctor(world.services, patience_seconds=0.2)
    try:
        for _ in range(3):
            found = {finding.dependency: finding for finding in doctor.examine()}
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
    names = [finding.dependency for finding in Doctor(world.services).examine()]
    assert len(names) == len(set(names))


def test_a_registry_that_is_not_azure_s_is_asked_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = RegistryRule(name="public", login_server="docker.io")
    world = World(sample_policy(registries={**sample_policy().registries, "public": hub}))

    def refuse(*_: object) -> None:
        raise Misconfigured("docker.io cannot be resolved", cause=Cause.NETWORK)

    monkeypatch.setattr(world.tags, "digest_of", refuse)
    upstream = findings(world)["registry docker.io/node"]
    assert (upstream.state, upstream.cause) == ("misconfigured", "network")
    assert states(world)["registry contosobaseartifacts.azurecr.io/node"] == "ok"
