"""Outcomes, their deliveries to each listener, and the state of the listeners."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

import msgspec

from shared.domain.alarm import STALLS, Alarm, AlarmKind
from shared.domain.observation import Observation
from shared.domain.record import Record, Row
from shared.domain.rollout import Rollout

LISTENERS = "listeners"
"""The ledger partition of the listeners' records."""

PARKED_FOR = timedelta(days=1)
"""How long an outcome that its listener refused waits until it is sent again."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome to announce: `Basegate.<name>` about a subject, with the data that an operator needs.

    `page` is the path of the record's page on the board, and of its details in the HTTP interface, below the root of
    each: `candidates/<id>`, `rollouts/<id>` or `drift`; "" makes no link. `id` is the same each time it is sent, and
    for each listener; `at` is when it occurred.
    """

    name: str
    subject: str
    page: str = ""
    data: Mapping[str, object]
    id: str = ""
    at: datetime | None = None


class Delivery(Row, frozen=True, kw_only=True):
    """One outcome for one listener: a row beside its cause, from the transaction that causes it until its delivery.

    `owner` is the ledger partition of the cause. The outcomes of a subject are ordered by `number`; `first` says that
    this is the first. `parked_at` is when the listener refused it, `problem` why: later outcomes are still delivered.
    """

    listener: str
    owner: str
    number: int
    outcome: Outcome
    first: bool = False
    parked_at: datetime | None = None
    problem: str = ""

    key_fields = ("owner", "row")

    @property
    def row(self) -> str:
        """The ledger row: sortable by listener, subject and number."""
        return f"{deliveries_to(self.listener, self.outcome.subject)}{self.number:014}.{self.outcome.id[:8]}"

    @property
    def at(self) -> datetime:
        """When its outcome occurred."""
        return self.outcome.at or datetime.min

    def is_due(self, now: datetime) -> bool:
        """Whether it is to be sent: it is not parked, or has been parked for long enough."""
        return self.parked_at is None or now - self.parked_at >= PARKED_FOR

    @property
    def rejection(self) -> Alarm:
        """The alarm about parked outcomes: one for each listener, however many it refuses."""
        return Alarm(
            scope=STALLS,
            kind=AlarmKind.REFUSED,
            subject=f"listener {self.listener}",
            words=f"{self.outcome.name} of {self.outcome.subject}: {self.problem}",
            plan="later outcomes are delivered; this one is sent again once a day, for BASEGATE_KEEP_DAYS",
            since=self.parked_at or self.at,
        )


class ListenerState(StrEnum):
    """Whether a listener has received every outcome, except those that it refuses."""

    HEARING = "hearing"
    BEHIND = "behind"


class Listener(Record, frozen=True, kw_only=True):
    """A receiver of outcomes: the topic, or the webhook.

    `owners` are the partitions with outcomes to be delivered to it, `refused` those with parked outcomes.
    """

    one_partition, key_fields = LISTENERS, ("name", "name")

    name: str
    state: ListenerState = ListenerState.HEARING
    owners: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def time_row(self) -> str:
        """Empty: listeners are in no list."""
        return ""

    @property
    def settled(self) -> bool:
        """Whether there is nothing to deliver."""
        return self.state is ListenerState.HEARING

    def behind(self, *owners: str) -> "Listener":
        """The listener with further owners whose outcomes are to be delivered."""
        known = tuple(dict.fromkeys((*self.owners, *owners)))
        return msgspec.structs.replace(self, state=ListenerState.BEHIND, owners=known)

    def caught_up(self, owner: str, *, refusing: bool) -> "Listener":
        """The listener after all outcomes of an owner were delivered, except those that it refuses."""
        owners = tuple(one for one in self.owners if one != owner)
        others = tuple(one for one in self.refused if one != owner)
        state = ListenerState.BEHIND if owners else ListenerState.HEARING
        refused = (*others, owner) if refusing else others
        return msgspec.structs.replace(self, state=state, owners=owners, refused=refused)


Cause = Record | Observation | Alarm
"""What causes outcomes."""

C = TypeVar("C", bound=Cause)


def deliveries_of(cause: C, outcome: Outcome, listeners: Iterable[str], now: datetime) -> tuple[C, list[Delivery]]:
    """The record that causes an outcome, with its number, and a delivery to each listener, to be written together.

    The outcomes of one record are numbered upwards, independently of the workers' clocks; those of two records about
    one subject (e.g. two kinds of drift) are ordered by time.
    """
    number, owner = max(cause.last_outcome + 1, int(now.timestamp() * 1000)), owner_of(cause)
    name = f"{owner}/{type(cause).__name__}/{cause.row}/{number}"
    numbered = msgspec.structs.replace(outcome, id=hashlib.sha256(name.encode()).hexdigest()[:32], at=now)
    first = cause.last_outcome == 0 and not isinstance(cause, Alarm)
    made = [Delivery(listener=one, owner=owner, number=number, outcome=numbered, first=first) for one in listeners]
    return msgspec.structs.replace(cause, last_outcome=number), made


def owner_of(cause: Cause) -> str:
    """The ledger partition of a record, prefixed with the kind of its owner, as its deliveries name it."""
    family = "app" if isinstance(cause, Rollout) else "alarm" if isinstance(cause, Alarm) else "gate"
    return f"{family}:{cause.partition}"


def deliveries_to(listener: str, subject: str = "") -> str:
    """The prefix of the ledger rows of all deliveries to a listener, or of those about one subject."""
    return f"{listener}.{_hashed(subject)}." if subject else f"{listener}."


@lru_cache(maxsize=1024)  # every step of a record asks for the deliveries about it
def _hashed(subject: str) -> str:
    return hashlib.sha256(subject.encode()).hexdigest()[:24]
