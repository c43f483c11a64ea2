"""What operators read, as types: the HTTP interface answers these, and its OpenAPI schemas are made from them.

Keys are camelCase. The records of the ledger, the rules, holds and vetoes are told as they are stored, in snake_case.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.image import Digest
from shared.domain.policy import App as AppRule
from shared.domain.policy import BaseRule
from shared.domain.policy import Gate as GateRule
from shared.domain.record import Record
from shared.domain.rollout import Cause, Rollout, RolloutState
from shared.domain.standing import Hold, HoldUntil, Veto

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What all answers have in common: how their keys are written."""


class PromotionProgress(Answer, frozen=True, kw_only=True):
    """How far the unique tag of one tag has come: `copying`, `copied`, `locked`, or "" before."""

    tag: str
    pushed_at: Moment
    unique: str
    progress: str
    since: Moment | None


class CandidateSummary(Answer, frozen=True, kw_only=True):
    """A candidate as it reads in a list. `check` is the kind of the check that is under way or waits for a person."""

    id: str
    gate: str
    image: str
    digest: Digest
    attempt: int
    tags: tuple[str, ...]
    state: CandidateState
    reason: str
    created_at: Moment
    check: str = ""
    promotions: tuple[PromotionProgress, ...] = ()
    announced: bool = False
    untold: str = ""
    last: str = ""
    changed_at: Moment | None = None


class RolloutSummary(Answer, frozen=True, kw_only=True):
    """A rollout as it reads in a list."""

    id: str
    app: str
    cause: Cause
    image: str | None
    base: str | None
    state: RolloutState
    reason: str
    created_at: Moment
    announced: bool = False
    untold: str = ""
    last: str = ""
    changed_at: Moment | None = None


class Promotion(Answer, frozen=True, kw_only=True):
    """One move of a stable tag. `moved_by` names the operator of a rollback; "" where the candidate passed."""

    gate: str
    tag: str
    digest: Digest | None
    unique: str
    candidate: str
    moved_at: Moment
    moved_by: str


class CandidatePage(Answer, frozen=True, kw_only=True):
    """Some candidates, the newest first; `next` is the token of the page after it, "" at the end."""

    items: tuple[CandidateSummary, ...]
    next: str


class RolloutPage(Answer, frozen=True, kw_only=True):
    """Some rollouts, the newest first; `next` is the token of the page after it, "" at the end."""

    items: tuple[RolloutSummary, ...]
    next: str


class PromotionPage(Answer, frozen=True, kw_only=True):
    """Some moves of a gate's stable tags, the newest first; `next` is the token of the page after it, "" at the end."""

    items: tuple[Promotion, ...]
    next: str


class StableTag(Answer, frozen=True, kw_only=True):
    """Where a stable tag stands, and its hold if it is held."""

    tag: str
    digest: Digest | None
    unique: str
    moved_at: Moment | None
    hold: Hold | None


class Gate(Answer, frozen=True, kw_only=True):
    """A gate at a glance."""

    name: str
    source: str
    target: str
    stable: tuple[StableTag, ...]
    latest: CandidateSummary | None


class GateStory(Gate, frozen=True, kw_only=True):
    """A gate with its rule and the vetoes that stand."""

    rule: GateRule
    vetoes: tuple[Veto, ...]


class App(Answer, frozen=True, kw_only=True):
    """An app at a glance: the image that is live, and the base that it is to stand on."""

    name: str
    stands_on: BaseRule
    live: str | None
    live_since: Moment | None
    base: str | None
    latest: RolloutSummary | None


class AppStory(App, frozen=True, kw_only=True):
    """An app with its rule. What its build and its containers get as values is not told: only the names."""

    rule: AppRule


class Status(Answer, frozen=True, kw_only=True):
    """All gates and apps at a glance."""

    gates: tuple[Gate, ...]
    apps: tuple[App, ...]


class Gates(Answer, frozen=True, kw_only=True):
    """All gates of the rules."""

    items: tuple[Gate, ...]


class Apps(Answer, frozen=True, kw_only=True):
    """All apps of the rules."""

    items: tuple[App, ...]


class StandingHold(Answer, frozen=True, kw_only=True):
    """A hold, and the stable tag that it keeps where it is."""

    gate: str
    tag: str
    digest: Digest | None
    actor: str
    reason: str
    at: Moment
    until: HoldUntil


class Holds(Answer, frozen=True, kw_only=True):
    """All holds that stand, the newest first."""

    items: tuple[StandingHold, ...]


class Vetoes(Answer, frozen=True, kw_only=True):
    """Vetoes of all gates, the newest first."""

    items: tuple[Veto, ...]


class CandidateStory(Candidate, frozen=True, kw_only=True):
    """The whole record of a candidate."""

    id: str


class RolloutStory(Rollout, frozen=True, kw_only=True):
    """The whole record of a rollout."""

    id: str


S = TypeVar("S", CandidateStory, RolloutStory)


def story_of(kind: Callable[..., S], record: Record, identifier: str) -> S:
    """A record with its id, as the kind of story that it is."""
    fields: dict[str, Any] = {name: getattr(record, name) for name in record.__struct_fields__}
    return kind(id=identifier, **fields)
