"""The queue of looks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient

from demo import scenario
from sandbox.host.queue_data import decode_body
from shared.adapters.queue_storage import StorageWorkQueue
from shared.domain.errors import BasegateError, Misconfigured
from shared.domain.record import Look
from shared.settings import LOST_QUEUE, QUEUE
from tests.contract.place import Place, until

ENDPOINT = f"https://{scenario.STORAGE}.queue.core.windows.net"
LOOK = Look("candidate", "node", "15-alpine/größe")


@pytest.fixture
def queue(place: Place) -> Iterator[QueueClient]:
    """The queue as the host reads it: texts as they are."""
    with QueueClient(ENDPOINT, QUEUE, credential=place.azure.credential) as client:
        try:
            client.create_queue()
        except ResourceExistsError:
            client.clear_messages()
        yield client


def test_a_look_can_be_read_by_the_functions_host(place: Place, queue: QueueClient) -> None:
    StorageWorkQueue(ENDPOINT, place.credential).send(LOOK, 0)
    message = queue.receive_message()
    assert message
    assert msgspec.json.decode(decode_body(message.content, base64_encoded=True), type=Look) == LOOK


@pytest.mark.parametrize(("wait", "hidden"), [(0.2, 1), (1.0, 1), (29.01, 30)])
def test_a_look_is_hidden_for_whole_seconds_rounded_up(
    place: Place, queue: QueueClient, wait: float, hidden: int
) -> None:
    sent: list[Any] = []
    work = StorageWorkQueue(ENDPOINT, place.credential)
    send = work._queue.send_message
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work._queue, "send_message", lambda *a, **k: sent.append(send(*a, **k)))
        work.send(LOOK, wait)
    assert sent[0].next_visible_on - sent[0].inserted_on == timedelta(seconds=hidden)
    assert queue.receive_message() is None
    if hidden == 1:
        assert until(queue.receive_message)


def test_a_look_at_the_queue_tells_the_service_s_time_and_what_was_given_up_on(
    place: Place, queue: QueueClient
) -> None:
    work = StorageWorkQueue(ENDPOINT, place.credential)
    state = work.check()
    assert state.given_up == 0
    assert state.server_time
    assert abs(datetime.now(UTC) - state.server_time) < timedelta(minutes=1)
    with QueueClient(ENDPOINT, LOST_QUEUE, credential=place.azure.credential) as lost:
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
        StorageWorkQueue(ENDPOINT, place.credential).send(LOOK, 0)
    with pytest.raises(Misconfigured, match=f"there is no queue {QUEUE} .* az storage queue create"):
        StorageWorkQueue(ENDPOINT, place.credential).check()
