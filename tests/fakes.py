"""One hand-written fake a port, and a world that puts them together.

A world plays the queue: `settle()` delivers hints and work items in the order they become visible, moving the clock
on, until nothing is queued but what is stalled or far off. Time costs nothing here.

    world = World()
    world.push("15-alpine", GOOD)
    world.settle()
    assert world.stable_tag() == GOOD
"""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import msgspec

from shared.adapters.ledger_tables import body_of, check, name_of
from shared.domain.candidate import Candidate, attempts_of
from shared.domain.errors import BasegateError, Conflict, Gone, Malformed, Rejected
from shared.domain.event import Hint, HintKind
from shared.domain.image import Digest, ImageRef, Tag, parse_digest
from shared.domain.observation import Observation
from shared.domain.outcome import Delivery, Listener, Outcome
from shared.domain.policy import (
    App,
    BaseRule,
    BuildRule,
    Check,
    DeployRule,
    Gate,
    HealthRule,
    Policy,
    PromotionRule,
    RegistryRule,
    Source,
    TaskCheck,
)
from shared.domain.promotion import Promotion, promotions_of
from shared.domain.record import Record, WorkItem, rows_before
from shared.domain.rollout import AppRecord, BuiltImage, Rollout
from shared.domain.stable_tag import StableTag
from shared.intake.hints import Hints, Recognized, recognize
from shared.ports import (
    NO_FILTER,
    Allowance,
    Change,
    Clock,
    CopyState,
    CopyStatus,
    GroupState,
    Item,
    Keyed,
    Listed,
    ListFilter,
    OutputImage,
    Page,
    QueueState,
    R,
    Removal,
    Run,
    RunStatus,
    Services,
    Stored,
    TagPush,
    TagState,
)
from shared.reconcile.engine import Reconciler

if TYPE_CHECKING:
    from shared.operations.operate import Operate
    from shared.sweep.sweep import Sweep

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000001"


def digest(name: str) -> Digest:
    """A digest that is easy to make and different for each name."""
    return parse_digest("sha256:" + hashlib.sha256(name.encode()).hexdigest())


def registry_rule(name: str, short_name: str) -> RegistryRule:
    """A registry of the reference scenario."""
    scope = f"{SUBSCRIPTION}/resourceGroups/{name}-rg/providers/Microsoft.ContainerRegistry/registries/{name}"
    return RegistryRule(name=short_name, server=f"{name}.azurecr.io", id=scope)


def sample_policy(**changes: Any) -> Policy:
    """The reference scenario's rules: gate `node`, app `hello-world`."""
    gate = Gate(
        name="node",
        source=Source(registry="public", repository="node", tags=("15-alpine", "15.*")),
        checks=(Check(task=TaskCheck(registry="base", task="base-import-node", timeout="600s")),),
        promote=PromotionRule(registry="base", repository="node"),
    )
    app = App(
        name="hello-world",
        base=BaseRule(gate="node", tag="15-alpine"),
        build=BuildRule(registry="team", task="hello-world", image="hello-world:{run}"),
        deploy=DeployRule(
            aci="hello-world-aci",
            resource_group="hello-world-aci-rg",
            subscription="00000000-0000-0000-0000-000000000001",
            health=HealthRule(path="/", within="10s"),
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
    """A clock that a test moves; with `ticking` it also moves by so many seconds whenever it is asked."""

    time: datetime = START
    ticking: float = 0.0

    def now(self) -> datetime:
        self.time += timedelta(seconds=self.ticking)
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class FakeLedger:
    """Records as bytes, so that what cannot be stored fails here too; ETags count up.

    A page looks at `page_scan` lines of a list at most, as the table service does: it may be short, and go on. Keys,
    sizes and transactions that the table service refuses are refused here. `before_save` is called with each record
    that is about to replace another or to be removed as it was read, before anything of its transaction is compared.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], tuple[bytes, str]] = {}
        self.lines: dict[tuple[str, str, str], tuple[bytes, str]] = {}
        self.before_save: Callable[[Any], None] | None = None
        self.page_scan = 1000
        self._version = 0
        self._partitions: dict[tuple[str, str], list[str]] = {}

    def insert(self, record: R) -> Stored[R] | None:
        try:
            return self._commit(Change(record))[0]
        except Conflict:
            return None

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        found = self.rows.get((kind.__name__, partition, row))
        return None if found is None else Stored(msgspec.json.decode(found[0], type=kind), found[1])

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        return self._commit(Change(record, stored))[0]

    def commit(self, *changes: Change | Removal) -> list[Stored[Any]]:
        return self._commit(*changes)

    def _commit(self, *both: Change | Removal) -> list[Stored[Any]]:
        check(both, [body_of(change) for change in both])
        changes = [change for change in both if isinstance(change, Change)]
        for one in both:
            if one.stored and self.before_save:
                self.before_save(one.record)
        for one in both:
            found, is_checked = self.rows.get(_key(one.record)), isinstance(one, Change) or one.stored
            if is_checked and (found[1] if found else None) != (one.stored.etag if one.stored else None):
                raise Conflict(f"{name_of(one.record)}: changed since it was read, or there already")
        for removal in both:
            if isinstance(removal, Removal) and _key(removal.record) in self.rows:
                self._remove(removal.record)
        return [self._write(change.record, msgspec.json.encode(change.record)) for change in changes]

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        rows = self._partitions.get((kind.__name__, partition), [])
        names = rows[bisect_left(rows, row_prefix) :]
        for row in takewhile(lambda row: row.startswith(row_prefix), list(names)):
            found = self.load(kind, partition, row)
            if found is not None:
                yield found

    def between(self, kind: type[R], partition: str, first: str, last: str) -> Iterator[Stored[R]]:
        for stored in self.list(kind, partition):
            if first <= stored.record.row and (not last or stored.record.row <= last):
                yield stored

    def open(self, kind: type[R], partition: str) -> Iterator[Stored[R]]:
        for stored in list(self.list(kind, partition)):
            if isinstance(stored.record, Record) and not stored.record.settled:
                yield stored

    def page(
        self, kind: type[Listed[Item]], partition: str, limit: int, token: str = "", only: ListFilter = NO_FILTER
    ) -> Page[Item]:
        if token and not token.startswith("~"):
            raise Malformed("token", "is none that a list gave")
        newest = max(token, rows_before(only.until) if only.until else "~")
        behind = rows_before(only.since) if only.since else "~~"
        lines = sorted(
            (row, line) for (name, at, row), line in self.lines.items() if (name, at) == _list(kind, partition)
        )
        items: list[Item] = []
        for looked, (row, (summary, state)) in enumerate(line for line in lines if newest <= line[0] < behind):
            if len(items) == limit or looked == self.page_scan:
                return Page(items=tuple(items), next=row)
            if only.state in ("", state):
                items.append(msgspec.json.decode(summary, type=kind.item))
        return Page(items=tuple(items))

    def purge(self, kind: type[Keyed], partition: str, before: datetime, limit: int) -> int:
        old = [one.record for one in self.list(kind, partition) if one.record.at < before][:limit]  # type: ignore[attr-defined]
        for record in old:
            self._remove(record)
        return len(old)

    def purge_moves(self, partition: str, before: datetime, kept: Collection[str]) -> Iterator[int]:
        lines = [key for key in self.lines if key[:2] == ("StableTag", partition) and key[2] >= rows_before(before)]
        old = [key for key in lines if key[2] not in kept]
        for first in range(0, len(old), 100):
            for key in old[first : first + 100]:
                del self.lines[key]
            yield len(old[first : first + 100])

    def _remove(self, record: Any) -> Stored[Any]:
        key = _key(record)
        del self.rows[key]
        self._partitions[key[:2]].remove(key[2])
        self.lines.pop((*key[:2], getattr(record, "time_row", "")), None)
        return Stored(record, "")

    def _write(self, record: Any, body: bytes) -> Stored[Any]:
        self._version += 1
        key = _key(record)
        rows = self._partitions.setdefault(key[:2], [])
        if (place := bisect_left(rows, key[2])) == len(rows) or rows[place] != key[2]:
            rows.insert(place, key[2])
        self.rows[key] = (body, str(self._version))
        if time_row := getattr(record, "time_row", ""):
            summary = msgspec.json.encode(record.summary())
            self.lines[(*key[:2], time_row)] = (summary, str(getattr(record, "state_name", "")))
        return Stored(record, str(self._version))


def _key(record: Any) -> tuple[str, str, str]:
    return type(record).__name__, record.partition, record.row


def _list(kind: type, partition: str) -> tuple[str, str]:
    return kind.__name__, partition


QUEUE_SECONDS = 0.2
"""How long a message takes at least: the host polls its queues every 100 to 250 ms."""


class FakeQueue:
    """Work items and hints by the time they become visible. What the service refuses is refused here."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self._order = clock, 0
        self.server_ahead, self.given_up = timedelta(), 0
        self.waiting: list[tuple[datetime, int, WorkItem | Hint]] = []

    def send(self, item: WorkItem, wait_seconds: float) -> None:
        self._send(item, wait_seconds)

    def send_hint(self, hint: Hint, wait_seconds: float) -> None:
        self._send(hint, wait_seconds)

    def _send(self, message: WorkItem | Hint, wait_seconds: float) -> None:
        if not 0 <= wait_seconds <= 7 * 86_400:
            raise Rejected(f"queueing {message}: 400 OutOfRangeQueryParameterValue: hidden for {wait_seconds} s")
        if len(msgspec.json.encode(message)) > 48 * 1024:  # 64 KiB in base64
            what = f"{message.kind} {message.row}" if isinstance(message, WorkItem) else "a hint"
            raise Rejected(f"queueing {what}: 413 RequestBodyTooLarge")
        self._order += 1
        due = self._clock.now() + timedelta(seconds=max(wait_seconds, QUEUE_SECONDS))
        heapq.heappush(self.waiting, (due, self._order, message))

    def check(self) -> QueueState:
        return QueueState(self._clock.now() + self.server_ahead, self.given_up)


class FakeRegistry:
    """Tags by (registry, repository:tag); copies take `copy_seconds`.

    `servers` are the login servers that differ from the rules'. `fault` is what every call raises, `read_fault` what
    reading the registry itself does, `copy_fault`, `lock_fault`, `refusing` and `remove_fault` what a copy, a lock, a
    move and a removal raise; a copy that has begun fails with `copy_problem`, or brings `copy_result` instead.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.tags: dict[tuple[str, str], Digest] = {}
        self.untagged: set[tuple[str, str, Digest]] = set()
        self.pushed: dict[tuple[str, str], datetime] = {}
        self.locked: set[tuple[str, str]] = set()
        self.unlocked: list[Digest] = []
        self.moves: list[tuple[str, Digest]] = []
        self.copies: list[str] = []
        self.copy_seconds = 2.0
        self.copy_problem = ""
        self.copy_result: Digest | None = None
        self.servers: dict[str, str] = {}
        self.fault: Exception | None = None
        self.read_fault: Exception | None = None
        self.copy_fault: Exception | None = None
        self.lock_fault: Exception | None = None
        self.refusing: Exception | None = None
        self.remove_fault: Exception | None = None
        self.token_expires_at: datetime | None = None
        self._under_way: dict[str, tuple[datetime, str, str, Digest]] = {}

    def login_server(self, registry: RegistryRule) -> str:
        self._maybe_fail(self.read_fault)
        return self.servers.get(registry.name, registry.login_server)

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
        self._maybe_fail(self.copy_fault)
        if (target.name, name) in self.locked:
            raise Rejected(f"{target.login_server}/{name} is locked")
        self.copies.append(name)
        operation = f"copy-{len(self.copies)}"
        done = self._clock.now() + timedelta(seconds=self.copy_seconds)
        self._under_way[operation] = (done, target.name, name, self.copy_result or source.digest)
        return operation

    def copy_status(self, target: RegistryRule, operation: str) -> CopyStatus:
        self._maybe_fail()
        done, registry, name, content = self._under_way[operation]
        if self._clock.now() < done:
            return CopyStatus(CopyState.RUNNING)
        if self.copy_problem:
            return CopyStatus(CopyState.FAILED, self.copy_problem)
        self.tags[(registry, name)] = content
        return CopyStatus(CopyState.SUCCEEDED)

    def lock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        self._maybe_fail(self.lock_fault)
        self.locked.add((registry.name, f"{repository}:{tag}"))

    def point(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        self._maybe_fail(self.refusing)
        name = f"{repository}:{tag}"
        if (registry.name, name) in self.locked:
            raise Rejected(f"{registry.login_server}/{name} is locked")
        if not self._has(registry, repository, digest):
            raise Gone(f"{digest} is not in {registry.login_server}/{repository}")
        self.tags[(registry.name, name)] = digest
        self.moves.append((f"{registry.name}/{name}", digest))

    def unlock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest | None) -> None:
        self._maybe_fail(self.lock_fault)
        self.locked.discard((registry.name, f"{repository}:{tag}"))
        if digest:
            self.unlocked.append(digest)

    def remove_tag(self, registry: RegistryRule, repository: str, tag: str) -> None:
        self._maybe_fail(self.remove_fault)
        name = f"{repository}:{tag}"
        if (registry.name, name) in self.locked:
            raise Rejected(f"{registry.login_server}/{name} is locked")
        content = self.tags.pop((registry.name, name), None)
        if content is not None:
            self.untagged.add((registry.name, repository, content))

    def _has(self, registry: RegistryRule, repository: str, content: Digest) -> bool:
        prefix = f"{repository}:"
        tagged = any(
            d == content for (at, name), d in self.tags.items() if at == registry.name and name.startswith(prefix)
        )
        return tagged or (registry.name, repository, content) in self.untagged

    def _maybe_fail(self, fault: Exception | None = None) -> None:
        if self.fault or fault:
            raise self.fault or fault  # type: ignore[misc]


@dataclass
class FakeRun:
    """One run, and when it ends how. `image` is the digest that it pushed, known once it has ended."""

    registry: str
    run_id: str
    task: str
    values: dict[str, str]
    token: str
    started_at: datetime
    ends_at: datetime
    status: RunStatus
    log: str
    cancelled: bool = False
    image: Digest | None = None


class FakeTasks:
    """Runs that take `seconds` and end as `failing` and `broken` say; builds push the image they are named after.

    Every registry counts its runs by itself, with the prefix of `prefixes`: give two the same one, and their runs have
    the same ids. A run is kept by its id, and where another registry has that id already, by `<registry>/<id>`.
    `others` are runs of the app's task that someone else started, with their start: what is under their tag when they
    are first read is what they pushed. With `unlisted`, no run lists the images it pushed: they used `docker push`.
    """

    def __init__(self, clock: FakeClock, registry: FakeRegistry) -> None:
        self._clock, self._registry = clock, registry
        self.runs: dict[str, FakeRun] = {}
        self.others: dict[str, datetime] = {}
        self.prefixes: dict[str, str] = {}
        self.seconds = 3.0
        self.unlisted = False
        self.failing: dict[str, str] = {}
        self.broken: set[str] = set()
        self.log_fault: Exception | None = None
        self.start_fault: Exception | None = None
        self._counts: dict[str, int] = {}
        self._others_images: dict[str, Digest] = {}

    def start(self, registry: RegistryRule, task: str, values: Mapping[str, str], token: str) -> str:
        if self.start_fault:
            raise self.start_fault
        self._counts[registry.name] = count = self._counts.get(registry.name, 0) + 1
        run_id = f"{self.prefixes.get(registry.name, 'c' + registry.name[0])}{count}"
        image = values.get("IMAGE", "")
        problem = next((log for needle, log in self.failing.items() if needle in image or needle == task), None)
        status = RunStatus.FAILED if problem else RunStatus.SUCCEEDED
        if any(needle in image or needle == task for needle in self.broken):
            status = RunStatus.BROKEN
        now = self._clock.now()
        ends_at = now + timedelta(seconds=self.seconds)
        log = problem or f"Run ID: {run_id} was successful"
        run = FakeRun(registry.name, run_id, task, dict(values), token, now, ends_at, status, log)
        self.runs[f"{registry.name}/{run_id}" if run_id in self.runs else run_id] = run
        return run_id

    def find(self, registry: RegistryRule, task: str, token: str, since: datetime) -> str | None:
        return next((run_id for run_id, mark in self.marked(registry, task, since) if mark == token), None)

    def marked(self, registry: RegistryRule, task: str, since: datetime) -> Iterator[tuple[str, str]]:
        early = since - timedelta(seconds=30)  # clocks need not agree
        for run in reversed(list(self.runs.values())):
            if (run.registry, run.task) == (registry.name, task) and run.started_at >= early:
                yield run.run_id, run.token

    def get(self, registry: RegistryRule, run_id: str) -> Run | None:
        run = self._run(registry, run_id)
        if run is None:
            return self._get_other(registry, run_id)
        going = Run(
            run_id=run_id,
            status=RunStatus.RUNNING,
            task=run.task,
            mark=run.token,
            created_at=run.started_at,
            started_at=run.started_at,
        )
        if self._clock.now() < run.ends_at:
            return going
        self._push(run)
        outputs = self._outputs(registry, run.task, run_id, run.image)
        return msgspec.structs.replace(
            going, status=run.status, detail=run.status.value, finished_at=run.ends_at, outputs=outputs
        )

    def log(self, registry: RegistryRule, run_id: str, limit_bytes: int) -> str:
        if self.log_fault:
            raise self.log_fault
        run = self._run(registry, run_id)
        assert run, f"{registry.name} has no run {run_id}"
        return run.log

    def check(self, registry: RegistryRule, task: str) -> None:
        if self.start_fault:
            raise self.start_fault

    def cancel(self, registry: RegistryRule, run_id: str) -> None:
        run = self._run(registry, run_id)
        if run is not None and self._clock.now() < run.ends_at:
            run.cancelled, run.ends_at, run.status = True, self._clock.now(), RunStatus.BROKEN

    def pushed_by(self, run_id: str) -> Digest:
        """The digest of the app's image that a run pushes, unless something else is pushed under its tag first."""
        return digest(f"app {run_id}")

    def _run(self, registry: RegistryRule, run_id: str) -> FakeRun | None:
        found = (self.runs.get(key) for key in (f"{registry.name}/{run_id}", run_id))
        return next((run for run in found if run is not None and run.registry == registry.name), None)

    def _push(self, run: FakeRun) -> None:
        """What a build pushes at its end: Basegate's own overwrites what lies there, others' may have come before."""
        if run.image is not None or run.status is not RunStatus.SUCCEEDED or run.registry != "team":
            return
        place = (run.registry, f"{run.task}:{run.run_id}")
        there = None if run.token.startswith("basegate/") else self._registry.tags.get(place)
        run.image = there or self.pushed_by(run.run_id)
        if there is None:
            self._registry.tags[place] = run.image
            self._registry.pushed[place] = run.ends_at

    def _get_other(self, registry: RegistryRule, run_id: str) -> Run | None:
        at = self.others.get(run_id)
        if at is None or registry.name != "team":
            return None
        there = self._registry.tags.get((registry.name, f"hello-world:{run_id}"))
        if there is not None:
            self._others_images.setdefault(run_id, there)
        return Run(
            run_id=run_id,
            status=RunStatus.SUCCEEDED,
            task="hello-world",
            created_at=at,
            started_at=at,
            finished_at=at,
            outputs=self._outputs(registry, "hello-world", run_id, self._others_images.get(run_id)),
        )

    def _outputs(
        self, registry: RegistryRule, repository: str, run_id: str, image: Digest | None
    ) -> tuple[OutputImage, ...]:
        if image is None or self.unlisted:
            return ()
        return (OutputImage(registry.login_server, repository, run_id, image),)


class FakeContainers:
    """One container group a name: `groups` has the image it shows, and since when it runs.

    It runs `seconds` after it was put. `puts` are the images that were put, as people read them; `crashing` and
    `failed` name images as the group shows them, or as people read them.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.groups: dict[str, tuple[str, datetime]] = {}
        self.puts: list[str] = []
        self.seconds = 1.0
        self.faults: list[Exception] = []
        self.deleted: list[str] = []
        self.crashing: set[str] = set()
        self.failed: set[str] = set()
        self._names: dict[str, set[str]] = {}

    def put(self, rule: DeployRule, image: BuiltImage, registry: RegistryRule) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.puts.append(str(image))
        self._names.setdefault(image.reference, {image.reference}).add(str(image))
        self.groups[rule.aci] = (image.reference, self._clock.now() + timedelta(seconds=self.seconds))

    def get(self, rule: DeployRule) -> GroupState | None:
        found = self.groups.get(rule.aci)
        if found is None:
            return None
        image, runs_at = found
        running = self._clock.now() >= runs_at
        restarts = 5 if self.names(image) & self.crashing else 0
        address = "10.0.0.4:80" if running else ""
        failed = bool(self.names(image) & self.failed)
        return GroupState(image=image, running=running, failed=failed, restarts=restarts, address=address)

    def delete(self, rule: DeployRule) -> None:
        self.deleted.append(rule.aci)
        self.groups.pop(rule.aci, None)

    def names(self, image: str) -> set[str]:
        """What an image that a group shows is called: by digest, and by every tag it was put under."""
        return self._names.get(image, {image})

    def runs_for(self, image: str) -> float:
        """The seconds since an image that a group shows has begun to run."""
        return (self._clock.now() - next(at for shown, at in self.groups.values() if shown == image)).total_seconds()


class FakeProbe:
    """Everything is well `seconds` after it has begun to run, but what is in `sick`."""

    def __init__(self, containers: FakeContainers) -> None:
        self._containers = containers
        self.seconds = 0.0
        self.sick: dict[str, str] = {}

    def check(self, address: str, path: str) -> str | None:
        image = next(iter(self._containers.groups.values()))[0]
        if self._containers.runs_for(image) < self.seconds:
            return f"http://{address}{path} refuses connections"
        names = self._containers.names(image)
        return next((problem for needle, problem in self.sick.items() if any(needle in name for name in names)), None)


class FakeArchive:
    """Texts by name."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def store(self, name: str, text: str) -> str:
        self.texts[name] = text
        return name

    def read(self, place: str) -> str:
        if place not in self.texts:
            raise Rejected(f"there is no {place}")
        return self.texts[place]

    def find(self, prefix: str) -> list[str]:
        return sorted(place for place in self.texts if place.startswith(prefix))

    def remove(self, place: str) -> None:
        self.texts.pop(place, None)

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

    def tags(self, registry: RegistryRule, repository: str) -> Iterator[str]:
        if registry.name in self.faults:
            raise self.faults[registry.name]
        return self._registry.tags_of(registry, repository)

    def allowance(self, registry: RegistryRule) -> Allowance | None:
        return self.said


class FakeSubscriptions:
    """Says of every registry what `reaching` says."""

    def __init__(self) -> None:
        self.reaching: bool | None = True

    def delivers_to_app(self, registry: RegistryRule) -> bool | None:
        return self.reaching


class FakeSecrets:
    """A user and a password for every registry, unless there is a fault. Runs are `given` values."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.expires_at: datetime | None = None
        self.given: list[str] = []

    def expiry(self, registry: RegistryRule) -> datetime | None:
        return self.expires_at

    def credentials(self, registry: RegistryRule) -> tuple[str, str]:
        if self.fault:
            raise self.fault
        return f"{registry.name}-user", "a password"

    def values(self) -> list[str]:
        if self.fault:
            raise self.fault
        return self.given


class FakeAnnouncer:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.told: list[Outcome] = []
        self.fault: Exception | None = None

    def announce(self, outcome: Outcome) -> None:
        if self.fault:
            raise self.fault
        self.told.append(outcome)

    @property
    def names(self) -> list[str]:
        return [outcome.name for outcome in self.told]


@dataclass
class World:
    """Everything of one story, and the verbs of a test."""

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
        self.archive, self.announcer, self.secrets = FakeArchive(), FakeAnnouncer(), FakeSecrets()
        self.events: list[dict[str, Any]] = []
        self.more_listeners: dict[str, FakeAnnouncer] = {}
        self.workers_clock: Clock = self.clock
        self.restart()

    def restart(self) -> None:
        """A new process: nothing but the ledger and the outside world is kept."""
        policy = self.policy
        self.services = Services(
            rules=lambda: policy,
            ledger=self.ledger,
            queue=self.queue,
            registry=self.registry,
            tags=self.tags,
            tasks=self.tasks,
            containers=self.containers,
            probe=self.probe,
            archive=self.archive,
            listeners={"topic": self.announcer, **self.more_listeners},
            clock=self.workers_clock,
            secrets=self.secrets,
            subscriptions=self.subscriptions,
            keep=self.keep,
        )
        self.reconciler = Reconciler(self.services)
        others = {HintKind.APP_IMAGE: self._app_image, HintKind.STABLE_TAGS: self._stable_tags}
        self.hints = Hints(self.services, self.reconciler.work, others)
        for name in ("operate", "sweep"):
            self.__dict__.pop(name, None)

    @cached_property
    def operate(self) -> Operate:
        """What operators do."""
        from shared.operations.operate import Operate

        return Operate(self.services)

    @cached_property
    def sweep(self) -> Sweep:
        """The sweep, one request after the other."""
        from shared.sweep.job import one_by_one
        from shared.sweep.sweep import Sweep

        return Sweep(self.services, one_by_one)

    def use(self, policy: Policy) -> None:
        """Other rules, from the next process on."""
        self.policy = policy
        self.restart()

    def push(
        self, tag: str | None, content: Digest, *, registry: str = "public", repository: str = "node"
    ) -> Recognized:
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

    def recognize(self, payload: object) -> list[Recognized]:
        """Where an event says to look."""
        return recognize(payload, self.policy)

    def deliver(self, event: object) -> list[Recognized]:
        """An event reaches the app; the hints it means are queued."""
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
        raise AssertionError("the world does not come to rest")

    def pass_time(self, seconds: float, limit: int = 5000) -> None:
        """Let so much time pass, and deliver all that becomes due in it, stalled or not."""
        end = self.clock.time + timedelta(seconds=seconds)
        for _ in range(limit):
            if not self.queue.waiting or self.queue.waiting[0][0] > end:
                self.clock.time = max(self.clock.time, end)
                return
            self.next_item()
        raise AssertionError("the world does not come to rest")

    def sweep_now(self, **options: bool) -> Any:
        """One sweep, with all the time it needs."""
        return self.sweep.run(self.clock.now() + timedelta(minutes=4), **options)

    def next_item(self, *, redelivered: bool = False) -> WorkItem | Hint:
        """Deliver the hint or the work item that is due next."""
        due, _, item = heapq.heappop(self.queue.waiting)
        self.clock.time = max(self.clock.time, due) + timedelta(milliseconds=10)
        self._handle(item, redelivered=redelivered)
        return item

    def settle_while_crashing(self, within_seconds: float = 600, limit: int = 2000) -> None:
        """As `settle`; what is being handled when the process dies is delivered again, to a new process."""
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
        raise AssertionError("the world does not come to rest")

    def unheard(self, partition: str = "gate:node") -> list[Delivery]:
        """The outcomes of an owner that somebody has not heard."""
        return [stored.record for stored in self.ledger.list(Delivery, partition)]

    def listener(self, name: str = "topic") -> Listener:
        """What the ledger says of a listener."""
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
        return [stored.record for stored in self.ledger.list(Promotion, "node", promotions_of(tag))][-1]

    def stable(self, tag: str = "15-alpine") -> StableTag:
        """What the ledger says of a stable tag."""
        stored = self.ledger.load(StableTag, "node", tag)
        return stored.record if stored else StableTag(gate="node", tag=Tag(tag))

    def observation(self, tag: str = "15-alpine") -> Observation:
        """What the ledger says of a source tag."""
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
    """Stands for SIGKILL: nothing may catch it."""
