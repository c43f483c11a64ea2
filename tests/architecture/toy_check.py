"""A toy kind of check, as one more file in `shared/checks`: an image has to lie for a while before it passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Self

import msgspec

from shared.checks.kind import CheckKind, CheckResult, Marked, Started
from shared.domain.candidate import Candidate, CheckRecord, Verdict
from shared.domain.policy import CheckRule, Duration, Policy, Rule, seconds
from shared.domain.record import seconds_between

CELLAR = "cellar.example"
"""Where the runs are."""


class LieCheck(Rule, CheckRule, frozen=True, kw_only=True):
    """The image lies in the cellar; `key` opens it."""

    kind = "lie"

    time: Duration
    key: str = ""

    def problems(self, policy: Policy, *, signs_in: bool) -> Iterator[tuple[str, str]]:
        """More than a day."""
        if seconds(self.time) > 86_400:
            yield "time", "nothing lies for more than a day"

    def shown(self) -> Self:
        """Without the key."""
        return msgspec.structs.replace(self, key="")


class LieCheckKind(CheckKind[LieCheck]):
    """Puts the image into the cellar, and looks at the clock."""

    rule = LieCheck
    runs: dict[str, str] = {}  # noqa: RUF012  (the cellar, which outlives a worker)
    """The marks by run id."""

    def start(self, candidate: Candidate, rule: LieCheck, mark: str) -> Started:
        """Put it there."""
        run_id = f"barrel-{len(self.runs) + 1}"
        self.runs[run_id] = mark
        return Started(CELLAR, run_id)

    def adopt(self, candidate: Candidate, rule: LieCheck, mark: str, since: datetime) -> Started | None:
        """Find what a dead worker has put there."""
        return next((Started(CELLAR, run_id) for run_id, marked in self.runs.items() if marked == mark), None)

    def poll(self, candidate: Candidate, check: CheckRecord, rule: LieCheck) -> CheckResult | None:
        """Whether it has lain for long enough."""
        assert check.claimed_at is not None
        if check.run_id not in self.runs:
            return CheckResult(verdict=Verdict.UNKNOWN, reason=f"{check.run_id} is empty")
        if seconds_between(check.claimed_at, self._services.clock.now()) < seconds(rule.time):
            return None
        return CheckResult(verdict=Verdict.PASSED, reason=f"it has lain in {check.run_id} for {rule.time}")

    def cancel(self, check: CheckRecord) -> None:
        """Take it out."""
        self.runs.pop(check.run_id)

    def log(self, check: CheckRecord, limit_bytes: int) -> str:
        """Nothing happens in there."""
        return f"{check.run_id} lies still"

    def marked(self, rule: LieCheck, since: datetime) -> Iterator[Marked]:
        """What was put there."""
        for run_id, mark in self.runs.items():
            yield Marked(Started(CELLAR, run_id), mark, f"{run_id} in the cellar")

    def readiness(self, rule: LieCheck) -> Iterator[tuple[str, Callable[[], object]]]:
        """Whether the cellar is there."""
        yield f"cellar {CELLAR}", self.runs.copy

    def dependency(self, rule: LieCheck) -> str:
        """The cellar."""
        return f"cellar {CELLAR}"
