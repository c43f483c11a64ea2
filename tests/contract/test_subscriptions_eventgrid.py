"""Whether a registry's events reach the app, by its event subscriptions."""

from __future__ import annotations

import pytest

from demo import scenario
from shared.adapters.subscriptions_eventgrid import EventGridSubscriptions
from tests.contract.place import Place

_EVENTS = "2022-06-15"
_PUSHED, _DELETED = "Microsoft.ContainerRegistry.ImagePushed", "Microsoft.ContainerRegistry.ImageDeleted"
SITE = f"{scenario.group_id(scenario.APP_GROUP)}/providers/Microsoft.Web/sites"


def subscribe(place: Place, name: str, destination: dict[str, object], types: list[str]) -> None:
    body = {"properties": {"destination": destination, "filter": {"includedEventTypes": types}}}
    place.azure.put(_path(name), body, _EVENTS)


def unsubscribe(place: Place, name: str) -> None:
    place.azure.call("DELETE", _path(name), _EVENTS)


def _path(name: str) -> str:
    return f"{scenario.registry_id(scenario.PUBLIC)}/providers/Microsoft.EventGrid/eventSubscriptions/{name}"


def queue() -> dict[str, object]:
    return {
        "endpointType": "StorageQueue",
        "properties": {"resourceId": scenario.storage_id(), "queueName": scenario.OUTCOMES},
    }


def test_a_registry_without_subscriptions_reaches_nobody(place: Place) -> None:
    assert EventGridSubscriptions(place.credential).delivers_to_app(place.public) is False


def test_a_subscription_of_a_queue_is_none_of_the_app(place: Place) -> None:
    subscribe(place, "elsewhere", queue(), [_PUSHED])
    try:
        assert EventGridSubscriptions(place.credential).delivers_to_app(place.public) is False
    finally:
        unsubscribe(place, "elsewhere")


@pytest.mark.parametrize(
    ("site", "types", "expected"),
    [
        ("basegate", [_PUSHED], True),
        ("BaseGate", [_PUSHED, _DELETED], True),
        ("", [_PUSHED], True),
        ("another", [_PUSHED], False),
        ("basegate", [_DELETED], False),
    ],
)
def test_a_subscription_of_a_function_counts_where_it_is_the_app_s_and_tells_of_pushes(
    place: Place, site: str, types: list[str], expected: bool
) -> None:
    from azure.mgmt.eventgrid.models import (
        AzureFunctionEventSubscriptionDestination,
        EventSubscription,
        EventSubscriptionFilter,
    )

    function = AzureFunctionEventSubscriptionDestination(resource_id=f"{SITE}/basegate/functions/registry-events")
    found = EventSubscription(destination=function, filter=EventSubscriptionFilter(included_event_types=types))
    found.provisioning_state = "Succeeded"  # type: ignore[assignment]  # only the service sets it
    assert EventGridSubscriptions(place.credential, site)._reaches_us(found) is expected
