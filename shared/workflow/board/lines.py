"""Lines of the ledger's lists, typed: what `Record.summary` wrote, read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from shared.domain.candidate import CandidateState
from shared.domain.rollout import FINAL_STATES, RolloutState


class PromotionLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How far the promotion of one tag has come. `progress` is `copying`, `copied`, `locked` or "" (not begun)."""

    tag: str
    pushed_at: datetime
    unique: str = ""
    progress: str = ""
    since: datetime | None = None


class CandidateLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A candidate in a list. `check` is the kind of the check under way, `last` the last line of its history."""

    id: str
    gate: str
    image: str
    digest: str
    attempt: int
    tags: tuple[str, ...]
    state: CandidateState
    reason: str
    created_at: datetime
    changed_at: datetime
    check: str = ""
    promotions: tuple[PromotionLine, ...] = ()
    last: str = ""

    @property
    def running(self) -> bool:
        """Whether it is examined or promoted at the moment."""
        return self.state in (CandidateState.EXAMINING, CandidateState.PROMOTING)

    @property
    def awaits_approval(self) -> bool:
        """Whether it is a person's turn."""
        return self.running and self.check == "approval"

    def promotion(self, tag: str) -> PromotionLine | None:
        """The promotion of a tag, if the line tells it."""
        return next((promotion for promotion in self.promotions if promotion.tag == tag), None)


class RolloutLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A rollout in a list."""

    id: str
    app: str
    cause: str
    image: str | None
    base: str | None
    state: RolloutState
    reason: str
    created_at: datetime
    changed_at: datetime
    last: str = ""

    @property
    def running(self) -> bool:
        """Whether it is not finished."""
        return self.state not in FINAL_STATES


def candidate_lines(items: Sequence[dict[str, Any]]) -> tuple[CandidateLine, ...]:
    """The lines of a page of candidates."""
    return msgspec.convert(items, tuple[CandidateLine, ...])


def rollout_lines(items: Sequence[dict[str, Any]]) -> tuple[RolloutLine, ...]:
    """The lines of a page of rollouts."""
    return msgspec.convert(items, tuple[RolloutLine, ...])
