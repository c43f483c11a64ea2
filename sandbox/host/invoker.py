"""Runs an invocation on a worker, then sends its output bindings."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from sandbox.host.console import Console
from sandbox.host.functions import Function
from sandbox.host.messages import Datum, Done, Failed, Invoke, Log
from sandbox.host.pool import NO_WORKER, Pool
from sandbox.host.workers import WORKER_LOST


@dataclass(frozen=True, slots=True)
class Trigger:
    """The reason and the input of an invocation. `trace_parent` is the caller's, if it sent one."""

    input: Datum
    reason: str
    metadata: Mapping[str, Datum] = field(default_factory=dict)
    trace_parent: str = ""
    trace_state: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an invocation. `lost`: no worker responded; the function may have run, completely or partly."""

    id: str
    succeeded: bool
    returned: Datum | None = None
    error: str = ""
    lost: bool = False


SendOutputs = Callable[[Function, Done], Awaitable[None]]


class Invoker:
    """Runs functions and logs it to the console."""

    def __init__(
        self, pool: Pool, send_outputs: SendOutputs, console: Console, timeout_seconds: float | None = None
    ) -> None:
        self._pool, self._send_outputs, self._console = pool, send_outputs, console
        self._timeout_seconds = timeout_seconds
        self._names: dict[str, str] = {}

    @property
    def running(self) -> int:
        """The number of invocations that have not ended."""
        return len(self._names)

    def log(self, record: Log) -> None:
        """Print a log record of a function."""
        name = self._names.get(record.invocation or "", "-")
        message = record.message if record.logger == "root" else f"{record.logger}: {record.message}"
        self._console.user(record.level, message, function=name, invocation=record.invocation)

    async def invoke(self, function: Function, trigger: Trigger) -> Outcome:
        """Run a function; never raises for a failure of the app or of a worker."""
        invocation, began = str(uuid.uuid4()), time.monotonic()
        self._names[invocation] = function.name
        self._tell("INFO", function, invocation, f"Executing ({trigger.reason})")
        try:
            outcome = await self._run(function, trigger, invocation)
        finally:
            del self._names[invocation]
        took = f"{(time.monotonic() - began) * 1000:.0f} ms"
        if outcome.succeeded:
            self._tell("INFO", function, invocation, f"Executed (Succeeded, {took})")
        else:
            self._tell("ERROR", function, invocation, f"Executed (Failed, {took}): {outcome.error}")
        return outcome

    async def _run(self, function: Function, trigger: Trigger, invocation: str) -> Outcome:
        message = Invoke(
            id=invocation,
            function=function.name,
            input=trigger.input,
            metadata=dict(trigger.metadata),
            trace_parent=trigger.trace_parent or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
            trace_state=trigger.trace_state,
        )
        answer = await self._pool.invoke(message, self._timeout_seconds)
        if isinstance(answer, Failed):
            if answer.trace:
                self._tell("ERROR", function, invocation, answer.trace)
            return Outcome(invocation, False, error=answer.error, lost=answer.error in (WORKER_LOST, NO_WORKER))
        try:
            await self._send_outputs(function, answer)
        except Exception as error:  # noqa: BLE001 (an output that cannot be sent fails the invocation, for any cause)
            return Outcome(invocation, False, error=f"an output binding failed: {type(error).__name__}: {error}")
        return Outcome(invocation, True, answer.returned)

    def _tell(self, level: str, function: Function, invocation: str, message: str) -> None:
        category = f"Function.{function.name}"
        self._console.write(level, message, category=category, function=function.name, invocation=invocation)
