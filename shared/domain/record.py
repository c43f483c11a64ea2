"""What every durable record has in common: a key, a history that explains it, and its next step."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import replace

from shared.domain.image import Digest, ImageRef, Repository, Tag

_END_OF_TIME = 10**14
_HISTORY_LIMIT = 100
TEXT_LIMIT = 500
"""How many characters of a reason a history entry or a list item holds."""

Moment = Annotated[datetime, Meta(tz=True)]


class ApiModel(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the HTTP interface answers: its keys are camelCase."""


Item = TypeVar("Item", bound=ApiModel)


class RecordSummary(ApiModel, frozen=True, kw_only=True):
    """The fields of every list item. `state` is `stalled` while a step cannot be taken.

    `reason` explains the state; of a stalled record, `remedy` says what to do, and `next_try_at` when the step is tried
    again.
    """

    id: str
    state: str
    reason: str
    created_at: Moment
    last: str = ""
    changed_at: Moment | None = None
    remedy: str = ""
    next_try_at: Moment | None = None


class Entry(Struct, frozen=True):
    """One entry of a record's history: when, what happened, and why."""

    at: datetime
    what: str
    why: str = ""


class WorkItem(Struct, frozen=True):
    """A queue message: reconcile this record. It is only a reference; the ledger has the rest.

    `planned_for` distinguishes the work item that a record planned (`Record.next_step_at`) from a mere hint, which has
    none. The field names avoid those that the Functions host reserves (`id`, `dequeueCount`, …): a top-level key of
    that name in a message body overrides the message's metadata.
    """

    kind: str
    partition: str
    row: str
    planned_for: datetime | None = None


class Stall(Struct, frozen=True, kw_only=True):
    """A step that cannot be taken now: throttled, forbidden, locked, unavailable. It is tried again until it succeeds.

    `dependency` is what the step needs (`registry base`, `task base/base-import-node`), `cause` one of
    `shared.domain.errors.Cause` or "": there is one alarm for each pair of the two.
    """

    since: datetime
    step: str
    dependency: str
    reason: str
    remedy: str = ""
    cause: str = ""
    tries: int = 0
    next_try_at: datetime | None = None


class Row(Struct, frozen=True, kw_only=True):
    """A record of the ledger: `key_fields` name the fields of its partition and row, unless it overrides those.

    All records of a kind with `one_partition` are in that.
    """

    key_fields: ClassVar[tuple[str, str]]
    one_partition: ClassVar[str] = ""

    @property
    def partition(self) -> str:
        """The ledger partition: what it belongs to."""
        return self.one_partition or str(getattr(self, self.key_fields[0]))

    @property
    def row(self) -> str:
        """The ledger row: which one it is."""
        return str(getattr(self, self.key_fields[1]))


class Record(Row, frozen=True, kw_only=True):
    """A record that a controller takes from step to step until it is settled.

    `failures` counts the steps in a row that could not be taken, since `failing_since`; after two, or a minute, the
    record is stalled. `failing_step` is the step that found a run or a copy ended without a result ("" if none did):
    only a result clears it, not the start of another one. `next_step_at` is when its planned work item becomes visible
    (None: nothing is planned); `last_outcome` is the number of the last outcome that it caused (0: none yet).
    """

    state: StrEnum
    created_at: datetime
    reason: str = ""
    history: tuple[Entry, ...] = ()
    failures: int = 0
    failing_since: datetime | None = None
    failing_step: str = ""
    stall: Stall | None = None
    next_step_at: datetime | None = None
    last_outcome: int = 0

    @property
    def id(self) -> str:
        """Its name for operators."""
        return f"{self.partition}.{self.row}"

    @property
    def work_item(self) -> WorkItem:
        """The message to reconcile this record, as a hint."""
        return WorkItem(type(self).__name__.lower(), self.partition, self.row)

    @property
    def planned_work_item(self) -> WorkItem:
        """The message of the record's planned step: each plan has exactly one."""
        return replace(self.work_item, planned_for=self.next_step_at)

    @property
    def settled(self) -> bool:
        """Whether its state is final."""
        raise NotImplementedError

    @property
    def state_name(self) -> str:
        """Its state as shown: `stalled` takes precedence over the state that it is stalled in."""
        return "stalled" if self.stall is not None and not self.settled else self.state.value

    @property
    def why(self) -> str:
        """Why it is in this state: what it stalls on, else its reason."""
        return self.stall.reason if self.stall is not None and not self.settled else self.reason

    @property
    def time_row(self) -> str:
        """Its row in the list by time: sorts the records of a partition by their creation, the newest first."""
        return time_row(self.created_at, self.row)

    @property
    def changed_at(self) -> datetime:
        """When it last changed."""
        return self.history[-1].at if self.history else self.created_at

    def _summarized(self) -> dict[str, Any]:
        """The fields of every list item that the record does not have under their names."""
        last = f"{self.history[-1].what}: {self.history[-1].why}" if self.history else ""
        stall = None if self.settled else self.stall
        return {
            "state": self.state_name,
            "reason": self.why[:TEXT_LIMIT],
            "last": last.removesuffix(": ")[:TEXT_LIMIT],
            "remedy": stall.remedy if stall else "",
            "next_try_at": stall.next_try_at if stall else None,
        }

    def ended(self, now: datetime, state: StrEnum, reason: str) -> Self:
        """The record in another state, and why."""
        return replace(self, state=state, reason=reason).noting(now, state.value, reason)

    def noting(self, now: datetime, what: str, why: str = "") -> Self:
        """The record with another history entry; at the limit the oldest entries except the first are dropped."""
        entry = Entry(now, what[:TEXT_LIMIT], why[:TEXT_LIMIT])
        if self.history and (self.history[-1].what, self.history[-1].why) == (entry.what, entry.why):
            return self
        history = (*self.history, entry)
        if len(history) > _HISTORY_LIMIT:
            history = (history[0], *history[-(_HISTORY_LIMIT - 1) :])
        return replace(self, history=history)

    def planning(self, now: datetime, wait_seconds: float) -> Self:
        """The record with its next step planned."""
        return replace(self, next_step_at=now + timedelta(seconds=wait_seconds))


class GateRecord(Record, frozen=True, kw_only=True):
    """A record about one image at a gate: a digest that `tag` had in the source registry."""

    key_fields = ("gate", "tag")

    gate: str
    tag: Tag
    digest: Digest
    source_registry: str
    repository: Repository
    login_server: str

    @property
    def image(self) -> ImageRef:
        """The image, in its source registry."""
        return ImageRef(self.login_server, self.repository, self.digest)


def list_item(kind: type[Item], record: Row, **shown: Any) -> Item:
    """A list item of a record: what is `shown` of it, and else the record's fields of the same names."""
    own = {name: getattr(record, name) for name in kind.__struct_fields__ if name not in shown}
    return kind(**own, **shown)


def time_row(moment: datetime, name: str) -> str:
    """The row in a partition's list by time of what happened at a moment: the newest sorts first."""
    return f"~{_time_left(moment):014}~{name}"


def rows_before(moment: datetime) -> str:
    """Where the list by time continues with what happened before a moment, to the millisecond."""
    return f"~{_time_left(moment) + 1:014}"


def _time_left(moment: datetime) -> int:
    """The milliseconds from a moment to the highest one: at most 14 digits, so that they sort as text."""
    return min(max(0, _END_OF_TIME - int(moment.timestamp() * 1000)), _END_OF_TIME - 2)


def seconds_between(earlier: datetime, later: datetime) -> float:
    """The time from one moment to another, never negative."""
    return max(0.0, (later - earlier).total_seconds())


def growing_wait(since: datetime, now: datetime) -> float:
    """The seconds to wait before reading something again that has run since `since`: a third of its age, 1 to 30 s.

    Azure Storage queues hide messages for whole seconds, so nothing between none and one is possible. Each reading is a
    request to Azure Resource Manager, which limits them.
    """
    return min(30.0, max(1.0, seconds_between(since, now) / 3))
