"""Event Grid in ARM: topics, system topics, event subscriptions, their filters; strictness."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.eventgrid import Event
from sandbox.tests.eventgrid_client import (
    EXTENSION,
    GROUP,
    HOOK_URL,
    REGISTRY,
    TOPIC,
    EventGridClient,
    dead_letters,
    wait_until,
    webhook,
)

SYSTEM_TOPIC = f"{GROUP}/providers/Microsoft.EventGrid/systemTopics/registry-events"
SYSTEM_BODY = {
    "location": "eastus",
    "properties": {"source": REGISTRY, "topicType": "Microsoft.ContainerRegistry.Registries"},
}


def happened(event_id: str = "1", **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": event_id,
        "subject": "node:15-alpine",
        "event_type": "Microsoft.ContainerRegistry.ImagePushed",
        "event_time": datetime.now(UTC),
        "data": {"target": {"tag": "15-alpine", "size": 42, "labels": ["a", "b"]}, "signed": True},
    }
    return Event(**(fields | changes))


def test_a_custom_topic_is_made_read_changed_listed_and_deleted(client: EventGridClient) -> None:
    topic = client.topic()
    assert topic["properties"]["endpoint"] == "https://news.eastus-1.eventgrid.azure.net/api/events"
    assert topic["properties"]["provisioningState"] == "Succeeded"
    assert client.arm("PATCH", TOPIC, {"tags": {"team": "gate"}}).json()["tags"] == {"team": "gate"}
    everywhere = client.arm("GET", "/subscriptions/" + TOPIC.split("/")[2] + "/providers/Microsoft.EventGrid/topics")
    assert [one["name"] for one in everywhere.json()["value"]] == ["news"]
    assert "key1" not in everywhere.text
    assert client.arm("GET", f"{GROUP}/providers/Microsoft.EventGrid/topics").json() == everywhere.json()
    assert client.arm("DELETE", TOPIC).status_code == 202
    wait_until(lambda: client.arm("GET", TOPIC).status_code == 404)
    assert client.arm("DELETE", TOPIC).status_code == 204


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"location": "eastus", "properties": {"inboundIpRules": [{"ipMask": "10.0.0.300"}]}}, "10.0.0.300"),
        (
            {"location": "eastus", "properties": {"dataResidencyBoundary": "WithinRegion"}},
            "dataResidencyBoundary` - at `$.properties`. The sandbox knows fewer",
        ),
        ({"location": "eastus", "properties": {"inputSchema": "CustomEventSchema"}}, "inputSchema"),
        ({"properties": {}}, "location"),
    ],
)
def test_a_topic_with_what_the_sandbox_lacks_is_refused_by_name(
    client: EventGridClient, body: object, named: str
) -> None:
    answer = client.arm("PUT", TOPIC, body)
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]


def test_the_subscriptions_of_a_region_are_listed_by_group_and_topic_type(client: EventGridClient) -> None:
    client.topic()
    client.subscribe(TOPIC, "of-topic")
    client.subscribe(REGISTRY, "of-registry")
    subscription, registries = GROUP.rpartition("/resourceGroups/")[0], "Microsoft.ContainerRegistry.Registries"

    def listed(scope: str, below: str) -> list[str]:
        answer = client.arm("GET", f"{scope}/providers/Microsoft.EventGrid/{below}eventSubscriptions")
        assert answer.status_code == 200, answer.text
        return sorted(one["name"] for one in answer.json()["value"])

    for scope in (subscription, GROUP):
        assert listed(scope, "locations/East US/") == ["of-registry", "of-topic"]
        assert listed(scope, f"locations/eastus/topicTypes/{registries}/") == ["of-registry"]
        assert listed(scope, "locations/westus/") == []
        assert listed(scope, "") == listed(scope, "topicTypes/Microsoft.Resources.Subscriptions/") == []
    assert listed(GROUP.replace("demo", "other"), "locations/eastus/") == []


def test_a_resource_says_which_events_it_has(client: EventGridClient) -> None:
    answer = client.arm("GET", f"{REGISTRY}/providers/Microsoft.EventGrid/eventTypes")
    assert "Microsoft.ContainerRegistry.ImagePushed" in [one["name"] for one in answer.json()["value"]]
    other = client.arm("GET", f"{REGISTRY}2/providers/Microsoft.EventGrid/eventTypes")
    assert other.status_code == 404
    disk = client.arm("GET", f"{GROUP}/providers/Microsoft.Compute/disks/a/providers/Microsoft.EventGrid/eventTypes")
    assert (disk.status_code, "in the sandbox" in disk.text) == (400, True)


def test_a_subscription_under_a_system_topic_gets_the_registrys_events(client: EventGridClient) -> None:
    assert client.arm("PUT", SYSTEM_TOPIC, SYSTEM_BODY).status_code == 201
    assert client.arm("PUT", SYSTEM_TOPIC, SYSTEM_BODY).status_code == 200
    assert client.subscribe(SYSTEM_TOPIC)["status"] == "Succeeded"
    shown = client.arm("GET", f"{SYSTEM_TOPIC}/eventSubscriptions/images").json()
    assert shown["type"] == "Microsoft.EventGrid/systemTopics/eventSubscriptions"
    assert shown["properties"]["topic"] == SYSTEM_TOPIC
    client.live.run(client.grid.publish(REGISTRY, [happened()]))
    wait_until(lambda: client.hook.ids == ["1"])
    assert client.hook.events[0]["topic"] == REGISTRY
    assert client.arm("DELETE", SYSTEM_TOPIC).status_code == 202
    wait_until(lambda: client.arm("GET", SYSTEM_TOPIC).status_code == 404)
    client.live.run(client.grid.publish(REGISTRY, [happened("2")]))
    assert client.counts()["matched"] == 1


def test_a_system_topic_needs_a_source_that_exists_and_fits_and_has_none_yet(client: EventGridClient) -> None:
    other = {"source": REGISTRY + "x", "topicType": "Microsoft.ContainerRegistry.Registries"}
    assert client.arm("PUT", SYSTEM_TOPIC, SYSTEM_BODY | {"properties": other}).status_code == 404
    unfit = {"source": REGISTRY, "topicType": "Microsoft.Storage.StorageAccounts"}
    assert client.arm("PUT", SYSTEM_TOPIC, SYSTEM_BODY | {"properties": unfit}).status_code == 400
    client.arm("PUT", SYSTEM_TOPIC, SYSTEM_BODY)
    second = client.arm("PUT", SYSTEM_TOPIC + "-2", SYSTEM_BODY)
    assert "Only one system topic is allowed per source" in second.json()["error"]["message"]


def test_a_subscription_is_shown_without_its_secrets_and_with_its_defaults(client: EventGridClient) -> None:
    client.subscribe(deadLetterDestination=dead_letters(), labels=["gate"])
    answer = client.arm("GET", f"{REGISTRY}{EXTENSION}/images")
    assert "s3cret" not in answer.text
    properties = answer.json()["properties"]
    assert properties["destination"]["properties"]["endpointBaseUrl"] == "https://hook.example.test/events"
    assert properties["retryPolicy"] == {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440}
    assert len(properties["filter"]["includedEventTypes"]) == 4
    assert properties["eventDeliverySchema"] == "EventGridSchema"
    assert properties["provisioningState"] == "Succeeded"
    full = client.arm("POST", f"{REGISTRY}{EXTENSION}/images/getFullUrl").json()
    assert full == {"endpointUrl": HOOK_URL}
    assert [one["name"] for one in client.arm("GET", f"{REGISTRY}{EXTENSION}").json()["value"]] == ["images"]


def test_what_was_read_can_be_put_back_with_the_url(client: EventGridClient) -> None:
    client.subscribe()
    shown = client.arm("GET", f"{REGISTRY}{EXTENSION}/images").json()
    shown["properties"]["destination"]["properties"]["endpointUrl"] = HOOK_URL
    answer = client.arm("PUT", f"{REGISTRY}{EXTENSION}/images", shown)
    assert answer.status_code == 201, answer.text
    assert client.outcome(answer)["status"] == "Succeeded"


def test_a_patch_changes_what_it_names_and_keeps_the_rest(client: EventGridClient) -> None:
    client.subscribe(labels=["gate"])
    answer = client.arm("PATCH", f"{REGISTRY}{EXTENSION}/images", {"filter": {"subjectBeginsWith": "python"}})
    assert answer.status_code == 201
    assert client.outcome(answer)["status"] == "Succeeded"
    properties = client.arm("GET", f"{REGISTRY}{EXTENSION}/images").json()["properties"]
    assert properties["filter"]["subjectBeginsWith"] == "python"
    assert properties["labels"] == ["gate"]


def test_a_patched_webhook_keeps_the_url_that_it_does_not_say(client: EventGridClient) -> None:
    client.subscribe()
    patch = {"destination": {"endpointType": "WebHook", "properties": {"maxEventsPerBatch": 2}}}
    assert client.outcome(client.arm("PATCH", f"{REGISTRY}{EXTENSION}/images", patch))["status"] == "Succeeded"
    assert client.arm("POST", f"{REGISTRY}{EXTENSION}/images/getFullUrl").json() == {"endpointUrl": HOOK_URL}


def test_secret_attributes_are_told_only_when_asked_for(client: EventGridClient) -> None:
    mapping = {"name": "x-key", "type": "Static", "properties": {"value": "hush", "isSecret": True}}
    client.subscribe(destination=webhook(deliveryAttributeMappings=[mapping]))
    assert "hush" not in client.arm("GET", f"{REGISTRY}{EXTENSION}/images").text
    assert client.arm("POST", f"{REGISTRY}{EXTENSION}/images/getDeliveryAttributes").json() == {"value": [mapping]}


def test_a_topics_identity_gets_a_principal(client: EventGridClient) -> None:
    client.topic()
    assert "identity" not in client.arm("GET", TOPIC).json()
    changed = client.arm("PATCH", TOPIC, {"identity": {"type": "SystemAssigned"}}).json()
    assert changed["identity"]["principalId"]


def test_the_registrys_event_types_are_listed(client: EventGridClient) -> None:
    path = "/providers/Microsoft.EventGrid/topicTypes"
    assert len(client.arm("GET", f"{path}/microsoft.containerregistry.registries/eventTypes").json()["value"]) == 4
    assert client.arm("GET", f"{path}/Microsoft.Storage.StorageAccounts").status_code == 404


def test_what_hangs_on_a_registry_or_a_group_goes_with_it(client: EventGridClient) -> None:
    client.topic()
    client.arm("PUT", SYSTEM_TOPIC, SYSTEM_BODY)
    client.subscribe()
    client.subscribe(SYSTEM_TOPIC)
    client.live.run(client.grid.forget(REGISTRY))
    assert client.arm("GET", f"{REGISTRY}{EXTENSION}").json()["value"] == []
    assert client.arm("GET", SYSTEM_TOPIC).status_code == 404
    client.live.run(client.grid.delete_group("DEMO"))
    assert client.arm("GET", TOPIC).status_code == 404


def test_a_change_that_the_endpoint_refuses_leaves_the_subscription_as_it_was(client: EventGridClient) -> None:
    client.subscribe()
    client.hook.consent = "refuse"
    assert client.subscribe(labels=["new"])["status"] == "Failed"
    assert client.arm("GET", f"{REGISTRY}{EXTENSION}/images").json()["properties"]["labels"] == []


@pytest.mark.parametrize(
    ("properties", "named"),
    [
        ({"colour": 1}, "colour"),
        ({"destination": webhook("http://hook.example.test/")}, "endpointUrl"),
        ({"destination": {"endpointType": "EventHub", "properties": {}}}, "EventHub"),
        ({"destination": webhook(maxEventsPerBatch=0)}, "maxEventsPerBatch"),
        ({"destination": {"endpointType": "AzureFunction", "properties": {"resourceId": REGISTRY}}}, "resourceId"),
        ({"retryPolicy": {"maxDeliveryAttempts": 31}}, "maxDeliveryAttempts"),
        ({"retryPolicy": {"eventTimeToLiveInMinutes": 0}}, "eventTimeToLiveInMinutes"),
        ({"filter": {"advancedFilters": [{"operatorType": "StringLike", "key": "subject"}]}}, "StringLike"),
        ({"filter": {"advancedFilters": [{"operatorType": "NumberIn", "key": "x", "values": ["a"]}]}}, "NumberIn"),
        ({"filter": {"advancedFilters": [{"operatorType": "BoolEquals", "key": "x", "values": []}]}}, "values"),
        ({"expirationTimeUtc": "2020-01-01T00:00:00Z"}, "expirationTimeUtc"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_by_the_name_of_its_field(
    client: EventGridClient, properties: dict[str, Any], named: str
) -> None:
    body = {"properties": {"destination": webhook()} | properties}
    answer = client.arm("PUT", f"{REGISTRY}{EXTENSION}/images", body)
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["error"]["message"]


def test_a_subscription_needs_a_source_that_exists_and_has_events(client: EventGridClient) -> None:
    body = {"properties": {"destination": webhook()}}
    assert client.arm("PUT", f"{REGISTRY}x{EXTENSION}/images", body).status_code == 404
    vault = f"{GROUP}/providers/Microsoft.KeyVault/vaults/v"
    assert "Microsoft.KeyVault/vaults" in client.arm("PUT", f"{vault}{EXTENSION}/images", body).text
    assert client.arm("PUT", f"{REGISTRY}{EXTENSION}/images", body, version="1999-01-01").status_code == 400


WANTED = [
    {"subjectBeginsWith": "NODE:", "subjectEndsWith": "-alpine"},
    {"includedEventTypes": ["Microsoft.ContainerRegistry.ImagePushed"]},
    {"includedEventTypes": ["All"]},
]
UNWANTED = [
    {"subjectBeginsWith": "NODE:", "isSubjectCaseSensitive": True},
    {"subjectEndsWith": "slim"},
    {"includedEventTypes": ["Microsoft.ContainerRegistry.ImageDeleted"]},
]


def advanced(operator: str, key: str, on_arrays: bool = False, **value: Any) -> dict[str, Any]:
    entry = {"operatorType": operator, "key": key} | value
    return {"advancedFilters": [entry]} | ({"enableAdvancedFilteringOnArrays": True} if on_arrays else {})


WANTED += [
    advanced("StringIn", "data.target.tag", values=["14", "15-ALPINE"]),
    advanced("StringNotIn", "data.target.tag", values=["14"]),
    advanced("StringNotIn", "data.target.nothing", values=["14"]),
    advanced("StringBeginsWith", "subject", values=["node"]),
    advanced("StringEndsWith", "Subject", values=["alpine"]),
    advanced("StringContains", "subject", values=["de:15"]),
    advanced("StringNotContains", "subject", values=["slim"]),
    advanced("StringIn", "data.target.labels", on_arrays=True, values=["b"]),
    advanced("NumberIn", "data.target.size", values=[41, 42]),
    advanced("NumberInRange", "data.target.size", values=[[1, 2], [40, 50]]),
    advanced("NumberNotInRange", "data.target.size", values=[[1, 2]]),
    advanced("NumberGreaterThan", "data.target.size", value=41.5),
    advanced("NumberLessThanOrEquals", "data.target.size", value=42),
    advanced("BoolEquals", "data.signed", value=True),
    advanced("IsNullOrUndefined", "data.target.nothing"),
    advanced("IsNotNull", "data.target.tag"),
]
UNWANTED += [
    advanced("StringIn", "data.target.tag", values=["14"]),
    advanced("StringIn", "data.target.nothing", values=["14"]),
    advanced("StringNotBeginsWith", "subject", values=["node", "x"]),
    advanced("StringNotEndsWith", "subject", values=["alpine"]),
    advanced("StringIn", "data.target.labels", values=["b"]),
    advanced("StringNotIn", "data.target.labels", on_arrays=True, values=["b"]),
    advanced("NumberNotIn", "data.target.size", values=[42]),
    advanced("NumberLessThan", "data.target.size", value=42),
    advanced("NumberGreaterThanOrEquals", "data.target.tag", value=1),
    advanced("BoolEquals", "data.signed", value=False),
    advanced("IsNullOrUndefined", "data.target.tag"),
    advanced("IsNotNull", "data.target.nothing"),
]


def test_filters_let_through_what_they_say(client: EventGridClient) -> None:
    for number, wanted in enumerate(WANTED):
        assert client.subscribe(name=f"wanted-{number}", filter=wanted)["status"] == "Succeeded", wanted
    for number, unwanted in enumerate(UNWANTED):
        assert client.subscribe(name=f"unwanted-{number}", filter=unwanted)["status"] == "Succeeded", unwanted
    client.live.run(client.grid.publish(REGISTRY, [happened()]))
    wait_until(lambda: client.counts()["delivered"] == len(WANTED))
    reached = {one.headers["aeg-subscription-name"] for one in client.hook.received}
    assert reached == {f"WANTED-{number}" for number in range(len(WANTED))}
    assert client.counts()["matched"] == len(WANTED)
