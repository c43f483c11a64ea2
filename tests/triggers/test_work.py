"""Storage queues -> hints followed, records gone on with; what the host gave up on -> a visible stall."""

from __future__ import annotations

import logging
from datetime import timedelta

import msgspec
import pytest
from azure.functions.queue import QueueMessage

from functions.registry_events import registry_events
from functions.work import hints, hints_poison, work, work_poison
from shared.domain.candidate import CandidateState
from shared.domain.event import Hint
from shared.domain.image import Digest
from shared.domain.promotion import PromotionState
from shared.domain.record import WorkItem
from tests.events import event_text
from tests.fakes import World, digest
from tests.triggers.out import Hints

CONTENT = digest("orange")


def message(body: str | bytes, dequeue_count: int = 1) -> QueueMessage:
    """A message as the worker builds it."""
    return QueueMessage(id="m", body=body, dequeue_count=dequeue_count, pop_receipt="p")


def hint_about(world: World, content: Digest = CONTENT) -> str:
    """The hint of a push that has just happened."""
    world.registry.tags["public", "node:15-alpine"] = content
    out = Hints()
    registry_events(event_text("image_pushed"), out)
    return out.get()[0]


def test_a_hint_is_followed_to_the_first_run_in_one_invocation(world: World) -> None:
    hints(message(hint_about(world)))
    assert world.candidate(CONTENT).checks[0].run_id
    items = [one for _, _, one in world.queue.waiting if isinstance(one, WorkItem)]
    assert items == [world.candidate(CONTENT).planned_work_item]


def test_messages_through_the_queues_go_all_the_way(world: World) -> None:
    hints(message(hint_about(world)))
    while world.queue.waiting:
        due, _, one = world.queue.waiting.pop(0)
        world.clock.time = max(world.clock.time, due) + timedelta(milliseconds=50)
        (hints if isinstance(one, Hint) else work)(message(msgspec.json.encode(one)))
    assert world.candidate(CONTENT).state is CandidateState.PASSED
    assert world.promotion().state is PromotionState.PROMOTED
    assert world.stable_tag() == CONTENT


@pytest.mark.parametrize(("dequeue_count", "goes_on"), [(1, False), (2, True), (5, True)])
def test_a_redelivered_message_goes_on_where_a_first_one_is_a_duplicate(
    world: World, dequeue_count: int, goes_on: bool
) -> None:
    world.tasks.seconds = 600
    hints(message(hint_about(world)))
    first = msgspec.json.encode(world.candidate(CONTENT).planned_work_item)
    world.clock.forward(4)
    work(message(first))
    before = world.candidate(CONTENT)
    world.clock.forward(1)
    work(message(first, dequeue_count))
    assert (world.candidate(CONTENT) != before) is goes_on


@pytest.mark.parametrize("body", [b"", b"no JSON", b"{}", b'{"kind": 1, "partition": "", "row": ""}', b"\xff\xfe"])
def test_a_message_that_is_none_of_basegate_s_fails_and_so_ends_in_the_poison_queue(world: World, body: bytes) -> None:
    for function in (work, hints):
        with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
            function(message(body))


def test_a_work_item_of_no_record_is_done_at_once(world: World) -> None:
    work(message(msgspec.json.encode(WorkItem("candidate", "node", "nobody"))))
    assert world.queue.waiting == []


def test_a_work_item_that_was_given_up_on_stalls_its_record_visibly_and_is_tried_again(world: World) -> None:
    world.tasks.seconds = 600
    hints(message(hint_about(world)))
    item = world.candidate(CONTENT).work_item
    world.queue.waiting.clear()
    work_poison(message(msgspec.json.encode(item)))
    candidate = world.candidate(CONTENT)
    assert candidate.state_name == "stalled"
    assert candidate.stall is not None
    assert "crashed at every delivery" in candidate.stall.reason
    world.next_item()
    world.settle(within_seconds=3600)
    assert world.stable_tag() == CONTENT


@pytest.mark.parametrize("body", [b"no JSON", b"", b"\xff\xfe" * 10_000, b'{"kind": []}', b"[" * 100_000])
def test_a_poison_message_that_is_no_work_item_is_taken_off_the_queue(
    world: World, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    work_poison(message(body))
    assert "no work item" in caplog.text
    assert len(caplog.text) < 2_000


def test_a_poison_message_of_no_record_is_an_error_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    work_poison(message(msgspec.json.encode(WorkItem("candidate", "node", "nobody"))))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "nobody" in caplog.text


def test_a_hint_that_was_given_up_on_is_a_warning_that_names_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    hints_poison(message(hint_about(world)))
    assert "15-alpine" in caplog.text
    assert "the sweep reads the tag" in caplog.text


def test_a_poison_message_of_a_settled_record_changes_nothing(world: World) -> None:
    hints(message(hint_about(world)))
    world.settle()
    before = world.candidates()
    work_poison(message(msgspec.json.encode(before[0].work_item)))
    assert world.candidates() == before
