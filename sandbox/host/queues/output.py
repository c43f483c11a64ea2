"""Queue output bindings: what a function left goes out once it has succeeded."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.host.functions import Function, QueueOutput
from sandbox.host.messages import Done
from sandbox.host.queues.data import encode_body, output_bodies
from sandbox.host.queues.service import Queue, Queues


class QueueOutputs:
    """Opens each output's queue once, so that a missing setting is an error at start."""

    def __init__(self, queues: Queues, *, base64: bool, on_sent: Callable[[str], None]) -> None:
        self._queues, self._base64, self._on_sent = queues, base64, on_sent
        self._open: dict[tuple[str, str], Queue] = {}

    def prepare(self, function: Function) -> None:
        """Open the queues of a function.

        Raises:
            Misconfigured: the settings name no account.
        """
        for binding in function.queue_outputs:
            where = f"Function '{function.name}', binding '{binding.name}'"
            self._open[function.name, binding.name] = self._queues.open(binding.connection, binding.queue_name, where)

    async def send(self, function: Function, done: Done) -> None:
        """Send what a function set.

        Raises:
            ValueError: a value that is no message.
            Exception: what the queue's client raises.
        """
        for binding in function.queue_outputs:
            value = done.returned if binding.name == "$return" else done.outputs.get(binding.name)
            if value is not None:
                await self._send(self._open[function.name, binding.name], binding, output_bodies(value))

    async def _send(self, queue: Queue, binding: QueueOutput, bodies: list[bytes]) -> None:
        for body in bodies:
            await queue.send(encode_body(body, base64_encoded=self._base64))
        self._on_sent(binding.queue_name)
