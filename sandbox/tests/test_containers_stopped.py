"""Container groups that are stopped, that end by themselves, or restart in a loop, as a GET shows them."""

from __future__ import annotations

from functools import partial

import pytest

from sandbox.tests.containers_world import NAME, RG, World, until, world

__all__ = ["world"]

CA1 = "contoso.azurecr.io/hello-world:ca1"


def end(world: World, exit_code: int) -> None:
    world.live.loop.call_soon_threadsafe(world.host.end, exit_code)


def end_again_and_again(world: World) -> None:
    """End the container twice, each time once it has been started again."""
    for restarts in (1, 2):
        end(world, 7)
        until(partial(restarted, world, restarts))


def restarted(world: World, times: int) -> bool:
    return bool(world.get().containers[0].instance_view.restart_count >= times)


def require_stopped(world: World) -> None:
    group = world.get()
    assert (group.provisioning_state, group.instance_view.state) == ("Succeeded", "Stopped")
    state = group.containers[0].instance_view.current_state
    assert (state.state, state.detail_status, state.exit_code) == ("Terminated", "Error", 137)
    assert state.start_time <= state.finish_time


def test_a_group_that_somebody_stops_shows_terminated_containers_and_why(world: World) -> None:
    world.create()
    assert world.send("POST", "/stop").status_code == 204
    require_stopped(world)
    assert world.get().containers[0].instance_view.events[-1].name == "Killing"
    assert world.host.containers == {}
    assert world.send("POST", "/stop").status_code == 204
    require_stopped(world)


def test_a_stopped_group_is_shown_so_after_a_restart_of_the_sandbox_and_does_not_run(world: World) -> None:
    world.create()
    world.client.container_groups.stop(RG, NAME)
    world.live.run(world.groups.stop())
    world.live.run(world.groups.start())
    require_stopped(world)
    assert world.host.containers == {}


def test_a_put_of_the_same_definition_deploys_a_stopped_group_as_new_on_its_address(world: World) -> None:
    address = world.create().ip_address.ip
    world.client.container_groups.stop(RG, NAME)
    group = world.create()
    assert (group.instance_view.state, group.ip_address.ip) == ("Running", address)
    assert world.host.calls.count(f"pull {CA1}") == 2
    assert group.containers[0].instance_view.restart_count == 0


def test_a_stopped_group_may_be_deployed_as_what_a_running_one_cannot_become(world: World) -> None:
    world.create()
    world.client.container_groups.stop(RG, NAME)
    assert world.create(restartPolicy="OnFailure").restart_policy == "OnFailure"


def test_the_stop_of_a_group_that_ended_by_itself_changes_nothing(world: World) -> None:
    world.create(restartPolicy="Never")
    end(world, 3)
    until(lambda: world.get().instance_view.state == "Failed")
    world.client.container_groups.stop(RG, NAME)
    group = world.get()
    assert group.instance_view.state == "Failed"
    assert group.containers[0].instance_view.current_state.exit_code == 3


def test_a_group_that_is_stopped_while_it_waits_to_restart_shows_how_it_ended_last(world: World) -> None:
    world.create()
    end_again_and_again(world)
    end(world, 7)
    until(lambda: world.get().containers[0].instance_view.current_state.state == "Waiting")
    world.client.container_groups.stop(RG, NAME)
    view = world.get().containers[0].instance_view
    assert (view.current_state.state, view.current_state.exit_code, view.restart_count) == ("Terminated", 7, 2)


@pytest.mark.parametrize(("exit_code", "state"), [(0, "Succeeded"), (1, "Failed")])
def test_a_container_that_exits_by_itself_is_terminated_and_its_group_has_ended(
    world: World, exit_code: int, state: str
) -> None:
    world.create(restartPolicy="Never")
    end(world, exit_code)
    until(lambda: world.get().instance_view.state == state)
    current = world.get().containers[0].instance_view.current_state
    assert (current.state, current.exit_code) == ("Terminated", exit_code)


def test_a_container_that_restarts_in_a_loop_counts_backs_off_and_tells_its_last_end(world: World) -> None:
    world.create()
    end_again_and_again(world)
    view = world.get().containers[0].instance_view
    assert (view.previous_state.state, view.previous_state.exit_code) == ("Terminated", 7)
    counted = {event.name: (event.type, event.count) for event in view.events}
    assert counted["BackOff"] == ("Warning", 1)
    assert counted["Started"] == ("Normal", 3)
    assert world.get().instance_view.state == "Running"
