"""The world: all fakes together, the delivery of messages, and the actions of a test."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared.domain.candidate import Candidate, attempts_of
from shared.domain.event import Hint, HintKind
from shared.domain.image import Digest, Tag
from shared.domain.observation import Observation
from shared.domain.outcome import Delivery, Listener, Outcome
from shared.domain.policy import Policy
from shared.domain.promotion import Promotion
from shared.domain.record import Record, WorkItem
from shared.domain.rollout import AppRecord, Rollout
from shared.domain.stable_tag import StableTag
from shared.domain.targets.aci import AciRule
from shared.intake.hints import Hints, Recognized, recognize
from shared.ports import Announcer, Clock, DeploymentTarget, Meter, Services, Signer
from shared.reconcile.engine import Reconciler
from tests.fakes.clock import FakeClock
from tests.fakes.containers import FakeContainers, FakeProbe
from tests.fakes.registries import FakeReferrers, FakeRegistry, FakeSecrets, FakeSubscriptions, FakeTags
from tests.fakes.rules import sample_policy
from tests.fakes.storage import FakeArchive, FakeLedger, FakeQueue
from tests.fakes.tasks import FakeTasks

if TYPE_CHECKING:
    from shared.operations.operate import Operate
    from shared.sweep.sweep import Sweep


class FakeAnnouncer:
    """Records the announced outcomes."""

    def __init__(self) -> None:
        self.announced: list[Outcome] = []
        self.fault: Exception | None = None

    def announce(self, outcome: Outcome) -> None:
        if self.fault:
            raise self.fault
        self.announced.append(outcome)

    @property
    def names(self) -> list[str]:
        return [outcome.name for outcome in self.announced]


class FakeMeter:
    """Keeps the last value of each gauge."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def gauge(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        self._values[name, frozenset(attributes.items())] = value

    def value(self, name: str, attributes: Mapping[str, str]) -> float:
        return self._values[name, frozenset(attributes.items())]


@dataclass
class World:
    """Everything of one scenario, and the actions of a test."""

    policy: Policy = field(default_factory=sample_policy)
    keep: timedelta = timedelta(days=400)

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = FakeLedger()
        self.queue = FakeQueue(self.clock)
        self.registry = FakeRegistry(self.clock)
        self.tasks = FakeTasks(self.clock, self.registry)
        self.containers = FakeContainers(self.clock)
        self.probe = FakeProbe(self.containers)
        self.tags, self.subscriptions = FakeTags(self.registry), FakeSubscriptions()
        self.referrers = FakeReferrers()
        self.archive, self.announcer, self.secrets = FakeArchive(), FakeAnnouncer(), FakeSecrets()
        self.events: list[dict[str, Any]] = []
        self.more_listeners: dict[str, Announcer] = {}
        self.more_targets: dict[str, DeploymentTarget[Any]] = {}
        self.signer: Signer | None = None
        self.meter: Meter | None = None
        self.workers_clock: Clock = self.clock
        self.restart()

    def restart(self) -> None:
        """Start a new process: only the ledger and the external services are kept."""
        policy = self.policy
        self.services = Services(
            rules=lambda: policy,
            ledger=self.ledger,
            queue=self.queue,
            registry=self.registry,
            tags=self.tags,
            referrers=self.referrers,
            tasks=self.tasks,
            targets={AciRule.kind: self.containers, **self.more_targets},
            probe=self.probe,
            archive=self.archive,
            listeners={"topic": self.announcer, **self.more_listeners},
            clock=self.workers_clock,
            secrets=self.secrets,
            subscriptions=self.subscriptions,
            keep=self.keep,
            signer=self.signer,
            meter=self.meter,
        )
        self.reconciler = Reconciler(self.services)
        others = {HintKind.APP_IMAGE: self._app_image, HintKind.STABLE_TAGS: self._stable_tags}
        self.hints = Hints(self.services, self.reconciler.work, others)
        for name in ("operate", "sweep"):
            self.__dict__.pop(name, None)

    @cached_property
    def operate(self) -> Operate:
        """The operations of operators."""
        from shared.operations.operate import Operate

        return Operate(self.services)

    @cached_property
    def sweep(self) -> Sweep:
        """The sweep, one request after the other."""
        from shared.sweep.job import one_by_one
        from shared.sweep.sweep import Sweep

        return Sweep(self.services, one_by_one)

    def use(self, policy: Policy) -> None:
        """Use other rules, in a new process."""
        self.policy = policy
        self.restart()

    def push(
        self, tag: str | None, content: Digest, *, registry: str = "public", repository: str = "node"
    ) -> Recognized:
        """Push to a registry, and deliver the event."""
        if tag:
            self.registry.tags[(registry, f"{repository}:{tag}")] = content
            self.registry.pushed[(registry, f"{repository}:{tag}")] = self.clock.now()
        event = self.event(tag, content, registry=registry, repository=repository)
        return self.deliver(event)[0]

    def event(
        self, tag: str | None, content: Digest, *, registry: str = "public", repository: str = "node"
    ) -> dict[str, Any]:
        """The event of a push at this time, as delivered by Event Grid. The team's pushes come from runs."""
        if registry == "team" and tag:
            self.tasks.others.setdefault(tag, self.clock.now())
        moment = self.clock.now().isoformat()
        target = {"repository": repository, "digest": content, "mediaType": "m", "size": 1} | (
            {"tag": tag} if tag else {}
        )
        event = {
            "id": f"event-{len(self.events) + 1}",
            "topic": self.policy.registries[registry].id,
            "subject": f"{repository}:{tag}",
            "eventType": "Microsoft.ContainerRegistry.ImagePushed",
            "eventTime": moment,
            "data": {"timestamp": moment, "action": "push", "target": target},
            "dataVersion": "1.0",
        }
        self.events.append(event)
        return event

    def recognize(self, payload: object) -> list[Recognized]:
        """The tags that an event is about."""
        return recognize(payload, self.policy)

    def deliver(self, event: object) -> list[Recognized]:
        """Deliver an event to the app, which queues its hints."""
        recognized = recognize(event, self.policy)
        for one in recognized:
            if one.hint is not None:
                self.queue.send_hint(one.hint, 0)
        return recognized

    def settle(self, within_seconds: float = 600, limit: int = 2000) -> None:
        """Deliver what is queued until nothing is left but what is stalled, or due after `within_seconds`."""
        end = self.clock.time + timedelta(seconds=within_seconds)
        for _ in range(limit):
            if self._is_at_rest(end):
                return
            self.next_item()
        raise AssertionError("the world does not settle")

    def pass_time(self, seconds: float, limit: int = 5000) -> None:
        """Advance the time, and deliver all that becomes due in it, stalled or not."""
        end = self.clock.time + timedelta(seconds=seconds)
        for _ in range(limit):
            if not self.queue.waiting or self.queue.waiting[0][0] > end:
                self.clock.time = max(self.clock.time, end)
                return
            self.next_item()
        raise AssertionError("the world does not settle")

    def sweep_now(self, **options: bool) -> Any:
        """Run one sweep with a time limit of four minutes."""
        return self.sweep.run(self.clock.now() + timedelta(minutes=4), **options)

    def next_item(self, *, redelivered: bool = False) -> WorkItem | Hint:
        """Deliver the hint or the work item that is due next."""
        due, _, item = heapq.heappop(self.queue.waiting)
        self.clock.time = max(self.clock.time, due) + timedelta(milliseconds=10)
        self._handle(item, redelivered=redelivered)
        return item

    def settle_while_crashing(self, within_seconds: float = 600, limit: int = 2000) -> None:
        """Like `settle`; a message whose process dies is delivered again, to a new process."""
        end = self.clock.time + timedelta(seconds=within_seconds)
        for _ in range(limit):
            if self._is_at_rest(end):
                return
            due, order, item = heapq.heappop(self.queue.waiting)
            self.clock.time = max(self.clock.time, due) + timedelta(milliseconds=10)
            try:
                self._handle(item, redelivered=order < 0)
            except ProcessDied:
                self.restart()
                heapq.heappush(self.queue.waiting, (self.clock.time + timedelta(seconds=1), -abs(order), item))
        raise AssertionError("the world does not settle")

    def unheard(self, partition: str = "gate:node") -> list[Delivery]:
        """The outcomes of an owner that are not delivered yet."""
        return [stored.record for stored in self.ledger.list(Delivery, partition)]

    def listener(self, name: str = "topic") -> Listener:
        """The ledger's record of a listener."""
        stored = self.ledger.load(Listener, "listeners", name)
        assert stored
        return stored.record

    def candidates(self) -> list[Candidate]:
        return [stored.record for stored in self.ledger.list(Candidate, "node")]

    def candidate(self, content: Digest) -> Candidate:
        """The last attempt at a digest."""
        return [stored.record for stored in self.ledger.list(Candidate, "node", attempts_of(content))][-1]

    def promotions(self) -> list[Promotion]:
        return [stored.record for stored in self.ledger.list(Promotion, "node")]

    def promotion(self, tag: str = "15-alpine") -> Promotion:
        """The last promotion of a tag."""
        return [stored.record for stored in self.ledger.list(Promotion, "node", f"{tag}~")][-1]

    def stable(self, tag: str = "15-alpine") -> StableTag:
        """The ledger's record of a stable tag."""
        stored = self.ledger.load(StableTag, "node", tag)
        return stored.record if stored else StableTag(gate="node", tag=Tag(tag))

    def observation(self, tag: str = "15-alpine") -> Observation:
        """The ledger's record of a source tag."""
        stored = self.ledger.load(Observation, "node", tag)
        return stored.record if stored else Observation(gate="node", tag=Tag(tag))

    def rollouts(self) -> list[Rollout]:
        rollouts = [stored.record for stored in self.ledger.list(Rollout, "hello-world")]
        return sorted(rollouts, key=lambda rollout: rollout.created_at)

    def app(self) -> AppRecord:
        stored = self.ledger.load(AppRecord, "hello-world", "app")
        assert stored
        return stored.record

    def stable_tag(self, tag: str = "15-alpine") -> Digest | None:
        return self.registry.tags.get(("base", f"node:{tag}"))

    def unique_tags(self, content: Digest) -> list[str]:
        names = [name for (registry, name), d in self.registry.tags.items() if registry == "base" and d == content]
        return [name for name in names if name not in ("node:15-alpine", "node:15.14")]

    def _handle(self, item: WorkItem | Hint, *, redelivered: bool) -> None:
        if isinstance(item, Hint):
            self.hints.handle(item, redelivered=redelivered)
        else:
            self.reconciler.work(item, redelivered=redelivered)

    def _is_at_rest(self, end: datetime) -> bool:
        return all(due > end or self._is_stalled(item) for due, _, item in self.queue.waiting)

    def _is_stalled(self, item: WorkItem | Hint) -> bool:
        if isinstance(item, Hint):
            return False
        kinds: dict[str, type[Record]] = {"candidate": Candidate, "promotion": Promotion, "rollout": Rollout}
        stored = self.ledger.load(kinds.get(item.kind, Listener), item.partition, item.row)
        return stored is not None and stored.record.stall is not None and not stored.record.settled

    def _app_image(self, hint: Hint) -> Iterable[WorkItem]:
        from shared.intake.hints import AppImages

        return AppImages(self.services).handle(hint)

    def _stable_tags(self, hint: Hint) -> Iterable[WorkItem]:
        return self.sweep.check_stable_tags(hint)


class ProcessDied(BaseException):
    """Represents SIGKILL: nothing may catch it."""
