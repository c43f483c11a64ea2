"""Tasks on the ARM surface, through the real SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from sandbox.tests.tasks_world import CONTEXT, GROUP, IDENTITY, REGISTRY, World, world

__all__ = ["world"]


def test_a_task_is_kept_with_an_identity_and_shows_no_secret(world: World) -> None:
    created = world.create()
    assert created.identity and created.identity.principal_id
    shown = world.client.tasks.get(GROUP, REGISTRY, "build-app")
    assert shown.identity and shown.identity.principal_id == created.identity.principal_id
    assert "s3cret" not in json.dumps(shown.as_dict())
    assert "t0ken" not in json.dumps(shown.as_dict())
    assert [task.name for task in world.client.tasks.list(GROUP, REGISTRY)] == ["build-app"]
    details = json.dumps(world.client.tasks.get_details(GROUP, REGISTRY, "build-app").as_dict())
    assert "s3cret" in details
    assert "t0ken" in details
    world.client.tasks.delete(GROUP, REGISTRY, "build-app")
    with pytest.raises(ResourceNotFoundError, match="build-app"):
        world.client.tasks.get(GROUP, REGISTRY, "build-app")
    world.client.tasks.delete(GROUP, REGISTRY, "build-app")


def test_what_a_trigger_does_not_say_has_its_default(world: World) -> None:
    timers = [
        {"name": "nightly", "schedule": "0 1 * * *"},
        {"name": "off", "schedule": "0 2 * * *", "status": "Disabled"},
    ]
    base = {"name": "base", "baseImageTriggerType": "Runtime"}
    triggers = {"timerTriggers": timers, "baseImageTrigger": base}
    world.create(trigger=triggers)
    shown = world.client.tasks.get(GROUP, REGISTRY, "build-app").as_dict()["properties"]
    assert shown["status"] == "Enabled"
    assert [timer["status"] for timer in shown["trigger"]["timerTriggers"]] == ["Enabled", "Disabled"]
    base = shown["trigger"]["baseImageTrigger"]
    assert (base["status"], base["updateTriggerPayloadType"]) == ("Enabled", "Default")
    assert base["updateTriggerEndpoint"] is None


def test_an_endpoint_for_updates_of_base_images_is_refused_in_a_sentence_that_names_it(world: World) -> None:
    base = {"name": "base", "baseImageTriggerType": "Runtime", "updateTriggerEndpoint": "https://example.com/updated"}
    with pytest.raises(HttpResponseError, match="sandbox calls no 'updateTriggerEndpoint'"):
        world.create(trigger={"baseImageTrigger": base})


def test_a_log_template_and_a_system_task_are_kept_and_shown(world: World) -> None:
    world.create(logTemplate="logs/{{.Run.ID}}", isSystemTask=True)
    shown = world.client.tasks.get(GROUP, REGISTRY, "build-app").as_dict()["properties"]
    assert (shown["logTemplate"], shown["isSystemTask"]) == ("logs/{{.Run.ID}}", True)


def test_without_its_last_user_assigned_identity_a_task_has_none(world: World) -> None:
    world.create()
    for value, kind in (({}, "UserAssigned"), (None, None)):
        patch = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: value}}}
        changed = world.client.tasks.update(GROUP, REGISTRY, "build-app", patch)
        assert (changed.identity.type if changed.identity else None) == kind


def test_an_unknown_field_is_an_error_that_names_it(world: World) -> None:
    with pytest.raises(HttpResponseError, match="stepp"):
        world.create(stepp={})
    with pytest.raises(HttpResponseError, match="isNewField"):
        world.run(isNewField=True)
    world.create()
    with pytest.raises(HttpResponseError, match="colour"):
        world.client.tasks.update(GROUP, REGISTRY, "build-app", {"properties": {"colour": "red"}})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"timeout": 10}, "timeout"),
        ({"agentPoolName": "pool1"}, "pool1"),
        ({"platform": {"os": "Windows"}}, "Windows"),
        ({"trigger": {"timerTriggers": [{"name": "t", "schedule": "* * * * * *"}]}}, "fields"),
        ({"trigger": {"timerTriggers": [{"name": "t", "schedule": "61 * * * *"}]}}, "61"),
    ],
)
def test_what_cannot_work_is_refused_when_the_task_is_made(world: World, change: dict[str, Any], named: str) -> None:
    with pytest.raises(HttpResponseError, match=named):
        world.create(**change)


def test_an_update_merges_and_a_null_takes_credentials_away(world: World) -> None:
    world.create(timeout=600)
    secret = {"type": "Opaque", "value": "hidden"}
    registries = {"a.azurecr.io": {"userName": secret, "password": secret}, "b.azurecr.io": {"identity": "[system]"}}
    for server, entry in registries.items():
        world.client.tasks.update(
            GROUP, REGISTRY, "build-app", {"properties": {"credentials": {"customRegistries": {server: entry}}}}
        )
    timer = {"name": "nightly", "schedule": "0 1 * * *"}
    step: dict[str, Any] = {"type": "FileTask", "values": [{"name": "FROM", "value": "other/"}]}
    patch = {"properties": {"step": step, "platform": {}, "trigger": {"timerTriggers": [timer]}}}
    world.client.tasks.update(GROUP, REGISTRY, "build-app", patch)
    gone = {"properties": {"credentials": {"customRegistries": {"a.azurecr.io": None}}}, "tags": {"a": "b"}}
    world.client.tasks.update(GROUP, REGISTRY, "build-app", gone)
    task = world.client.tasks.get_details(GROUP, REGISTRY, "build-app")
    assert task.tags == {"a": "b"}
    properties = task.properties
    assert properties.credentials.custom_registries.keys() == {"b.azurecr.io"}
    assert [(item.name, item.value) for item in properties.step.values_property] == [("FROM", "other/")]
    assert properties.step.context_path == CONTEXT
    assert properties.timeout == 600
    assert [item.name for item in properties.trigger.timer_triggers] == ["nightly"]
    assert [item.name for item in properties.trigger.source_triggers] == ["commits"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"trigger": {"timerTriggers": {"name": "t"}}}, "timerTriggers"),
        ({"trigger": {"timerTriggers": [{"schedule": "0 1 * * *"}]}}, "name"),
        ({"trigger": {"timerTriggers": [{"name": "new"}]}}, "schedule"),
        ({"step": "Docker"}, "step"),
        ({"step": {"taskFilePath": "other.yaml"}}, "type"),
        ({"step": {"type": "Docker", "taskFilePath": "other.yaml"}}, "taskFilePath"),
        ({"timeout": {"seconds": 600}}, "timeout"),
    ],
)
def test_an_update_that_would_make_no_task_is_refused_by_the_name_of_its_field(
    world: World, change: dict[str, Any], named: str
) -> None:
    world.create()
    with pytest.raises(HttpResponseError, match=named) as refused:
        world.client.tasks.update(GROUP, REGISTRY, "build-app", {"properties": change})
    assert refused.value.status_code == 400


def test_identities_are_assigned_and_taken_away(world: World) -> None:
    first = world.create().identity.principal_id
    both = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}
    task = world.client.tasks.update(GROUP, REGISTRY, "build-app", {"identity": both})
    assert task.identity.principal_id == first
    assert task.identity.user_assigned_identities[IDENTITY].client_id == "client-1"
    task = world.client.tasks.update(GROUP, REGISTRY, "build-app", {"identity": {"type": "None"}})
    assert task.identity is None
    unknown = {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY + "2": {}}}
    with pytest.raises(HttpResponseError, match="u12"):
        world.client.tasks.update(GROUP, REGISTRY, "build-app", {"identity": unknown})
