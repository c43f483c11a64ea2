"""The queue of looks in Azure Queue storage.

The queue output binding cannot hide a message for a time, which the next look of a record needs; the event
path, which needs no wait, uses the binding and never imports this module's SDK.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from shared.adapters.azure_errors import translated
from shared.domain.errors import Misconfigured
from shared.domain.record import Look
from shared.ports import QueueState
from shared.settings import LOST_QUEUE, QUEUE

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.storage.queue import QueueClient

_ROLE = "give the app Storage Queue Data Contributor"


class StorageWorkQueue:
    """Implements the port `WorkQueue`. Messages are base64, as the Functions host expects by default."""

    def __init__(self, endpoint: str, credential: Callable[[], TokenCredential]) -> None:
        self._endpoint, self._credential = endpoint, credential

    @cached_property
    def _queue(self) -> QueueClient:
        from azure.storage.queue import QueueClient, TextBase64EncodePolicy

        return QueueClient(
            self._endpoint, QUEUE, credential=self._credential(), message_encode_policy=TextBase64EncodePolicy()
        )

    @cached_property
    def _lost(self) -> QueueClient:
        from azure.storage.queue import QueueClient

        return QueueClient(self._endpoint, LOST_QUEUE, credential=self._credential())

    def send(self, look: Look, wait_seconds: float) -> None:
        """Queue a look, hidden for a time (whole seconds, rounded up)."""
        text = msgspec.json.encode(look).decode()
        with translated(f"queueing {look.kind} {look.row}", remedy=_ROLE):
            self._queue.send_message(text, visibility_timeout=math.ceil(wait_seconds))

    def check(self) -> QueueState:
        """See whether the queue can be used, and how it stands; nothing is sent."""
        from azure.core.exceptions import ResourceNotFoundError

        dates: list[str] = []
        with translated("reading the queue's properties", remedy=_ROLE):
            try:
                self._queue.get_queue_properties(
                    raw_response_hook=lambda response: dates.append(response.http_response.headers.get("Date", ""))
                )
            except ResourceNotFoundError as error:
                problem = f"there is no queue {QUEUE} in the app's storage account"
                raise Misconfigured(problem, remedy=f"az storage queue create --name {QUEUE} there") from error
        return QueueState(_moment(dates[-1] if dates else ""), self._given_up())

    def _given_up(self) -> int:
        """How many messages the host gave up on; it makes their queue with the first of them."""
        from azure.core.exceptions import ResourceNotFoundError

        with translated("reading the properties of the queue of lost steps", remedy=_ROLE):
            try:
                return int(self._lost.get_queue_properties().approximate_message_count or 0)
            except ResourceNotFoundError:
                return 0


def _moment(date: str) -> datetime | None:
    """A `Date` header, None where there is none that can be read."""
    try:
        return parsedate_to_datetime(date)
    except ValueError:
        return None
