"""Event subscriptions of a registry through azure-mgmt-eventgrid, as whoever watches over them asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.mgmt.eventgrid import EventGridManagementClient

from sandbox.instance import SUBSCRIPTION
from sandbox.tests.eventgrid_client import REGISTRY, EventGridClient, pushed, wait_until


@pytest.fixture
def management(client: EventGridClient) -> Iterator[EventGridManagementClient]:
    with DefaultAzureCredential() as credential, EventGridManagementClient(credential, SUBSCRIPTION) as management:
        yield management


def names(management: EventGridManagementClient) -> list[str | None]:
    listed = management.event_subscriptions.list_by_resource(
        "demo", "Microsoft.ContainerRegistry", "registries", "publicregistry"
    )
    return [one.name for one in listed]


def test_a_registrys_subscriptions_are_listed_read_and_deleted_at_its_scope(
    client: EventGridClient, management: EventGridManagementClient
) -> None:
    assert names(management) == []
    client.subscribe(name="gate")
    client.subscribe(name="other")
    assert names(management) == ["gate", "other"]
    found = management.event_subscriptions.get(REGISTRY, "gate")
    assert str(found.topic) == REGISTRY
    management.event_subscriptions.begin_delete(REGISTRY, "gate", polling_interval=0).result()
    assert names(management) == ["other"]
    with pytest.raises(ResourceNotFoundError):
        management.event_subscriptions.get(REGISTRY, "gate")


def test_what_is_pushed_once_a_subscription_is_gone_reaches_nobody(
    client: EventGridClient, management: EventGridManagementClient
) -> None:
    client.subscribe(name="gate")
    management.event_subscriptions.begin_delete(REGISTRY, "gate", polling_interval=0).result()
    client.live.run(client.grid.publish(REGISTRY, [pushed(1)]))
    client.subscribe(name="gate")
    client.live.run(client.grid.publish(REGISTRY, [pushed(2)]))
    wait_until(lambda: client.counts()["delivered"] == 1)
    assert client.hook.ids == ["event-2"]
