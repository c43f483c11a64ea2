"""What the real worker passes to a function besides its inputs: the context and the output parameters."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, ClassVar

from azure.functions import _abc

from sandbox.host.worker.logs import invocation_of_thread


@dataclass(frozen=True)
class TraceContext(_abc.TraceContext):
    """The W3C trace context of the invocation."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: ClassVar[dict[str, str]] = {}


@dataclass(frozen=True)
class RetryContext(_abc.RetryContext):
    """The host's retry policies are not implemented, so an invocation is always the first attempt."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: Any = None


@dataclass(frozen=True)
class Context(_abc.Context):
    """The invocation context that a function receives."""

    invocation_id: str = ""
    function_name: str = ""
    function_directory: str = ""
    trace_context: TraceContext = TraceContext()
    retry_context: RetryContext = RetryContext()

    @property
    def thread_local_storage(self) -> threading.local:  # type: ignore[override]  # the SDK's annotation is Type[local]
        """The thread-local in which a thread that the app starts sets the invocation of its log records."""
        return invocation_of_thread


class Out(_abc.Out[Any]):
    """An output parameter; if it is never set, there is no output."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        """Set the value of the output."""
        self._value = val

    def get(self) -> Any:
        """The value that was set, or None."""
        return self._value
