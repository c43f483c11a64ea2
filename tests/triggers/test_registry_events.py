"""Event Grid -> ledger and looks."""

from __future__ import annotations

import json
import logging

import msgspec
import pytest

from functions.registry_events import registry_events
from shared.domain.candidate import CandidateState
from shared.domain.errors import Retry
from shared.domain.record import Look
from shared.domain.rollout import AppRecord
from shared.ports import R, Stored
from tests.events import event_text
from tests.fakes import FakeLedger, World, digest
from tests.triggers.out import Looks

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


def delivered(text: str) -> Looks:
    looks = Looks()
    registry_events(text, looks)
    return looks


@pytest.mark.parametrize(
    "name", ["image_pushed", "cloud_event_image_pushed", "image_pushed_2018", "image_pushed_index"]
)
def test_a_push_in_any_schema_is_admitted_and_a_look_is_queued(world: World, name: str) -> None:
    looks = delivered(event_text(name))
    candidate = world.candidates()[0]
    assert looks.value is not None
    assert [msgspec.json.decode(text, type=Look) for text in looks.value] == [candidate.look]
    assert candidate.state is CandidateState.EXAMINING


def test_a_look_is_text_that_no_worker_takes_for_metadata(world: World) -> None:
    looks = delivered(event_text("image_pushed"))
    for text in looks.get():
        assert isinstance(text, str)
        assert not {key.lower() for key in json.loads(text)} & RESERVED_KEYS


@pytest.mark.parametrize("name", ["image_pushed_child", "image_deleted", "chart_pushed"])
def test_what_wants_no_look_leaves_the_output_unset(world: World, name: str) -> None:
    assert delivered(event_text(name)).value is None
    assert world.ledger.rows == {}


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "{", "[]", "null", "7", '"text"', "{}", "NaN", "1" * 10_000, "[" * 100_000, '{"id": "\\ud800"}'],
    ids=lambda text: text[:12],
)
def test_malformed_text_is_acknowledged_and_said(world: World, text: str, caplog: pytest.LogCaptureFixture) -> None:
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


def test_the_same_event_again_queues_a_look_and_admits_nothing(world: World) -> None:
    first = delivered(event_text("image_pushed"))
    assert delivered(event_text("cloud_event_image_pushed")).value == first.value
    assert len(world.candidates()) == 1


def test_what_an_operator_should_know_of_is_a_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        delivered(event_text("image_pushed"))
        delivered(event_text("image_pushed_child"))
        delivered(event_text("image_pushed").replace("publicregistry", "attacker"))
    told = [(record.levelname, vars(record)["basegate_outcome"]) for record in caplog.records]
    assert told == [
        ("INFO", "candidate admitted"),
        ("INFO", "push by digest, no tag"),
        ("WARNING", "unknown registry"),
    ]


class AbsentLedger(FakeLedger):
    def insert(self, record: R) -> Stored[R] | None:
        raise Retry("the table does not answer")


def test_only_an_absent_ledger_makes_event_grid_try_again(world: World) -> None:
    world.ledger = AbsentLedger()
    world.restart()
    looks = Looks()
    with pytest.raises(Retry):
        registry_events(event_text("image_pushed"), looks)
    assert looks.value is None


def test_one_event_for_two_apps_queues_a_look_each(world: World) -> None:
    app = world.policy.apps["hello-world"]
    other = msgspec.structs.replace(app, name="other")
    world.policy = msgspec.structs.replace(world.policy, apps={"hello-world": app, "other": other})
    world.restart()
    pushed = world.event("ct9", digest("app"), registry="team", repository="hello-world")
    looks = [msgspec.json.decode(text, type=Look) for text in delivered(json.dumps(pushed)).get()]
    assert {look.partition for look in looks} == {"hello-world", "other"}
    assert world.ledger.load(AppRecord, "other", "app") is not None
