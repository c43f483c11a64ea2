"""Event Grid's delivery: the handshake, retries, dead letters, restarts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from aiohttp import web

from sandbox.tests.eventgrid_client import (
    HOOK_URL,
    REGISTRY,
    STORAGE,
    EventGridClient,
    dead_letters,
    pushed,
    wait_until,
    webhook,
)
from sandbox.tests.live import LiveGateway
from sandbox.web import Call, Surface


def test_an_event_arrives_once_with_event_grids_headers(client: EventGridClient) -> None:
    assert client.subscribe()["status"] == "Succeeded"
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: client.counts()["delivered"] == 1)
    [one] = client.hook.received
    assert one.query == {"code": "s3cret"}
    assert one.body == [
        {
            "id": "event-1",
            "topic": REGISTRY,
            "subject": "node:15-alpine",
            "eventType": "Microsoft.ContainerRegistry.ImagePushed",
            "eventTime": "2026-01-02T03:04:05.6789010Z",
            "data": pushed().data,
            "dataVersion": "2.0",
            "metadataVersion": "1",
        }
    ]
    expected = {
        "aeg-event-type": "Notification",
        "aeg-subscription-name": "IMAGES",
        "aeg-delivery-count": "0",
        "aeg-data-version": "2.0",
        "aeg-metadata-version": "1",
        "content-type": "application/json; charset=utf-8",
    }
    assert expected.items() <= one.headers.items()
    assert client.counts()["waiting"] == 0


def test_an_endpoint_that_does_not_agree_gets_no_subscription(client: EventGridClient) -> None:
    client.hook.consent = "refuse"
    outcome = client.subscribe()
    assert outcome["status"] == "Failed"
    assert outcome["error"]["code"] == "Url validation"
    message = outcome["error"]["message"]
    assert "Webhook validation handshake failed for https://hook.example.test/events. Http POST" in message
    assert "response code NotFound" in message
    assert "s3cret" not in message
    assert client.arm("GET", f"{REGISTRY}/providers/Microsoft.EventGrid/eventSubscriptions/images").status_code == 404


def test_an_endpoint_may_agree_by_calling_the_validation_url(client: EventGridClient) -> None:
    client.hook.consent = "by hand"  # the ten minutes are 0.6 s here: enough to call
    answer = client.arm(
        "PUT",
        f"{REGISTRY}/providers/Microsoft.EventGrid/eventSubscriptions/images",
        {"properties": {"destination": webhook()}},
    )
    wait_until(lambda: len(client.hook.validated) == 1)
    url = client.hook.validated[0].body[0]["data"]["validationUrl"]
    assert requests.get(url, timeout=5).status_code == 200
    assert client.outcome(answer)["status"] == "Succeeded"
    assert requests.get(url, timeout=5).status_code == 400


def test_an_endpoint_that_never_agrees_fails_when_the_time_is_over(client: EventGridClient) -> None:
    client.hook.consent = "by hand"
    outcome = client.subscribe()
    assert outcome["status"] == "Failed"
    assert "Http GET is expected on the validation url" in outcome["error"]["message"]


def test_an_event_is_tried_again_after_503_and_then_delivered(client: EventGridClient) -> None:
    client.subscribe()
    client.hook.responses = [503, 500]
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: client.counts()["delivered"] == 1)
    assert [one.headers["aeg-delivery-count"] for one in client.hook.received] == ["0", "1", "2"]
    assert client.counts()["attempts"] == 3


@pytest.mark.parametrize("status", [400, 401, 403, 413])
def test_an_answer_that_no_retry_mends_sends_the_event_to_the_dead_letters_at_once(
    client: EventGridClient, status: int
) -> None:
    client.subscribe(deadLetterDestination=dead_letters())
    client.hook.responses = [status]
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: len(client.storage.blobs) == 1)
    [(name, [letter])] = client.storage.blobs.items()
    now = datetime.now(UTC)
    assert name.startswith(f"deadletters/IMAGES/{now.year}/{now.month}/")
    assert letter["id"] == "event-1"
    assert letter["deliveryAttempts"] == 1
    assert letter["lastDeliveryOutcome"] in ("BadRequest", "Unauthorized", "Forbidden", "PayloadTooLarge")
    assert {"deadLetterReason", "publishTime", "lastDeliveryAttemptTime"} <= letter.keys()
    assert len(client.hook.received) == 1


def test_a_functions_401_is_tried_again(client: EventGridClient) -> None:
    function = f"{REGISTRY.partition('/providers')[0]}/providers/Microsoft.Web/sites/gateapp/functions/registry_events"
    destination = {"endpointType": "AzureFunction", "properties": {"resourceId": function}}
    assert client.subscribe(destination=destination)["status"] == "Succeeded"
    client.hook.responses = [401]
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: client.counts()["delivered"] == 1)
    assert client.hook.received[1].query == {"functionName": "registry_events", "code": "system-key"}
    assert client.hook.validated[0].query == client.hook.received[1].query


def test_attempts_end_at_their_limit(client: EventGridClient) -> None:
    client.subscribe(deadLetterDestination=dead_letters(), retryPolicy={"maxDeliveryAttempts": 2})
    client.hook.responses = [503, 503, 503]
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: len(client.storage.blobs) == 1)
    [[letter]] = client.storage.blobs.values()
    assert letter["deadLetterReason"] == "MaxDeliveryAttemptsExceeded"
    assert (letter["deliveryAttempts"], letter["lastDeliveryOutcome"]) == (2, "Busy")


def test_attempts_end_with_the_events_time_to_live(client: EventGridClient) -> None:
    client.subscribe(deadLetterDestination=dead_letters(), retryPolicy={"eventTimeToLiveInMinutes": 1})
    client.hook.responses = [503] * 30
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: len(client.storage.blobs) == 1)
    [[letter]] = client.storage.blobs.values()
    assert letter["deadLetterReason"] == "TimeToLiveExceeded"


def test_without_a_dead_letter_destination_an_event_is_dropped(client: EventGridClient) -> None:
    client.subscribe()
    client.hook.responses = [400]
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: client.counts()["dropped"] == 1)
    assert client.counts()["waiting"] == 0


def test_dead_letters_wait_for_their_container(client: EventGridClient) -> None:
    client.subscribe(deadLetterDestination=dead_letters("later"))
    client.hook.responses = [400]
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: client.counts()["waiting"] == 1)
    client.storage.containers.add("later")
    wait_until(lambda: len(client.storage.blobs) == 1)


def test_cloud_events_come_one_by_one_after_an_options_handshake(client: EventGridClient) -> None:
    assert client.subscribe(eventDeliverySchema="CloudEventSchemaV1_0")["status"] == "Succeeded"
    assert client.hook.validated == []
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: len(client.hook.received) == 1)
    assert client.hook.received[0].headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert client.hook.received[0].body == {
        "id": "event-1",
        "source": REGISTRY,
        "subject": "node:15-alpine",
        "type": "Microsoft.ContainerRegistry.ImagePushed",
        "time": "2026-01-02T03:04:05.6789010Z",
        "specversion": "1.0",
        "data": pushed().data,
    }


def test_a_cloud_events_endpoint_that_allows_no_origin_gets_no_subscription(client: EventGridClient) -> None:
    client.hook.consent = "refuse"
    outcome = client.subscribe(eventDeliverySchema="CloudEventSchemaV1_0")
    assert "WebHook-Allowed-Origin" in outcome["error"]["message"]


def test_batches_hold_as_many_events_as_asked(client: EventGridClient) -> None:
    client.subscribe(destination=webhook(maxEventsPerBatch=4))
    client.live.run(client.grid.publish(REGISTRY, [pushed(number) for number in range(8)]))
    wait_until(lambda: client.counts()["delivered"] == 8)
    assert sorted(len(one.body) for one in client.hook.received) == [4, 4]


def test_headers_of_ones_own_come_with_the_event(client: EventGridClient) -> None:
    mappings = [
        {"name": "x-team", "type": "Static", "properties": {"value": "gate", "isSecret": True}},
        {"name": "x-tag", "type": "Dynamic", "properties": {"sourceField": "data.target.tag"}},
    ]
    client.subscribe(destination=webhook(deliveryAttributeMappings=mappings))
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: len(client.hook.received) == 1)
    assert {"x-team": "gate", "x-tag": "15-alpine"}.items() <= client.hook.received[0].headers.items()


def test_a_storage_queue_gets_the_events_json_as_it_is(client: EventGridClient) -> None:
    messages: list[tuple[str, str]] = []
    queues = Surface("Queues", r"basegatestore\.queue\.core\.windows\.net")

    @queues.operation("POST", "/events/messages")
    async def put_message(call: Call) -> web.StreamResponse:
        client.live.issuer.bearer(call.request.headers["Authorization"], ["https://storage.azure.com"])
        messages.append((call.query["messagettl"], (await call.request.read()).decode()))
        return web.Response(status=201)

    client.live.gateway.add(queues)
    properties = {"resourceId": STORAGE, "queueName": "events", "queueMessageTimeToLiveInSeconds": 300}
    outcome = client.subscribe(destination={"endpointType": "StorageQueue", "properties": properties})
    assert outcome["status"] == "Succeeded"
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: client.counts()["delivered"] == 1)
    assert messages[0][0] == "300"
    assert '<MessageText>{"id":"event-1"' in messages[0][1]


def test_what_is_not_delivered_survives_a_restart(live: LiveGateway) -> None:
    client = EventGridClient(live, time_scale=10)  # the first retry comes after a second: time to restart in between
    client.subscribe()
    client.hook.responses = [503]
    live.run(client.grid.publish(REGISTRY, [pushed()]))
    wait_until(lambda: client.counts()["waiting"] == 1)
    client.restart()
    wait_until(lambda: len(client.hook.received) == 2)
    assert client.hook.received[1].headers["aeg-delivery-count"] == "1"
    pending = Path(live.instance.root, "eventgrid", "pending")
    wait_until(lambda: not list(pending.glob("*.json")))
    client.close()


def test_a_deleted_subscriptions_events_go_with_it(client: EventGridClient) -> None:
    client.subscribe()
    client.hook.responses = [503] * 100
    client.live.run(client.grid.publish(REGISTRY, [pushed()]))
    path = f"{REGISTRY}/providers/Microsoft.EventGrid/eventSubscriptions/images"
    assert client.arm("DELETE", path).status_code == 200
    assert client.arm("DELETE", path).status_code == 204
    assert client.counts()["waiting"] == 0
    assert not list(Path(client.live.instance.root, "eventgrid", "pending").glob("*.json"))


def test_an_endpoint_outside_the_sandbox_cannot_be_subscribed(client: EventGridClient) -> None:
    outcome = client.subscribe(destination=webhook("https://elsewhere.example.com/x"))
    assert "BadGateway" in outcome["error"]["message"]
    assert HOOK_URL not in str(outcome)
