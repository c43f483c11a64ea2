"""Hold, lift, roll back."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from shared.deployment.dependents import Dependents
from shared.domain.candidate import Candidate
from shared.domain.decisions import Hold, HoldUntil
from shared.domain.errors import Busy, Conflict, NotThere, Refused
from shared.domain.image import ImageRef, Tag, parse_repository
from shared.domain.observation import Observation
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion, PromotionState, promotions_of
from shared.domain.stable_tag import StableTag
from shared.intake.observe import Observer
from shared.operations.in_flight import in_flight
from shared.operations.lookup import Lookup
from shared.operations.plan import Done, Effect, Plan, Who
from shared.operations.writing import bring_up
from shared.ports.services import Services
from shared.promotion.stable_tags import StableTags, TagTarget, target_of
from shared.promotion.vetoes import Vetoes

_RACES = 5


class GateOperations:
    """What an operator does with a gate's stable tags."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup, self._observer = services, Lookup(services), Observer(services)
        self._stable, self._vetoes, self._dependents = StableTags(services), Vetoes(services), Dependents(services)

    def hold(self, gate_name: str, tag_name: object, until: HoldUntil, who: Who) -> Plan:
        """Keep a stable tag where it is; candidates are still examined, and wait.

        Raises:
            Malformed: the gate has no such tag. Refused: it is held already.
        """
        gate, stable = self._named(gate_name, tag_name)
        _require_free(stable)
        effects = (Effect("hold", f"{stable.tag} on {stable.digest or 'nothing yet'}"),)
        return Plan(effects, lambda: self._hold(gate, stable.tag, until, who))

    def lift(self, gate_name: str, tag_name: object, who: Who) -> Plan:
        """Lift a hold; what waits for that goes on, and what the source tag is now is promoted.

        Raises:
            Malformed: the gate has no such tag. NotThere: it is not held.
        """
        gate, stable = self._named(gate_name, tag_name)
        waiting = self._waiting(gate, stable)
        if stable.hold is None and not waiting:
            raise NotThere(f"{stable.tag} of gate {gate.name} is not held")
        effects = (Effect("lift the hold", stable.tag), *(Effect("let go on", digest) for digest in waiting))
        return Plan(effects, lambda: self._lift(gate, stable.tag, who))

    def roll_back(self, gate_name: str, tag_name: object, to: str, until: HoldUntil, who: Who) -> Plan:
        """Move a stable tag back to a digest that passed, and hold it there.

        Raises:
            Malformed: the gate has no such tag.
            NotThere: `to` is no unique tag or digest that passed the last time it was examined.
            Refused: it is vetoed, or the tag stands on it already.
        """
        gate, stable = self._named(gate_name, tag_name)
        passed = self._lookup.passed(gate, to)
        if (veto := self._vetoes.standing(gate, passed.digest)) is not None:
            raise Refused(veto.words)
        if stable.digest == passed.digest and self._dependents.begun(gate, stable):
            raise Refused(f"{stable.tag} stands on {passed.digest} already")
        effects = (
            Effect("move the stable tag", f"{stable.tag} from {stable.digest} to {passed.digest}"),
            Effect("hold", f"{stable.tag} until {'lifted' if until is HoldUntil.LIFTED else 'a newer digest passes'}"),
            *(Effect("rebuild and redeploy", app.name) for app in self._services.policy.apps_on(gate.name, stable.tag)),
        )
        return Plan(effects, lambda: self._roll_back(gate, stable.tag, passed, until, who))

    def promote_again(self, gate: Gate, tag: Tag, who: Who) -> None:
        """Let a stable tag be what its source tag is, as after the end of a decision: the newest promotion goes first.

        Raises:
            Busy: the tag is observed anew all the time.
        """
        for _ in range(_RACES):
            try:
                return bring_up(self._services, reversed(self._observer.promote_again(gate, tag, str(who))))
            except Conflict:
                continue
        raise Busy(f"others observe {tag} of gate {gate.name} all the time", delay_seconds=1.0)

    def _named(self, gate_name: str, tag_name: object) -> tuple[Gate, StableTag]:
        gate = self._lookup.gate(gate_name)
        return gate, self._stable.read(gate, self._lookup.tag(gate, tag_name))

    def _hold(self, gate: Gate, tag: Tag, until: HoldUntil, who: Who) -> Done:
        """Save the hold in the row that movers claim: after that no move is claimed. Then say what was in flight."""
        hold = self._hold_by(gate, tag, until, who)
        held = self._change(gate, tag, lambda stable: msgspec.structs.replace(_require_free(stable), hold=hold))
        return Done(f"gates/{gate.name}", in_flight(self._services, [gate], tag=held.tag))

    def _hold_by(self, gate: Gate, tag: Tag, until: HoldUntil, who: Who) -> Hold:
        seen, now = self._services.ledger.load(Observation, gate.name, tag), self._services.clock.now()
        sequence = seen.record.sequence if seen else 0
        return Hold(actor=who.actor, reason=who.reason, at=now, until=until, sequence=sequence)

    def _lift(self, gate: Gate, tag: Tag, who: Who) -> Done:
        self._change(gate, tag, lambda stable: msgspec.structs.replace(stable, hold=None))
        self.promote_again(gate, tag, who)
        return Done(f"gates/{gate.name}")

    def _change(self, gate: Gate, tag: Tag, change: Callable[[StableTag], StableTag]) -> StableTag:
        for _ in range(_RACES):
            stored = self._stable.load(gate, tag)
            try:
                return self._services.ledger.save(stored, change(stored.record)).record
            except Conflict:
                continue
        raise Busy(f"the record of {tag} is being changed by others all the time", delay_seconds=1.0)

    def _waiting(self, gate: Gate, stable: StableTag) -> list[str]:
        """The digests that the end of a hold lets go on: what it kept out, and what the source tag is."""
        ledger = self._services.ledger
        promotions = (stored.record for stored in ledger.list(Promotion, gate.name, promotions_of(stable.tag)))
        waiting = [one.digest for one in promotions if one.state is PromotionState.HELD]
        seen = ledger.load(Observation, gate.name, stable.tag)
        if stable.hold is not None and seen is not None and seen.record.digest is not None and not seen.record.absent:
            waiting.append(seen.record.digest)
        return [digest for digest in dict.fromkeys(waiting) if digest != stable.digest]

    def _roll_back(self, gate: Gate, tag: Tag, passed: Candidate, until: HoldUntil, who: Who) -> Done:
        """1. Move the tag and record the hold, in one write of its record. 2. Roll out what stands on it."""
        stored, hold = self._stable.load(gate, tag), self._hold_by(gate, tag, until, who)
        target, mover = self._target(gate, stored.record, passed), f"rollback by {who.actor}"
        stable = self._stable.move(gate, stored, target, mover, hold=hold, moved_by=str(who))  # 1
        registry = self._services.registry_rule(gate.promote.registry)
        image = ImageRef(registry.login_server, parse_repository(gate.promote.repository), passed.digest)
        self._dependents.roll_out(gate, stable, image)  # 2
        return Done(f"gates/{gate.name}")

    def _target(self, gate: Gate, stable: StableTag, passed: Candidate) -> TagTarget:
        """What the tag is to stand on: by its own promotion of that digest, else by none, in its present place."""
        promotions = (one.record for one in self._services.ledger.list(Promotion, gate.name, promotions_of(stable.tag)))
        own = [one for one in promotions if one.digest == passed.digest and one.unique]
        if own:
            return target_of(own[-1])
        return TagTarget(digest=passed.digest, sequence=stable.sequence, promotion="", candidate=passed.row, unique="")


def _require_free(stable: StableTag) -> StableTag:
    """Raises `Refused` where the tag is held."""
    if (hold := stable.hold) is not None:
        raise Refused(f"{stable.tag} is held already, by {hold.actor}: {hold.reason}")
    return stable
