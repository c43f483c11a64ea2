"""Log records of the app, sent to the host with the invocation they belong to."""

from __future__ import annotations

import contextvars
import logging
import os
import threading

from sandbox.host.worker.channel import Channel

invocation_of_task: contextvars.ContextVar[str | None] = contextvars.ContextVar("invocation", default=None)
"""The id of the invocation that an asyncio task belongs to."""

invocation_of_thread = threading.local()
"""Its `invocation_id` is the invocation that a thread belongs to; a thread that the app starts must set it, through
`context.thread_local_storage`, as with the real worker."""


def current_invocation() -> str | None:
    """The invocation that the running code belongs to, if any."""
    return getattr(invocation_of_thread, "invocation_id", None) or invocation_of_task.get()


class HostHandler(logging.Handler):
    """Sends each record to the host."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record, its traceback included."""
        try:
            message = self.format(record)
        except Exception:  # noqa: BLE001 (an invalid log call must not fail the invocation; logging prints the error)
            self.handleError(record)
            return
        self._channel.send(
            "log", level=record.levelname, logger=record.name, message=message, invocation=current_invocation()
        )


def install(channel: Channel) -> None:
    """Send everything from INFO up (DEBUG if PYTHON_ENABLE_DEBUG_LOGGING is 1) to the host."""
    root = logging.getLogger()
    root.addHandler(HostHandler(channel))
    root.setLevel(logging.DEBUG if os.environ.get("PYTHON_ENABLE_DEBUG_LOGGING") == "1" else logging.INFO)
