"""The worker's end of the socket to the host: any thread may send, one thread receives."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

from sandbox.host.wire import frame, receive_frame


class Channel:
    """Messages are JSON objects whose `kind` says what they are."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lock = threading.Lock()

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message; it is in the kernel's hands when this returns, so a worker that dies then loses nothing."""
        text = json.dumps({"kind": kind, **fields}, ensure_ascii=False)
        data = frame(text.encode(errors="replace"))  # half a surrogate pair, as of an odd file name, is no JSON
        with self._lock:
            self._socket.sendall(data)

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the host sends, until it goes away."""
        while (data := receive_frame(self._socket)) is not None:
            yield json.loads(data)
