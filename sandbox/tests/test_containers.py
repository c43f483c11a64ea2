"""Container groups through azure-mgmt-containerinstance, on an engine in memory."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.containerinstance.models import Resource

from sandbox.tests.containers_world import IDENTITY, NAME, RG, World, definition, until, world

__all__ = ["world"]


def state_of(world: World) -> Any:
    return world.get().containers[0].instance_view.current_state


def test_a_created_group_runs_and_tells_its_address_and_events(world: World) -> None:
    group = world.create()
    assert (group.provisioning_state, group.instance_view.state) == ("Succeeded", "Running")
    assert (group.ip_address.ip, group.ip_address.fqdn) == ("10.89.7.2", "hello.eastus.azurecontainer.io")
    view = group.containers[0].instance_view
    assert [event.name for event in view.events] == ["Pulling", "Pulled", "Created", "Started"]
    assert (view.current_state.state, view.restart_count) == ("Running", 0)
    assert world.host.logins[0] is not None
    assert world.host.logins[0].password == "hush"
    container = next(iter(world.host.containers.values()))
    assert (container.image, container.memory_gb, container.environment["SECRET"]) == ("id-ca1", 1.5, "hidden")


def test_no_secret_is_ever_shown_back(world: World) -> None:
    group = world.create()
    shown = json.dumps(group.as_dict())
    assert "hush" not in shown
    assert "hidden" not in shown
    assert "seen" in shown
    kept = world.live.instance.root / "containers" / "groups.json"
    assert kept.stat().st_mode & 0o077 == 0


def test_a_put_that_changes_nothing_starts_the_containers_anew(world: World) -> None:
    world.create()
    group = world.create(tags={"owner": "team"})
    assert world.host.calls[2:] == ["pull contoso.azurecr.io/hello-world:ca1", "remove", "run id-ca1"]
    assert (group.tags, group.instance_view.state) == ({"owner": "team"}, "Running")


def test_a_new_image_is_pulled_before_the_old_container_goes_and_the_address_stays(world: World) -> None:
    first = world.create()
    world.host.images["contoso.azurecr.io/hello-world:ca2"] = "id-ca2"
    second = world.create(image="contoso.azurecr.io/hello-world:ca2")
    assert world.host.calls[2:] == ["pull contoso.azurecr.io/hello-world:ca2", "remove", "run id-ca2"]
    assert second.ip_address.ip == first.ip_address.ip


def test_an_inaccessible_image_is_refused_and_what_ran_runs_on(world: World) -> None:
    world.create()
    with pytest.raises(HttpResponseError) as refused:
        world.create(image="contoso.azurecr.io/hello-world:gone")
    assert refused.value.status_code == 400
    assert refused.value.error is not None
    assert refused.value.error.code == "InaccessibleImage"
    group = world.get()
    assert group.containers[0].image.endswith(":ca1")
    assert (group.provisioning_state, group.instance_view.state) == ("Succeeded", "Running")


def test_a_registry_in_trouble_is_told_apart_from_a_wrong_name(world: World) -> None:
    world.host.pull_error = "toomanyrequests: You have reached your pull rate limit"
    with pytest.raises(HttpResponseError, match=r"docker registry 'index\.docker\.io'. Please retry later") as refused:
        world.create(image="node:15-alpine")
    assert refused.value.status_code == 409
    with pytest.raises(ResourceNotFoundError):
        world.get()


def test_a_group_in_transition_takes_no_second_change(world: World) -> None:
    world.host.gate = asyncio.Event()
    poller = world.client.container_groups.begin_create_or_update(RG, NAME, definition())
    with pytest.raises(HttpResponseError, match="still transitioning, please retry later") as refused:
        world.client.container_groups.begin_create_or_update(RG, NAME, definition())
    assert refused.value.status_code == 409
    assert world.get().provisioning_state in ("Pending", "Creating")
    world.live.loop.call_soon_threadsafe(world.host.gate.set)
    assert poller.result().provisioning_state == "Succeeded"


@pytest.mark.parametrize(
    "change",
    [
        {"restartPolicy": "Never"},
        {"container": {"resources": {"requests": {"cpu": 2, "memoryInGB": 1.5}}}},
        {"ipAddress": {"type": "Public", "ports": [{"port": 8080}]}},
    ],
)
def test_what_azure_cannot_update_in_place_is_refused(world: World, change: dict[str, Any]) -> None:
    world.create()
    with pytest.raises(HttpResponseError, match="you must delete it first and then create a new one"):
        world.create(**change)


def test_a_group_that_always_restarts_counts_and_backs_off(world: World) -> None:
    world.create()
    world.live.loop.call_soon_threadsafe(world.host.end, 1)
    until(lambda: world.get().containers[0].instance_view.restart_count == 1)
    world.live.loop.call_soon_threadsafe(world.host.end, 3)
    until(lambda: world.get().containers[0].instance_view.restart_count == 2)
    view = world.get().containers[0].instance_view
    assert (view.previous_state.state, view.previous_state.exit_code) == ("Terminated", 3)
    assert {event.name: event.count for event in view.events}["Started"] == 3
    assert "BackOff" in {event.name for event in view.events}


def test_on_failure_a_container_that_ends_well_is_not_started_again(world: World) -> None:
    world.create(restartPolicy="OnFailure")
    world.live.loop.call_soon_threadsafe(world.host.end, 0)
    until(lambda: world.get().instance_view.state == "Succeeded")
    assert (state_of(world).exit_code, state_of(world).detail_status) == (0, "Completed")


def test_a_group_that_has_ended_is_deployed_as_new_even_unchanged(world: World) -> None:
    world.create(restartPolicy="Never")
    world.live.loop.call_soon_threadsafe(world.host.end, 2)
    until(lambda: world.get().instance_view.state == "Failed")
    assert world.create(restartPolicy="Never").instance_view.state == "Running"
    assert world.host.calls.count("run id-ca1") == 2


def test_a_container_that_cannot_start_fails_the_provisioning_and_is_tried_again(world: World) -> None:
    world.host.start_error = "exec: nonsense: not found"
    with pytest.raises(HttpResponseError, match="do not start: hello-world"):
        world.create()
    group = world.get()
    assert group.provisioning_state == "Failed"
    assert "Failed" in {event.name for event in group.containers[0].instance_view.events}
    world.host.start_error = None
    until(lambda: state_of(world).state == "Running")


def test_a_group_pulls_as_its_user_assigned_identity(world: World) -> None:
    credentials = [{"server": "contoso.azurecr.io", "identity": IDENTITY}]
    identity = {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}
    group = world.create(imageRegistryCredentials=credentials, identity=identity)
    assert world.registries.issued == [("contoso.azurecr.io", "puller", {"hello-world": ("pull",)})]
    assert group.identity.user_assigned_identities[IDENTITY].client_id == "c"


def test_an_identity_that_is_not_the_groups_cannot_pull(world: World) -> None:
    credentials = [{"server": "contoso.azurecr.io", "identity": IDENTITY}]
    with pytest.raises(HttpResponseError, match="is not a user-assigned identity of the container group"):
        world.create(imageRegistryCredentials=credentials)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"restartpolicy": "Never"}, "restartpolicy"),
        ({"volumes": [{"name": "v", "emptyDir": {}}]}, "properties.volumes"),
        ({"container": {"livenessProbe": {"exec": {"command": ["true"]}}}}, "livenessProbe"),
        ({"osType": "Windows"}, "Windows"),
    ],
)
def test_what_the_sandbox_cannot_do_is_named(world: World, change: dict[str, Any], named: str) -> None:
    answer = world.put(definition(**change))
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]


def test_an_empty_config_map_as_az_sends_it_asks_for_nothing(world: World) -> None:
    assert world.put(definition(container={"configMap": {"keyValuePairs": {}}})).status_code == 201
    refused = world.put(definition(container={"configMap": {"keyValuePairs": {"a": "b"}}}))
    assert "configMap" in refused.json()["error"]["message"]


def test_logs_come_by_the_line(world: World) -> None:
    world.create()
    logs = world.client.containers.list_logs
    assert logs(RG, NAME, "hello-world").content == "line 1\nline 2\nline 3\n"
    assert logs(RG, NAME, "hello-world", tail=1, timestamps=True).content == "2026-01-01T00:00:00Z line 3\n"
    with pytest.raises(ResourceNotFoundError, match="container 'other'"):
        logs(RG, NAME, "other")


def test_a_group_is_stopped_started_restarted_listed_and_deleted(world: World) -> None:
    groups = world.client.container_groups
    world.create()
    groups.stop(RG, NAME)
    assert world.get().instance_view.state == "Stopped"
    groups.begin_start(RG, NAME).result()
    assert world.get().instance_view.state == "Running"
    groups.begin_start(RG, NAME).result()  # it runs: nothing is done
    groups.begin_restart(RG, NAME).result()
    assert world.host.calls.count("pull contoso.azurecr.io/hello-world:ca1") == 2
    groups.update(RG, NAME, Resource(tags={"a": "b"}))
    assert [group.tags for group in groups.list()] == [{"a": "b"}]
    assert [group.instance_view for group in groups.list_by_resource_group(RG)] == [None]
    groups.begin_delete(RG, NAME).result()
    assert world.host.containers == {}
    assert world.host.released == ["10.89.7.2"]
    with pytest.raises(ResourceNotFoundError):
        world.get()


def test_the_containers_of_a_group_share_one_network(world: World) -> None:
    body = definition()
    sidecar = {**body["properties"]["containers"][0], "name": "sidecar"}
    body["properties"]["containers"].append(sidecar)
    world.client.container_groups.begin_create_or_update(RG, NAME, body).result()
    first, second = world.host.containers.values()
    assert (first.address, first.beside) == ("10.89.7.2", None)
    assert (second.address, second.beside) == (None, first.name)


def test_after_a_restart_of_the_sandbox_the_group_runs_the_same_image_again(world: World) -> None:
    world.create()
    world.live.run(world.groups.stop())
    assert world.host.containers == {}
    again = world.open()
    world.live.run(again.start())
    until(lambda: len(world.host.containers) == 1)
    assert world.host.calls == ["pull contoso.azurecr.io/hello-world:ca1", "run id-ca1", "remove", "run id-ca1"]
    world.live.run(again.stop())


def test_a_group_that_had_ended_does_not_run_again_after_a_restart(world: World) -> None:
    world.create(restartPolicy="Never")
    world.live.loop.call_soon_threadsafe(world.host.end, 0)
    until(lambda: world.get().instance_view.state == "Succeeded")
    world.live.run(world.groups.stop())
    again = world.open()
    world.live.run(again.start())
    world.live.run(again.stop())
    assert world.host.calls.count("run id-ca1") == 1
