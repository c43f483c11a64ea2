"""The released job: resumes promotions that a decision or an earlier verdict blocked, once they are not blocked."""

from collections.abc import Iterator
from contextlib import suppress

from shared.checks import check_kinds
from shared.checks.kind import CheckResult
from shared.domain.candidate import Candidate, CandidateState, CheckRecord, Verdict, attempts_of
from shared.domain.errors import Conflict
from shared.domain.observation import Observation
from shared.domain.policy import Gate
from shared.domain.promotion import PARKED, REOPENABLE, Promotion, PromotionState, promotion_row
from shared.domain.record import WorkItem
from shared.domain.stable_tag import StableTag
from shared.intake.observe import Observer
from shared.ports import Services, Stored, last
from shared.promotion.vetoes import Vetoes
from shared.reconcile.begin import enqueue
from shared.sweep.job import JobRun, SweepJob

_BLOCKED = frozenset((PromotionState.VETOED, PromotionState.PROMOTED))
_BY_VERDICT = frozenset((PromotionState.REFUSED, PromotionState.CANCELED))
_BLOCKED_BY_OTHERS = REOPENABLE - PARKED
_WHY = "found by sweep: nothing blocks it any more"


class ReleasedJob(SweepJob):
    """Compares the observed digests of one gate's source tags with those of its stable tags.

    Two queries, and one read for each tag where the two differ; for an image that failed by its scan, a rule with `vex`
    lists what is attached to it upstream. Jobs of other gates do not wait for that. A promotion that is now blocked by
    a hold becomes held until the hold ends.
    """

    def __init__(self, services: Services, gate: Gate) -> None:
        super().__init__(services, f"released.{gate.name}", f"tasks {gate.name}")
        self._gate, self._observer, self._vetoes = gate, Observer(services), Vetoes(services)
        self._kinds = check_kinds(services)

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: tags where the two differ are few."""
        for seen, stable in self._differing():
            current = self._services.ledger.load(Promotion, seen.gate, promotion_row(seen.tag, seen.sequence))
            is_returning = current is None or current.record.returning
            is_stopped = stable.hold is not None and stable.hold.stops(seen.sequence, returning=is_returning)
            if is_stopped and (current is None or current.record.state not in _BLOCKED_BY_OTHERS):
                continue
            attempt = self._last(current.record) if current else None
            if attempt is None and not self._is_blocked(seen, stable, current):
                continue
            run.note("resume", f"{seen.tag} of gate {seen.gate}")
            if not run.dry_run:
                with suppress(Conflict):  # another worker has resumed it
                    enqueue(self._services, self._resume(seen, attempt))
        yield self._gate.name

    def _is_blocked(self, seen: Observation, stable: StableTag, promotion: Stored[Promotion] | None) -> bool:
        """Whether a decision blocked a digest: there is no promotion if the stable tag was at that digest already."""
        if promotion is not None and promotion.record.state is PromotionState.HELD:
            return True  # if it is vetoed, too, it ends as vetoed
        decided = promotion.record.state in _BLOCKED if promotion is not None else stable.digest is not None
        return decided and self._vetoes.active(self._gate, seen.digest or "") is None

    def _differing(self) -> Iterator[tuple[Observation, StableTag]]:
        ledger, name = self._services.ledger, self._gate.name
        observed = [stored.record for stored in ledger.list(Observation, name)]
        stables = {stored.record.tag: stored.record for stored in ledger.list(StableTag, name)}
        for seen in observed:
            stable = stables.get(seen.tag) or StableTag(gate=name, tag=seen.tag)
            is_certain = seen.digest is not None and seen.is_settled and not seen.absent
            if is_certain and stable.digest != seen.digest and self._gate.takes(seen.tag):
                yield seen, stable

    def _last(self, promotion: Promotion) -> Candidate | None:
        """The last attempt at a digest, if it does not block it: it passed, or was ended by a veto that was lifted, or
        its report passes under the rules and exceptions of today. A promotion that an operator canceled stays canceled.
        """
        stored = last(self._services.ledger, Candidate, promotion.gate, attempts_of(promotion.digest))
        if stored is None or promotion.state not in _BY_VERDICT or promotion.reason.startswith("canceled by"):
            return None
        veto, attempt = self._vetoes.load(self._gate, promotion.digest), stored.record
        if veto is not None and veto.record.is_active:
            return None
        banned = veto is not None and (attempt.state, attempt.reason) == (CandidateState.CANCELED, veto.record.words)
        return attempt if banned or attempt.state is CandidateState.PASSED else self._passing_now(attempt)

    def _passing_now(self, attempt: Candidate) -> Candidate | None:
        """An attempt that only reports failed, if all of them pass now, under each rule that they are for: with the
        evidence that they pass on, for the next attempt.
        """
        if attempt.state is not CandidateState.FAILED:
            return None
        for index, check in enumerate(attempt.checks):
            if check.verdict is Verdict.FAILED:
                judged = self._judged(attempt, check)
                if not judged or any(one is None or one.verdict is not Verdict.PASSED for one in judged):
                    return None
                attempt = attempt.with_check(index, evidence=next(filter(None, judged)).evidence)
        return attempt

    def _judged(self, attempt: Candidate, check: CheckRecord) -> list[CheckResult | None]:
        rules = [rule for rule in self._gate.checks if rule.run_fingerprint == check.run_fingerprint]
        return [self._kinds[rule.kind].judge_again(attempt, check, rule) for rule in rules]

    def _resume(self, seen: Observation, attempt: Candidate | None) -> tuple[WorkItem, ...]:
        if attempt is not None and attempt.state is not CandidateState.PASSED:
            again, who = attempt.state is CandidateState.FAILED, f"sweep: {_WHY}"
            return self._observer.attempt_again(self._gate, attempt, who, keeps_results=again)[1]
        return self._observer.promote_again(self._gate, seen.tag, _WHY)
