"""Event Grid -> hints. Nothing is read, nothing is written, nothing is believed."""

from __future__ import annotations

import json
import logging

import msgspec
import pytest

from functions.registry_events import registry_events
from shared.domain.event import Hint, HintKind
from tests.events import event_text
from tests.fakes import World, digest
from tests.triggers.out import Hints

RESERVED_KEYS = {
    "id",
    "dequeuecount",
    "expirationtime",
    "insertiontime",
    "nextvisibletime",
    "popreceipt",
    "queuetrigger",
}
"""What the worker would take for a message's metadata."""


def delivered(text: str) -> Hints:
    out = Hints()
    registry_events(text, out)
    return out


def hints_of(out: Hints) -> list[Hint]:
    return [msgspec.json.decode(text, type=Hint) for text in out.get()]


@pytest.mark.parametrize(
    "name", ["image_pushed", "cloud_event_image_pushed", "image_pushed_2018", "image_pushed_index"]
)
def test_a_push_in_any_schema_becomes_a_hint_and_nothing_is_written(world: World, name: str) -> None:
    hint = hints_of(delivered(event_text(name)))[0]
    assert (hint.hint, hint.subject, hint.tag) == (HintKind.SOURCE_TAG, "node", "15-alpine")
    assert world.ledger.rows == {}


def test_a_hint_is_text_that_no_worker_takes_for_metadata(world: World) -> None:
    for text in delivered(event_text("image_pushed")).get():
        assert isinstance(text, str)
        assert not {key.lower() for key in json.loads(text)} & RESERVED_KEYS


@pytest.mark.parametrize("name", ["image_pushed_child", "image_deleted", "chart_pushed"])
def test_what_says_nowhere_to_look_leaves_the_output_unset(world: World, name: str) -> None:
    assert delivered(event_text(name)).value is None


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "{", "[]", "null", "7", '"text"', "{}", "NaN", "1" * 10_000, "[" * 100_000, '{"id": "\\ud800"}'],
    ids=lambda text: text[:12],
)
def test_malformed_text_is_acknowledged_and_logged(world: World, text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert delivered(text).value is None
    assert "malformed" in caplog.text
    assert len(caplog.text) < 1_000


def test_half_a_character_in_any_field_is_acknowledged(world: World) -> None:
    for old in ("9f2a1b64", "15-alpine", "publicregistry", '"node"'):
        text = event_text("image_pushed").replace(old, '"\\ud800"' if old == '"node"' else "\\ud800")
        assert delivered(text).value is None


def test_the_host_s_sizes_are_no_trouble(world: World) -> None:
    text = event_text("image_pushed").replace('"dataVersion"', f'"extra": "{"x" * 1_000_000}", "dataVersion"')
    assert len(delivered(text).get()) == 1


@pytest.mark.parametrize("time", ["2999-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "no time", 7, None])
def test_the_times_of_an_event_mean_nothing(world: World, time: object) -> None:
    event = json.loads(event_text("image_pushed"))
    event["eventTime"] = event["data"]["timestamp"] = time
    assert hints_of(delivered(json.dumps(event))) == hints_of(delivered(event_text("image_pushed")))


def test_what_an_operator_should_know_of_is_a_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        delivered(event_text("image_pushed"))
        delivered(event_text("image_pushed_child"))
        delivered(event_text("image_pushed").replace("publicregistry", "attacker"))
    logged = [(record.levelname, vars(record)["basegate_outcome"]) for record in caplog.records]
    assert logged == [("INFO", "source tag"), ("INFO", "no rule"), ("WARNING", "unknown registry")]


def test_one_event_for_two_apps_becomes_a_hint_each(world: World) -> None:
    app = world.policy.apps["hello-world"]
    other = msgspec.structs.replace(app, name="other")
    world.policy = msgspec.structs.replace(world.policy, apps={"hello-world": app, "other": other})
    world.restart()
    pushed = world.event("ct9", digest("app"), registry="team", repository="hello-world")
    found = hints_of(delivered(json.dumps(pushed)))
    assert {(hint.hint, hint.subject) for hint in found} == {
        (HintKind.APP_IMAGE, "hello-world"),
        (HintKind.APP_IMAGE, "other"),
    }


def test_a_deletion_in_a_target_repository_is_a_hint_to_compare_its_stable_tags(world: World) -> None:
    event = json.loads(event_text("image_deleted"))
    event["topic"] = world.policy.registries["base"].id
    event["data"]["target"]["repository"] = "node"
    found = hints_of(delivered(json.dumps(event)))
    assert [(hint.hint, hint.subject) for hint in found] == [(HintKind.STABLE_TAGS, "node")]
