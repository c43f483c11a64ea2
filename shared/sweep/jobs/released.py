"""The released job: what a decision, or an earlier verdict, kept out goes on when that does not count any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from shared.domain.candidate import Candidate, CandidateState, attempts_of
from shared.domain.errors import Conflict
from shared.domain.observation import Observation
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion, PromotionState, promotion_row
from shared.domain.record import WorkItem
from shared.domain.stable_tag import StableTag
from shared.intake.observe import Observer
from shared.operations.writing import bring_up
from shared.ports.services import Services
from shared.promotion.vetoes import Vetoes
from shared.sweep.job import JobRun

_KEPT_OUT = frozenset((PromotionState.HELD, PromotionState.VETOED, PromotionState.PROMOTED))
_WHY = "found by sweep: nothing keeps it out any more"


class ReleasedJob:
    """Compares what the source tags of one gate were observed as with what their stable tags stand on.

    Two queries, and one read for each tag where the two differ and no hold stands.
    """

    interval_seconds = 0.0

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self._observer, self._vetoes = Observer(services), Vetoes(services)
        self.name, self.concurrency_key = f"released.{gate.name}", "ledger"

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: all of it is in the ledger."""
        for seen in self._differing():
            current = self._services.ledger.load(Promotion, seen.gate, promotion_row(seen.tag, seen.sequence))
            if current is None or not current.record.settled:
                continue
            is_held = current.record.state is PromotionState.HELD  # one that is vetoed too ends as that
            if not is_held and self._vetoes.standing(self._gate, current.record.digest):
                continue
            last = self._last(current.record)
            if current.record.state in _KEPT_OUT or last is not None:
                run.note("let go on", f"{seen.tag} of gate {seen.gate}")
                if not run.dry_run:
                    with suppress(Conflict):  # somebody else has taken it up
                        bring_up(self._services, self._go_on(seen, last))
        yield self._gate.name

    def _differing(self) -> Iterator[Observation]:
        ledger, name = self._services.ledger, self._gate.name
        observed = [stored.record for stored in ledger.list(Observation, name)]
        stables = {stored.record.tag: stored.record for stored in ledger.list(StableTag, name)}
        for seen in observed:
            stable = stables.get(seen.tag) or StableTag(gate=name, tag=seen.tag)
            is_certain = seen.digest is not None and seen.is_settled and not seen.absent
            if is_certain and stable.digest != seen.digest and stable.hold is None and self._gate.takes(seen.tag):
                yield seen

    def _last(self, promotion: Promotion) -> Candidate | None:
        """The last attempt at a digest, where it keeps nothing out: it passed, or a veto ended it that was lifted."""
        attempts = list(self._services.ledger.list(Candidate, promotion.gate, attempts_of(promotion.digest)))
        veto = self._vetoes.load(self._gate, promotion.digest)
        last = attempts[-1].record if attempts else None
        if last is None or (promotion.state, last.state) == (PromotionState.REFUSED, CandidateState.PASSED):
            return last
        banned = veto is not None and (last.state, last.reason) == (CandidateState.CANCELED, veto.record.words)
        return last if banned and promotion.state is PromotionState.CANCELED else None

    def _go_on(self, seen: Observation, last: Candidate | None) -> tuple[WorkItem, ...]:
        if last is not None and last.state is CandidateState.CANCELED:
            return self._observer.attempt_again(self._gate, last, f"sweep: {_WHY}")[1]
        return self._observer.promote_again(self._gate, seen.tag, _WHY)
