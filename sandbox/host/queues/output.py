"""Queue output bindings: the values that a function set are sent after it has succeeded."""

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
            Misconfigured: the settings do not define a storage account.
        """
        for binding in function.queue_outputs:
            where = f"Function '{function.name}', binding '{binding.name}'"
            self._open[function.name, binding.name] = self._queues.open(binding.connection, binding.queue_name, where)

    async def send(self, function: Function, done: Done) -> None:
        """Send the values that a function set.

        Raises:
            ValueError: a value is not a valid message.
            Exception: any error of the queue's client.
        """
        for binding in function.queue_outputs:
            value = done.returned if binding.name == "$return" else done.outputs.get(binding.name)
            if value is not None:
                await self._send(self._open[function.name, binding.name], binding, output_bodies(value))

    async def _send(self, queue: Queue, binding: QueueOutput, bodies: list[bytes]) -> None:
        for body in bodies:
            await queue.send(encode_body(body, base64_encoded=self._base64))
        self._on_sent(binding.queue_name)
