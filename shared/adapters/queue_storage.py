"""The queue of looks in Azure Queue storage.

The queue output binding cannot hide a message for a time, which the next look of a record needs; the event
path, which needs no wait, uses the binding and never imports this module's SDK.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from shared.adapters.azure_errors import translated
from shared.domain.record import Look
from shared.settings import QUEUE

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.storage.queue import QueueClient


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

    def send(self, look: Look, wait_seconds: float) -> None:
        """Queue a look, hidden for a time (whole seconds, rounded up)."""
        text = msgspec.json.encode(look).decode()
        with translated(f"queueing {look.kind} {look.row}", remedy="give the app Storage Queue Data Contributor"):
            self._queue.send_message(text, visibility_timeout=math.ceil(wait_seconds))

    def check(self) -> None:
        """See whether the queue can be used; nothing is sent."""
        with translated("reading the queue's properties", remedy="give the app Storage Queue Data Contributor"):
            self._queue.get_queue_properties()
