"""The controller of promotions: from the verdict on a digest to the rollouts of what stands on its stable tag."""

from collections.abc import Callable

import msgspec

from shared.deployment.dependents import Dependents
from shared.domain.candidate import Candidate, CandidateState, attempts_of, new_attempt
from shared.domain.decide import Action, Decision, decide_promotion
from shared.domain.errors import BasegateError
from shared.domain.image import short
from shared.domain.observation import Observation
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.stable_tag import StableTag
from shared.ports import Change, Outcome, Services, Stored, last
from shared.promotion.stable_tags import StableTags
from shared.promotion.steps import PromotionSteps
from shared.promotion.vetoes import Vetoes
from shared.reconcile.step import Controller, Step

_OF_THE_CANDIDATE = frozenset((PromotionState.REFUSED, PromotionState.CANCELED))
"""Ends that the outcome of the candidate has announced already, where it came to no verdict that they stood on."""

PromotionAction = Callable[[Step[Promotion], Gate], Promotion]


class PromotionController(Controller[Promotion]):
    """How a digest gets under its stable tag."""

    def __init__(self, services: Services) -> None:
        self._services, self._stable, self._vetoes = services, StableTags(services), Vetoes(services)
        self._dependents = Dependents(services)
        steps = PromotionSteps(services)
        self._actions: dict[Action, PromotionAction] = {
            Action.AWAIT_VERDICT: self._await_verdict,
            Action.COPY: steps.copy,
            Action.WATCH_COPY: steps.watch_copy,
            Action.LOCK: steps.lock,
            Action.MOVE_STABLE_TAG: steps.move,
            Action.RECORD_TASK_PROMOTION: steps.record_task_promotion,
            Action.ROLL_OUT: self._roll_out,
        }

    def load(self, partition: str, row: str) -> Stored[Promotion] | None:
        """The promotion of a work item."""
        return self._services.ledger.load(Promotion, partition, row)

    def decide(self, record: Promotion, step: Step[Promotion] | None = None) -> Decision:
        """Its next step."""
        return decide_promotion(record, self._services.gate(record.gate), self._services.clock.now())

    def act(self, step: Step[Promotion]) -> Promotion:
        """Take the step that was decided."""
        if step.decision.action is Action.RULE_REMOVED:
            return self._rule_removed(step)
        gate = self._services.gate(step.record.gate)
        if gate is None:  # the tag has moved already: nothing stands on it by the rules
            return self._promoted(step.record, "its gate is gone from the rules")
        return self._actions[step.decision.action](step, gate)

    def dependency(self, record: Promotion, decision: Decision) -> str:
        """The target registry, which every step asks."""
        gate = self._services.gate(record.gate)
        return f"registry {gate.promote.registry}" if gate else f"gate {record.gate}"

    def refused(self, record: Promotion, decision: Decision, error: BasegateError) -> Promotion | None:
        """No error ends a promotion: it is wanted until something newer has the tag, or an operator ends it."""
        return None

    def outcome(self, record: Promotion) -> Outcome | None:
        """What to announce about a promotion that is settled or parked."""
        if record.state in _OF_THE_CANDIDATE and not record.candidate:
            return None
        name = record.state.value.title().replace(" ", "")
        return Outcome(
            name="Promoted" if record.state is PromotionState.PROMOTED else f"Promotion{name}",
            subject=f"gates/{record.gate}/promotions/{record.row}",
            page=f"candidates/{record.gate}.{record.candidate}" if record.candidate else "",
            data={
                "gate": record.gate,
                "tag": record.tag,
                "sequence": record.sequence,
                "image": str(record.image),
                "candidate": f"{record.gate}.{record.candidate}" if record.candidate else "",
                "state": record.state.value,
                "reason": record.reason,
                "uniqueTag": record.unique,
            },
        )

    def is_resting(self, record: Promotion) -> bool:
        """Whether it waits for a verdict, which brings it up."""
        latest = self._latest(record) if record.state is PromotionState.WAITING else None
        return latest is not None and not latest.settled

    def _await_verdict(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """See what the last attempt at the digest says: stand on it, wait for it, end with it, or ask for another."""
        promotion = self._not_wanted(step.record, gate)
        if promotion is not None:
            return promotion
        promotion, latest = step.record, self._latest(step.record)
        if latest is None or (latest.fingerprint != gate.fingerprint and latest.settled):
            return self._examine(step, gate, latest)
        if not latest.settled:
            step.rests = True
            return self._waiting(promotion, f"attempt {latest.attempt} is {latest.state_name}")
        match latest.state:
            case CandidateState.PASSED:
                return promotion.standing_on(latest, self._services.clock.now())
            case CandidateState.FAILED | CandidateState.REJECTED:
                return self._ended(promotion, PromotionState.REFUSED, f"attempt {latest.attempt}: {latest.reason}")
            case CandidateState.CANCELED:
                return self._ended(promotion, PromotionState.CANCELED, f"attempt {latest.attempt}: {latest.reason}")
            case _:
                return self._examine(step, gate, latest)

    def _not_wanted(self, promotion: Promotion, gate: Gate) -> Promotion | None:
        """How it ends where a verdict would change nothing, or None."""
        if (veto := self._vetoes.standing(gate, promotion.digest)) is not None:
            return self._ended(promotion, PromotionState.VETOED, veto.words)
        stable = self._stable.read(gate, promotion.tag)
        if stable.sequence > promotion.sequence and stable.digest != promotion.digest:
            reason = f"{stable.tag} stands on {short(stable.digest or '')}, observed later"
            return self._ended(promotion, PromotionState.SUPERSEDED, reason)
        return None

    def _examine(self, step: Step[Promotion], gate: Gate, latest: Candidate | None) -> Promotion:
        """Ask for another attempt, unless the tag has moved on meanwhile."""
        promotion, now = step.record, self._services.clock.now()
        seen = self._services.ledger.load(Observation, gate.name, promotion.tag)
        if seen is not None and seen.record.sequence > promotion.sequence:
            return self._ended(promotion, PromotionState.SUPERSEDED, "its tag moved on before it was examined")
        source = self._services.registry_rule(gate.source.registry)
        attempt = latest.attempt + 1 if latest else 1
        why = f"the last attempt {latest.state}: {latest.reason}" if latest else "there is no attempt yet"
        new = new_attempt(gate, source, promotion.digest, promotion.tag, now, attempt).noting(now, "admitted", why)
        if latest is not None:
            new = msgspec.structs.replace(new, requested_by=latest.requested_by, found_by=latest.found_by)
        waiting = self._waiting(promotion, f"attempt {attempt} is {new.state_name}")
        step.commit(waiting, Change(new))
        self._services.queue.send(new.work_item, 0)
        step.rests = True
        return waiting

    def _waiting(self, promotion: Promotion, reason: str) -> Promotion:
        waiting = promotion.reset() if promotion.candidate else promotion
        return msgspec.structs.replace(waiting, state=PromotionState.WAITING, reason=reason)

    def _latest(self, promotion: Promotion) -> Candidate | None:
        stored = last(self._services.ledger, Candidate, promotion.gate, attempts_of(promotion.digest))
        return stored.record if stored else None

    def _roll_out(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """Begin a rollout of every app that stands on the tag, unless it has moved on by now.

        Right after the move, when vetoes were read, they are made claimed: they build at once.
        """
        promotion, blank = step.record, StableTag(gate=gate.name, tag=step.record.tag)
        just_moved, stable = step.knows(blank), step.beside(blank).record
        if stable.move != promotion.move or stable.digest != promotion.digest:
            return self._promoted(promotion, f"promoted as {promotion.unique}; {promotion.tag} has moved on since")
        step.followers, names = self._dependents.roll_out(gate, stable, claim=just_moved)
        promotion = promotion.noting(self._services.clock.now(), "rollouts started", names)
        return self._promoted(promotion, f"promoted as {promotion.unique}")

    def _promoted(self, promotion: Promotion, reason: str) -> Promotion:
        now = self._services.clock.now()
        done = msgspec.structs.replace(promotion, rolled_out_at=now, state=PromotionState.PROMOTED, reason=reason)
        return done.noting(now, "promoted", reason)

    def _rule_removed(self, step: Step[Promotion]) -> Promotion:
        """End it, and forget what its tag was: if the rule comes back, the tag is news again."""
        ended = self._ended(step.record, PromotionState.RULE_REMOVED, step.decision.reason)
        seen = self._services.ledger.load(Observation, ended.gate, ended.tag)
        if seen is not None and seen.record.sequence == ended.sequence:
            step.commit(ended, Change(seen.record.forgotten(), seen))
        return ended

    def _ended(self, promotion: Promotion, state: PromotionState, reason: str) -> Promotion:
        return msgspec.structs.replace(promotion, stall=None).ended(self._services.clock.now(), state, reason)
