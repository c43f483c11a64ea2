"""The app in this process, on the sandbox: its adapters and the sandbox are real, its queues and its clock are ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo import scenario
from shared import bootstrap
from shared.bootstrap import Basegate
from shared.domain.event import Hint
from shared.domain.record import WorkItem
from shared.ports import QueueState
from shared.settings import Settings
from tests.contract.place import VAULT_URL

_PATIENCE_SECONDS = 60.0

Message = WorkItem | Hint


class Clock:
    """The time, and what a test has added to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Queue:
    """The queues, in this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.waiting: list[tuple[datetime, Message]] = []

    def send(self, item: WorkItem, wait_seconds: float) -> None:
        self.waiting.append((self._clock.now() + timedelta(seconds=wait_seconds), item))

    def send_hint(self, hint: Hint, wait_seconds: float) -> None:
        self.waiting.append((self._clock.now() + timedelta(seconds=wait_seconds), hint))

    def check(self) -> QueueState:
        return QueueState(None)


class InProcess:
    """A Basegate whose messages a test handles one by one; `before` is called before each."""

    def __init__(self, rules: Path) -> None:
        self.clock = Clock()
        self.queue = Queue(self.clock)
        settings = Settings(storage_account=scenario.STORAGE, key_vault=VAULT_URL, gates=str(rules))
        self.app = Basegate(settings)
        self.app.services = replace(self.app.services, queue=self.queue, clock=self.clock)
        self.before: Callable[[Message], None] = lambda message: None

    def deliver(self, event: object) -> None:
        """An event reaches the app."""
        for one in self.app.recognize(event):
            if one.hint is not None:
                self.queue.send_hint(one.hint, 0)

    def settle(self, done: Callable[[], object]) -> None:
        """Handle what is due, and wait for what is not due yet, until a test is content."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not done():
            assert time.monotonic() < deadline, "it did not come to pass"
            if not self._handle_next():
                time.sleep(0.05)

    def pass_time(self, seconds: float) -> None:
        """Let time go by without waiting for it; what becomes due meanwhile is handled in its order."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while (due := min((due for due, _ in self.queue.waiting), default=end)) < end:
            self.clock.ahead += max(timedelta(), due - self.clock.now())
            self._handle_next()
        self.clock.ahead += max(timedelta(), end - self.clock.now())

    def _handle_next(self) -> bool:
        self.queue.waiting.sort(key=lambda one: one[0])
        if not self.queue.waiting or self.queue.waiting[0][0] > self.clock.now():
            return False
        _, message = self.queue.waiting.pop(0)
        self.before(message)
        if isinstance(message, Hint):
            self.app.hints.handle(message)
        else:
            self.app.reconciler.work(message)
        return True


@contextmanager
def in_process(rules: Path) -> Iterator[InProcess]:
    """The app by rules in a file."""
    bootstrap.credential.cache_clear()
    yield InProcess(rules)
    bootstrap.credential.cache_clear()


def pushed(registry_id: str, repository: str, tag: str, digest: str) -> dict[str, object]:
    """A push event as Event Grid delivers it, true or not."""
    return {
        "id": f"event-{time.monotonic_ns()}",
        "topic": registry_id,
        "subject": f"{repository}:{tag}",
        "eventType": "Microsoft.ContainerRegistry.ImagePushed",
        "eventTime": datetime.now(UTC).isoformat(),
        "data": {"action": "push", "target": {"repository": repository, "digest": digest, "tag": tag}},
        "dataVersion": "1.0",
    }
