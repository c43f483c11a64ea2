"""The models that the HTTP interface returns; its OpenAPI schemas are made from them.

Keys are camelCase. Records of the ledger, holds and vetoes have the keys of the ledger, rules those of gates.yaml:
snake_case.
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
from shared.domain.record import ApiModel, Moment, Record
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


class Items(ApiModel, Generic[T], frozen=True, kw_only=True):
    """A whole list: gates and apps in the order of the rules, holds and vetoes with the newest first."""

    items: tuple[T, ...]


class ScanAnswer(ApiModel, frozen=True, kw_only=True):
    """What the newest report says of a stable tag's digest: its findings by severity, and whether it is at risk.

    `failing` is the number that fails under the rules and exceptions of the last sweep, `new` how many of those were
    not in the report that it was promoted with. `scannedAt` is null if there is no report.
    """

    scanned_at: Moment | None
    database_built_at: Moment | None
    counts: dict[str, int]
    failing: int
    new: int
    at_risk: bool
    reason: str


class StableTagAnswer(ApiModel, frozen=True, kw_only=True):
    """A stable tag: its digest, its hold if it is held, and what is known of its scans if the gate scans."""

    tag: str
    sequence: int
    digest: Digest | None
    unique: str
    moved_at: Moment | None
    hold: Hold | None
    current_scan: ScanAnswer | None = msgspec.field(name="scan")


class Gate(ApiModel, frozen=True, kw_only=True):
    """A gate in the overview."""

    name: str
    source: str
    target: str
    stable: tuple[StableTagAnswer, ...]
    latest: CandidateSummary | None


class GateRule(Rule, frozen=True, kw_only=True):
    """The rule for one family of upstream images, as written."""

    checks: Annotated[tuple[WrittenCheck, ...], msgspec.Meta(min_length=1)]


class GateDetail(Gate, frozen=True, kw_only=True):
    """A gate with its rule and the active vetoes."""

    rule: GateRule
    vetoes: tuple[Veto, ...]


class App(ApiModel, frozen=True, kw_only=True):
    """An app in the overview: its live image, and the base that this is built on (`unknown` if it is not recorded)."""

    name: str
    base_rule: BaseRule
    live: str | None
    live_since: Moment | None
    base: str | None
    latest: RolloutSummary | None


class AppRule(PolicyApp, frozen=True, kw_only=True):
    """An image built on a promoted one, as written."""

    deploy: WrittenDeploy | None = None


class AppDetail(App, frozen=True, kw_only=True):
    """An app with its rule. Of the values for its build and its containers, only the names are returned."""

    rule: AppRule


class Status(ApiModel, frozen=True, kw_only=True):
    """All gates and apps in the overview."""

    gates: tuple[Gate, ...]
    apps: tuple[App, ...]


class StandingHold(Hold, frozen=True, kw_only=True):
    """A hold, and the stable tag that it keeps at `digest`; `sequence` is that of the source tag when it was set."""

    gate: str
    tag: str
    digest: Digest | None
    at: Moment


class PromotionDetail(Promotion, frozen=True, kw_only=True):
    """The record of a promotion."""

    id: str


class StandingException(ApiModel, frozen=True, kw_only=True):
    """An exception that an operator asked for: `requested`, `granted`, or `ended`.

    `author` is who asked for it, and who granted it. `grantedBy` and `endedBy` are who did that and why, or "".
    """

    gate: str
    id: str
    state: str
    vulnerability: str
    package: str
    justification: str
    author: str
    until: str
    at: Moment
    granted_by: str
    ended_by: str
    warning: str = ""


class CandidateDetail(Candidate, frozen=True, kw_only=True):
    """The record of a candidate, and those of the promotions of its digest."""

    id: str
    promotions: tuple[PromotionDetail, ...]


class RolloutDetail(Rollout, frozen=True, kw_only=True):
    """The record of a rollout."""

    id: str


Gates = Items[Gate]
Apps = Items[App]
Holds = Items[StandingHold]
Vetoes = Items[Veto]
Exceptions = Items[StandingException]
CandidatePage = Page[CandidateSummary]
MovePage = Page[Move]
RolloutPage = Page[RolloutSummary]


def detail_of(kind: Callable[..., T], record: Record, **more: Any) -> T:
    """A record as its detail model: with its id, and further fields."""
    return kind(id=record.id, **msgspec.structs.asdict(record), **more)
