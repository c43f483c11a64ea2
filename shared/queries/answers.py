"""What operators read, as types: the HTTP interface answers these, and its OpenAPI schemas are made from them.

Keys are camelCase. Records of the ledger, holds and vetoes are as they are stored, rules as they are written in
gates.yaml: in snake_case.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec

from shared.checks import check_type
from shared.domain.candidate import Candidate, CandidateSummary
from shared.domain.image import Digest
from shared.domain.policy import App as PolicyApp
from shared.domain.policy import BaseRule
from shared.domain.policy import Gate as Rule
from shared.domain.promotion import Promotion
from shared.domain.record import Answer, Moment, Record
from shared.domain.rollout import Rollout, RolloutSummary
from shared.domain.stable_tag import Hold, Move, Veto
from shared.domain.targets import deploy_type
from shared.ports import Page

if TYPE_CHECKING:
    WrittenCheck = Any
    WrittenDeploy = Any
else:
    WrittenCheck, WrittenDeploy = check_type(), deploy_type()

T = TypeVar("T")


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


class GateRule(Rule, frozen=True, kw_only=True):
    """The rule for one family of upstream images, as it is written."""

    checks: Annotated[tuple[WrittenCheck, ...], msgspec.Meta(min_length=1)]


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


class AppRule(PolicyApp, frozen=True, kw_only=True):
    """Something that stands on a promoted image, as it is written."""

    deploy: WrittenDeploy | None = None


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
