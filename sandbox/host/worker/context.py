"""What the real worker hands to a function beside its bindings: the context and the output parameters."""

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
    """Retry policies of the host are not carried out here, so an invocation is always the first try."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: Any = None


@dataclass(frozen=True)
class Context(_abc.Context):
    """The invocation as a function sees it."""

    invocation_id: str = ""
    function_name: str = ""
    function_directory: str = ""
    trace_context: TraceContext = TraceContext()
    retry_context: RetryContext = RetryContext()

    @property
    def thread_local_storage(self) -> threading.local:  # type: ignore[override]  # the SDK's annotation says Type[local]
        """Where a thread that the app starts names the invocation its log records belong to."""
        return invocation_of_thread


class Out(_abc.Out[Any]):
    """An output parameter; never set means no output."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        """Give the output its value."""
        self._value = val

    def get(self) -> Any:
        """What was set, or None."""
        return self._value
