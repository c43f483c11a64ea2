"""Lines of the ledger's lists: what operators read, with what the board asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from shared.domain.candidate import CandidateState
from shared.domain.rollout import FINAL_STATES
from shared.workflow.answers import CandidateSummary, PromotionProgress, RolloutSummary


class CandidateLine(CandidateSummary, frozen=True, kw_only=True):
    """A candidate in a list."""

    @property
    def running(self) -> bool:
        """Whether it is examined or promoted at the moment."""
        return self.state in (CandidateState.EXAMINING, CandidateState.PROMOTING)

    @property
    def awaits_approval(self) -> bool:
        """Whether it is a person's turn."""
        return self.running and self.check == "approval"

    def promotion(self, tag: str) -> PromotionProgress | None:
        """The promotion of a tag, if the line tells it."""
        return next((promotion for promotion in self.promotions if promotion.tag == tag), None)


class RolloutLine(RolloutSummary, frozen=True, kw_only=True):
    """A rollout in a list."""

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
