"""Registry events, in both of Event Grid's schemas, and everything that can be wrong with one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shared.domain.errors import Malformed
from shared.domain.event import EventKind, IrrelevantEvent, parse_event
from tests.events import event

_MISSING = object()


def changed(path: str, value: object, name: str = "image_pushed") -> dict[str, Any]:
    """A recorded payload with one field changed or removed."""
    payload = copy.deepcopy(event(name))
    *parents, key = path.split(".")
    place = payload
    for parent in parents:
        place = place[parent]
    if value is _MISSING:
        del place[key]
    else:
        place[key] = value
    return payload


def test_a_tagged_push_is_understood_field_by_field() -> None:
    payload = event("image_pushed")
    pushed = parse_event(payload)
    assert pushed.kind is EventKind.PUSHED
    assert pushed.event_id == payload["id"]
    assert pushed.registry_id == payload["topic"].lower()
    assert (pushed.repository, pushed.tag) == ("node", "15-alpine")
    assert pushed.digest == payload["data"]["target"]["digest"]


def test_both_schemas_and_the_old_type_name_mean_the_same() -> None:
    expected = parse_event(event("image_pushed"))
    assert parse_event(event("cloud_event_image_pushed")) == expected
    assert parse_event(event("image_pushed_2018")) == expected


def test_the_push_of_an_index_is_a_push_like_any_other() -> None:
    assert parse_event(event("image_pushed_index")).tag == "15-alpine"


def test_a_child_of_an_index_has_no_tag() -> None:
    assert parse_event(event("image_pushed_child")).tag is None
    assert parse_event(changed("data.target.tag", "")).tag is None
    assert parse_event(changed("data.target.tag", None)).tag is None


def test_a_delete_is_told_from_a_push() -> None:
    deleted = parse_event(event("image_deleted"))
    assert (deleted.kind, deleted.tag) == (EventKind.DELETED, None)


@pytest.mark.parametrize(
    "payload",
    [
        event("chart_pushed"),
        changed("eventType", "Microsoft.ContainerRegistry.ChartDeleted"),
        changed("eventType", "Microsoft.Storage.BlobCreated"),
        changed("eventType", "Microsoft.EventGrid.SubscriptionValidationEvent"),
        changed("eventType", "imagepushed"),
    ],
)
def test_other_events_are_unwanted_and_named(payload: dict[str, Any]) -> None:
    with pytest.raises(IrrelevantEvent, match="is not an image push or delete"):
        parse_event(payload)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("eventType", [_MISSING, None, "", 7, ["x"]]),
        ("id", [_MISSING, None, "", 7, "two\nlines", "\ud800"]),
        ("topic", [_MISSING, None, "", {}, "/subscriptions\r\nforged: line"]),
        ("data", [_MISSING, None, "text", [], 1]),
        ("data.target", [_MISSING, None, "text", []]),
        ("data.target.repository", [_MISSING, None, "", "Node", "/node", "node/", "a//b", "a" * 256, 7, "node\n"]),
        ("data.target.digest", [_MISSING, None, "", "sha256:abc", "sha512:" + "a" * 64, "SHA256:" + "A" * 64, 7]),
        ("data.target.tag", [".hidden", "a" * 129, "a b", "a/b", 7, [], "latest\n"]),
    ],
)
def test_a_malformed_field_is_named(path: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(Malformed) as caught:
            parse_event(changed(path, value))
        assert caught.value.field == path
        assert not isinstance(caught.value, IrrelevantEvent)


@pytest.mark.parametrize("payload", [None, [], [event("image_pushed")], "text", 7, True])
def test_what_is_no_object_is_malformed(payload: object) -> None:
    with pytest.raises(Malformed, match="event: is missing or not an object"):
        parse_event(payload)


@pytest.mark.parametrize("time", [_MISSING, None, "yesterday", "9999-12-31T23:59:59Z", 7])
def test_the_times_of_an_event_mean_nothing(time: object) -> None:
    assert parse_event(changed("data.timestamp", time)) == parse_event(event("image_pushed"))
    assert parse_event(changed("eventTime", time)) == parse_event(event("image_pushed"))


@pytest.mark.parametrize("path", ["eventType", "data.target.repository", "data.target.digest", "data.target.tag"])
def test_what_a_huge_field_makes_an_error_say_fits_a_log_line(path: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_event(changed(path, "x\n" * 500_000))
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_fields_nobody_asked_for_are_left_alone() -> None:
    payload = event("image_pushed") | {"extra": {"deep": [1, 2, 3]}}
    assert parse_event(payload) == parse_event(event("image_pushed"))
