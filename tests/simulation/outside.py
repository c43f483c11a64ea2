"""The external services, with their true state: registries, tasks, container groups, ledger, queue, announcer.

Registries are identified by their login server, whatever their names in the rules. Runs and copies make progress by
themselves, whether they are polled or not. `observers` are notified of every effect when it happens.
"""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from shared.adapters.ledger_tables import _partition
from shared.domain.errors import Conflict, Gone, Misconfigured, NeedsRecreation, Rejected, Transitioning
from shared.domain.image import Digest, ImageRef, Tag, parse_digest
from shared.domain.outcome import Outcome
from shared.domain.policy import DeployRule, RegistryRule
from shared.domain.record import Record, Row
from shared.domain.rollout import BuiltImage
from shared.ports import (
    NO_FILTER,
    Allowance,
    Artifact,
    Attachments,
    Change,
    CopyStatus,
    DeploymentState,
    Descriptor,
    Item,
    Listed,
    ListFilter,
    Manifest,
    OutputImage,
    Page,
    QueueState,
    R,
    Removal,
    Run,
    RunStatus,
    Signature,
    Stored,
    TagPush,
    TagState,
)
from tests.simulation.scheduler import START, Scheduler

SECRET = "s3cr3t-of-the-vault"
"""The password in the vault: it must not appear anywhere else."""
_SECRET_BYTES = SECRET.encode()

_PUBLIC_KEY = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
"""
"""A public key: P-256's base point. Nobody signs with it."""

_KEY = re.compile(r"[^/\\#?\x00-\x1f\x7f-\x9f]{1,400}")
_RECORD_LIMIT = 900_000
_MESSAGE_LIMIT = 48_000
_EXAMINED = 4
"""One write in so many is encoded to be examined, and every one of a settled record, which keeps what it has got: each
of them would take a tenth of the time of a schedule."""
_RUN_LIMIT_SECONDS = 3600.0
"""The time after which the service itself ends a hanging run."""

_CLOCKS_DIFFER = timedelta(seconds=30)


def digest(name: str) -> Digest:
    """A digest that is derived from a name, and different for each."""
    return parse_digest("sha256:" + hashlib.sha256(name.encode()).hexdigest())


def digest_of(content: bytes) -> Digest:
    """The digest of bytes."""
    return parse_digest("sha256:" + hashlib.sha256(content).hexdigest())


class LimitError(AssertionError):
    """Something that Azure refuses is stored or sent."""


class Part:
    """The rows of one kind of record in one partition: by key, their keys in order, and those of open records."""

    __slots__ = ("keys", "open", "rows")

    def __init__(self) -> None:
        self.rows: dict[str, Stored[Any]] = {}
        self.keys: list[str] = []
        self.open: set[str] = set()

    def remove(self, row: str) -> None:
        """Remove a row, if it is there."""
        if self.rows.pop(row, None) is not None:
            self.keys.remove(row)
            self.open.discard(row)


_EMPTY = Part()


class Ledger:
    """Records by kind, partition and row, with Azure's limits: keys, sizes, transactions over partitions."""

    def __init__(self) -> None:
        self.parts: dict[type, dict[str, Part]] = defaultdict(lambda: defaultdict(Part))
        self.committed: Callable[[tuple[Change | Removal, ...]], None] = lambda changes: None
        self._version, self.purged = 0, 0

    def insert(self, record: R) -> Stored[R] | None:
        try:
            return self._change(Change(record))
        except Conflict:
            return None

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        return self.parts[kind][partition].rows.get(row)

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        return self._change(Change(record, stored))

    def _change(self, change: Change) -> Stored[Any]:
        stored = self._write(*self._place(change), change.record)
        self.committed((change,))
        return stored

    def commit(self, *changes: Change | Removal) -> list[Stored[Any]]:
        if len(changes) > 1 and len({_partition(change.record) for change in changes}) > 1:
            raise LimitError("a transaction over several partitions")
        stored: list[Stored[Any]] = []
        for change, (part, row) in [(change, self._place(change)) for change in changes]:
            if isinstance(change, Change):
                stored.append(self._write(part, row, change.record))
            else:
                part.remove(row)
                self.purged += change.stored is not None
        self.committed(changes)
        return stored

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        part = self.parts[kind][partition]
        first = bisect_left(part.keys, row_prefix)
        last = bisect_left(part.keys, row_prefix + "\U0010ffff", first)
        return iter([part.rows[row] for row in part.keys[first:last]])

    def between(self, kind: type[R], partition: str, first: str, last: str) -> Iterator[Stored[R]]:
        part = self.parts[kind].get(partition, _EMPTY)
        return iter([part.rows[row] for row in part.keys if first <= row and (not last or row <= last)])

    def open(self, kind: type[R], partition: str) -> Iterator[Stored[R]]:
        part = self.parts[kind].get(partition, _EMPTY)
        return iter([part.rows[row] for row in sorted(part.open)])

    def page(
        self, kind: type[Listed[Item]], partition: str, limit: int, token: str = "", only: ListFilter = NO_FILTER
    ) -> Page[Item]:
        rows = self.parts[kind][partition].rows
        newest = sorted((one.record for one in rows.values() if one.record.time_row), key=lambda one: str(one.time_row))
        if only.until is not None:
            newest = [record for record in newest if record.created_at < only.until]
        return Page(items=tuple(record.summary() for record in newest[:limit]))

    def purge(self, kind: type[Row], partition: str, before: datetime, limit: int) -> int:
        return 0

    def purge_moves(self, partition: str, before: datetime, kept: Collection[str]) -> Iterator[int]:
        return iter(())

    def all(self, kind: type[R]) -> Iterator[R]:
        """Every record of a kind."""
        for part in list(self.parts[kind].values()):
            yield from [stored.record for stored in part.rows.values()]

    def _place(self, change: Change | Removal) -> tuple[Part, str]:
        """Where the record of a change belongs, if what is there is what the change expects."""
        record, before = change.record, change.stored
        part, row = self.parts[type(record)][record.partition], record.row
        if before is None and isinstance(change, Removal):
            return part, row
        found = part.rows.get(row)
        if found is not before and (found is None or before is None or found.etag != before.etag):
            raise Conflict(f"{record.partition}/{row} was changed since it was loaded")
        return part, row

    def _write(self, part: Part, row: str, record: Any) -> Stored[Any]:
        self._version += 1
        if row not in part.rows:
            if not (_KEY.fullmatch(record.partition) and _KEY.fullmatch(row)):
                raise LimitError(f"Azure Tables refuses the keys {record.partition}/{row}")
            insort(part.keys, row)
        stored = part.rows[row] = Stored(record, str(self._version))
        is_record = isinstance(record, Record)
        if is_record:
            (part.open.discard if record.settled else part.open.add)(row)
        if self._version % _EXAMINED == 0 or (is_record and record.settled):
            self._examine(record)
        return stored

    def _examine(self, record: Any) -> None:
        body = msgspec.json.encode(record)
        if len(body) > _RECORD_LIMIT:
            raise LimitError(f"Azure Tables refuses {record.partition}/{record.row} of {len(body)} bytes")
        if _SECRET_BYTES in body:
            raise LimitError(f"a secret in {record.partition}/{record.row}")


class Queue:
    """Passes messages to the host, which delivers them."""

    def __init__(self, deliver: Callable[[Any, float], None]) -> None:
        self._deliver = deliver

    def send(self, item: Any, wait_seconds: float) -> None:
        body = msgspec.json.encode(item)
        if len(body) > _MESSAGE_LIMIT or _SECRET_BYTES in body:
            raise LimitError(f"Azure Queues refuse a message of {len(body)} bytes, or it has a secret")
        hidden = min(-(-max(0.0, wait_seconds) // 1), 7 * 86_400.0)
        self._deliver(item, hidden)

    def send_hint(self, hint: Any, wait_seconds: float) -> None:
        self.send(hint, wait_seconds)

    def check(self) -> QueueState:
        return QueueState(None)


@dataclass
class Copy:
    """A server-side copy."""

    server: str
    name: str
    digest: Digest
    state: RunStatus = RunStatus.RUNNING


class Registries:
    """The contents of all registries, by login server.

    `changed` is called at every change of a tag: server, `repository:tag`, old and new digest, by whom.
    """

    def __init__(self, scheduler: Scheduler, random: Random) -> None:
        self._scheduler, self._random = scheduler, random
        self.tags: dict[tuple[str, str], Digest] = {}
        self.history: dict[tuple[str, str], list[tuple[float, Digest | None]]] = defaultdict(list)
        self.pushed: dict[tuple[str, str], datetime] = {}
        self.manifests: dict[tuple[str, str], set[Digest]] = defaultdict(set)
        self.deleted: set[Digest] = set()
        self.referrers: dict[tuple[str, str, Digest], set[Digest]] = defaultdict(set)
        self.copied: dict[tuple[str, str, Digest], set[Digest]] = defaultdict(set)
        """The referrers that were copied from upstream, and not made here."""
        self.blobs: dict[tuple[str, str, Digest], int] = {}
        self.stored: dict[tuple[str, str, str], bytes] = {}
        self.locked: set[tuple[str, str]] = set()
        self.copies: dict[str, Copy] = {}
        self.copies_fail = 0.0
        self.removal_refused = False
        self.changed: Callable[[str, str, Digest | None, Digest | None, str], None] = lambda *_: None

    def set(self, server: str, name: str, content: Digest | None, by: str) -> None:
        """Set a tag to a digest, or delete it."""
        place, was = (server, name), self.tags.get((server, name))
        if content is None:
            self.tags.pop(place, None)
        else:
            self.tags[place] = content
            self.manifests[(server, name.partition(":")[0])].add(content)
            self.pushed[place] = self._scheduler.true_now()
        self.history[place].append((self._scheduler.seconds, content))
        self.changed(server, name, was, content, by)

    def delete_image(self, server: str, repository: str, content: Digest) -> None:
        """Delete a manifest with all its tags, locked or not, as a user with all permissions can."""
        self.manifests[(server, repository)].discard(content)
        self.referrers.pop((server, repository, content), None)
        self.copied.pop((server, repository, content), None)
        self.deleted.add(content)
        for at, name in [place for place, there in self.tags.items() if there == content]:
            if at == server and name.startswith(f"{repository}:"):
                self.locked.discard((at, name))
                self.set(at, name, None, "foreign")

    def login_server(self, registry: RegistryRule) -> str:
        return registry.login_server

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        return self.tags.get((registry.login_server, f"{repository}:{tag}"))

    def tag_state(self, registry: RegistryRule, repository: str, tag: str) -> TagState | None:
        place = (registry.login_server, f"{repository}:{tag}")
        return TagState(self.tags[place], place in self.locked) if place in self.tags else None

    def newest_tags(self, registry: RegistryRule, repository: str, limit: int) -> list[TagPush]:
        prefix = f"{repository}:"
        found = [
            TagPush(name.removeprefix(prefix), content, self.pushed[(at, name)])
            for (at, name), content in self.tags.items()
            if at == registry.login_server and name.startswith(prefix)
        ]
        return sorted(found, key=lambda push: push.pushed_at, reverse=True)[:limit]

    def token_expiry(self, registry: RegistryRule, token: str, now: datetime) -> datetime | None:
        return None

    def start_copy(self, source: ImageRef, source_rule: RegistryRule, target: RegistryRule, name: str) -> str:
        server = target.login_server
        if source.digest not in self.manifests[(source.login_server, source.repository)]:
            raise Rejected(f"{source} is not there")
        if (server, name) in self.locked:
            raise Rejected(f"{server}/{name} is locked")
        operation = f"copy-{len(self.copies) + 1}"
        self.copies[operation] = Copy(server, name, source.digest)
        self._scheduler.after(self._random.choice((0.1, 2.0, 20.0)), lambda: self._copied(operation))
        return operation

    def _copied(self, operation: str) -> None:
        copy = self.copies[operation]
        if (copy.server, copy.name) in self.locked or self._random.random() < self.copies_fail:
            copy.state = RunStatus.FAILED
            return
        copy.state = RunStatus.SUCCEEDED
        self.set(copy.server, copy.name, copy.digest, "copy")

    def copy_status(self, target: RegistryRule, operation: str) -> CopyStatus:
        copy = self.copies.get(operation)
        return CopyStatus(copy.state, "it broke off") if copy else CopyStatus(RunStatus.FAILED, "no such copy")

    def lock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        place = (registry.login_server, f"{repository}:{tag}")
        if place not in self.tags:
            raise Gone(f"there is no {place}")
        self.locked.add(place)

    def point(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        place = (registry.login_server, f"{repository}:{tag}")
        if place in self.locked:
            raise Rejected(f"{place} is locked")
        if digest not in self.manifests[(registry.login_server, repository)]:
            raise Gone(f"{digest} is not in {repository}")
        self.set(registry.login_server, place[1], digest, "point")

    def unlock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest | None) -> None:
        self.locked.discard((registry.login_server, f"{repository}:{tag}"))

    def attach(self, registry: RegistryRule, repository: str, subject: Digest, artifact: Artifact) -> Digest:
        if subject not in self.manifests[(registry.login_server, repository)]:
            raise Gone(f"{subject} is not in {repository}")
        pushed = digest(f"{subject} {hashlib.sha256(artifact.content).hexdigest()}")
        self.referrers[(registry.login_server, repository, subject)].add(pushed)
        return pushed

    def add_layer(self, registry: RegistryRule, repository: str, tag: str, layer: Artifact) -> None:
        return

    def manifest(self, registry: RegistryRule, repository: str, reference: str) -> bytes | None:
        is_image = reference in self.manifests[(registry.login_server, repository)]
        return b"{}" if is_image else self.stored.get((registry.login_server, repository, reference))

    def blob_size(self, registry: RegistryRule, repository: str, digest: Digest) -> int | None:
        return self.blobs.get((registry.login_server, repository, digest))

    def put_blob(self, registry: RegistryRule, repository: str, content: bytes) -> None:
        self.blobs[(registry.login_server, repository, digest_of(content))] = len(content)

    def put_manifest(self, registry: RegistryRule, repository: str, manifest: Manifest, tag: str) -> None:
        server, pushed = registry.login_server, digest_of(manifest.content)
        self.stored[(server, repository, tag or pushed)] = manifest.content
        if manifest.subject is not None:
            self.copied[(server, repository, manifest.subject)].add(pushed)

    def remove_tag(self, registry: RegistryRule, repository: str, tag: str) -> None:
        self.stored.pop((registry.login_server, repository, tag), None)
        place = (registry.login_server, f"{repository}:{tag}")
        if place in self.locked:
            raise Rejected(f"{place} is locked")
        if place in self.tags:
            self.set(registry.login_server, place[1], None, "remove")


class Tags:
    """Reads tags. Replicas of a source may lag: `lag` is the maximum in seconds, by login server."""

    def __init__(self, registries: Registries, scheduler: Scheduler, random: Random) -> None:
        self._registries, self._scheduler, self._random = registries, scheduler, random
        self.lag: dict[str, float] = {}
        self.stale = 0
        self.read: Callable[[str, str, Digest | None], None] = lambda *_: None

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        server, name = registry.login_server, f"{repository}:{tag}"
        answer, lag = self._registries.tags.get((server, name)), self.lag.get(server, 0.0)
        if lag:
            then = self._scheduler.seconds - self._random.random() * lag
            earlier = None
            for at, content in self._registries.history[(server, name)]:
                if at <= then:
                    earlier = content
            self.stale += earlier != answer
            answer = earlier
        self.read(server, name, answer)
        return answer

    def tags(self, registry: RegistryRule, repository: str) -> Iterator[Tag]:
        prefix, server = f"{repository}:", registry.login_server
        names = [name for at, name in self._registries.tags if at == server and name.startswith(prefix)]
        return iter([Tag(name.removeprefix(prefix)) for name in names])

    def allowance(self, registry: RegistryRule) -> Allowance | None:
        return None


@dataclass
class TaskRun:
    """One run of a task."""

    server: str
    run_id: str
    task: str
    values: dict[str, str]
    mark: str
    created_at: datetime
    status: RunStatus = RunStatus.RUNNING
    finished_at: datetime | None = None
    listed_at: datetime | None = None
    pushed: tuple[OutputImage, ...] = ()
    log: str = ""


class Tasks:
    """Task runs, with ids per registry. Two registries may have equal ids.

    `bad` are the digests that a task rejects, `broken` is the share of runs that end without a verdict, `hangs` of
    those that end only by their timeout; `ended` is called after a run has succeeded, and pushes what the task pushes.
    `log_of` is what it has written by then.
    """

    def __init__(self, scheduler: Scheduler, random: Random) -> None:
        self._scheduler, self._random = scheduler, random
        self.runs: dict[tuple[str, str], TaskRun] = {}
        self.bad: set[tuple[str, str]] = set()
        self.broken, self.hangs = 0.0, 0.0
        self.ended: Callable[[TaskRun], None] = lambda run: None
        self.log_of: Callable[[TaskRun], str] = lambda run: ""
        self._counts: Counter[str] = Counter()

    def start(self, registry: RegistryRule, task: str, values: Mapping[str, str], token: str) -> str:
        return self.begin(registry.login_server, task, dict(values), token).run_id

    def begin(self, server: str, task: str, values: dict[str, str], mark: str) -> TaskRun:
        """Start a run, of the app or of others."""
        self._counts[server] += 1
        run_id = f"ca{_base36(self._counts[server])}"
        run = TaskRun(server, run_id, task, values, mark, self._scheduler.true_now())
        self.runs[(server, run_id)] = run
        hangs = self._random.random() < self.hangs
        lasts = _RUN_LIMIT_SECONDS if hangs else self._random.choice((1.0, 5.0, 30.0, 90.0))
        self._scheduler.after(lasts, lambda: self._end(run, timed_out=hangs))
        return run

    def _end(self, run: TaskRun, *, timed_out: bool) -> None:
        if run.status is not RunStatus.RUNNING:
            return
        run.finished_at = self._scheduler.true_now()
        content = run.values.get("IMAGE", "").rpartition("@")[2]
        if timed_out or self._random.random() < self.broken:
            run.status = RunStatus.BROKEN
        elif (run.task, content) in self.bad:
            run.status = RunStatus.FAILED
        else:
            run.status = RunStatus.SUCCEEDED
            run.listed_at = run.finished_at + timedelta(seconds=self._random.choice((0.0, 0.0, 5.0, 20.0)))
            run.log = self.log_of(run)
            self.ended(run)

    def find(self, registry: RegistryRule, task: str, token: str, since: datetime) -> str | None:
        return next((run_id for run_id, mark in self.marked(registry, task, since) if mark == token), None)

    def marked(self, registry: RegistryRule, task: str, since: datetime) -> Iterator[tuple[str, str]]:
        early, place = since - _CLOCKS_DIFFER, (registry.login_server, task)
        runs = [one for one in self.runs.values() if (one.server, one.task) == place and one.created_at >= early]
        return iter([(one.run_id, one.mark) for one in reversed(runs)])

    def get(self, registry: RegistryRule, run_id: str) -> Run | None:
        run = self.runs.get((registry.login_server, run_id))
        if run is None:
            return None
        listed = run.listed_at is not None and run.listed_at <= self._scheduler.true_now()
        return Run(
            run_id=run.run_id,
            status=run.status,
            detail=run.status.value,
            task=run.task,
            mark=run.mark,
            outputs=run.pushed if listed else (),
            created_at=run.created_at,
            started_at=run.created_at,
            finished_at=run.finished_at,
        )

    def log(self, registry: RegistryRule, run_id: str, limit_bytes: int) -> str:
        run = self.runs.get((registry.login_server, run_id))
        if run is None:
            raise Rejected(f"there is no run {run_id}")
        return run.log or f"Run ID: {run_id} {run.status}"

    def raw_log(self, registry: RegistryRule, run_id: str) -> Iterator[bytes]:
        return iter([self.log(registry, run_id, 0).encode()])

    def check(self, registry: RegistryRule, task: str) -> None:
        return None

    def cancel(self, registry: RegistryRule, run_id: str) -> None:
        run = self.runs.get((registry.login_server, run_id))
        if run is not None and run.status is RunStatus.RUNNING:
            run.status, run.finished_at = RunStatus.BROKEN, self._scheduler.true_now()

    def succeeded(self, server: str, run_id: str, task: str, content: str) -> bool:
        """Whether a run of a task really examined a digest, and accepted it."""
        run = self.runs.get((server, run_id))
        if run is None or run.task != task or run.status is not RunStatus.SUCCEEDED:
            return False
        return run.values.get("IMAGE", "").endswith(f"@{content}")


@dataclass
class Group:
    """A container group: its image, since when, and whether it was killed."""

    image: str
    put_at: float
    deployed_at: float
    """When it was put with this image, unless it was already healthy with it."""

    killed: bool = False


class Containers:
    """Container groups. One takes a while to run, and longer to be healthy; `sick` images never are."""

    def __init__(self, scheduler: Scheduler, random: Random) -> None:
        self._scheduler, self._random = scheduler, random
        self.groups: dict[str, Group] = {}
        self.sick: set[str] = set()
        self.recreates = 0.0
        self.runs_after, self.well_after = 2.0, 4.0

    def put(self, rule: DeployRule, image: BuiltImage, registry: RegistryRule) -> None:
        group = self.groups.get(rule.name)
        if group is not None and self._age(group) < self.runs_after / 2:
            raise Transitioning("the group is transitioning", delay_seconds=2.0)
        if group is not None and self._random.random() < self.recreates:
            raise NeedsRecreation("the group cannot be changed in place")
        now = self._scheduler.seconds
        stays = group is not None and group.image == image.reference and self.is_well(rule.name)
        self.groups[rule.name] = Group(image.reference, now, group.deployed_at if group is not None and stays else now)

    def get(self, rule: DeployRule) -> DeploymentState | None:
        group = self.groups.get(rule.name)
        if group is None:
            return None
        running = self._age(group) >= self.runs_after and not group.killed
        address = f"{rule.name}:80" if running else ""
        return DeploymentState(image=group.image, running=running, failed=group.killed, address=address)

    def delete(self, rule: DeployRule) -> None:
        self.groups.pop(rule.name, None)

    def check(self, address: str, path: str) -> str | None:
        """The probe."""
        group = self.groups.get(address.partition(":")[0])
        if group is None or group.killed or self._age(group) < self.well_after:
            return f"http://{address}{path} refuses connections"
        sick = group.image.rpartition("@")[2] in self.sick
        return "it answers 500" if sick else None

    def is_well(self, name: str) -> bool:
        """Whether a group is healthy."""
        return self.check(f"{name}:80", "/") is None

    def _age(self, group: Group) -> float:
        return self._scheduler.seconds - group.put_at


class Archive:
    """Stores names; of the texts only those of decision records and reports, the others are never read here."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.records: dict[str, str] = {}

    def store(self, name: str, text: str) -> str:
        if SECRET in text:
            raise LimitError("a secret in the archive")
        self.names.add(name)
        if name.startswith("decision-records/") or name.endswith(".report.json"):
            self.records[name] = text
        return name

    def find(self, prefix: str) -> list[str]:
        return sorted(name for name in self.names if name.startswith(prefix))

    def remove(self, place: str) -> None:
        self.names.discard(place)
        self.records.pop(place, None)

    def read(self, place: str) -> str:
        if place not in self.records:
            raise Rejected(f"there is no {place}")
        return self.records[place]

    def check(self) -> None:
        return None


class Signer:
    """A key in a vault. Each signature differs, as those of ECDSA do; none is verified here."""

    def __init__(self) -> None:
        self._made = 0

    def sign(self, digest: bytes) -> Signature:
        self._made += 1
        return Signature(f"signature {self._made}".encode(), _PUBLIC_KEY)

    def check(self) -> None:
        return None


class Announcer:
    """Records the received outcomes, in the order of their first delivery; refuses a share of all ids permanently."""

    def __init__(self) -> None:
        self.heard: dict[str, Outcome] = {}
        self.refused, self.rejections = 0.0, 0

    def announce(self, outcome: Outcome) -> None:
        if SECRET in str(outcome.data):
            raise LimitError(f"a secret in {outcome.name}")
        if self.refuses(outcome):
            self.rejections += 1
            raise Rejected(f"{outcome.name}: 400")
        if self.heard.setdefault(outcome.id, outcome) != outcome:
            raise LimitError(f"{outcome.id} is {outcome}, and was {self.heard[outcome.id]}")

    def refuses(self, outcome: Outcome) -> bool:
        """Whether it permanently refuses an outcome."""
        return int(outcome.id[:4], 16) / 0x10000 < self.refused


class Referrers:
    """What is attached upstream: to every fourth digest an SBOM, and a manifest that names another digest as its
    subject; to every eighth one also an attestation, under its tag of cosign.
    """

    def __init__(self) -> None:
        self._content: dict[Digest, bytes] = {}

    def attached(
        self,
        registry: RegistryRule,
        repository: str,
        digest: Digest,
        artifact_type: str = "",
        *,
        ends_at: float = math.inf,
    ) -> Attachments:
        return Attachments(manifests=tuple(map(self._listed, (*self.honest(digest), *self.hostile(digest)))))

    def cosign_tags(
        self,
        registry: RegistryRule,
        repository: str,
        digest: Digest,
        suffixes: Collection[str] = (),
        *,
        ends_at: float = math.inf,
    ) -> tuple[Descriptor, ...]:
        if int(digest[7:9], 16) % 8:
            return ()
        found, tag = self._manifest(f"attestation of {digest}", None), f"{digest.replace(':', '-')}.att"
        return (Descriptor(digest=found, tag=tag),)

    def honest(self, digest: Digest) -> list[Digest]:
        """Those that are to be copied."""
        return [] if int(digest[7:9], 16) % 4 else [self._manifest(f"SBOM of {digest}", digest)]

    def hostile(self, digest: Digest) -> list[Digest]:
        """Those that are not."""
        return [self._manifest("lies", digest_of(digest.encode()))] if self.honest(digest) else []

    def manifest(
        self, registry: RegistryRule, repository: str, digest: Digest, limit_bytes: int, *, ends_at: float = math.inf
    ) -> bytes:
        if digest not in self._content:
            raise Gone(f"{digest} is not in {registry.login_server}/{repository}")
        return self._content[digest]

    blob = manifest

    def _listed(self, digest: Digest) -> Descriptor:
        return Descriptor(digest=digest, size=len(self._content[digest]))

    def _manifest(self, text: str, subject: Digest | None) -> Digest:
        part = {"mediaType": "text/plain", "digest": self._put(text.encode()), "size": len(text)}
        made = {"config": part, "layers": [part]} | ({"subject": {"digest": subject}} if subject else {})
        return self._put(msgspec.json.encode(made))

    def _put(self, content: bytes) -> Digest:
        found = digest_of(content)
        self._content[found] = content
        return found


class Secrets:
    """The vault."""

    def read(self, name: str) -> str:
        raise Misconfigured(f"there is no secret {name}")

    def credentials(self, registry: RegistryRule) -> tuple[str, str]:
        return f"{registry.name}-user", SECRET

    def expiry(self, registry: RegistryRule) -> datetime | None:
        return None

    def values(self) -> list[str]:
        return []


class Subscriptions:
    """The event subscriptions of Event Grid."""

    def delivers_to_app(self, registry: RegistryRule) -> bool | None:
        return True


@dataclass
class Outside:
    """All external services."""

    scheduler: Scheduler
    random: Random
    deliver: Callable[[Any, float], None]
    ledger: Ledger = field(default_factory=Ledger)
    archive: Archive = field(default_factory=Archive)
    signer: Signer = field(default_factory=Signer)
    topic: Announcer = field(default_factory=Announcer)
    webhook: Announcer = field(default_factory=Announcer)
    referrers: Referrers = field(default_factory=Referrers)
    secrets: Secrets = field(default_factory=Secrets)
    subscriptions: Subscriptions = field(default_factory=Subscriptions)

    def __post_init__(self) -> None:
        self.queue = Queue(self.deliver)
        self.registry = Registries(self.scheduler, self.random)
        self.tags = Tags(self.registry, self.scheduler, self.random)
        self.tasks = Tasks(self.scheduler, self.random)
        self.containers = Containers(self.scheduler, self.random)

    def stable(self, server: str, repository: str, tag: str) -> Digest | None:
        """The true digest of a tag."""
        return self.registry.tags.get((server, f"{repository}:{tag}"))


def moment(seconds: float) -> datetime:
    """A moment of simulated time."""
    return START + timedelta(seconds=seconds)


def _base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, rest = divmod(number, 36)
        text = digits[rest] + text
    return text or "0"
