"""What the workflows need of the world, one protocol a need; `adapters` fulfil them, tests bring fakes.

Every method may raise `Retry` (a passing fault) or `Misconfigured` (a role, name or secret is wrong);
what else it raises is said beside it. Names of registries are those of the rules.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

from shared.domain.errors import Busy, Conflict
from shared.domain.event import Hint
from shared.domain.image import Digest, ImageRef
from shared.domain.observation import Observation
from shared.domain.outcome import Outcome
from shared.domain.policy import App, DeployRule, Gate, Policy, RegistryRule
from shared.domain.promotion import Promotion, promotion_row
from shared.domain.record import WorkItem
from shared.domain.retention import Numbers
from shared.domain.rollout import BuiltImage
from shared.domain.stable_tag import StableTag

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class Keyed(Protocol):
    """A record with its place in the ledger."""

    @property
    def partition(self) -> str:
        """What it belongs to: a gate or an app."""
        ...

    @property
    def row(self) -> str:
        """Which one it is."""
        ...


class Listed(Keyed, Protocol[Item_co]):
    """A record that a list by time shows, as an `item`."""

    item: ClassVar[type[Any]]

    @property
    def time_row(self) -> str:
        """Where it stands in the list; "": nowhere. A record that gets another one leaves a line behind."""
        ...

    def summary(self) -> Item_co:
        """How it reads there."""
        ...


R = TypeVar("R", bound=Keyed)
DeployRule_contra = TypeVar("DeployRule_contra", bound=DeployRule, contravariant=True)

HISTORY_LIMIT = 1000
"""How far back an operation reads what a tag or an app was: far more than can be gone back to."""

RACES = 5
"""How often a change is tried that others make impossible, before its work is put off."""


class Stored(msgspec.Struct, Generic[R], frozen=True):
    """A record as it was read or written, with the ETag that a later write must match."""

    record: R
    etag: str


class Claimed(Stored[R], Generic[R], frozen=True):
    """A record that this worker has just stored, with the claim to its first run: no other worker starts that."""


class Change(msgspec.Struct, frozen=True):
    """One write of a transaction: a new record (`stored` is None), or the replacement of one as it was read."""

    record: Any
    stored: Stored[Any] | None = None


class Removal(msgspec.Struct, frozen=True):
    """The removal of a record in a transaction, with all that lists show of it: as it was read.

    Where `stored` is None, it goes whatever it has become, and may be gone already; no list has such a one.
    """

    record: Any
    stored: Stored[Any] | None = None


def removal(stored: Stored[Any]) -> Removal:
    """The removal of a record, unless somebody has changed it since it was read."""
    return Removal(stored.record, stored)


class Only(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines of a list are wanted: those of one state ("": any), of `since` or later, and of before `until`."""

    state: str = ""
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING = Only()


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """Some of a list, the newest first; `next` is the token of the page after it, "" at the end.

    A page that is filtered may be short, even empty, and have a next one all the same.
    """

    items: tuple[Item, ...]
    next: str = ""


class Ledger(Protocol):
    """The durable record of everything."""

    def insert(self, record: R) -> Stored[R] | None:
        """Store a new record; None where one with its key is there already."""
        ...

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        """A record, or None."""
        ...

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        """Replace a record that nobody changed since `stored` was read.

        Raises:
            Conflict: somebody did.
        """
        ...

    def commit(self, *changes: Change | Removal) -> list[Stored[Any]]:
        """Write or remove several records of one gate, or of one app, all or none; returns those that are written.

        Raises:
            Conflict: one that is new is there already, or another was changed or removed since it was read.
        """
        ...

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        """The records of a partition whose row begins with a prefix, in the order of their rows."""
        ...

    def between(self, kind: type[R], partition: str, first: str, last: str) -> Iterator[Stored[R]]:
        """The records of a partition whose rows are from `first` to `last` ("": to the end), in the order of rows."""
        ...

    def open(self, kind: type[R], partition: str) -> Iterator[Stored[R]]:
        """The records of a partition with which anything is left to do, however many are finished."""
        ...

    def page(
        self, kind: type[Listed[Item]], partition: str, limit: int, token: str = "", only: Only = EVERYTHING
    ) -> Page[Item]:
        """A page of a partition's list, the newest first: one query, however many records there are.

        Raises:
            Malformed: the token is none of this ledger's.
        """
        ...

    def purge_moves(self, partition: str, before: datetime, kept: Collection[str]) -> Iterator[int]:
        """Remove from a partition's list of moves of stable tags those before a moment, but the lines `kept`.

        Yields how many went, some at a time.
        """
        ...

    def purge(self, kind: type[Keyed], partition: str, before: datetime, limit: int) -> int:
        """Remove some of a partition's records whose `at` is before a moment, 100 at most; how many they were."""
        ...


def read(ledger: Ledger, blank: R) -> R:
    """The record with the key of a blank one, which it is where there is none; nothing is written."""
    stored = ledger.load(type(blank), blank.partition, blank.row)
    return stored.record if stored else blank


def get_or_create(ledger: Ledger, blank: R) -> Stored[R]:
    """The record with the key of a blank one, which is stored where there is none."""
    stored = ledger.load(type(blank), blank.partition, blank.row) or ledger.insert(blank)
    return stored or get_or_create(ledger, blank)


def last(ledger: Ledger, kind: type[R], partition: str, row_prefix: str) -> Stored[R] | None:
    """The record whose row is the last one that begins with a prefix; None where there is none."""
    listed = list(ledger.list(kind, partition, row_prefix))
    return listed[-1] if listed else None


def newest_promotions(ledger: Ledger, gate: str, tag: str, limit: int = HISTORY_LIMIT) -> Iterator[Stored[Promotion]]:
    """The promotions of a tag, the newest first, as far as they are taken: none has a higher number than its tag."""
    seen, stable = ledger.load(Observation, gate, tag), ledger.load(StableTag, gate, tag)
    purged = None if seen and seen.record.sequence else ledger.load(Numbers, gate, gate)
    high, span = max(one.record.sequence if one else 0 for one in (seen, stable, purged)), 100
    while high > 0 and limit > 0:
        low = max(1, high - span + 1)
        found = list(ledger.between(Promotion, gate, promotion_row(tag, low), promotion_row(tag, high)))
        yield from found[::-1][:limit]
        high, span, limit = low - 1, 2 * span, limit - len(found)


def update(ledger: Ledger, blank: R, change: Callable[[R], R]) -> R:
    """Change the record with the key of a blank one, as often as it takes. A change that is none writes nothing.

    Raises:
        Busy: others change it all the time.
    """
    for _ in range(RACES):
        stored = get_or_create(ledger, blank)
        changed = change(stored.record)
        try:
            return changed if changed == stored.record else ledger.save(stored, changed).record
        except Conflict:
            continue
    raise Busy(f"others change the record of {blank.row} all the time", delay_seconds=1.0)


class QueueState(msgspec.Struct, frozen=True):
    """The queue as it stands: the time at the service, None where it does not say, and how many messages were given
    up on."""

    server_time: datetime | None
    given_up: int = 0


class WorkQueue(Protocol):
    """Brings records up again, and source tags to be read."""

    def send(self, item: WorkItem, wait_seconds: float) -> None:
        """Queue a work item, hidden for a time (whole seconds, rounded up; seven days at most)."""
        ...

    def send_hint(self, hint: Hint, wait_seconds: float) -> None:
        """Queue a hint, in a queue of its own, hidden for a time."""
        ...

    def check(self) -> QueueState:
        """See whether the queues can be used, and how they stand; nothing is sent."""
        ...


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry last said of its rate limit.

    `remaining` of `limit` requests are left in a window of `window_seconds` (0 where it does not say).
    `source` is what the registry counts by, Docker Hub's `docker-ratelimit-source`: an address or an account.
    """

    limit: int
    remaining: int
    window_seconds: int = 0
    source: str = ""


class TagReader(Protocol):
    """Says what a registry's tags point at; it changes nothing there.

    Every method may raise

    - `Throttled`: too many requests, look again after its `delay_seconds`;
    - `Retry`: the registry is away, slow or has a fault of its own;
    - `Misconfigured`: access is refused, the host is unknown, its certificate is not trusted, or it leads to an
      address that requests may not go to;
    - `Malformed`: an answer that breaks the specification;
    - `Rejected`: any other refusal.
    """

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        """The digest a tag points at now, or None where there is no such tag. Does not count as a pull."""
        ...

    def tags(self, registry: RegistryRule, repository: str) -> Iterator[str]:
        """The names that a repository lists, in the registry's order, read page by page as they are taken.

        Yields none where there is no such repository. A name may be no tag: some registries list what nobody can pull.
        """
        ...

    def allowance(self, registry: RegistryRule) -> Allowance | None:
        """What the registry last said of its rate limit, None where it has said nothing."""
        ...


class CopyState(StrEnum):
    """How a server-side copy stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class CopyStatus(msgspec.Struct, frozen=True):
    """A copy's state, and the service's words where it failed."""

    state: CopyState
    message: str = ""


class TagState(msgspec.Struct, frozen=True):
    """What a tag points at, and whether it is locked against writes and deletes (None: that was not asked for)."""

    digest: Digest
    locked: bool | None = False


class TagPush(msgspec.Struct, frozen=True):
    """A tag, what it points at, and when it was pushed last."""

    tag: str
    digest: Digest
    pushed_at: datetime


class Registry(Protocol):
    """An Azure registry that the app builds in or promotes to: its tags, locks, and copies that the service makes.

    What may be a registry of any make, and what is read often, is read through `TagReader`.
    """

    def login_server(self, registry: RegistryRule) -> str:
        """The host name that Azure says a registry has.

        Raises:
            Misconfigured: there is no such registry, or the app may not read it.
        """
        ...

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        """The digest a tag points at now, or None where there is no such tag: what every change is read back with."""
        ...

    def start_copy(self, source: ImageRef, source_rule: RegistryRule, target: RegistryRule, name: str) -> str:
        """Begin to copy an image, index and all platforms, to the tag `name` (`repository:tag`) of the target.

        Returns the operation to ask about. An existing tag of that name is replaced only if it is not locked.

        Raises:
            Rejected: the source is gone, or the target refuses.
        """
        ...

    def copy_status(self, target: RegistryRule, operation: str) -> CopyStatus:
        """How a copy stands."""
        ...

    def tag_state(self, registry: RegistryRule, repository: str, tag: str) -> TagState | None:
        """What a tag points at and whether it is locked, or None where there is no such tag."""
        ...

    def newest_tags(self, registry: RegistryRule, repository: str, limit: int) -> list[TagPush]:
        """The tags of a repository that were pushed last, the newest first; none where there is no such repository."""
        ...

    def token_expiry(self, registry: RegistryRule, token: str, now: datetime) -> datetime | None:
        """When the next password of one of the registry's own tokens expires after `now`.

        None where none does, where there is no such token, and where the app may not look.
        """
        ...

    def lock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        """Lock a tag against writes and deletes, and its manifest against deletes only."""
        ...

    def point(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        """Point a tag at a digest of the same repository.

        Raises:
            Gone: the digest is not there. Rejected: the tag is locked.
        """
        ...

    def unlock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest | None) -> None:
        """Let a tag be written and deleted again, and with a digest its manifest too; what is gone already is fine.

        Raises:
            Misconfigured: the role for it is missing.
        """
        ...

    def remove_tag(self, registry: RegistryRule, repository: str, tag: str) -> None:
        """Remove a tag; the manifest stays. One that is gone already is fine.

        Raises:
            Misconfigured: the role for it is missing. Rejected: the tag is locked.
        """
        ...


class RunStatus(StrEnum):
    """How a task run stands, in the gate's words."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BROKEN = "broken"
    """It ended without saying anything about the image: canceled, timed out, or the service failed."""


class OutputImage(msgspec.Struct, frozen=True):
    """An image that the service lists as the output of a run."""

    login_server: str
    repository: str
    tag: str
    digest: Digest


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A task run. `detail` is the service's own status, and its message where it gave one.

    `task` is the task's name ("": it was started without one), `mark` what its starter marked it with, `outputs` the
    images it built, as far as the service lists them with their digest. Times are the service's.
    """

    run_id: str
    status: RunStatus
    detail: str = ""
    task: str = ""
    mark: str = ""
    outputs: tuple[OutputImage, ...] = ()
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class TaskRunner(Protocol):
    """ACR Tasks."""

    def start(self, registry: RegistryRule, task: str, values: Mapping[str, str], token: str) -> str:
        """Start a run of a task with values, marked with a token to find it by; returns its id."""
        ...

    def find(self, registry: RegistryRule, task: str, token: str, since: datetime) -> str | None:
        """The id of the run that was marked with a token at or after `since`, or None."""
        ...

    def marked(self, registry: RegistryRule, task: str, since: datetime) -> Iterator[tuple[str, str]]:
        """The runs of a task that were created at or after `since`, the newest first: run id and mark."""
        ...

    def get(self, registry: RegistryRule, run_id: str) -> Run | None:
        """A run, or None where there is no such run."""
        ...

    def log(self, registry: RegistryRule, run_id: str, limit_bytes: int) -> str:
        """The log of a run, its last `limit_bytes` at most, without secrets and without what drives a terminal."""
        ...

    def check(self, registry: RegistryRule, task: str) -> None:
        """See whether a task is there and runs may be started; none is."""
        ...

    def cancel(self, registry: RegistryRule, run_id: str) -> None:
        """Ask a run to stop; one that has ended is left as it is."""
        ...


class DeploymentState(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment looks like now.

    `image` is what its definition names: an app's image is put by digest, `BuiltImage.reference`. `address` is
    `host:port` or ""; `failed` says that it will not come up by itself, `stopped` that somebody has stopped it;
    `detail` is for the reader.
    """

    image: str
    running: bool
    failed: bool = False
    stopped: bool = False
    restarts: int = 0
    address: str = ""
    detail: str = ""


class DeploymentTarget(Protocol[DeployRule_contra]):
    """Where apps run, each by a rule of the target's own type."""

    def put(self, rule: DeployRule_contra, image: BuiltImage, registry: RegistryRule) -> None:
        """Send the whole definition of a deployment with an image, by its digest.

        Raises:
            Transitioning: an earlier change goes on.
            NeedsRecreation: it cannot be changed in place.
            Rejected: the definition or the image is refused.
        """
        ...

    def get(self, rule: DeployRule_contra) -> DeploymentState | None:
        """What the deployment looks like, or None where there is none."""
        ...

    def delete(self, rule: DeployRule_contra) -> None:
        """Delete a deployment; one that is gone already is fine."""
        ...


class Probe(Protocol):
    """Asks a deployed app whether it is well."""

    def check(self, address: str, path: str) -> str | None:
        """None if `http://address/path` answers 2xx or 3xx, else what it did instead."""
        ...


class Archive(Protocol):
    """Keeps evidence that is too long for a record."""

    def keep(self, name: str, text: str) -> str:
        """Store a text under a name, replacing an earlier one, and return where it is."""
        ...

    def read(self, place: str) -> str:
        """The text that was stored there. Raises `Rejected` where there is none."""
        ...

    def places(self, beginning: str) -> list[str]:
        """Where the texts are whose names begin like that."""
        ...

    def forget(self, place: str) -> None:
        """Remove a text; one that is gone already is fine."""
        ...

    def check(self) -> None:
        """See whether the archive can be used; nothing is stored."""
        ...


class Secrets(Protocol):
    """Credentials that are not the app's own."""

    def of(self, registry: RegistryRule) -> tuple[str, str]:
        """User and password of a registry."""
        ...

    def expiry(self, registry: RegistryRule) -> datetime | None:
        """When the first of a registry's two secrets expires, None where no such time is set."""
        ...

    def values(self) -> Collection[str]:
        """All that a run may have been given out of the vault, also what has been replaced since it began."""
        ...


class Subscriptions(Protocol):
    """Event Grid subscriptions of registries."""

    def reach_us(self, registry: RegistryRule) -> bool | None:
        """Whether an event subscription of a registry sends its pushes to this app; None where that cannot be told."""
        ...


class Announcer(Protocol):
    """Sends outcomes to one listener."""

    def announce(self, outcome: Outcome) -> None:
        """Send an outcome; returns when it was heard.

        Raises:
            Rejected: the listener refuses this one for good. Any other error may pass.
        """
        ...


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The ports and the policy of this process.

    `rules` gives the policy, and raises `Retry` while it is not known where its registries are. `keep` is how long what
    nothing stands on is kept, and an outcome sent again. `away` says until when this process does not try a listener in
    passing, since it did not answer. `targets` are by the kinds of their rules.
    """

    rules: Callable[[], Policy]
    ledger: Ledger
    queue: WorkQueue
    registry: Registry
    tags: TagReader
    tasks: TaskRunner
    targets: Mapping[str, DeploymentTarget[Any]]
    probe: Probe
    archive: Archive
    listeners: Mapping[str, Announcer]
    clock: Clock
    secrets: Secrets
    subscriptions: Subscriptions
    keep: timedelta = timedelta(days=400)
    away: dict[str, datetime] = field(default_factory=dict)

    @property
    def policy(self) -> Policy:
        """The rules."""
        return self.rules()

    def gate(self, name: str) -> Gate | None:
        """The gate of that name, if it is still in the rules."""
        return self.policy.gates.get(name)

    def app(self, name: str) -> App | None:
        """The app of that name, if it is still in the rules."""
        return self.policy.apps.get(name)

    def target(self, rule: DeployRule) -> DeploymentTarget[Any]:
        """Where a deploy rule deploys to."""
        return self.targets[rule.kind]

    def registry_rule(self, name: str) -> RegistryRule:
        """The registry of that name; the rules were checked to name only those that are there."""
        return self.policy.registries[name]
