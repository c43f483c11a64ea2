"""The Functions host: delivers messages to a few workers, again if one died, and gives up after five deliveries."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from heapq import heappop, heappush
from random import Random
from typing import Any

from shared.domain.errors import BasegateError
from shared.domain.event import Hint, HintKind
from shared.domain.policy import Policy
from shared.intake.hints import AppImages, Hints
from shared.operations.operate import Operate
from shared.ports import Services
from shared.reconcile.engine import Reconciler
from shared.sweep.job import one_by_one
from shared.sweep.sweep import Sweep
from tests.simulation.rules import Rules
from tests.simulation.scheduler import Died, Scheduler, Worker
from tests.simulation.story import Story

DELIVERIES = 5
QUEUE_SECONDS = 0.2
"""The minimum delay of a message: the host polls its queues every 100 to 250 ms. In one of three schedules there is no
delay while there are faults, so that more workers run at the same time."""

_LEASES = (2.0, 30.0, 120.0, 600.0)
_FRAILTY_AGAIN = 4.0
"""What has killed one worker is likely to kill the next one."""

_SWEEP_LIMIT = timedelta(minutes=3)


class App:
    """The app with the rules of one version and the simulated ports."""

    def __init__(self, policy: Policy, ports: dict[str, Any]) -> None:
        self.services = Services(rules=lambda: policy, **ports)
        self.reconciler = Reconciler(self.services)
        others = {HintKind.APP_IMAGE: AppImages(self.services).handle, HintKind.STABLE_TAGS: self._stable_tags}
        self.hints = Hints(self.services, self.reconciler.work, others)

    @cached_property
    def operate(self) -> Operate:
        """The operations of operators."""
        return Operate(self.services)

    def sweep(self) -> Sweep:
        """A sweep in a separate process."""
        return Sweep(self.services, one_by_one)

    def _stable_tags(self, hint: Hint) -> tuple[()]:
        return self.sweep().check_stable_tags(hint)


@dataclass
class Message:
    """A queue message: the number of its deliveries, and its last worker."""

    item: Any
    deliveries: int = 0
    owner: Worker | None = None


class Host:
    """Runs invocations: of queue messages, of sweeps, and of other callers."""

    def __init__(self, scheduler: Scheduler, rules: Rules, random: Random, story: Story) -> None:
        self._scheduler, self._rules, self._random, self._story = scheduler, rules, random, story
        self.ports: dict[str, Any] = {}
        self.slots = random.choice((4, 4, 5, 6))
        self.latency = random.choice((0.0, QUEUE_SECONDS, QUEUE_SECONDS))
        self.most_at_once = 0
        self.skewed = random.choice((0.0, 0.0, 2.0))
        self.queue_away_until = 0.0
        self.counts: Counter[str] = Counter()
        self.crashed: Callable[[str], None] = lambda what: None
        self.calm = False
        self._apps: dict[int, App] = {}
        self._free = list(range(self.slots))
        self._queued: deque[Message] = deque()

    def app(self) -> App:
        """The app under the current rules."""
        number = self._rules.number
        if number not in self._apps:
            self._apps[number] = App(self._rules.now, self.ports)
        return self._apps[number]

    def deliver(self, item: Any, hidden: float) -> None:
        """Accept a sent message."""
        self._arrives(Message(item), max(hidden, QUEUE_SECONDS if self.calm else self.latency))
        if not self.calm and self._random.random() < 0.02:
            self.counts["message delivered twice"] += 1
            self._arrives(Message(item), hidden + self._random.choice((0.1, 3.0, 60.0)))

    def run(self, name: str, work: Callable[[], object], ended: Callable[[BaseException | None], None]) -> Worker:
        """Run an invocation without a message."""
        worker = self._worker(name)

        def end(error: BaseException | None) -> None:
            if error is not None and not isinstance(error, BasegateError | Died):
                self.crashed(f"{name} ended with {type(error).__name__}: {error}")
            ended(error)

        self._scheduler.spawn(worker, work, end)
        return worker

    def sweep(self) -> None:
        """Run the sweep of the timer."""
        app = self.app()
        self.run("sweep", lambda: app.sweep().run(self._scheduler.now() + _SWEEP_LIMIT), lambda error: None)

    def _worker(self, name: str) -> Worker:
        return Worker(name, self._rules.number, self._random.uniform(-self.skewed, self.skewed))

    def _arrives(self, message: Message, hidden: float) -> None:
        self._scheduler.after(hidden, lambda: self._visible(message))

    def _visible(self, message: Message) -> None:
        away = self.queue_away_until - self._scheduler.seconds
        if away > 0:
            self._scheduler.after(away, lambda: self._visible(message))
        elif not self._free:
            self._queued.append(message)
        else:
            self._take(message)

    def _take(self, message: Message) -> None:
        message.deliveries += 1
        slot = heappop(self._free)
        self.most_at_once = max(self.most_at_once, self.slots - len(self._free))
        worker = message.owner = self._worker(f"worker {slot + 1}")
        worker.frailty = _FRAILTY_AGAIN if message.deliveries > 1 else 1.0
        app = self.app()

        def ended(error: BaseException | None) -> None:
            heappush(self._free, slot)
            self._handled(message, worker, error)
            if self._queued:
                self._visible(self._queued.popleft())

        self._scheduler.spawn(worker, lambda: self._handle(app, message, worker), ended)
        worker.paused = lambda: self._scheduler.after(40.0, lambda: self._renew(message, worker))

    def _renew(self, message: Message, worker: Worker) -> None:
        """The lease of a message is not renewed while its worker is paused: another worker receives it."""
        if message.owner is worker and not worker.dead and worker.paused_until > self._scheduler.seconds:
            self.counts["message delivered while its worker is paused"] += 1
            message.owner = None
            self._arrives(message, 1.0)

    def _handle(self, app: App, message: Message, worker: Worker) -> None:
        item, redelivered = message.item, message.deliveries > 1
        self.counts["redelivered"] += redelivered
        if message.deliveries > DELIVERIES:
            self._give_up(app, item)
        elif isinstance(item, Hint):
            if self._story.recorded:
                self._story.tell(f"handles the hint {item.hint} {item.subject} {item.tag}, expecting {item.expected}")
            app.hints.handle(item, redelivered=redelivered)
        else:
            if self._story.recorded:
                self._story.tell(f"handles {item.kind} {item.row}{' again' if redelivered else ''}")
            app.reconciler.work(item, redelivered=redelivered)

    def _give_up(self, app: App, item: Any) -> None:
        self.counts["given up"] += 1
        self._story.tell(f"the queue gives up on {item}")
        if not isinstance(item, Hint):
            app.reconciler.give_up(item, "the step crashed at every delivery")

    def _handled(self, message: Message, worker: Worker, error: BaseException | None) -> None:
        if message.owner is not worker:
            return
        message.owner = None
        if error is None:
            return
        if isinstance(error, Died):
            self._arrives(message, self._random.choice(_LEASES))
            return
        if not isinstance(error, BasegateError):
            self.crashed(f"{message.item} crashed with {type(error).__name__}: {error}")
        if message.deliveries < 2 * DELIVERIES:
            self._arrives(message, 2.0)
