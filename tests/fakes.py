"""One hand-written fake a port, and a world that puts them together.

A world plays the queue: `settle()` delivers looks in the order they become visible, moving the clock on, until
nothing is queued. Time costs nothing here.

    world = World()
    world.push("15-alpine", GOOD)
    world.settle()
    assert world.stable_tag() == GOOD
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from shared.domain.candidate import Candidate
from shared.domain.drift import TagState
from shared.domain.errors import BasegateError, Conflict, Gone, Malformed, Rejected
from shared.domain.image import Digest, ImageRef, Tag, parse_digest
from shared.domain.policy import (
    App,
    BaseRule,
    BuildRule,
    DeployRule,
    Gate,
    HealthRule,
    Policy,
    PromotionRule,
    RegistryRule,
    Source,
    TaskCheck,
)
from shared.domain.record import Look, Record, rows_before
from shared.domain.rollout import AppRecord, BuiltImage, Rollout
from shared.ports import (
    EVERYTHING,
    Allowance,
    Clock,
    CopyState,
    CopyStatus,
    GroupState,
    Keyed,
    Listed,
    Notice,
    Only,
    Page,
    QueueState,
    R,
    Run,
    RunStatus,
    Stored,
    TagPush,
)
from shared.workflow.admit import Admission, Admit
from shared.workflow.advance import Advance
from shared.workflow.operate import Operate
from shared.workflow.services import Services
from shared.workflow.sweep import Sweep, SweepReport
from shared.workflow.sweep.tour import one_by_one

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000001"


def digest(name: str) -> Digest:
    """A digest that is easy to make and different for each name."""
    return parse_digest("sha256:" + hashlib.sha256(name.encode()).hexdigest())


def registry_rule(name: str, short_name: str) -> RegistryRule:
    """A registry of the reference scenario."""
    scope = f"{SUBSCRIPTION}/resourceGroups/{name}-rg/providers/Microsoft.ContainerRegistry/registries/{name}"
    return RegistryRule(name=short_name, login_server=f"{name}.azurecr.io", id=scope)


def sample_policy(**changes: Any) -> Policy:
    """The reference scenario's rules: gate `node`, app `hello-world`."""
    gate = Gate(
        name="node",
        source=Source(registry="public", repository="node", tags=("15-alpine", "15.*")),
        checks=(TaskCheck(registry="base", task="base-import-node", timeout_seconds=600),),
        promote=PromotionRule(registry="base", repository="node"),
    )
    app = App(
        name="hello-world",
        base=BaseRule(gate="node", tag="15-alpine"),
        build=BuildRule(registry="team", task="hello-world", image="hello-world:{run}"),
        deploy=DeployRule(
            container_group="hello-world-aci",
            resource_group="hello-world-aci-rg",
            subscription="00000000-0000-0000-0000-000000000001",
            health=HealthRule(path="/", within_seconds=10),
        ),
    )
    policy = Policy(
        registries={
            "public": registry_rule("publicregistry", "public"),
            "base": registry_rule("contosobaseartifacts", "base"),
            "team": registry_rule("contoso", "team"),
        },
        gates={"node": gate},
        apps={"hello-world": app},
    )
    return msgspec.structs.replace(policy, **changes)


@dataclass
class FakeClock:
    """A clock that a test moves."""

    time: datetime = START

    def now(self) -> datetime:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class FakeLedger:
    """Records as bytes, so that what cannot be stored fails here too; ETags count up.

    A page looks at `page_scan` lines of a list at most, as the table service does: it may be short, and go on.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], tuple[bytes, str]] = {}
        self.lines: dict[tuple[str, str, str], tuple[bytes, str]] = {}
        self.before_save: Callable[[Any], None] | None = None
        self.page_scan = 1000
        self._version = 0

    def insert(self, record: R) -> Stored[R] | None:
        key = (type(record).__name__, record.partition, record.row)
        return None if key in self.rows else self._write(key, record)

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        found = self.rows.get((kind.__name__, partition, row))
        return None if found is None else Stored(msgspec.json.decode(found[0], type=kind), found[1])

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        if self.before_save:
            self.before_save(record)
        key = (type(record).__name__, record.partition, record.row)
        if key not in self.rows or self.rows[key][1] != stored.etag:
            raise Conflict(f"{key} was changed since it was loaded")
        return self._write(key, record)

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        for name, at, row in sorted(self.rows):
            if (name, at) == (kind.__name__, partition) and row.startswith(row_prefix):
                found = self.load(kind, at, row)
                assert found
                yield found

    def between(self, kind: type[R], partition: str, first: str, last: str) -> Iterator[Stored[R]]:
        for stored in self.list(kind, partition):
            if first <= stored.record.row and (not last or stored.record.row <= last):
                yield stored

    def open(self, kind: type[R], partition: str) -> Iterator[Stored[R]]:
        for stored in self.list(kind, partition):
            if isinstance(stored.record, Record) and stored.record.is_open:
                yield stored

    def page(self, kind: type[Listed], partition: str, limit: int, token: str, only: Only = EVERYTHING) -> Page:
        if token and not token.startswith("~"):
            raise Malformed("token", "is none that a list gave")
        newest = max(token, rows_before(only.until) if only.until else "~")
        behind = rows_before(only.since) if only.since else "~~"
        lines = sorted(
            (row, line) for (name, at, row), line in self.lines.items() if (name, at) == _list(kind, partition)
        )
        items: list[dict[str, Any]] = []
        for looked, (row, (summary, state)) in enumerate(line for line in lines if newest <= line[0] < behind):
            if len(items) == limit or looked == self.page_scan:
                return Page(items, row)
            if only.state in ("", state):
                items.append(msgspec.json.decode(summary))
        return Page(items)

    def purge(self, kind: type[Keyed], partition: str, before: datetime, limit: int) -> int:
        old = [one.record for one in self.list(kind, partition) if one.record.at < before][:limit]  # type: ignore[attr-defined]
        for record in old:
            del self.rows[(kind.__name__, partition, record.row)]
        return len(old)

    def _write(self, key: tuple[str, str, str], record: R) -> Stored[R]:
        self._version += 1
        self.rows[key] = (msgspec.json.encode(record), str(self._version))
        if time_row := getattr(record, "time_row", ""):
            summary = msgspec.json.encode(record.summary())  # type: ignore[attr-defined]  # what has a time row is listed
            self.lines[(*key[:2], time_row)] = (summary, str(getattr(record, "state", "")))
        return Stored(record, str(self._version))


def _list(kind: type, partition: str) -> tuple[str, str]:
    return kind.__name__, partition


class FakeQueue:
    """Looks by the time they become visible."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self._order = clock, 0
        self.server_ahead, self.given_up = timedelta(), 0
        self.waiting: list[tuple[datetime, int, Look]] = []

    def send(self, look: Look, wait_seconds: float) -> None:
        self._order += 1
        due = self._clock.now() + timedelta(seconds=wait_seconds)
        heapq.heappush(self.waiting, (due, self._order, look))

    def check(self) -> QueueState:
        return QueueState(self._clock.now() + self.server_ahead, self.given_up)


class FakeRegistry:
    """Tags by (registry, repository:tag); copies take `copy_seconds`."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.tags: dict[tuple[str, str], Digest] = {}
        self.pushed: dict[tuple[str, str], datetime] = {}
        self.locked: set[tuple[str, str]] = set()
        self.moves: list[tuple[str, Digest]] = []
        self.copies: list[str] = []
        self.copy_seconds = 2.0
        self.copy_problem = ""
        self.copy_result: Digest | None = None
        self.fault: Exception | None = None
        self.refusing: Exception | None = None
        self.token_expires_at: datetime | None = None
        self._under_way: dict[str, tuple[datetime, str, str, Digest]] = {}

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        self._maybe_fail()
        return self.tags.get((registry.name, f"{repository}:{tag}"))

    def tags_of(self, registry: RegistryRule, repository: str) -> Iterator[Tag]:
        names = [name for (at, name) in list(self.tags) if at == registry.name]
        return (Tag(name.partition(":")[2]) for name in names if name.startswith(f"{repository}:"))

    def tag_state(self, registry: RegistryRule, repository: str, tag: str) -> TagState | None:
        found = self.digest_of(registry, repository, tag)
        return TagState(found, (registry.name, f"{repository}:{tag}") in self.locked) if found else None

    def newest_tags(self, registry: RegistryRule, repository: str, limit: int) -> list[TagPush]:
        names = [Tag(name) for name in self.tags_of(registry, repository)]
        found = [(self.pushed.get((registry.name, f"{repository}:{name}"), START), name) for name in names]
        newest = sorted(found, reverse=True)[:limit]
        return [TagPush(name, self.tags[(registry.name, f"{repository}:{name}")], at) for at, name in newest]

    def token_expiry(self, registry: RegistryRule, token: str, now: datetime) -> datetime | None:
        return self.token_expires_at

    def start_copy(self, source: ImageRef, source_rule: RegistryRule, target: RegistryRule, name: str) -> str:
        self._maybe_fail()
        self.copies.append(name)
        operation = f"copy-{len(self.copies)}"
        done = self._clock.now() + timedelta(seconds=self.copy_seconds)
        self._under_way[operation] = (done, target.name, name, self.copy_result or source.digest)
        return operation

    def copy_status(self, target: RegistryRule, operation: str) -> CopyStatus:
        done, registry, name, content = self._under_way[operation]
        if self._clock.now() < done:
            return CopyStatus(CopyState.RUNNING)
        if self.copy_problem:
            return CopyStatus(CopyState.FAILED, self.copy_problem)
        self.tags[(registry, name)] = content
        return CopyStatus(CopyState.SUCCEEDED)

    def lock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        self._maybe_fail()
        self.locked.add((registry.name, f"{repository}:{tag}"))

    def point(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        self._maybe_fail()
        if self.refusing:
            raise self.refusing
        if digest not in [d for (r, name), d in self.tags.items() if r == registry.name]:
            raise Gone(f"{digest} is not in {registry.login_server}/{repository}")
        self.tags[(registry.name, f"{repository}:{tag}")] = digest
        self.moves.append((f"{registry.name}/{repository}:{tag}", digest))

    def _maybe_fail(self) -> None:
        if self.fault:
            raise self.fault


@dataclass
class FakeRun:
    """One run, and when it ends how."""

    registry: str
    task: str
    values: dict[str, str]
    token: str
    started_at: datetime
    ends_at: datetime
    status: RunStatus
    log: str
    cancelled: bool = False


class FakeTasks:
    """Runs that take `seconds` and end as `verdict(values)` says; builds push the image they are named after.

    `others` are runs that someone else started, with their start.
    """

    def __init__(self, clock: FakeClock, registry: FakeRegistry) -> None:
        self._clock, self._registry = clock, registry
        self.runs: dict[str, FakeRun] = {}
        self.others: dict[str, datetime] = {}
        self.seconds = 3.0
        self.failing: dict[str, str] = {}
        self.broken: set[str] = set()
        self.log_fault: Exception | None = None
        self.start_fault: Exception | None = None

    def start(self, registry: RegistryRule, task: str, values: Mapping[str, str], token: str) -> str:
        if self.start_fault:
            raise self.start_fault
        run_id = f"c{registry.name[0]}{len(self.runs) + 1}"
        image = values.get("IMAGE", "")
        problem = next((log for needle, log in self.failing.items() if needle in image or needle == task), None)
        status = RunStatus.FAILED if problem else RunStatus.SUCCEEDED
        if any(needle in image for needle in self.broken):
            status = RunStatus.BROKEN
        now = self._clock.now()
        log = problem or f"Run ID: {run_id} was successful"
        self.runs[run_id] = FakeRun(
            registry.name, task, dict(values), token, now, now + timedelta(seconds=self.seconds), status, log
        )
        return run_id

    def find(self, registry: RegistryRule, task: str, token: str, since: datetime) -> str | None:
        for run_id, run in self.runs.items():
            late_enough = run.started_at >= since - timedelta(seconds=30)  # clocks need not agree
            if (run.registry, run.task, run.token) == (registry.name, task, token) and late_enough:
                return run_id
        return None

    def marked(self, registry: RegistryRule, task: str, since: datetime) -> Iterator[tuple[str, str]]:
        for run_id, run in reversed(self.runs.items()):
            if (run.registry, run.task) == (registry.name, task) and run.started_at >= since - timedelta(seconds=30):
                yield run_id, run.token

    def get(self, registry: RegistryRule, run_id: str) -> Run | None:
        run = self.runs.get(run_id)
        if run is None:
            at = self.others.get(run_id)
            return Run(run_id=run_id, status=RunStatus.SUCCEEDED, started_at=at, finished_at=at) if at else None
        if self._clock.now() < run.ends_at:
            return Run(run_id=run_id, status=RunStatus.RUNNING, started_at=run.started_at)
        if run.status is RunStatus.SUCCEEDED and run.registry == "team":
            self._registry.tags.setdefault((run.registry, f"{run.task}:{run_id}"), digest(f"app {run_id}"))
        return Run(
            run_id=run_id,
            status=run.status,
            detail=run.status.value,
            started_at=run.started_at,
            finished_at=run.ends_at,
        )

    def log(self, registry: RegistryRule, run_id: str, limit_bytes: int) -> str:
        if self.log_fault:
            raise self.log_fault
        return self.runs[run_id].log

    def check(self, registry: RegistryRule, task: str) -> None:
        if self.start_fault:
            raise self.start_fault

    def cancel(self, registry: RegistryRule, run_id: str) -> None:
        self.runs[run_id].cancelled = True


class FakeContainers:
    """One container group a name; it runs `seconds` after it was put."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.groups: dict[str, tuple[str, datetime]] = {}
        self.puts: list[str] = []
        self.seconds = 1.0
        self.faults: list[Exception] = []
        self.deleted: list[str] = []
        self.crashing: set[str] = set()
        self.failed: set[str] = set()

    def put(self, rule: DeployRule, image: BuiltImage, registry: RegistryRule) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.puts.append(str(image))
        self.groups[rule.container_group] = (str(image), self._clock.now() + timedelta(seconds=self.seconds))

    def get(self, rule: DeployRule) -> GroupState | None:
        found = self.groups.get(rule.container_group)
        if found is None:
            return None
        image, runs_at = found
        running = self._clock.now() >= runs_at
        restarts = 5 if image in self.crashing else 0
        address = "10.0.0.4:80" if running else ""
        failed = image in self.failed
        return GroupState(image=image, running=running, failed=failed, restarts=restarts, address=address)

    def delete(self, rule: DeployRule) -> None:
        self.deleted.append(rule.container_group)
        self.groups.pop(rule.container_group, None)


class FakeProbe:
    """Everything is well but what is in `sick`."""

    def __init__(self, containers: FakeContainers) -> None:
        self._containers = containers
        self.sick: dict[str, str] = {}

    def check(self, address: str, path: str) -> str | None:
        image = next(iter(self._containers.groups.values()))[0]
        return next((problem for needle, problem in self.sick.items() if needle in image), None)


class FakeArchive:
    """Texts by name."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def keep(self, name: str, text: str) -> str:
        self.texts[name] = text
        return name

    def read(self, place: str) -> str:
        if place not in self.texts:
            raise Rejected(f"there is no {place}")
        return self.texts[place]

    def check(self) -> None:
        pass


class FakeTags:
    """The tags of the registries as anybody reads them; `asked` counts the looks, `faults` are by registry."""

    def __init__(self, registry: FakeRegistry) -> None:
        self._registry = registry
        self.asked: list[str] = []
        self.faults: dict[str, BasegateError] = {}
        self.said: Allowance | None = None

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        self.asked.append(f"{registry.name}/{repository}:{tag}")
        if registry.name in self.faults:
            raise self.faults[registry.name]
        return self._registry.digest_of(registry, repository, tag)

    def tags(self, registry: RegistryRule, repository: str) -> Iterator[Tag]:
        if registry.name in self.faults:
            raise self.faults[registry.name]
        return self._registry.tags_of(registry, repository)

    def allowance(self, registry: RegistryRule) -> Allowance | None:
        return self.said


class FakeSubscriptions:
    """Says of every registry what `reaching` says."""

    def __init__(self) -> None:
        self.reaching: bool | None = True

    def reach_us(self, registry: RegistryRule) -> bool | None:
        return self.reaching


class FakeSecrets:
    """A user and a password for every registry, unless there is a fault."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.expires_at: datetime | None = None

    def expiry(self, registry: RegistryRule) -> datetime | None:
        return self.expires_at

    def of(self, registry: RegistryRule) -> tuple[str, str]:
        if self.fault:
            raise self.fault
        return f"{registry.name}-user", "a password"


class FakeAnnouncer:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.told: list[Notice] = []
        self.fault: Exception | None = None

    def announce(self, notice: Notice) -> None:
        if self.fault:
            raise self.fault
        self.told.append(notice)

    @property
    def names(self) -> list[str]:
        return [notice.name for notice in self.told]


@dataclass
class World:
    """Everything of one story, and the verbs of a test."""

    policy: Policy = field(default_factory=sample_policy)

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = FakeLedger()
        self.queue = FakeQueue(self.clock)
        self.registry = FakeRegistry(self.clock)
        self.tasks = FakeTasks(self.clock, self.registry)
        self.containers = FakeContainers(self.clock)
        self.probe = FakeProbe(self.containers)
        self.tags, self.subscriptions = FakeTags(self.registry), FakeSubscriptions()
        self.archive, self.announcer, self.secrets = FakeArchive(), FakeAnnouncer(), FakeSecrets()
        self.events: list[dict[str, Any]] = []
        self.workers_clock: Clock = self.clock
        self.restart()

    def restart(self) -> None:
        """A new process: nothing but the ledger and the outside world is kept."""
        self.services = Services(
            policy=self.policy,
            ledger=self.ledger,
            queue=self.queue,
            registry=self.registry,
            tags=self.tags,
            tasks=self.tasks,
            containers=self.containers,
            probe=self.probe,
            archive=self.archive,
            announcer=self.announcer,
            clock=self.workers_clock,
            secrets=self.secrets,
            subscriptions=self.subscriptions,
        )
        self.admit, self.advance = Admit(self.services), Advance(self.services)
        self.operate = Operate(self.services)
        self.sweep = Sweep(self.services, one_by_one)

    def push(
        self, tag: str | None, content: Digest, *, registry: str = "public", repository: str = "node"
    ) -> Admission:
        """A push to a registry, and the delivery of its event."""
        if tag:
            self.registry.tags[(registry, f"{repository}:{tag}")] = content
            self.registry.pushed[(registry, f"{repository}:{tag}")] = self.clock.now()
        event = self.event(tag, content, registry=registry, repository=repository)
        return self.deliver(event)[0]

    def event(
        self, tag: str | None, content: Digest, *, registry: str = "public", repository: str = "node"
    ) -> dict[str, Any]:
        """The event of a push that happened now, as Event Grid delivers it. The team's pushes are made by runs."""
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

    def deliver(self, event: object) -> list[Admission]:
        """An event reaches the app; the looks it asks for are queued."""
        admissions = self.admit.event(event)
        for admission in admissions:
            for look in admission.looks:
                self.queue.send(look, 0)
        return admissions

    def settle(self, limit: int = 500) -> None:
        """Deliver looks until none is queued."""
        for _ in range(limit):
            if not self.queue.waiting:
                return
            self.next_look()
        raise AssertionError("the world does not come to rest")

    def sweep_now(self, **options: bool) -> SweepReport:
        """One sweep, with all the time it needs."""
        return self.sweep.run(self.clock.now() + timedelta(minutes=4), **options)

    def next_look(self, *, redelivered: bool = False) -> Look:
        """Deliver the look that is due next."""
        due, _, look = heapq.heappop(self.queue.waiting)
        self.clock.time = max(self.clock.time, due) + timedelta(milliseconds=10)
        self.advance.look(look, redelivered=redelivered)
        return look

    def settle_while_crashing(self, limit: int = 800) -> None:
        """Deliver looks; a look during which the process dies is delivered again, to a new process."""
        for _ in range(limit):
            if not self.queue.waiting:
                return
            due, order, look = heapq.heappop(self.queue.waiting)
            self.clock.time = max(self.clock.time, due) + timedelta(milliseconds=10)
            try:
                self.advance.look(look, redelivered=order < 0)
            except ProcessDied:
                self.restart()
                heapq.heappush(self.queue.waiting, (self.clock.now() + timedelta(seconds=1), -abs(order), look))
        raise AssertionError("the world does not come to rest")

    def candidates(self) -> list[Candidate]:
        return [stored.record for stored in self.ledger.list(Candidate, "node")]

    def candidate(self, content: Digest) -> Candidate:
        return next(candidate for candidate in self.candidates() if candidate.digest == content)

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


class ProcessDied(BaseException):
    """Stands for SIGKILL: nothing may catch it."""
