"""Basegate's outcomes: the `Basegate.*` events that are delivered to an operator's queue."""

from __future__ import annotations

import base64
import json
from typing import Any

from azure.storage.queue import QueueClient

from demo import scenario
from demo.azure import Azure


class Outcomes:
    """Reads the queue that the story's topic delivers to, and stores what it has read."""

    def __init__(self, azure: Azure) -> None:
        url = f"https://{scenario.STORAGE}.queue.core.windows.net"
        self._queue = QueueClient(url, scenario.OUTCOMES, credential=azure.credential)
        self.heard: list[dict[str, Any]] = []

    def close(self) -> None:
        """Close the connections."""
        self._queue.close()

    def listen(self) -> list[dict[str, Any]]:
        """Receive the events since the last call."""
        fresh = []
        for message in self._queue.receive_messages(max_messages=16):
            fresh.append(_event(message.content))
            self._queue.delete_message(message)
        self.heard.extend(fresh)
        return fresh

    def find(self, name: str, since: int, **data: object) -> dict[str, Any] | None:
        """The first event `Basegate.<name>` after the first `since` whose data has these values."""
        self.listen()
        for event in self.heard[since:]:
            if event["type"] == f"Basegate.{name}" and all(event["data"].get(k) == v for k, v in data.items()):
                return event
        return None


def _event(content: str) -> dict[str, Any]:
    """Decode a message: Event Grid puts plain JSON into a queue, other senders encode it in base64."""
    text = content if content.lstrip().startswith("{") else base64.b64decode(content).decode()
    event: dict[str, Any] = json.loads(text)
    return event
