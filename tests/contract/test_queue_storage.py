"""The queue of looks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient

from demo import scenario
from sandbox.host.queue_data import decode_body
from shared.adapters.queue_storage import StorageWorkQueue
from shared.domain.errors import BasegateError
from shared.domain.record import Look
from shared.settings import QUEUE
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


def test_a_queue_that_is_not_there_is_named(place: Place, queue: QueueClient) -> None:
    queue.delete_queue()
    with pytest.raises(BasegateError, match=r"queueing candidate .*QueueNotFound"):
        StorageWorkQueue(ENDPOINT, place.credential).send(LOOK, 0)
