"""One world and its bad luck: pushes, doubled and shuffled events, dying processes, passing faults."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

from shared.domain.errors import Retry
from shared.domain.image import Digest
from tests.fakes import ProcessDied, World, digest

PUSHES = 7


class Story:
    """One world and its bad luck."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.world = World()
        self.world.tasks.seconds = self.random.choice((1, 3, 20))
        self.pushed: list[tuple[str, Digest]] = []
        self.undelivered: list[dict[str, Any]] = []
        self.before_push: Callable[[int, Digest], object] = lambda number, content: None
        self.world.ledger.before_save = lambda record: self.maybe_die()

    def play(self) -> None:
        """Push, disturb and deliver until everything is told and at rest."""
        for number in range(PUSHES):
            self._push(number)
            for _ in range(self.random.randrange(12)):
                self._something_happens()
        while self.undelivered or self.world.queue.waiting:
            self._something_happens()
        self.world.ledger.before_save, self.world.registry.fault = None, None

    def _push(self, number: int) -> None:
        self.world.clock.forward(self.random.choice((1, 1, 30)))
        content = digest(f"image {number}")
        hook, self.world.ledger.before_save = self.world.ledger.before_save, None
        self.before_push(number, content)
        self.world.ledger.before_save = hook
        if self.random.random() < 0.3:
            self.world.tasks.failing[content] = "ERROR: Invalid Color: Red"
        self.world.registry.tags[("public", "node:15-alpine")] = content
        self.pushed.append(("15-alpine", content))
        event = self.world.event("15-alpine", content)
        self.undelivered += [event] * self.random.choice((1, 1, 2, 3))

    def _something_happens(self) -> None:
        self.world.registry.fault = Retry("503", 1.0) if self.random.random() < 0.03 else None
        if self.undelivered and self.random.random() < 0.5:
            self._deliver()
        elif self.world.queue.waiting:
            self._look()

    def _deliver(self) -> None:
        event = self.undelivered.pop(self.random.randrange(len(self.undelivered)))
        try:
            self.world.deliver(event)
        except (ProcessDied, Retry):
            self.undelivered.append(event)
            self.world.restart()

    def _look(self) -> None:
        due, order, look = heapq.heappop(self.world.queue.waiting)
        self.world.clock.time = max(self.world.clock.time, due) + timedelta(milliseconds=10)
        if self.random.random() < 0.1:
            heapq.heappush(self.world.queue.waiting, (due, order + 100_000, look))
        try:
            self.world.advance.look(look, redelivered=order < 0)
        except (ProcessDied, Retry):  # a queue that is away ends the look too: the host delivers it again
            self.world.restart()
            again = self.world.clock.now() + timedelta(seconds=self.random.choice((0, 2, 30)))
            heapq.heappush(self.world.queue.waiting, (again, -abs(order), look))

    def maybe_die(self) -> None:
        if self.random.random() < 0.04:
            raise ProcessDied
