"""Changes of container groups that fail, meet others, or are ended by a deletion."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from sandbox.tests.containers_world import NAME, RG, World, definition, until, world

__all__ = ["world"]

CA1, CA2 = "contoso.azurecr.io/hello-world:ca1", "contoso.azurecr.io/hello-world:ca2"


def delete_resource_group(world: World) -> None:
    world.live.run(world.groups.delete_group(RG.upper()))


def delete_group(world: World) -> None:
    assert world.send("DELETE").status_code in (200, 204)


DELETIONS = pytest.mark.parametrize("delete", [delete_resource_group, delete_group])
Delete = Callable[[World], None]


def open_gate(world: World, gate: asyncio.Event) -> None:
    world.live.loop.call_soon_threadsafe(gate.set)


def require_nothing_left(world: World) -> None:
    """No container, no group, and no address that was given back more than once."""
    assert world.host.containers == {}
    assert list(world.client.container_groups.list()) == []
    with pytest.raises(ResourceNotFoundError):
        world.get()
    assert len(set(world.host.released)) == len(world.host.released)


def test_a_deployment_that_the_engine_refused_is_tried_again_by_the_same_put(world: World) -> None:
    world.host.address_error = "no address left"
    with pytest.raises(HttpResponseError, match="The container engine refused: no address left"):
        world.create()
    assert world.get().provisioning_state == "Failed"
    world.host.address_error = None
    group = world.create()
    assert (group.provisioning_state, group.instance_view.state) == ("Succeeded", "Running")


def test_a_group_whose_provisioning_failed_is_deployed_again_by_the_same_put(world: World) -> None:
    world.host.start_error = "exec: nonsense: not found"
    with pytest.raises(HttpResponseError, match="do not start"):
        world.create()
    world.host.start_error = None
    assert world.create().provisioning_state == "Succeeded"


def test_a_restart_that_the_engine_refuses_is_an_arm_error_and_the_group_has_failed(world: World) -> None:
    world.create()
    world.host.remove_error = "device or resource busy"
    refused = world.send("POST", "/restart")
    assert refused.status_code == 500
    assert refused.json()["error"] == {
        "code": "InternalServerError",
        "message": "The container engine refused: device or resource busy",
    }
    assert world.get().provisioning_state == "Failed"
    world.host.remove_error = None
    assert world.create().provisioning_state == "Succeeded"


@pytest.mark.parametrize(("method", "path"), [("POST", "/stop"), ("DELETE", "")])
def test_a_stop_or_deletion_that_the_engine_refuses_is_an_arm_error_and_can_be_repeated(
    world: World, method: str, path: str
) -> None:
    world.create()
    world.host.remove_error = "device or resource busy"
    assert world.send(method, path).json()["error"]["code"] == "InternalServerError"
    assert (world.get().provisioning_state, world.host.released) == ("Failed", [])
    world.host.remove_error = None
    assert world.send(method, path).status_code in (200, 204)
    assert world.host.containers == {}


@DELETIONS
def test_a_deletion_ends_a_first_deployment_that_is_still_pulling(world: World, delete: Delete) -> None:
    world.host.pull_gate = gate = asyncio.Event()
    responses: list[Any] = []
    put = threading.Thread(target=lambda: responses.append(world.put(definition())))
    put.start()
    until(lambda: f"pull {CA1}" in world.host.calls)
    delete(world)
    open_gate(world, gate)
    put.join()
    assert (responses[0].status_code, responses[0].json()["error"]["code"]) == (409, "OperationPreempted")
    require_nothing_left(world)


@DELETIONS
def test_a_deletion_ends_an_update_that_is_swapping_containers(world: World, delete: Delete) -> None:
    world.create()
    world.host.images[CA2] = "id-ca2"
    world.host.gate = gate = asyncio.Event()
    operation = world.begin(definition(image=CA2))
    until(lambda: "run id-ca2" in world.host.calls)
    delete(world)
    open_gate(world, gate)
    ended = world.outcome(operation)
    assert (ended["status"], ended["error"]["code"]) == ("Failed", "OperationPreempted")
    require_nothing_left(world)
    assert world.host.released == ["10.89.7.2"]


@DELETIONS
def test_a_deletion_ends_a_restart(world: World, delete: Delete) -> None:
    world.create()
    world.host.gate = gate = asyncio.Event()
    responses: list[Any] = []
    restart = threading.Thread(target=lambda: responses.append(world.send("POST", "/restart")))
    restart.start()
    until(lambda: world.host.calls.count("run id-ca1") == 2)
    delete(world)
    open_gate(world, gate)
    restart.join()
    assert responses[0].json()["error"]["code"] == "OperationPreempted"
    require_nothing_left(world)


@DELETIONS
def test_a_group_can_be_made_anew_after_a_deletion_that_ended_its_deployment(world: World, delete: Delete) -> None:
    world.host.gate = asyncio.Event()
    operation = world.begin()
    delete(world)
    assert world.outcome(operation)["status"] == "Failed"
    world.host.gate = None
    assert world.create().instance_view.state == "Running"
    assert len(world.host.containers) == 1


def test_a_deletion_before_a_group_has_come_back_leaves_nothing_of_it(world: World) -> None:
    world.create()
    world.live.run(world.groups.stop())
    again = world.open()

    async def start_and_delete() -> None:
        await again.start()
        await again.delete_group(RG)
        await asyncio.sleep(0.05)

    world.live.run(start_and_delete())
    assert world.host.containers == {}
    assert world.host.calls.count("run id-ca1") == 1
    world.live.run(again.stop())


def test_a_group_that_is_being_deleted_takes_no_change(world: World) -> None:
    world.create()
    world.host.remove_gate = gate = asyncio.Event()
    deletion = threading.Thread(target=delete_group, args=(world,))
    deletion.start()
    until(lambda: "removing" in world.host.calls)
    assert world.put(definition()).json()["error"]["code"] == "ContainerGroupTransitioning"
    open_gate(world, gate)
    deletion.join()
    require_nothing_left(world)


def test_a_stop_of_the_sandbox_ends_a_deployment_and_leaves_no_container(world: World) -> None:
    world.host.gate = gate = asyncio.Event()
    operation = world.begin()
    world.live.run(world.groups.stop())
    open_gate(world, gate)
    assert world.outcome(operation)["status"] == "Failed"
    assert world.host.containers == {}


def test_a_restart_and_an_update_tell_that_they_kill_the_container(world: World) -> None:
    world.create()
    killed = f"Killing container with id {next(iter(world.host.containers))}"
    world.client.container_groups.begin_restart(RG, NAME).result()
    events = world.get().containers[0].instance_view.events
    assert [event.name for event in events] == ["Pulling", "Pulled", "Created", "Started", "Killing"]
    assert (events[-1].message, events[-1].type) == (killed, "Normal")
    world.host.images[CA2] = "id-ca2"
    events = world.create(image=CA2).containers[0].instance_view.events
    assert [event.name for event in events] == ["Pulling", "Pulled", "Killing", "Created", "Started"]
