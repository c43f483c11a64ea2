"""Event subscriptions of a registry through azure-mgmt-eventgrid, as whoever watches over them asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.mgmt.eventgrid import EventGridManagementClient

from sandbox.instance import SUBSCRIPTION
from sandbox.tests.eventgrid_stage import REGISTRY, Stage, pushed, wait_until


@pytest.fixture
def client(stage: Stage) -> Iterator[EventGridManagementClient]:
    with DefaultAzureCredential() as credential, EventGridManagementClient(credential, SUBSCRIPTION) as client:
        yield client


def names(client: EventGridManagementClient) -> list[str | None]:
    listed = client.event_subscriptions.list_by_resource(
        "demo", "Microsoft.ContainerRegistry", "registries", "publicregistry"
    )
    return [one.name for one in listed]


def test_a_registrys_subscriptions_are_listed_read_and_deleted_at_its_scope(
    stage: Stage, client: EventGridManagementClient
) -> None:
    assert names(client) == []
    stage.subscribe(name="gate")
    stage.subscribe(name="other")
    assert names(client) == ["gate", "other"]
    found = client.event_subscriptions.get(REGISTRY, "gate")
    assert str(found.topic) == REGISTRY
    client.event_subscriptions.begin_delete(REGISTRY, "gate", polling_interval=0).result()
    assert names(client) == ["other"]
    with pytest.raises(ResourceNotFoundError):
        client.event_subscriptions.get(REGISTRY, "gate")


def test_what_is_pushed_once_a_subscription_is_gone_reaches_nobody(
    stage: Stage, client: EventGridManagementClient
) -> None:
    stage.subscribe(name="gate")
    client.event_subscriptions.begin_delete(REGISTRY, "gate", polling_interval=0).result()
    stage.live.run(stage.grid.publish(REGISTRY, [pushed(1)]))
    stage.subscribe(name="gate")
    stage.live.run(stage.grid.publish(REGISTRY, [pushed(2)]))
    wait_until(lambda: stage.counts()["delivered"] == 1)
    assert stage.hook.ids == ["event-2"]
