"""Nothing of a rollout is final but a verdict: what cannot be done now is stalled, and goes on by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.domain.errors import Malformed, Misconfigured, NeedsRecreation, Rejected, Retry, Throttled
from shared.domain.rollout import Rollout, RolloutState
from tests.fakes import World, digest

ORANGE, GREEN = digest("orange"), digest("green")
HOUR = 3600.0


def world_with_a_push() -> World:
    """A world whose app is live on orange, and green is pushed."""
    world = World()
    world.push("15-alpine", ORANGE)
    world.settle()
    world.clock.forward(60)
    world.push("15-alpine", GREEN)
    return world


def last(world: World) -> Rollout:
    return world.rollouts()[-1]


@pytest.mark.parametrize(
    "fault",
    [
        Retry("503"),
        Throttled("429", 60.0),
        Misconfigured("no role", remedy="give the app Azure Container Instances Contributor"),
    ],
)
def test_a_deployment_that_cannot_be_made_for_an_hour_is_stalled_and_made_afterwards(fault: Exception) -> None:
    world = world_with_a_push()
    world.containers.faults = [fault] * 10_000
    world.pass_time(HOUR)
    stalled = last(world)
    assert (stalled.state_name, stalled.state) == ("stalled", RolloutState.DEPLOYING)
    assert stalled.stall is not None
    assert stalled.stall.dependency == "container group hello-world-aci"
    world.containers.faults.clear()
    world.pass_time(HOUR)
    assert (last(world).state, last(world).stall) == (RolloutState.LIVE, None)


def test_a_build_that_cannot_be_started_is_stalled_on_its_task_and_started_afterwards() -> None:
    world = world_with_a_push()
    world.next_item()  # the check has begun
    world.tasks.start_fault = Misconfigured("there is no task hello-world")
    world.pass_time(HOUR)
    stall = last(world).stall
    assert stall is not None
    assert stall.dependency == "task team/hello-world"
    world.tasks.start_fault = None
    world.pass_time(HOUR)
    assert last(world).state is RolloutState.LIVE


def test_a_build_that_ends_without_a_result_is_made_again() -> None:
    world = world_with_a_push()
    world.tasks.broken.add("hello-world")
    world.pass_time(90)
    assert last(world).state is RolloutState.BUILDING
    world.tasks.broken.clear()
    world.pass_time(HOUR)
    assert last(world).state is RolloutState.LIVE


@pytest.mark.parametrize("verdict", [Rejected("no"), NeedsRecreation("no"), Malformed("image", "no")])
def test_a_definite_no_to_a_deployment_is_a_verdict(verdict: Exception) -> None:
    world = world_with_a_push()
    world.containers.faults = [verdict] * 2
    world.settle()
    touched = isinstance(verdict, NeedsRecreation)
    assert last(world).state is (RolloutState.RESTORED if touched else RolloutState.FAILED)
    assert last(world).reason.startswith("no" if not isinstance(verdict, Malformed) else "image: no")


def test_a_deployment_put_off_past_its_claim_does_not_overwrite_what_went_live_meanwhile() -> None:
    world = world_with_a_push()
    world.containers.faults = [Retry("503")] * 3
    world.pass_time(20)
    green = last(world)
    world.clock.forward(2 * HOUR)
    kept = [entry for entry in world.queue.waiting if getattr(entry[2], "row", "") == green.row]
    world.queue.waiting = []
    world.containers.faults.clear()
    world.push("15-alpine", digest("blue"))
    world.settle()
    assert last(world).state is RolloutState.LIVE
    world.queue.waiting = [(world.clock.now() + timedelta(seconds=1), *entry[1:]) for entry in kept]
    puts = list(world.containers.puts)
    world.pass_time(60)
    stored = world.ledger.load(Rollout, "hello-world", green.row)
    assert stored
    assert (stored.record.state, world.containers.puts) == (RolloutState.SUPERSEDED, puts)


def test_an_app_that_takes_its_time_to_get_well_is_waited_for() -> None:
    world = world_with_a_push()
    world.probe.seconds = 8
    world.settle()
    assert last(world).state is RolloutState.LIVE
