"""A story told by several workers at once, with every service failing now and then, and commits in the mix."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from shared.domain.candidate import Candidate
from shared.domain.errors import Retry
from shared.domain.rollout import Rollout
from tests.fakes import FakeClock, digest
from tests.simulation.story import Story

_INTERLEAVED_WITHIN = timedelta(seconds=1)
_PORTS = {
    "ledger": ("load",),
    "queue": ("send",),
    "registry": ("digest_of", "start_copy", "copy_status", "lock", "point"),
    "tasks": ("start", "find", "get", "log", "cancel"),
    "containers": ("put", "get", "delete"),
    "announcer": ("announce",),
}


@dataclass
class SkewedClock:
    """The clock of whichever worker looks at it: each is off by something else."""

    true: FakeClock
    random: Random
    seconds: float

    def now(self) -> datetime:
        return self.true.now() + timedelta(seconds=self.random.uniform(-self.seconds, self.seconds))


class Crowd(Story):
    """Workers that get in between each other's writes."""

    def __init__(self, seed: int, *, skew_seconds: float = 0.0) -> None:
        super().__init__(seed)
        self.calm = False
        self._depth = 0
        self.committed: list[str] = []
        self.world.ledger.before_save = self._meanwhile
        for port, names in _PORTS.items():
            for name in names:
                self._make_flaky(getattr(self.world, port), name)
        if skew_seconds:
            self.world.workers_clock = SkewedClock(self.world.clock, self.random, skew_seconds)
        self.world.restart()

    def play(self) -> None:
        """Commit and push, disturb and deliver until everything is told and at rest."""
        super().play()
        self.calm = True

    def _push(self, number: int) -> None:
        super()._push(number)
        if self.random.random() < 0.4:
            self._commit()

    def _commit(self) -> None:
        """A commit builds the app by itself; the push of it is told some time after its run."""
        world, calm = self.world, self.calm
        self.calm = True
        run_id = world.tasks.start(world.policy.registries["team"], "hello-world", {}, "a commit")
        self.calm = calm
        world.tasks.runs[run_id].ends_at = world.clock.now()
        content = digest(f"app {run_id}")
        world.registry.tags[("team", f"hello-world:{run_id}")] = content
        self.committed.append(run_id)
        event = world.event(run_id, content, registry="team", repository="hello-world")
        self.undelivered += [event] * self.random.choice((1, 2))

    def _meanwhile(self, record: object) -> None:
        """What happens right before a write: nothing, the end of the process, or another worker's whole look."""
        self.maybe_die()
        if self._depth < 2 and self.random.random() < 0.15:
            self._depth += 1
            try:
                self._another_worker(record)
            finally:
                self._depth -= 1

    def _another_worker(self, record: object) -> None:
        waiting = self.world.queue.waiting
        if isinstance(record, Candidate | Rollout) and self.random.random() < 0.3:
            heapq.heappush(waiting, (self.world.clock.now(), self.random.randrange(10**6, 10**7), record.look))
        if waiting and waiting[0][0] <= self.world.clock.now() + _INTERLEAVED_WITHIN:
            self._look()

    def _make_flaky(self, port: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(port, name)

        def flaky(*arguments: Any, **named: Any) -> Any:
            fate = 1.0 if self.calm else self.random.random()
            if fate < 0.01:
                raise Retry(f"{name}: 503", 1.0)
            answer = real(*arguments, **named)
            if fate < 0.02:
                raise Retry(f"{name}: the answer got lost", 1.0)
            return answer

        setattr(port, name, flaky)
