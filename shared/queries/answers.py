"""What operators read, as types: the HTTP interface answers these, and its OpenAPI schemas are made from them.

Keys are camelCase. Records of the ledger, holds and vetoes are as they are stored, rules as they are written in
gates.yaml: in snake_case.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from shared.domain.candidate import Candidate
from shared.domain.image import Digest
from shared.domain.policy import App as AppRule
from shared.domain.policy import BaseRule
from shared.domain.policy import Gate as GateRule
from shared.domain.promotion import Promotion
from shared.domain.record import Record
from shared.domain.rollout import Cause, Rollout
from shared.domain.stable_tag import Hold, Veto

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What all answers have in common: how their keys are written."""


class RecordSummary(Answer, frozen=True, kw_only=True):
    """What a list says of every record. `state` is `stalled` while a step cannot be taken.

    `reason` says why it stands where it stands; of a stalled record, `remedy` says what to do, and `next_try_at` when
    the step is tried again.
    """

    id: str
    state: str
    reason: str
    created_at: Moment
    last: str = ""
    changed_at: Moment | None = None
    remedy: str = ""
    next_try_at: Moment | None = None


class CandidateSummary(RecordSummary, frozen=True, kw_only=True):
    """A candidate as it reads in a list. `check` is the kind of the check that is under way or waits for a person."""

    gate: str
    image: str
    digest: Digest
    attempt: int
    tag: str
    check: str = ""


class PromotionSummary(RecordSummary, frozen=True, kw_only=True):
    """A promotion as it reads in a list. `progress` of its unique tag: `copying`, `copied`, `locked`, or "" before."""

    gate: str
    tag: str
    sequence: int
    digest: Digest
    candidate: str
    unique: str
    progress: str
    since: Moment | None


class RolloutSummary(RecordSummary, frozen=True, kw_only=True):
    """A rollout as it reads in a list."""

    app: str
    cause: Cause
    image: str | None
    base: str | None


class Move(Answer, frozen=True, kw_only=True):
    """One move of a stable tag. `moved_by`: who rolled back, or that the sweep put it back; "" where it passed."""

    gate: str
    tag: str
    sequence: int
    digest: Digest | None
    unique: str
    candidate: str
    moved_at: Moment
    moved_by: str


T = TypeVar("T")


class Page(Answer, Generic[T], frozen=True, kw_only=True):
    """Some of a list, the newest first; `next` is the token of the page after it, "" at the end."""

    items: tuple[T, ...]
    next: str


class Items(Answer, Generic[T], frozen=True, kw_only=True):
    """All of a list that is short: gates and apps as in the rules, holds and vetoes with the newest first."""

    items: tuple[T, ...]


class StableTagAnswer(Answer, frozen=True, kw_only=True):
    """Where a stable tag stands, and its hold if it is held."""

    tag: str
    sequence: int
    digest: Digest | None
    unique: str
    moved_at: Moment | None
    hold: Hold | None


class Gate(Answer, frozen=True, kw_only=True):
    """A gate at a glance."""

    name: str
    source: str
    target: str
    stable: tuple[StableTagAnswer, ...]
    latest: CandidateSummary | None


class GateStory(Gate, frozen=True, kw_only=True):
    """A gate with its rule and the vetoes that stand."""

    rule: GateRule
    vetoes: tuple[Veto, ...]


class App(Answer, frozen=True, kw_only=True):
    """An app at a glance: the image that is live, and the base that it is built on (`unknown` where nobody knows)."""

    name: str
    stands_on: BaseRule
    live: str | None
    live_since: Moment | None
    base: str | None
    latest: RolloutSummary | None


class AppStory(App, frozen=True, kw_only=True):
    """An app with its rule. Of the values that its build and its containers get, only the names are answered."""

    rule: AppRule


class Status(Answer, frozen=True, kw_only=True):
    """All gates and apps at a glance."""

    gates: tuple[Gate, ...]
    apps: tuple[App, ...]


class StandingHold(Hold, frozen=True, kw_only=True):
    """A hold, and the stable tag that it keeps where it is: on `digest`, while its source was at change `sequence`."""

    gate: str
    tag: str
    digest: Digest | None
    at: Moment


class PromotionStory(Promotion, frozen=True, kw_only=True):
    """The whole record of a promotion."""

    id: str


class CandidateStory(Candidate, frozen=True, kw_only=True):
    """The whole record of a candidate, and of what promotes its digest."""

    id: str
    promotions: tuple[PromotionStory, ...]


class RolloutStory(Rollout, frozen=True, kw_only=True):
    """The whole record of a rollout."""

    id: str


Gates = Items[Gate]
Apps = Items[App]
Holds = Items[StandingHold]
Vetoes = Items[Veto]
CandidatePage = Page[CandidateSummary]
MovePage = Page[Move]
RolloutPage = Page[RolloutSummary]

S = TypeVar("S", CandidateStory, PromotionStory, RolloutStory)


def story_of(kind: Callable[..., S], record: Record, **more: Any) -> S:
    """A record with its id, and what more there is, as the kind of story that it is."""
    return kind(id=record.id, **msgspec.structs.asdict(record), **more)
