"""The host's Event Grid webhook."""

from __future__ import annotations

from typing import Any

from sandbox.tests.apps.running import Answer, RunningHost


def post(
    host: RunningHost, body: Any, *, function: str = "image-events", kind: str = "Notification", key: str = ""
) -> Answer:
    code = key or host.keys.system["eventgrid_extension"]
    path = f"/runtime/webhooks/eventgrid?functionName={function}&code={code}"
    return host.request("POST", path, json=body, headers={"aeg-event-type": kind})


def event(number: str, subject: str = "node:15") -> dict[str, Any]:
    return {
        "id": number,
        "topic": "/registries/public",
        "subject": subject,
        "eventType": "Microsoft.ContainerRegistry.ImagePushed",
        "eventTime": "2026-01-02T03:04:05.1234567Z",
        "data": {"action": "push"},
        "dataVersion": "1.0",
        "metadataVersion": "1",
    }


def test_the_handshake_is_answered_by_the_host(host: RunningHost) -> None:
    body = [event("v") | {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent"}]
    body[0]["data"] = {"validationCode": "abc", "validationUrl": "https://example.org"}
    answer = post(host, body, kind="SubscriptionValidation")
    assert (answer.status, answer.json) == (200, {"validationResponse": "abc"})
    assert "v" not in {seen["id"] for seen in host.noted("events")}


def test_each_event_of_an_array_is_an_invocation(host: RunningHost) -> None:
    assert post(host, [event("1"), event("2")]).status == 202
    seen = {entry["id"]: entry for entry in host.noted("events")}
    assert seen["1"]["type"] == "Microsoft.ContainerRegistry.ImagePushed"
    assert seen["2"]["data"] == {"action": "push"}


def test_one_failed_event_makes_the_delivery_fail_so_that_it_comes_again(host: RunningHost) -> None:
    assert post(host, [event("3"), event("4", "bad")]).status == 500


def test_an_event_may_leave_bytes_for_a_queue(host: RunningHost) -> None:
    assert post(host, [event("5", "forward")]).status == 202
    host.until(lambda: '{"from": "5"}' in {job["text"] for job in host.noted("jobs")})


def test_keys_and_names_are_checked(host: RunningHost) -> None:
    assert post(host, [event("6")], key="wrong").status == 401
    assert post(host, [event("6")], key=host.keys.host["default"]).status == 401
    answer = post(host, [event("6")], function="work")
    assert answer.status == 404
    assert "work" in answer.text
    assert post(host, [event("6")], kind="Surprise").status == 400


def test_the_end_of_a_subscription_is_acknowledged(host: RunningHost) -> None:
    assert post(host, [event("7")], kind="SubscriptionDeletion").status == 200
    assert "7" not in {seen["id"] for seen in host.noted("events")}


def test_cloud_events_come_single_or_in_batches_after_their_own_handshake(host: RunningHost) -> None:
    code = host.keys.system["eventgrid_extension"]
    path = f"/runtime/webhooks/eventgrid?functionName=cloud-events&code={code}"
    answer = host.request("OPTIONS", path, headers={"WebHook-Request-Origin": "eventgrid.azure.net"})
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    cloud = {"specversion": "1.0", "id": "c1", "source": "/s", "type": "t", "data": {}}
    assert post(host, cloud, function="cloud-events").status == 202
    assert post(host, [cloud | {"id": "c2"}, cloud | {"id": "c3"}], function="cloud-events").status == 202
    assert {seen["id"] for seen in host.noted("cloud")} == {"c1", "c2", "c3"}


def test_an_event_can_be_replayed_by_hand(host: RunningHost) -> None:
    assert host.admin("POST", "/admin/functions/image-events", json={"input": event("8")}).status == 202
    host.until(lambda: "8" in {seen["id"] for seen in host.noted("events")})
