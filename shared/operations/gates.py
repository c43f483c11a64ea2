"""Standing decisions: hold a stable tag, roll it back, veto a digest, and lift these decisions.

Moves in flight against a new decision are undone or put back, and the result of the operation names them.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from msgspec.structs import replace

from shared.deployment.dependents import Dependents
from shared.domain.candidate import Candidate, CandidateState
from shared.domain.errors import Busy, Conflict, NotFound, Refused
from shared.domain.image import Digest, Tag, parse_digest, short
from shared.domain.observation import Observation
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.rollout import Rollout, RolloutState
from shared.domain.stable_tag import Hold, HoldUntil, StableTag, Veto
from shared.intake.observe import Observer
from shared.operations import Plan, Who
from shared.ports import SAVE_TRIES, Services, newest_promotions, update
from shared.promotion.stable_tags import StableTags, TagTarget, target_of
from shared.promotion.vetoes import Vetoes
from shared.queries.lookup import Lookup, tag_or_digest
from shared.reconcile.begin import Done, Effect, enqueue

_ROLLING = (RolloutState.BUILDING, RolloutState.DEPLOYING, RolloutState.VERIFYING)


class GateOperations:
    """The operations on the stable tags of gates."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup, self._observer = services, Lookup(services), Observer(services)
        self._stable, self._vetoes, self._dependents = StableTags(services), Vetoes(services), Dependents(services)

    def hold(self, gate_name: str, tag: object, until: HoldUntil, who: Who) -> Plan:
        """Keep a stable tag at its digest; candidates are still examined, and wait.

        Raises:
            Malformed: the gate has no such tag. Refused: it is held already.
        """
        gate, stable = self._named(gate_name, tag)
        _require_free(stable)
        effects = (Effect("hold", f"{stable.tag} on {stable.digest or 'nothing yet'}"),)
        return Plan(effects, lambda: self._hold(gate, stable.tag, until, who))

    def lift(self, gate_name: str, tag: object, who: Who) -> Plan:
        """Lift a hold; the promotions that wait for it resume, and the current digest of the source tag is promoted.

        Raises:
            Malformed: the gate has no such tag. NotFound: it is not held.
        """
        gate, stable = self._named(gate_name, tag)
        waiting = self._waiting(gate, stable)
        if stable.hold is None and not waiting:
            raise NotFound(f"{stable.tag} of gate {gate.name} is not held")
        effects = (Effect("lift the hold", stable.tag), *(Effect("resume", digest) for digest in waiting))
        return Plan(effects, lambda: self._lift(gate, stable.tag, who))

    def roll_back(self, gate_name: str, tag: object, to: str, until: HoldUntil, who: Who) -> Plan:
        """Move a stable tag back to a digest that passed, and hold it there.

        Raises:
            Malformed: the gate has no such tag.
            NotFound: `to` is not a unique tag or digest whose last verdict is `passed`.
            Refused: the digest is vetoed, or the tag points to it already.
        """
        gate, stable = self._named(gate_name, tag)
        passed = self._lookup.passed(gate, to)
        if vetoed := self._vetoes.against(gate, passed.digest):
            raise Refused(vetoed)
        if stable.digest == passed.digest and self._dependents.are_rolled_out(gate, stable):
            raise Refused(f"{stable.tag} points to {passed.digest} already")
        effects = (
            Effect("move the stable tag", f"{stable.tag} from {stable.digest} to {passed.digest}"),
            Effect("hold", f"{stable.tag} until {'lifted' if until is HoldUntil.LIFTED else 'a newer digest passes'}"),
            *(Effect("rebuild and redeploy", app.name) for app in self._services.policy.apps_on(gate.name, stable.tag)),
        )
        return Plan(effects, lambda: self._roll_back(gate, stable.tag, passed, until, who))

    def promote_again(self, gate: Gate, tag: Tag, who: Who) -> None:
        """Promote the current digest of a source tag after a decision has ended, the newest promotion first.

        Raises:
            Busy: other workers keep observing the tag.
        """
        for _ in range(SAVE_TRIES):
            with suppress(Conflict):
                return enqueue(self._services, reversed(self._observer.promote_again(gate, tag, str(who))))
        raise Busy(f"other workers keep observing {tag} of gate {gate.name}: retry", delay_seconds=1.0)

    def _named(self, gate_name: str, tag: object) -> tuple[Gate, StableTag]:
        gate = self._lookup.gate(gate_name)
        return gate, self._stable.read(gate, self._lookup.tag(gate, tag))

    def _hold(self, gate: Gate, tag: Tag, until: HoldUntil, who: Who) -> Done:
        """Save the hold in the row that movers claim: after that no move is claimed. Returns what was in flight."""
        hold, blank = self._hold_by(gate, tag, until, who), StableTag(gate=gate.name, tag=tag)
        update(self._services.ledger, blank, lambda stable: replace(_require_free(stable), hold=hold))
        return Done(f"gates/{gate.name}", in_flight(self._services, [gate], tag=tag))

    def _hold_by(self, gate: Gate, tag: Tag, until: HoldUntil, who: Who) -> Hold:
        seen, now = self._services.ledger.load(Observation, gate.name, tag), self._services.clock.now()
        sequence = seen.record.sequence if seen else 0
        return Hold(actor=who.actor, reason=who.reason, at=now, until=until, sequence=sequence)

    def _lift(self, gate: Gate, tag: Tag, who: Who) -> Done:
        blank = StableTag(gate=gate.name, tag=tag)
        update(self._services.ledger, blank, lambda stable: replace(stable, hold=None))
        self.promote_again(gate, tag, who)
        return Done(f"gates/{gate.name}")

    def _waiting(self, gate: Gate, stable: StableTag) -> list[str]:
        """The digests that resume after a hold: those of held promotions, and that of the source tag."""
        ledger = self._services.ledger
        promotions = [stored.record for stored in newest_promotions(ledger, gate.name, stable.tag)]
        waiting = [one.digest for one in reversed(promotions) if one.state is PromotionState.HELD]
        seen = ledger.load(Observation, gate.name, stable.tag)
        if stable.hold is not None and seen is not None and seen.record.digest is not None and not seen.record.absent:
            waiting.append(seen.record.digest)
        return [digest for digest in dict.fromkeys(waiting) if digest != stable.digest]

    def _roll_back(self, gate: Gate, tag: Tag, passed: Candidate, until: HoldUntil, who: Who) -> Done:
        """1. Move the tag and record the hold, in one write of its record. 2. Roll out the apps on it."""
        stored, hold = self._stable.load(gate, tag), self._hold_by(gate, tag, until, who)
        target, mover = self._target(gate, stored.record, passed), f"rollback by {who.actor}"
        stable = self._stable.move(gate, stored, target, mover, hold=hold, moved_by=str(who))  # 1
        begun, _ = self._dependents.roll_out(gate, stable)  # 2
        enqueue(self._services, (rollout.record.work_item for rollout, *_ in begun))
        return Done(f"gates/{gate.name}")

    def _target(self, gate: Gate, stable: StableTag, passed: Candidate) -> TagTarget:
        """The target of a rollback: from the tag's own promotion of the digest; else from none, at its sequence."""
        promotions = newest_promotions(self._services.ledger, gate.name, stable.tag)
        own = (one.record for one in promotions if one.record.digest == passed.digest and one.record.unique)
        if (newest := next(own, None)) is not None:
            return target_of(newest)
        return TagTarget(digest=passed.digest, sequence=stable.sequence, promotion="", candidate=passed.row, unique="")


class VetoOperations:
    """The operations on vetoes. A veto applies to every gate that promotes into the same repository."""

    def __init__(self, services: Services, gates: GateOperations) -> None:
        self._services, self._lookup, self._gates = services, Lookup(services), gates
        self._vetoes, self._stable, self._observer = Vetoes(services), StableTags(services), Observer(services)

    def veto(
        self,
        gate_name: str,
        digest: object,
        who: Who,
        *,
        rollback: bool = False,
        to: str | None = None,
        until: HoldUntil = HoldUntil.LIFTED,
    ) -> Plan:
        """Ban a digest. If a stable tag still points to it, a warning says so, with a digest to roll back to.

        With `rollback` or `to`, the tag is rolled back immediately, and held as after any rollback. A call that was
        interrupted can be repeated: it does the rest.

        Raises:
            Malformed: the digest is invalid, or the target of the rollback is neither a tag nor a digest.
            Refused: it is vetoed already, and there is no stable tag to roll back from it.
            NotFound: there is no digest to roll back to.
        """
        gate, banned = self._lookup.gate(gate_name), parse_digest(digest)
        if to is not None:
            tag_or_digest(to, "to")
        wanted = rollback or to is not None
        known, affected = self._vetoes.active(gate, banned), list(self._pointing_to(gate, banned))
        if known is not None and not (wanted and affected):
            raise Refused(f"{banned} is vetoed already, by {known.actor}: {known.reason}")
        bans = () if known is not None else (Effect("ban", banned),)

        def rollbacks() -> Iterator[Plan]:
            for one, stable in self._pointing_to(gate, banned) if wanted else ():
                yield self._gates.roll_back(one.name, stable.tag, self._target(one, stable, to), until, who)

        effects = (effect for plan in rollbacks() for effect in plan.effects)
        warnings = () if wanted else tuple(self._warning(one, stable) for one, stable in affected)
        return Plan((*bans, *effects), lambda: self._veto(gate, banned, who, rollbacks), warnings)

    def lift(self, gate_name: str, digest_text: object, who: Who) -> Plan:
        """Lift a veto; source tags with that digest are promoted, or examined if the veto prevented the examination.

        Raises:
            Malformed: the digest is invalid. NotFound: it is not vetoed.
        """
        gate, digest = self._lookup.gate(gate_name), parse_digest(digest_text)
        veto = self._vetoes.active(gate, digest)
        if veto is None:
            raise NotFound(f"{digest} is not vetoed at gate {gate.name}")
        waiting = [Effect("resume", f"{seen.tag} of gate {one.name}") for one, seen in self._waiting(gate, digest)]
        return Plan((Effect("lift the veto", digest), *waiting), lambda: self._lift(gate, veto, who))

    def _veto(self, gate: Gate, digest: Digest, who: Who, rollbacks: Callable[[], Iterator[Plan]]) -> Done:
        """1. Ban the digest: after that no move to it is claimed. 2. Stop the moves in flight. 3. Roll back."""
        stored, ledger = self._vetoes.load(gate, digest), self._services.ledger
        if stored is None or not stored.record.is_active:  # 1
            target, now = self._vetoes.target(gate), self._services.clock.now()
            veto = Veto(gate=gate.name, target=target, digest=digest, actor=who.actor, reason=who.reason, at=now)
            if stored is not None:
                ledger.save(stored, veto)
            elif ledger.insert(veto) is None:
                raise Conflict(f"{digest} was just vetoed by someone else")
        against = in_flight(self._services, self._sharing(gate), digest=digest)
        self._stop_moves(gate, digest)  # 2
        for rollback in list(rollbacks()):  # 3
            rollback.act()
        return Done(f"gates/{gate.name}", against)

    def _stop_moves(self, gate: Gate, digest: Digest) -> None:
        """Make every worker that moves a stable tag to a digest read the decisions again: the tag's ETag changes.

        If another worker changes the record at the same time, that has the same effect, or the move is complete.
        """
        ledger = self._services.ledger
        for one in self._sharing(gate):
            tags = {stored.record.tag for stored in ledger.open(Promotion, one.name) if stored.record.digest == digest}
            for stored in list(ledger.list(StableTag, one.name)):
                claim = stored.record.claim
                if stored.record.tag in tags or (claim is not None and claim.digest == digest):
                    with suppress(Conflict):
                        ledger.save(stored, stored.record)

    def _lift(self, gate: Gate, veto: Veto, who: Who) -> Done:
        """1. Lift the veto. 2. Examine the digest if the veto ended its examination, else promote it."""
        stored, now = self._vetoes.load(gate, veto.digest), self._services.clock.now()
        assert stored is not None  # lifted vetoes are kept
        self._services.ledger.save(stored, replace(veto, lifted_at=now, lifted_by=str(who)))  # 1
        for one, seen in list(self._waiting(gate, veto.digest)):  # 2
            latest = self._lookup.latest(one, veto.digest)
            if latest and (latest.record.state, latest.record.reason) == (CandidateState.CANCELED, veto.words):
                enqueue(self._services, self._observer.attempt_again(one, latest.record, str(who))[1])
            else:
                self._gates.promote_again(one, seen.tag, who)
        return Done(f"gates/{gate.name}")

    def _sharing(self, gate: Gate) -> list[Gate]:
        """The gates that promote into the same repository."""
        target = self._vetoes.target(gate)
        return [one for one in self._services.policy.gates.values() if self._vetoes.target(one) == target]

    def _pointing_to(self, gate: Gate, digest: Digest) -> Iterator[tuple[Gate, StableTag]]:
        for one in self._sharing(gate):
            for stored in self._services.ledger.list(StableTag, one.name):
                if stored.record.digest == digest:
                    yield one, stored.record

    def _waiting(self, gate: Gate, digest: Digest) -> Iterator[tuple[Gate, Observation]]:
        """The source tags that point to a digest while their stable tags do not."""
        for one in self._sharing(gate):
            for stored in self._services.ledger.list(Observation, one.name):
                seen = stored.record
                if seen.digest == digest and not seen.absent and self._stable.read(one, seen.tag).digest != digest:
                    yield one, seen

    def _warning(self, gate: Gate, stable: StableTag) -> str:
        earlier = self._earlier(gate, stable)
        advice = f"roll it back to {earlier}" if earlier else "no earlier digest of it may be promoted again"
        return f"{stable.tag} of gate {gate.name} still points to the banned digest: {advice}"

    def _target(self, gate: Gate, stable: StableTag, to: str | None) -> str:
        if to and self._lookup.passed(gate, to).digest == stable.digest:
            raise Refused(f"{to} is the digest that is to be vetoed")
        target = to or self._earlier(gate, stable)
        if target is None:
            why = f"no earlier digest of {stable.tag} may be promoted again"
            raise NotFound(f"{why}: name one with `to`, or veto without a rollback")
        return target

    def _earlier(self, gate: Gate, stable: StableTag) -> Digest | None:
        """The last earlier digest of a stable tag that may be promoted again; lower sequences come first."""
        promoted = self._stable.promoted(gate, stable.tag, stable.sequence)
        return next((one.digest for one in promoted if one.digest != stable.digest), None)


def _require_free(stable: StableTag) -> StableTag:
    """The record of a tag. Raises `Refused` if it is held."""
    if (hold := stable.hold) is not None:
        raise Refused(f"{stable.tag} is held already, by {hold.actor}: {hold.reason}")
    return stable


def in_flight(services: Services, gates: Collection[Gate], *, tag: str = "", digest: str = "") -> tuple[Effect, ...]:
    """The moves, promotions and rollouts in flight at the stable tag of that name, or with that digest."""
    moves_and_promotions = (effect for gate in gates for effect in _at_gate(services, gate, tag, digest))
    return (*moves_and_promotions, *_rollouts(services, {gate.name for gate in gates}, tag, digest))


def _at_gate(services: Services, gate: Gate, tag: str, digest: str) -> Iterator[Effect]:
    for stored in services.ledger.list(StableTag, gate.name, tag):
        stable, claim = stored.record, stored.record.claim
        if claim is not None and (claim.digest == digest or (stable.tag == tag and claim.digest != stable.digest)):
            yield Effect("move", f"{stable.tag} to {short(claim.digest)}, by {claim.mover}")
    for promotion in (stored.record for stored in services.ledger.open(Promotion, gate.name)):
        if promotion.under_way and (promotion.tag == tag or promotion.digest == digest):
            yield Effect("promotion", f"{promotion.tag} to {short(promotion.digest)}, {promotion.state_name}")


def _rollouts(services: Services, gates: Collection[str], tag: str, digest: str) -> Iterator[Effect]:
    for app in services.policy.apps.values():
        for rollout in (stored.record for stored in services.ledger.open(Rollout, app.name)):
            base = rollout.base if app.base.gate in gates and rollout.state in _ROLLING else None
            if base is not None and (app.base.tag == tag or base.digest == digest):
                yield Effect("rollout", f"{rollout.id}, {rollout.state_name}")
