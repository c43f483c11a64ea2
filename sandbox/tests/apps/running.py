"""A host in a thread of the test's process, on queues in memory; the workers are real processes."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec

from sandbox.host.console import Console
from sandbox.host.functions_host import FunctionsHost, Options
from sandbox.host.keys import Keys
from sandbox.host.queues.service import Queue, QueuedMessage
from sandbox.host.settings import AppSettings

T = TypeVar("T")
SAMPLE = Path(__file__).parent / "sample"
_DEADLINE_SECONDS = 20


class FakeQueue:
    """A storage queue in memory: visibility, pop receipts and dequeue counts as the service has them."""

    def __init__(self) -> None:
        self.messages: list[QueuedMessage] = []

    async def create(self) -> None:
        return None

    async def receive(self, count: int, hidden_seconds: float) -> list[QueuedMessage]:
        now = datetime.now(UTC)
        due = [message for message in self.messages if message.next_visible <= now][:count]
        return [
            self._replace(m, dequeue_count=m.dequeue_count + 1, next_visible=now + timedelta(seconds=hidden_seconds))
            for m in due
        ]

    async def hide(self, message: QueuedMessage, seconds: float) -> QueuedMessage:
        current = self._held(message)
        return self._replace(current, next_visible=datetime.now(UTC) + timedelta(seconds=seconds))

    async def delete(self, message: QueuedMessage) -> None:
        self.messages.remove(self._held(message))

    async def send(self, text: str) -> None:
        now = datetime.now(UTC)
        self.messages.append(QueuedMessage(str(uuid.uuid4()), "", text, 0, now, now + timedelta(days=7), now))

    def _held(self, message: QueuedMessage) -> QueuedMessage:
        current = next(m for m in self.messages if m.id == message.id)
        if current.pop_receipt != message.pop_receipt:
            raise ValueError("PopReceiptMismatch")
        return current

    def _replace(self, message: QueuedMessage, **changes: Any) -> QueuedMessage:
        new = msgspec.structs.replace(message, pop_receipt=uuid.uuid4().hex, **changes)
        self.messages[self.messages.index(message)] = new
        return new


class FakeQueues:
    """Queues by name, whatever the connection."""

    def __init__(self) -> None:
        self.by_name: dict[str, FakeQueue] = {}

    def open(self, connection: str, name: str, where: str) -> Queue:
        return self.by_name.setdefault(name, FakeQueue())

    async def close(self) -> None:
        return None


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class RunningHost:
    """Start with `start()`; everything it does may be asked from the test's own thread."""

    folder: Path
    app: Path = SAMPLE
    settings: dict[str, str] = field(default_factory=dict)
    workers: int | None = 1
    drain_seconds: float = 10.0
    lease_seconds: float = 600.0
    queues: FakeQueues = field(default_factory=FakeQueues)

    def __post_init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.output = io.StringIO()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.notes = self.folder / "notes"
        self.notes.mkdir(exist_ok=True)
        environment = {"PATH": "/usr/bin:/bin", "JOBS": "jobs", "SWEEP": "0 0 0 1 1 *", "NOTES": str(self.notes)}
        settings = AppSettings(environment | {"Store__accountName": "store"} | self.settings)
        options = Options(
            self.app,
            "sample",
            self.folder / "state",
            sys.executable,
            workers=self.workers,
            drain_seconds=self.drain_seconds,
            lease_seconds=self.lease_seconds,
        )
        self.host = FunctionsHost(options, settings, self.queues, Console(self.output))

    def start(self) -> RunningHost:
        try:
            self.run(self.host.start())
        except BaseException:
            self._end_loop()
            raise
        return self

    def stop(self) -> None:
        self.run(self.host.stop())
        self._end_loop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    @property
    def keys(self) -> Keys:
        return Keys(self.folder / "state" / "keys.json")

    def request(self, method: str, path: str, **options: Any) -> Answer:
        return self.run(_request(method, f"http://127.0.0.1:{self.host.port}{path}", options))

    def admin(self, method: str, path: str, **options: Any) -> Answer:
        return self.request(method, path, headers={"x-functions-key": self.keys.master}, **options)

    def send(self, queue: str, *texts: str) -> None:
        """Put texts into a queue as a sender that encodes them in base64 does."""
        from sandbox.host.queues.data import encode_body

        async def put() -> None:
            for text in texts:
                await self.queues.by_name[queue].send(encode_body(text.encode(), base64_encoded=True))

        self.run(put())

    def waiting(self, queue: str) -> list[str]:
        """The bodies in a queue, hidden ones too."""
        from sandbox.host.queues.data import decode_body

        messages = self.queues.by_name[queue].messages
        return [decode_body(message.text, base64_encoded=True).decode() for message in messages]

    def noted(self, name: str) -> list[dict[str, Any]]:
        """What the sample's functions noted under that name."""
        file = self.notes / f"{name}.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.output.getvalue()
            time.sleep(0.01)

    def _end_loop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


async def _request(method: str, url: str, options: dict[str, Any]) -> Answer:
    from yarl import URL

    async with (
        aiohttp.ClientSession() as session,
        session.request(method, URL(url, encoded=True), **options) as answer,
    ):
        return Answer(answer.status, answer.headers.copy(), await answer.text())
