"""The worker's end of the socket to the host: any thread may send, one thread receives."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

from sandbox.host.wire import frame, receive_frame


class Channel:
    """Sends and receives messages: JSON objects whose `kind` is their type."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lock = threading.Lock()

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message; the kernel has it on return, so it is not lost if the worker then dies."""
        text = json.dumps({"kind": kind, **fields}, ensure_ascii=False)
        data = frame(text.encode(errors="replace"))  # a lone surrogate, as in an odd file name, is not valid JSON
        with self._lock:
            self._socket.sendall(data)

    def messages(self) -> Iterator[dict[str, Any]]:
        """The messages of the host, until it disconnects."""
        while (data := receive_frame(self._socket)) is not None:
            yield json.loads(data)
