"""Publishing to custom topics, through the SDK; and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient, generate_sas
from azure.identity import DefaultAzureCredential

from sandbox.tests.eventgrid_client import TOPIC, EventGridClient, wait_until

GRID_EVENT = {"id": "1", "subject": "s", "eventType": "t", "eventTime": "2026-01-02T03:04:05.1234567Z", "data": {}}


def keys(client: EventGridClient) -> dict[str, str]:
    found: dict[str, str] = client.arm("POST", f"{TOPIC}/listKeys").json()
    return found


def post(client: EventGridClient, body: object, content: str = "application/json", key: str = "") -> requests.Response:
    headers = {"aeg-sas-key": key or keys(client)["key1"], "Content-Type": content}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = "https://news.eastus-1.eventgrid.azure.net/api/events"
    return requests.post(url, data=raw, headers=headers, timeout=10)


def test_the_sdk_publishes_with_a_key_and_the_subscriber_gets_the_event(client: EventGridClient) -> None:
    topic = client.topic()
    client.subscribe(TOPIC)
    event = EventGridEvent(subject="news/1", event_type="Contoso.News", data={"n": 1}, data_version="1.0")
    credential = AzureKeyCredential(keys(client)["key2"])
    with EventGridPublisherClient(topic["properties"]["endpoint"], credential) as publisher:
        publisher.send([event])
    wait_until(lambda: len(client.hook.received) == 1)
    [received] = client.hook.events
    assert (received["id"], received["topic"], received["data"]) == (str(event.id), TOPIC, {"n": 1})
    assert received["eventTime"][:19] == str(event.event_time)[:19]


def test_the_sdk_publishes_with_an_entra_token_and_with_a_signature(client: EventGridClient) -> None:
    endpoint = client.topic()["properties"]["endpoint"]
    client.subscribe(TOPIC)
    event = EventGridEvent(subject="news/1", event_type="Contoso.News", data={"n": 1}, data_version="1.0")
    with DefaultAzureCredential() as credential, EventGridPublisherClient(endpoint, credential) as publisher:
        publisher.send(event)
    token = generate_sas(endpoint, keys(client)["key1"], datetime.now(UTC) + timedelta(hours=1))
    with EventGridPublisherClient(endpoint, AzureSasCredential(token)) as publisher:
        publisher.send(event)
    wait_until(lambda: client.hook.ids == [str(event.id)] * 2)


def test_the_sdk_publishes_cloud_events_with_their_extensions(client: EventGridClient) -> None:
    endpoint = client.topic("CloudEventSchemaV1_0")["properties"]["endpoint"]
    assert client.subscribe(TOPIC)["status"] == "Succeeded"
    event = CloudEvent(source="/contoso", type="Contoso.News", data={"n": 1}, extensions={"team": "gate"})
    with EventGridPublisherClient(endpoint, AzureKeyCredential(keys(client)["key1"])) as publisher:
        publisher.send([event, CloudEvent(source="/contoso", type="Contoso.Raw", data=b"raw")])
    wait_until(lambda: len(client.hook.received) == 2)
    by_type = {event["type"]: event for event in client.hook.events}
    news = by_type["Contoso.News"]
    assert (news["source"], news["team"], news["data"], news["specversion"]) == ("/contoso", "gate", {"n": 1}, "1.0")
    assert by_type["Contoso.Raw"]["data_base64"] == "cmF3"
    assert "data" not in by_type["Contoso.Raw"]


def test_a_cloud_events_topic_delivers_cloud_events_only(client: EventGridClient) -> None:
    client.topic("CloudEventSchemaV1_0")
    destination = {"endpointType": "WebHook", "properties": {"endpointUrl": "https://hook.example.test/x"}}
    body = {"properties": {"destination": destination, "eventDeliverySchema": "EventGridSchema"}}
    answer = client.arm("PUT", f"{TOPIC}/providers/Microsoft.EventGrid/eventSubscriptions/news", body)
    assert answer.status_code == 400
    assert "eventDeliverySchema" in answer.json()["error"]["message"]


def test_a_wrong_key_is_refused_and_a_regenerated_one_is_wrong_from_then_on(client: EventGridClient) -> None:
    topic = client.topic()
    old = keys(client)["key1"]
    event = EventGridEvent(subject="s", event_type="t", data={}, data_version="1")
    publisher = EventGridPublisherClient(topic["properties"]["endpoint"], AzureKeyCredential("d3Jvbmc="))
    with publisher, pytest.raises(ClientAuthenticationError):
        publisher.send(event)
    new = client.arm("POST", f"{TOPIC}/regenerateKey", {"keyName": "key1"}).json()
    assert new["key1"] != old
    assert post(client, [GRID_EVENT], key=old).status_code == 401
    assert post(client, [GRID_EVENT], key=new["key1"]).status_code == 200


@pytest.mark.parametrize(
    ("hours", "endpoint"), [(-1, "https://news.eastus-1.eventgrid.azure.net/api/events"), (1, "https://other.test/")]
)
def test_a_signature_that_is_over_or_for_another_topic_is_refused(
    client: EventGridClient, hours: int, endpoint: str
) -> None:
    topic = client.topic()
    token = generate_sas(endpoint, keys(client)["key1"], datetime.now(UTC) + timedelta(hours=hours))
    event = EventGridEvent(subject="s", event_type="t", data={}, data_version="1")
    publisher = EventGridPublisherClient(topic["properties"]["endpoint"], AzureSasCredential(token))
    with publisher, pytest.raises(HttpResponseError, match="aeg-sas-token"):
        publisher.send(event)


def test_a_topic_without_local_authentication_takes_tokens_only(client: EventGridClient) -> None:
    client.topic()
    client.arm("PATCH", TOPIC, {"properties": {"disableLocalAuth": True}})
    assert post(client, [GRID_EVENT]).status_code == 401


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([GRID_EVENT | {"eventTime": "yesterday"}], "eventTime"),
        ([{name: value for name, value in GRID_EVENT.items() if name != "subject"}], "subject"),
        ([GRID_EVENT | {"colour": "red"}], "colour"),
        ([GRID_EVENT | {"topic": "/subscriptions/x"}], "topic"),
        (GRID_EVENT, "array"),
        (b"no json", "JSON"),
    ],
)
def test_an_event_out_of_schema_is_refused_by_the_name_of_its_field(
    client: EventGridClient, body: Any, named: str
) -> None:
    client.topic()
    answer = post(client, body)
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"specversion": "0.3"}, "specversion"), ({"Bad-Name": 1}, "Bad-Name"), ({"id": None}, "id"), ({"x": {}}, "x")],
)
def test_a_cloud_event_out_of_schema_is_refused_by_the_name_of_its_field(
    client: EventGridClient, change: dict[str, Any], named: str
) -> None:
    client.topic("CloudEventSchemaV1_0")
    event = {"id": "1", "source": "s", "type": "t", "specversion": "1.0", "data": {}} | change
    answer = post(client, event, "application/cloudevents+json")
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]


def test_a_topic_with_address_rules_takes_events_from_those_addresses_only(client: EventGridClient) -> None:
    topic = client.topic()
    keys = client.arm("POST", f"{topic['id']}/listKeys").json()
    event: dict[str, Any] = {
        "id": "1",
        "subject": "s",
        "eventType": "t",
        "eventTime": "2026-01-02T03:04:05Z",
        "data": {},
    }
    for rules, status in ((["10.0.0.0/8"], 403), (["10.0.0.0/8", "127.0.0.0/8"], 200), ([], 200)):
        masks = [{"ipMask": mask, "action": "Allow"} for mask in rules]
        changed = client.arm("PATCH", topic["id"], {"properties": {"inboundIpRules": masks}})
        assert changed.json()["properties"]["inboundIpRules"] == masks
        headers = {"aeg-sas-key": keys["key1"]}
        answer = requests.post(topic["properties"]["endpoint"], json=[event], headers=headers, timeout=10)
        assert answer.status_code == status, answer.text


def test_the_other_schema_and_too_much_are_refused(client: EventGridClient) -> None:
    client.topic()
    assert post(client, [GRID_EVENT], "application/cloudevents-batch+json").status_code == 400
    assert post(client, [GRID_EVENT], "text/plain").status_code == 415
    assert post(client, [GRID_EVENT | {"data": "x" * 1024 * 1024}]).status_code == 413
