"""Storage queues: the protocol that the host needs, and its implementation with the app's identity."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import msgspec

from sandbox.host.errors import Misconfigured
from sandbox.host.settings import AppSettings


class QueuedMessage(msgspec.Struct, frozen=True):
    """A received message; `text` as it is in the queue."""

    id: str
    pop_receipt: str
    text: str
    dequeue_count: int
    inserted: datetime
    expires: datetime
    next_visible: datetime


class Queue(Protocol):
    """One storage queue. Every method may raise the errors of the service's client."""

    async def create(self) -> None:
        """Create the queue if it does not exist."""

    async def receive(self, count: int, hidden_seconds: float) -> list[QueuedMessage]:
        """Receive up to `count` messages, and hide them from other consumers for `hidden_seconds`."""

    async def hide(self, message: QueuedMessage, seconds: float) -> QueuedMessage:
        """Hide a received message for `seconds` from now; returns it with the new pop receipt."""

    async def delete(self, message: QueuedMessage) -> None:
        """Delete a received message."""

    async def send(self, text: str) -> None:
        """Send a message; the queue is created first if it does not exist."""


class Queues(Protocol):
    """The queues of the app's storage accounts."""

    def open(self, connection: str, name: str, where: str) -> Queue:
        """A queue of the storage account that the settings of `connection` define.

        Raises:
            Misconfigured: they define no account; the error begins with `where`.
        """

    async def close(self) -> None:
        """Close the connections."""


class StorageQueues:
    """Azure Storage queues, with `DefaultAzureCredential`."""

    def __init__(self, settings: AppSettings) -> None:
        self._settings = settings
        self._credential: Any = None
        self._queues: dict[tuple[str, str], StorageQueue] = {}

    def open(self, connection: str, name: str, where: str) -> Queue:
        """See `Queues.open`. Identity-based settings only: `<connection>__queueServiceUri` or `__accountName`."""
        url = self._service_url(connection, where)
        if (url, name) not in self._queues:
            self._queues[url, name] = StorageQueue(partial(self._client, url, name))
        return self._queues[url, name]

    async def close(self) -> None:
        """See `Queues.close`."""
        for queue in self._queues.values():
            await queue.close()
        if self._credential:
            await self._credential.close()

    def _service_url(self, connection: str, where: str) -> str:
        for prefix in (connection, f"AzureWebJobs{connection}"):
            if url := self._settings.get(f"{prefix}__queueServiceUri"):
                return url.rstrip("/")
            if account := self._settings.get(f"{prefix}__accountName"):
                return f"https://{account}.queue.core.windows.net"
            if self._settings.get(prefix):
                message = f"the setting '{prefix}' is a connection string. The sandbox's host requires identity-based"
                raise Misconfigured(f"{where}: {message} connections: set '{connection}__accountName' instead.")
        message = f"there is no setting '{connection}__accountName' or '{connection}__queueServiceUri'."
        raise Misconfigured(f"{where}: {message}")

    async def _client(self, url: str, name: str) -> Any:
        await asyncio.to_thread(_import_clients)
        from azure.identity.aio import DefaultAzureCredential
        from azure.storage.queue.aio import QueueClient

        if self._credential is None:
            self._credential = DefaultAzureCredential()
        return QueueClient(url, name, credential=self._credential, retry_total=2)


class StorageQueue:
    """One queue through the SDK's client, with unchanged text; the client is created at the first use."""

    def __init__(self, make_client: Callable[[], Awaitable[Any]]) -> None:
        self._make_client = make_client
        self._made: Any = None
        self._lock = asyncio.Lock()

    async def create(self) -> None:
        """See `Queue.create`."""
        from azure.core.exceptions import ResourceExistsError

        try:
            await (await self._client()).create_queue()
        except ResourceExistsError:
            return

    async def receive(self, count: int, hidden_seconds: float) -> list[QueuedMessage]:
        """See `Queue.receive`."""
        pages = (await self._client()).receive_messages(
            messages_per_page=count, max_messages=count, visibility_timeout=int(hidden_seconds)
        )
        return [_received(message) async for message in pages]

    async def hide(self, message: QueuedMessage, seconds: float) -> QueuedMessage:
        """See `Queue.hide`."""
        updated = await (await self._client()).update_message(
            message.id, message.pop_receipt, visibility_timeout=int(seconds), content=message.text
        )
        return msgspec.structs.replace(message, pop_receipt=updated.pop_receipt, next_visible=updated.next_visible_on)

    async def delete(self, message: QueuedMessage) -> None:
        """See `Queue.delete`."""
        await (await self._client()).delete_message(message.id, message.pop_receipt)

    async def send(self, text: str) -> None:
        """See `Queue.send`."""
        from azure.core.exceptions import ResourceNotFoundError

        client = await self._client()
        try:
            await client.send_message(text)
        except ResourceNotFoundError:
            await self.create()
            await client.send_message(text)

    async def close(self) -> None:
        """Close the client's connections."""
        if self._made:
            await self._made.close()

    async def _client(self) -> Any:
        async with self._lock:
            if self._made is None:
                self._made = await self._make_client()
        return self._made


def _import_clients() -> None:
    """Import the clients, which takes half a second; in a thread, so that requests are handled meanwhile."""
    import azure.identity.aio
    import azure.storage.queue.aio  # noqa: F401


def _received(message: Any) -> QueuedMessage:
    return QueuedMessage(
        id=message.id,
        pop_receipt=message.pop_receipt,
        text=message.content,
        dequeue_count=message.dequeue_count,
        inserted=message.inserted_on,
        expires=message.expires_on,
        next_visible=message.next_visible_on,
    )
