"""The ports: protocols for everything outside the process. `adapters` implement them, tests have fakes.

Every method may raise `Retry` (a transient fault) or `Misconfigured` (a role, name or secret is wrong);
other errors are documented with the method. Names of registries are those of the rules.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

from shared.domain.errors import Busy, Conflict
from shared.domain.event import Hint
from shared.domain.image import Digest, ImageRef, digest_tag
from shared.domain.observation import Observation
from shared.domain.outcome import Outcome
from shared.domain.policy import App, DeployRule, Gate, Policy, RegistryRule
from shared.domain.promotion import Promotion, promotion_row
from shared.domain.record import Row, WorkItem
from shared.domain.retention import Numbers
from shared.domain.rollout import BuiltImage
from shared.domain.stable_tag import StableTag

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class Listed(Protocol[Item_co]):
    """A record that is in a list by time, as an `item`."""

    item: ClassVar[type[Any]]

    @property
    def time_row(self) -> str:
        """Its row in the list; "": it is not listed. A record whose `time_row` changes keeps its earlier items too."""

    def summary(self) -> Item_co:
        """The record as a list item."""


R = TypeVar("R", bound=Row)
DeployRule_contra = TypeVar("DeployRule_contra", bound=DeployRule, contravariant=True)

HISTORY_LIMIT = 1000
"""How many records of a history an operation reads: far more than there are to roll back to."""

COSIGN_TAGS = (".sig", ".att", ".sbom")
"""The suffixes of the tags of cosign's older scheme: signatures, attestations, SBOMs."""


SAVE_TRIES = 5
"""How often a change is tried that conflicts with other workers, before it is postponed."""


class Stored(msgspec.Struct, Generic[R], frozen=True):
    """A record as it was read or written, with the ETag that a later write must match."""

    record: R
    etag: str


class Claimed(Stored[R], Generic[R], frozen=True):
    """A record that this worker has just stored with the claim of its first run: no other worker starts that."""


class Change(msgspec.Struct, frozen=True):
    """One write of a transaction: a new record (`stored` is None), or the replacement of one as read."""

    record: Any
    stored: Stored[Any] | None = None


class Removal(msgspec.Struct, frozen=True):
    """The removal of a record, as read, in a transaction, together with its list items.

    If `stored` is None, it is removed unconditionally, and may be gone already; such a record is in no list.
    """

    record: Any
    stored: Stored[Any] | None = None


def removal(stored: Stored[Any]) -> Removal:
    """The removal of a record, unless it was changed since it was read."""
    return Removal(stored.record, stored)


class ListFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which items of a list to return: those of one state ("": any), at or after `since`, and before `until`."""

    state: str = ""
    since: datetime | None = None
    until: datetime | None = None


NO_FILTER = ListFilter()


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """A page of a list, the newest first; `next` is the token of the next page, "" at the end.

    A filtered page may be short, even empty, and still have a next one.
    """

    items: tuple[Item, ...]
    next: str = ""


class Ledger(Protocol):
    """The durable records."""

    def insert(self, record: R) -> Stored[R] | None:
        """Store a new record; None if its key exists already."""

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        """A record, or None."""

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        """Replace a record as it was read.

        Raises:
            Conflict: it was changed since `stored` was read.
        """

    def commit(self, *changes: Change | Removal) -> list[Stored[Any]]:
        """Write or remove several records of one gate, or of one app, all or none; returns those written.

        Raises:
            Conflict: a new one exists already, or another was changed or removed since it was read.
        """

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        """The records of a partition whose row begins with a prefix, in the order of their rows."""

    def between(self, kind: type[R], partition: str, first: str, last: str) -> Iterator[Stored[R]]:
        """The records of a partition whose rows are from `first` to `last` ("": to the end), in the order of rows."""

    def open(self, kind: type[R], partition: str) -> Iterator[Stored[R]]:
        """The unsettled records of a partition, in a time that does not depend on the number of settled ones."""

    def page(
        self, kind: type[Listed[Item]], partition: str, limit: int, token: str = "", only: ListFilter = NO_FILTER
    ) -> Page[Item]:
        """A page of a partition's list, the newest first: one query, independent of the number of records.

        Raises:
            Malformed: the token is not from this ledger.
        """

    def purge_moves(self, partition: str, before: datetime, kept: Collection[str]) -> Iterator[int]:
        """Remove from a partition's list of stable-tag moves those before a moment, except the rows `kept`.

        Yields the number removed by each batch.
        """

    def purge(self, kind: type[Row], partition: str, before: datetime, limit: int) -> int:
        """Remove up to `limit` records of a partition whose `at` is before a moment, 100 at most; returns how many."""


def read(ledger: Ledger, blank: R) -> R:
    """The record with the key of a blank one, or the blank one if there is none; nothing is written."""
    stored = ledger.load(type(blank), blank.partition, blank.row)
    return stored.record if stored else blank


def get_or_create(ledger: Ledger, blank: R) -> Stored[R]:
    """The record with the key of a blank one, which is stored if there is none."""
    stored = ledger.load(type(blank), blank.partition, blank.row) or ledger.insert(blank)
    return stored or get_or_create(ledger, blank)


def last(ledger: Ledger, kind: type[R], partition: str, row_prefix: str) -> Stored[R] | None:
    """The last record whose row begins with a prefix, or None."""
    listed = list(ledger.list(kind, partition, row_prefix))
    return listed[-1] if listed else None


def newest_promotions(ledger: Ledger, gate: str, tag: str, limit: int = HISTORY_LIMIT) -> Iterator[Stored[Promotion]]:
    """The promotions of a tag, the newest first, read lazily: none has a higher sequence than its tag."""
    seen, stable = ledger.load(Observation, gate, tag), ledger.load(StableTag, gate, tag)
    purged = None if seen and seen.record.sequence else ledger.load(Numbers, gate, gate)
    high, span = max(one.record.sequence if one else 0 for one in (seen, stable, purged)), 100
    while high > 0 and limit > 0:
        low = max(1, high - span + 1)
        found = list(ledger.between(Promotion, gate, promotion_row(tag, low), promotion_row(tag, high)))
        yield from found[::-1][:limit]
        high, span, limit = low - 1, 2 * span, limit - len(found)


def update(ledger: Ledger, blank: R, change: Callable[[R], R]) -> R:
    """Change the record with the key of a blank one, retrying conflicts. An unchanged record is not written.

    Raises:
        Busy: too many conflicts.
    """
    for _ in range(SAVE_TRIES):
        stored = get_or_create(ledger, blank)
        changed = change(stored.record)
        try:
            return changed if changed == stored.record else ledger.save(stored, changed).record
        except Conflict:
            continue
    raise Busy(f"too many conflicts on the record of {blank.row}", delay_seconds=1.0)


class QueueState(msgspec.Struct, frozen=True):
    """The state of the queue: the time of the service, None if it reports none, and the number of poison messages."""

    server_time: datetime | None
    given_up: int = 0


class WorkQueue(Protocol):
    """The queues of work items and hints."""

    def send(self, item: WorkItem, wait_seconds: float) -> None:
        """Queue a work item, hidden for a time (whole seconds, rounded up; seven days at most)."""

    def send_hint(self, hint: Hint, wait_seconds: float) -> None:
        """Queue a hint, in a queue of its own, hidden for a time."""

    def check(self) -> QueueState:
        """Check that the queues can be used, and return their state; nothing is sent."""


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """The rate limit that a registry last reported.

    `remaining` of `limit` requests are left in a window of `window_seconds` (0 if it reports none).
    `source` is what the registry counts by, Docker Hub's `docker-ratelimit-source`: an address or an account.
    """

    limit: int
    remaining: int
    window_seconds: int = 0
    source: str = ""


class TagReader(Protocol):
    """Reads the tags of a registry of any vendor.

    Every method may raise

    - `Throttled`: too many requests, try again after its `delay_seconds`;
    - `Retry`: the registry is unavailable, slow or has a fault;
    - `Misconfigured`: access is refused, the host is unknown, its certificate is not trusted, or it resolves to an
      address that requests may not be sent to;
    - `Malformed`: the answer violates the specification;
    - `Rejected`: any other refusal.
    """

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        """The digest that a tag points to, or None if there is no such tag. Does not count as a pull."""

    def tags(self, registry: RegistryRule, repository: str) -> Iterator[str]:
        """The names that a repository lists, in the registry's order, read page by page as they are taken.

        Yields none if there is no such repository. Some registries list names that are not valid tags.
        """

    def allowance(self, registry: RegistryRule) -> Allowance | None:
        """The rate limit that the registry last reported, or None."""


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest that a registry lists as attached to a digest. Nothing of it is verified.

    `artifact_type` is "" where the registry does not say it; `tag` is the tag of cosign that points to it, "" if it was
    listed as a referrer.
    """

    digest: Digest
    media_type: str = ""
    artifact_type: str = ""
    size: int = 0
    tag: str = ""


class Attachments(msgspec.Struct, frozen=True, kw_only=True):
    """The manifests that are attached to a digest, in the registry's order, up to a limit.

    `left_out` counts those that were listed beyond the limit, or whose descriptors are invalid. Without `is_complete`
    there are further pages, which were not read.
    """

    manifests: tuple[Descriptor, ...] = ()
    left_out: int = 0
    is_complete: bool = True


def attachment_tags(digest: Digest) -> tuple[str, ...]:
    """The tags that are named after a digest: cosign's, and that of an index of its referrers."""
    return tuple(digest_tag(digest, suffix) for suffix in ("", *COSIGN_TAGS))


class Referrers(Protocol):
    """Reads what is attached to a digest, at a registry of any vendor: signatures, SBOMs, attestations.

    Whoever may push to the repository decides what is there: all of it is untrusted. Every method may raise the errors
    of `TagReader`, and raises `Retry` when `ends_at` has come (monotonic seconds), however far it is.
    Sources: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
    and https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#tag-based-discovery
    """

    def attached(
        self,
        registry: RegistryRule,
        repository: str,
        digest: Digest,
        artifact_type: str = "",
        *,
        ends_at: float = math.inf,
    ) -> Attachments:
        """The referrers of a digest, all or of one artifact type: by the referrers API, or where there is none, in the
        index under the tag `sha256-<hex>`.
        """

    def cosign_tags(
        self,
        registry: RegistryRule,
        repository: str,
        digest: Digest,
        suffixes: Collection[str] = COSIGN_TAGS,
        *,
        ends_at: float = math.inf,
    ) -> tuple[Descriptor, ...]:
        """The manifests under the tags of cosign's older scheme, `sha256-<hex>.sig`, `.att` and `.sbom`."""

    def manifest(
        self, registry: RegistryRule, repository: str, digest: Digest, limit_bytes: int, *, ends_at: float = math.inf
    ) -> bytes:
        """The manifest with a digest, which its bytes have.

        Raises:
            Gone: there is none. Malformed: it is larger than the limit, or its bytes have another digest.
        """

    def blob(
        self, registry: RegistryRule, repository: str, digest: Digest, limit_bytes: int, *, ends_at: float = math.inf
    ) -> bytes:
        """The blob with a digest, which its bytes have; it raises as `manifest` does."""


class RunStatus(StrEnum):
    """The status of a task run, or of a server-side copy, as Basegate distinguishes it."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BROKEN = "broken"
    """A task run ended without a result: canceled, timed out, or the service failed."""


class CopyStatus(msgspec.Struct, frozen=True):
    """A copy's state, and the service's message if it failed."""

    state: RunStatus
    message: str = ""


class TagState(msgspec.Struct, frozen=True):
    """The digest that a tag points to, and whether it is locked against writes and deletes (None: not read)."""

    digest: Digest
    locked: bool | None = False


class TagPush(msgspec.Struct, frozen=True):
    """A tag, the digest that it points to, and when it was last pushed."""

    tag: str
    digest: Digest
    pushed_at: datetime


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What is attached to an image: one file of a media type, which is that of the artifact, too, if it has no
    `artifact_type`. `file_name` is for clients that download it.
    """

    media_type: str
    content: bytes
    annotations: Mapping[str, str] = {}
    artifact_type: str = ""
    file_name: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest to be stored as it is: its bytes are its digest.

    With a `subject` it is attached to that; `artifact_type` and `annotations` are those that lists of referrers show.
    """

    media_type: str
    content: bytes
    subject: Digest | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = {}


class Registry(Protocol):
    """An Azure registry that apps are built in or images promoted to: its tags, locks, and server-side copies.

    Registries of any vendor, and tags that are read often, are read through `TagReader`.
    """

    def login_server(self, registry: RegistryRule) -> str:
        """The host name of a registry, as Azure reports it.

        Raises:
            Misconfigured: there is no such registry, or the app may not read it.
        """

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        """The digest that a tag points to, or None if there is no such tag: reads back every change."""

    def start_copy(self, source: ImageRef, source_rule: RegistryRule, target: RegistryRule, name: str) -> str:
        """Start to copy an image, index and all platforms, to the tag `name` (`repository:tag`) of the target.

        Returns the operation for `copy_status`. An existing tag of that name is replaced only if it is not locked.

        Raises:
            Rejected: the source is gone, or the target refuses.
        """

    def copy_status(self, target: RegistryRule, operation: str) -> CopyStatus:
        """The status of a copy."""

    def tag_state(self, registry: RegistryRule, repository: str, tag: str) -> TagState | None:
        """The digest that a tag points to and whether it is locked, or None if there is no such tag."""

    def newest_tags(self, registry: RegistryRule, repository: str, limit: int) -> list[TagPush]:
        """The last pushed tags of a repository, the newest first; empty if there is no such repository."""

    def token_expiry(self, registry: RegistryRule, token: str, now: datetime) -> datetime | None:
        """When the next password of one of the registry's own tokens expires after `now`.

        None if none does, if there is no such token, and if the app may not read it.
        """

    def lock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        """Lock a tag against writes and deletes, and its manifest against deletes only."""

    def point(self, registry: RegistryRule, repository: str, tag: str, digest: Digest) -> None:
        """Point a tag to a digest of the same repository.

        Raises:
            Gone: the digest does not exist. Rejected: the tag is locked.
        """

    def unlock(self, registry: RegistryRule, repository: str, tag: str, digest: Digest | None) -> None:
        """Unlock a tag, and with a digest its manifest too; no error if they are gone already.

        Raises:
            Misconfigured: the role for it is missing.
        """

    def attach(self, registry: RegistryRule, repository: str, subject: Digest, artifact: Artifact) -> Digest:
        """Push an artifact that refers to an image; returns its digest. The same artifact is pushed once.

        Raises:
            Gone: the image does not exist.
        """

    def add_layer(self, registry: RegistryRule, repository: str, tag: str, layer: Artifact) -> None:
        """Add a file to the layers of the artifact under a tag, which is created if there is none. Its other layers
        stay, and a file that it has is not added again. Two clients that add at the same time may lose one of them.
        """

    def manifest(self, registry: RegistryRule, repository: str, reference: str) -> bytes | None:
        """The bytes of the manifest with a tag or a digest, or None if there is none."""

    def blob_size(self, registry: RegistryRule, repository: str, digest: Digest) -> int | None:
        """The size of a blob in bytes, or None if there is none, or the registry does not say it."""

    def put_blob(self, registry: RegistryRule, repository: str, content: bytes) -> None:
        """Store a blob; no error if it is there already."""

    def put_manifest(self, registry: RegistryRule, repository: str, manifest: Manifest, tag: str) -> None:
        """Store a manifest, after its blobs: under a tag, or with "" by its digest alone. It may be there already.

        Raises:
            Rejected: the registry refuses it, or the tag is locked.
        """

    def remove_tag(self, registry: RegistryRule, repository: str, tag: str) -> None:
        """Remove a tag; the manifest stays. No error if the tag is gone already.

        Raises:
            Misconfigured: the role for it is missing. Rejected: the tag is locked.
        """


class OutputImage(msgspec.Struct, frozen=True):
    """An image that the service lists as the output of a run."""

    login_server: str
    repository: str
    tag: str
    digest: Digest


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A task run. `detail` is the service's own status, and its message if there is one.

    `task` is the task's name ("": it was started without one), `mark` the mark that its starter set, `outputs` the
    images it built, as far as the service lists them with their digests. Times are those of the service.
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
        """Start a run of a task with values, marked with a token so that `find` finds it; returns its id."""

    def find(self, registry: RegistryRule, task: str, token: str, since: datetime) -> str | None:
        """The id of the run that was marked with a token at or after `since`, or None."""

    def marked(self, registry: RegistryRule, task: str, since: datetime) -> Iterator[tuple[str, str]]:
        """The runs of a task that were created at or after `since`, the newest first: run id and mark."""

    def get(self, registry: RegistryRule, run_id: str) -> Run | None:
        """A run, or None if there is no such run."""

    def log(self, registry: RegistryRule, run_id: str, limit_bytes: int) -> str:
        """The log of a run, at most its last `limit_bytes`, without secrets and terminal control sequences."""

    def raw_log(self, registry: RegistryRule, run_id: str) -> Iterator[bytes]:
        """The whole log of a run that has ended, in chunks, as the service has it: with secrets, if it has any.

        It is for programs: it must not be stored, logged, shown or quoted.

        Raises:
            Retry: there is no log yet, or it changes while it is read.
        """

    def check(self, registry: RegistryRule, task: str) -> None:
        """Check that a task exists and that runs may be started; none is started."""

    def cancel(self, registry: RegistryRule, run_id: str) -> None:
        """Cancel a run; no error if it has ended."""


class DeploymentState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a deployment.

    `image` is the one in its definition: an app's image is put by digest, `BuiltImage.reference`. `address` is
    `host:port` or ""; `failed` says that it will not start without a change, `stopped` that an operator has stopped it;
    `detail` is a text for operators.
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
        """Put the whole definition of a deployment with an image, by its digest.

        Raises:
            Transitioning: an earlier change is in progress.
            NeedsRecreation: it cannot be changed in place.
            Rejected: the definition or the image is refused.
        """

    def get(self, rule: DeployRule_contra) -> DeploymentState | None:
        """The state of the deployment, or None if there is none."""

    def delete(self, rule: DeployRule_contra) -> None:
        """Delete a deployment; no error if it is gone already."""


class Probe(Protocol):
    """Health probe of a deployed app."""

    def check(self, address: str, path: str) -> str | None:
        """None if `http://address/path` answers 2xx or 3xx, else what happened instead."""


class Archive(Protocol):
    """Stores evidence that is too long for a record. Its errors name it as their `dependency`."""

    def store(self, name: str, text: str) -> str:
        """Store a text under a name, replacing an earlier one, and return its place."""

    def read(self, place: str) -> str:
        """The text stored at a place. Raises `Rejected` if there is none."""

    def find(self, prefix: str) -> list[str]:
        """The places of the texts whose names begin with a prefix."""

    def remove(self, place: str) -> None:
        """Delete a text; no error if it is gone already."""

    def check(self) -> None:
        """Check that the archive can be used; nothing is stored."""


class Secrets(Protocol):
    """Credentials, and other texts that rules name, in the key vault."""

    def read(self, name: str) -> str:
        """The text of one secret; an empty one counts as missing."""

    def credentials(self, registry: RegistryRule) -> tuple[str, str]:
        """User and password of a registry."""

    def expiry(self, registry: RegistryRule) -> datetime | None:
        """When the first of a registry's two secrets expires, None if neither has an expiry."""

    def values(self) -> Collection[str]:
        """All secret values that a run may have received, including those replaced since it began."""


class Signature(msgspec.Struct, frozen=True):
    """A signature, in DER, and the public key that verifies it, in PEM."""

    value: bytes
    public_key: bytes


class Signer(Protocol):
    """A private key in a vault, an EC key over P-256. It signs hashes, and never leaves the vault.

    Every method raises Misconfigured if there is no such key, no access, or the key is of another type or may not sign.
    """

    def sign(self, digest: bytes) -> Signature:
        """Sign a SHA-256 hash with ECDSA, by the latest version of the key."""

    def check(self) -> None:
        """Check that the key signs."""


class Subscriptions(Protocol):
    """Event Grid subscriptions of registries."""

    def delivers_to_app(self, registry: RegistryRule) -> bool | None:
        """Whether an event subscription sends a registry's pushes to this app; None if that cannot be determined."""


class Announcer(Protocol):
    """Sends outcomes to one listener."""

    def announce(self, outcome: Outcome) -> None:
        """Send an outcome; returns after the listener has accepted it.

        Raises:
            Rejected: the listener refuses it for good. Any other error may be transient.
        """


class Meter(Protocol):
    """Numbers for the dashboards and alerts of a monitoring system."""

    def gauge(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        """Report the current value of a gauge for some attributes; `shared/telemetry.py` has the names."""


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """The time now, in UTC."""


@dataclass(frozen=True, slots=True)
class Services:
    """The ports and the policy of this process.

    `rules` returns the policy, and raises `Retry` while the login servers of its registries are unknown. `keep` is how
    long unused records are kept, and outcomes are sent again. `unavailable` has the listeners that did not answer, and
    until when this process leaves them to their work items. `targets` are by the kinds of their rules. `signer` signs
    decision records (None: there are none), `meter` reports metrics (None: telemetry is off), and `url` is the app's
    public URL, "" if it is unknown.
    """

    rules: Callable[[], Policy]
    ledger: Ledger
    queue: WorkQueue
    registry: Registry
    tags: TagReader
    referrers: Referrers
    tasks: TaskRunner
    targets: Mapping[str, DeploymentTarget[Any]]
    probe: Probe
    archive: Archive
    listeners: Mapping[str, Announcer]
    clock: Clock
    secrets: Secrets
    subscriptions: Subscriptions
    keep: timedelta = timedelta(days=400)
    signer: Signer | None = None
    meter: Meter | None = None
    url: str = ""
    unavailable: dict[str, datetime] = field(default_factory=dict)

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
        """The registry of that name; validated rules name only existing ones."""
        return self.policy.registries[name]
