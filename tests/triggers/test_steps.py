"""Storage queue -> one step; what the queue gave up on -> a visible end."""

from __future__ import annotations

import logging
from datetime import timedelta

import msgspec
import pytest
from azure.functions.queue import QueueMessage

from functions.registry_events import registry_events
from functions.steps import lost_steps, steps
from shared.domain.candidate import CandidateState
from shared.domain.record import Look
from tests.events import event_text
from tests.fakes import World
from tests.triggers.out import Looks


def message(body: str | bytes, dequeue_count: int = 1) -> QueueMessage:
    """A message as the worker builds it."""
    return QueueMessage(id="m", body=body, dequeue_count=dequeue_count, pop_receipt="p")


def admitted(world: World) -> str:
    """The message of a candidate that has just come in."""
    looks = Looks()
    registry_events(event_text("image_pushed"), looks)
    world.registry.tags["public", "node:15-alpine"] = world.candidates()[0].digest
    return looks.get()[0]


def test_a_look_from_the_event_takes_the_first_step(world: World) -> None:
    steps(message(admitted(world)))
    assert world.candidates()[0].checks[0].run_id
    assert [look for _, _, look in world.queue.waiting] == [world.candidates()[0].planned_look]


def test_looks_through_the_queue_go_all_the_way(world: World) -> None:
    steps(message(admitted(world)))
    while world.queue.waiting:
        due, _, look = world.queue.waiting.pop(0)
        world.clock.time = max(world.clock.time, due) + timedelta(milliseconds=50)
        steps(message(msgspec.json.encode(look)))
    assert world.candidates()[0].state is CandidateState.PROMOTED
    assert world.stable_tag() == world.candidates()[0].digest


@pytest.mark.parametrize(("dequeue_count", "goes_on"), [(1, False), (2, True), (5, True)])
def test_a_redelivered_message_goes_on_where_a_first_one_is_a_duplicate(
    world: World, dequeue_count: int, goes_on: bool
) -> None:
    world.tasks.seconds = 600
    text = admitted(world)
    steps(message(text))
    while (world.queue.waiting[0][0] - world.clock.now()).total_seconds() < 4:
        world.next_look()
    before = world.candidates()[0]
    world.clock.forward(1)
    steps(message(text, dequeue_count))
    assert (world.candidates()[0] != before) is goes_on


def test_a_message_without_a_count_is_a_first_delivery(world: World) -> None:
    steps(QueueMessage(id="m", body=admitted(world)))
    assert world.candidates()[0].checks[0].run_id


@pytest.mark.parametrize("body", [b"", b"no JSON", b"{}", b'{"kind": 1, "partition": "", "row": ""}', b"\xff\xfe"])
def test_a_message_that_is_none_of_basegate_s_fails_and_so_ends_in_the_poison_queue(world: World, body: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        steps(message(body))


def test_a_look_at_nothing_is_done_at_once(world: World) -> None:
    steps(message(msgspec.json.encode(Look("candidate", "node", "nobody"))))
    assert world.queue.waiting == []


def test_a_lost_step_fails_its_record_and_is_told(world: World) -> None:
    text = admitted(world)
    lost_steps(message(text))
    candidate = world.candidates()[0]
    assert candidate.state is CandidateState.FAILED
    assert "crashed at every delivery" in candidate.reason
    world.settle()
    assert world.announcer.names == ["CandidateFailed"]


@pytest.mark.parametrize("body", [b"no JSON", b"", b"\xff\xfe" * 10_000, b'{"kind": []}', b"[" * 100_000])
def test_a_lost_message_that_is_none_of_basegate_s_is_taken_off_the_queue(
    world: World, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    lost_steps(message(body))
    assert "none of Basegate's" in caplog.text
    assert len(caplog.text) < 2_000


def test_a_lost_step_of_no_record_is_an_error_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    lost_steps(message(msgspec.json.encode(Look("candidate", "node", "nobody"))))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "nobody" in caplog.text


def test_a_lost_step_of_a_finished_record_changes_nothing(world: World) -> None:
    text = admitted(world)
    world.queue.send(msgspec.json.decode(text, type=Look), 0)
    world.settle()
    before = world.candidates()
    lost_steps(message(text))
    assert world.candidates() == before
