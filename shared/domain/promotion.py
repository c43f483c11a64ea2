"""A promotion: it brings a source tag's digest to the stable tag of the same name."""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self

from msgspec.structs import replace

from shared.domain.candidate import Candidate
from shared.domain.image import Digest, Tag, parse_repository, short
from shared.domain.policy import Gate, RegistryRule
from shared.domain.record import GateRecord, Moment, RecordSummary, list_item


class PromotionState(StrEnum):
    """The states of a promotion. `held` and `withdrawn` can be reopened; those from `promoted` on are final."""

    WAITING = "waiting"
    """It waits for the verdict on its digest."""

    PROMOTING = "promoting"
    HELD = "held"
    WITHDRAWN = "withdrawn"
    """The source tag was deleted. It continues when the tag is created again with the same digest."""

    PROMOTED = "promoted"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    """Its digest did not pass."""

    VETOED = "vetoed"
    CANCELED = "canceled"
    RULE_REMOVED = "rule removed"


PARKED = frozenset((PromotionState.HELD, PromotionState.WITHDRAWN))
REOPENABLE = frozenset((PromotionState.REFUSED, PromotionState.VETOED, PromotionState.CANCELED, *PARKED))
"""Those that did not reach the stable tag: a new verdict, or the end of a standing decision, reopens them."""

PROMOTIONS_AT_ONCE = 20
"""How many promotions are written together with an attempt: a transaction has 100 rows, a promotion up to three."""

_KEPT_BY_RESET = (
    "gate", "tag", "sequence", "digest", "source_registry", "repository", "login_server", "returning", "requested_by",
    "created_at", "history", "last_outcome",
)  # fmt: skip

_UNDER_WAY = frozenset((PromotionState.WAITING, PromotionState.PROMOTING))


class PromotionSummary(RecordSummary, frozen=True, kw_only=True):
    """A promotion as a list item. `progress` of its unique tag: `copying`, `copied`, `locked`, or "" before."""

    gate: str
    tag: str
    sequence: int
    digest: Digest
    candidate: str
    unique: str
    progress: str
    since: Moment | None


class Promotion(GateRecord, frozen=True, kw_only=True):
    """The record of one (gate, tag, sequence).

    `sequence` is that of its observation: a stable tag never goes to a lower one. `returning` says that the tag had
    that digest before. `candidate` is the attempt that it is based on and `fingerprint` identifies the checks that
    passed, both "" before; `attempt` is the attempt's number, and `runs` its runs, `<login server>/<run id>`.
    `lock_problem` says why the unique tag could not be locked, `target` is the repository that it was promoted into,
    with its registry. `referrers_due` says that what is attached to the digest upstream is not copied yet, after
    `referrer_tries` that failed: `referrers` has the digests of what was, and `referrers_problem` says why it was given
    up. `record_due` says that its decision record is not attached yet: `signed_record` is where the signed one is
    archived, and `attached` has the digests of what was attached to the image.
    """

    item: ClassVar = PromotionSummary

    sequence: int
    returning: bool = False
    requested_by: str = ""
    state: PromotionState = PromotionState.WAITING
    candidate: str = ""
    fingerprint: str = ""
    attempt: int = 0
    runs: tuple[str, ...] = ()
    unique: str = ""
    copy_operation: str = ""
    copy_started_at: datetime | None = None
    copied_at: datetime | None = None
    locked_at: datetime | None = None
    lock_problem: str = ""
    moved_at: datetime | None = None
    move: int = 0
    rolled_out_at: datetime | None = None
    target: str = ""
    referrers_due: bool = False
    referrer_tries: int = 0
    referrers: tuple[Digest, ...] = ()
    referrers_problem: str = ""
    record_due: bool = False
    signed_record: str = ""
    attached: tuple[Digest, ...] = ()

    @property
    def row(self) -> str:
        """The ledger row: tag and sequence."""
        return promotion_row(self.tag, self.sequence)

    @property
    def settled(self) -> bool:
        """Whether it has no next step: its state is final, or it is parked; and neither referrers nor a decision record
        are due.
        """
        return not (self.under_way or self.referrers_due or self.record_due)

    @property
    def under_way(self) -> bool:
        """Whether the stable tag may still be moved for it, or its rollouts are not started."""
        return self.state in _UNDER_WAY

    @property
    def has_passed(self) -> bool:
        """Whether its digest ever passed for it: only then was it copied, and may the stable tag have pointed to it."""
        return self.candidate != "" or any(entry.what == "passed" for entry in self.history)

    @property
    def progress(self) -> str:
        """The progress of the unique tag: `copying`, `copied`, `locked`, or "" before."""
        steps = {"locked": self.locked_at, "copied": self.copied_at, "copying": self.copy_started_at}
        return next((name for name, at in steps.items() if at is not None), "")

    @property
    def since(self) -> datetime | None:
        """When it got that far."""
        return self.locked_at or self.copied_at or self.copy_started_at

    def reset(self) -> Self:
        """The promotion before its first step: its key, origin and history stay, earlier progress is dropped."""
        return type(self)(**{name: getattr(self, name) for name in _KEPT_BY_RESET})

    def based_on(self, attempt: Candidate, now: datetime) -> Self:
        """The promotion after its digest has passed: it is based on that attempt."""
        passed = replace(
            self,
            state=PromotionState.PROMOTING,
            reason="",
            candidate=attempt.row,
            fingerprint=attempt.fingerprint,
            attempt=attempt.attempt,
            runs=tuple(f"{check.registry}/{check.run_id}" for check in attempt.checks if check.run_id),
        )
        return passed.noting(now, "passed", f"attempt {attempt.attempt}")

    def unique_names(self, gate: Gate, login_server: str) -> list[str]:
        """The possible names of its unique tag in the target registry, the preferred one first.

        `{run}` is the id of the run that examined the digest if that ran in the target registry, where run ids are
        unique. Otherwise it is the attempt and the first digits of the digest.
        """
        own, here = f"{self.attempt}-{short(self.digest)[:8]}", f"{login_server}/"
        runs = [run.removeprefix(here) for run in self.runs if run.startswith(here)]
        return list(dict.fromkeys(gate.promote.unique_tag(self.tag, run) for run in (*runs[:1], own)))

    def summary(self) -> PromotionSummary:
        """The promotion as a list item."""
        candidate = f"{self.gate}.{self.candidate}" if self.candidate else ""
        return list_item(PromotionSummary, self, **self._summarized(), candidate=candidate)


def new_promotion(
    gate: Gate, source: RegistryRule, tag: Tag, digest: Digest, sequence: int, now: datetime
) -> Promotion:
    """The promotion that an observation leads to."""
    return Promotion(
        gate=gate.name,
        tag=tag,
        sequence=sequence,
        digest=digest,
        source_registry=source.name,
        repository=parse_repository(gate.source.repository),
        login_server=source.login_server,
        created_at=now,
    )


def promotion_row(tag: str, sequence: int) -> str:
    """The ledger row of a promotion: sortable by tag and sequence. No tag contains a `~`."""
    return f"{tag}~{sequence:010}"


def decision_record_name(promotion: Promotion, content: bytes) -> str:
    """The name of a promotion's signed decision record in the archive: its bundles, one a line.

    It has a part of the hash of the content: of two workers that sign, none replaces what the other attaches.
    """
    digest, own = promotion.digest.removeprefix("sha256:"), hashlib.sha256(content).hexdigest()[:16]
    return f"decision-records/{promotion.gate}/{digest}/{promotion.row}~{own}.jsonl"


def archive_name(gate: str, digest: str, row: str = "") -> str:
    """The name of an old promotion in the archive; without its row, the prefix of those of a digest."""
    return f"promotions/{gate}/{digest.removeprefix('sha256:')}/{f'{row}.json' if row else ''}"
