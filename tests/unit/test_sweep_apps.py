"""The sweep, apps and alarms over time: what was decided or repaired meanwhile counts, what rules dropped is over."""

from __future__ import annotations

import msgspec
import pytest

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.errors import Misconfigured
from shared.domain.policy import BaseRule, Policy
from shared.domain.rollout import Cause, RolloutState
from shared.domain.targets.aci import AciRule
from shared.operations import Who
from tests.fakes import World, digest, sample_policy

ORANGE, GREEN = digest("orange"), digest("green")
WHO = Who.of("ada", "malware")
GROUP = "hello-world-aci"
PERIOD = 300.0


@pytest.fixture
def world() -> World:
    """Green is promoted and live."""
    world = World(sample_policy())
    world.push("15-alpine", GREEN)
    world.settle()
    world.clock.forward(PERIOD)
    world.sweep_now()
    return world


def alarms(world: World, scope: str = "apps.hello-world") -> list[Alarm]:
    return [stored.record for stored in world.ledger.list(Alarm, scope) if stored.record.is_active]


def with_app(**changes: object) -> Policy:
    policy = sample_policy()
    app = msgspec.structs.replace(policy.apps["hello-world"], **changes)
    return msgspec.structs.replace(policy, apps={"hello-world": app})


def sweep_for(world: World, periods: int) -> None:
    for _ in range(periods):
        world.sweep_now()
        world.settle()
        world.clock.forward(PERIOD)


def test_a_container_that_was_deleted_with_a_vetoed_base_is_not_put_back(world: World) -> None:
    world.operate.vetoes.veto("node", GREEN, WHO).act()
    world.containers.groups.pop(GROUP)
    puts = len(world.containers.puts)
    sweep_for(world, 3)
    assert len(world.containers.puts) == puts
    assert f"node@{GREEN} is vetoed by ada" in alarms(world)[0].plan


def test_a_redeployment_that_failed_long_ago_does_not_keep_the_next_fault_from_being_repaired(world: World) -> None:
    live = world.containers.groups[GROUP][0]
    world.containers.crashing.add(live)
    sweep_for(world, 2)
    assert world.rollouts()[-1].state is RolloutState.FAILED
    world.containers.crashing.clear()
    sweep_for(world, 2)
    assert alarms(world) == []
    world.containers.groups.pop(GROUP)
    sweep_for(world, 1)
    assert (world.rollouts()[-1].cause, world.rollouts()[-1].state) == (Cause.DRIFT, RolloutState.LIVE)


def test_a_rollout_that_cannot_build_does_not_keep_the_container_from_being_repaired(world: World) -> None:
    live = world.app().live
    assert live
    world.push("15-alpine", ORANGE)
    world.next_item()  # the check has begun
    world.tasks.start_fault = Misconfigured("there is no task hello-world")
    world.pass_time(PERIOD)
    assert world.rollouts()[-1].state_name == "stalled"
    world.containers.groups.pop(GROUP)
    sweep_for(world, 2)
    assert world.containers.groups[GROUP][0] == live.reference
    world.tasks.start_fault = None
    world.pass_time(PERIOD)
    assert {rollout.state for rollout in world.rollouts()} == {RolloutState.LIVE}


def test_the_alarm_of_a_container_group_ends_when_the_app_has_another_one(world: World) -> None:
    deploy = sample_policy().apps["hello-world"].deploy
    assert isinstance(deploy, AciRule)
    world.containers.crashing.add(world.containers.groups[GROUP][0])
    sweep_for(world, 3)
    assert [alarm.subject for alarm in alarms(world)] == [GROUP]
    world.containers.crashing.clear()
    world.policy = with_app(deploy=msgspec.structs.replace(deploy, name="another"))
    world.restart()
    sweep_for(world, 3)
    assert alarms(world) == []
    assert "another" in world.containers.groups


def test_the_alarm_of_credentials_ends_when_the_rule_names_others(world: World) -> None:
    def using(credentials: str) -> None:
        policy = sample_policy()
        public = msgspec.structs.replace(policy.registries["public"], credentials=credentials)
        world.policy = msgspec.structs.replace(policy, registries={**policy.registries, "public": public})
        world.restart()
        world.clock.forward(3600)
        world.sweep_now()

    world.secrets.expires_at = world.clock.now()
    using("registry-public")
    assert [alarm.subject for alarm in alarms(world, "registries.public")] == ["registry-public"]
    world.secrets.expires_at = None
    using("registry-public-2")
    assert alarms(world, "registries.public") == []


def test_a_vault_that_is_shut_does_not_hide_that_no_events_come(world: World) -> None:
    policy = sample_policy()
    public = msgspec.structs.replace(policy.registries["public"], credentials="registry-public")
    world.policy = msgspec.structs.replace(policy, registries={**policy.registries, "public": public})
    world.restart()
    world.clock.forward(3600)
    world.subscriptions.reaching = False
    world.secrets.fault = Misconfigured("the vault refuses access")
    world.sweep_now()
    assert [alarm.kind for alarm in alarms(world, "registries.public")] == [AlarmKind.NO_SUBSCRIPTION]


def test_the_alarm_of_a_silent_repository_ends_when_the_gate_has_another_source() -> None:
    policy = sample_policy()
    gate = msgspec.structs.replace(policy.gates["node"], stale_after="1d")
    world = World(msgspec.structs.replace(policy, gates={"node": gate}))
    world.push("15-alpine", GREEN)
    world.settle()
    world.sweep_now()
    world.clock.forward(90_000)
    world.sweep_now()
    assert [alarm.subject for alarm in alarms(world, "gates.node")] == ["node"]
    moved = msgspec.structs.replace(gate, source=msgspec.structs.replace(gate.source, repository="mirror/node"))
    world.policy = msgspec.structs.replace(policy, gates={"node": moved})
    world.registry.tags[("public", "mirror/node:15-alpine")] = digest("blue")
    world.restart()
    world.sweep_now()
    assert alarms(world, "gates.node") == []


def test_an_app_that_the_rules_put_on_another_tag_is_rebuilt_even_if_that_moved_earlier() -> None:
    world = World(sample_policy())
    for tag, content in (("15.14", ORANGE), ("15-alpine", GREEN)):
        world.push(tag, content)
        world.settle()
        world.clock.forward(PERIOD)
    world.policy = with_app(base=BaseRule(gate="node", tag="15.14"))
    world.restart()
    sweep_for(world, 2)
    last = world.rollouts()[-1]
    assert last.base is not None
    assert (last.base.digest, last.state) == (ORANGE, RolloutState.LIVE)
    assert world.app().base == last.base


def test_what_an_operator_had_examined_is_not_counted_as_found(world: World) -> None:
    world.registry.tags[("public", "node:15-alpine")] = ORANGE
    world.operate.candidates.examine("node", "15-alpine", WHO).act()
    sweep_for(world, 1)
    assert world.observation().by_sweep == 0
