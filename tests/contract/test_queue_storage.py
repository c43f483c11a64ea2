"""The queues of work items and of hints."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient

from demo import scenario
from sandbox.testing import until
from shared.adapters.storage import StorageWorkQueue
from shared.domain.errors import BasegateError, Misconfigured, Rejected
from shared.domain.event import Hint, HintKind
from shared.domain.record import WorkItem
from shared.settings import HINT_QUEUE, POISON, WORK_QUEUE
from tests.contract.place import Place
from tests.fakes import FakeClock, FakeQueue

ENDPOINT = f"https://{scenario.STORAGE}.queue.core.windows.net"
ITEM = WorkItem("candidate", "node", "15-alpine/größe")
HINT = Hint(hint=HintKind.SOURCE_TAG, subject="node", tag="15-alpine", event="größe")


@pytest.fixture
def queue(place: Place) -> Iterator[QueueClient]:
    """The queue of work items as the host reads it, texts as they are; that of hints is there, too."""
    with QueueClient(ENDPOINT, HINT_QUEUE, credential=place.azure.credential) as hints, suppress(ResourceExistsError):
        hints.create_queue()
    with QueueClient(ENDPOINT, WORK_QUEUE, credential=place.azure.credential) as client:
        try:
            client.create_queue()
        except ResourceExistsError:
            client.clear_messages()
        yield client


def test_a_work_item_can_be_read_by_the_functions_host(place: Place, queue: QueueClient) -> None:
    StorageWorkQueue(ENDPOINT, place.credential).send(ITEM, 0)
    message = queue.receive_message()
    assert message
    assert msgspec.json.decode(base64.b64decode(message.content, validate=True), type=WorkItem) == ITEM


def test_a_hint_has_a_queue_of_its_own(place: Place, queue: QueueClient) -> None:
    StorageWorkQueue(ENDPOINT, place.credential).send_hint(HINT, 0)
    assert queue.receive_message() is None
    with QueueClient(ENDPOINT, HINT_QUEUE, credential=place.azure.credential) as hints:
        message = hints.receive_message()
        assert message
        assert msgspec.json.decode(base64.b64decode(message.content, validate=True), type=Hint) == HINT


@pytest.mark.parametrize(("wait", "hidden"), [(0.2, 1), (1.0, 1), (29.01, 30), (1e9, 604_800)])
def test_a_work_item_is_hidden_for_whole_seconds_rounded_up(
    place: Place, queue: QueueClient, wait: float, hidden: int
) -> None:
    sent: list[Any] = []
    work = StorageWorkQueue(ENDPOINT, place.credential)
    client = work._queues(WORK_QUEUE)
    send = client.send_message
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "send_message", lambda *a, **k: sent.append(send(*a, **k)))
        work.send(ITEM, wait)
    assert sent[0].next_visible_on - sent[0].inserted_on == timedelta(seconds=hidden)
    assert sent[0].expires_on > sent[0].next_visible_on + timedelta(days=365)
    assert queue.receive_message() is None
    if hidden == 1:
        assert until(queue.receive_message)


@pytest.mark.parametrize("kind", ["storage", "fake"])
def test_a_message_of_up_to_64_kib_is_taken_and_a_larger_one_refused(
    place: Place, queue: QueueClient, kind: str
) -> None:
    work = StorageWorkQueue(ENDPOINT, place.credential) if kind == "storage" else FakeQueue(FakeClock())
    length = 48 * 1024 - len(msgspec.json.encode(WorkItem("candidate", "node", "")))
    work.send(WorkItem("candidate", "node", "x" * length), 0)
    with pytest.raises(Rejected, match=r"queueing candidate x+: 413 "):
        work.send(WorkItem("candidate", "node", "x" * (length + 1)), 0)


def test_a_check_of_the_queues_gives_the_service_s_time_and_what_was_given_up_on(
    place: Place, queue: QueueClient
) -> None:
    work = StorageWorkQueue(ENDPOINT, place.credential)
    state = work.check()
    assert state.given_up == 0
    assert state.server_time
    assert abs(datetime.now(UTC) - state.server_time) < timedelta(minutes=1)
    with QueueClient(ENDPOINT, WORK_QUEUE + POISON, credential=place.azure.credential) as lost:
        lost.create_queue()
        try:
            lost.send_message("one")
            lost.send_message("two")
            assert work.check().given_up == 2
        finally:
            lost.delete_queue()


def test_a_queue_that_is_not_there_is_named(place: Place, queue: QueueClient) -> None:
    queue.delete_queue()
    with pytest.raises(BasegateError, match=r"queueing candidate .*QueueNotFound"):
        StorageWorkQueue(ENDPOINT, place.credential).send(ITEM, 0)
    with pytest.raises(Misconfigured, match=f"there is no queue {WORK_QUEUE} .* az storage queue create"):
        StorageWorkQueue(ENDPOINT, place.credential).check()
