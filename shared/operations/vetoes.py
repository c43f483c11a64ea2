"""Ban a digest, and get off it where a stable tag stands on it already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec

from shared.domain.candidate import CandidateState
from shared.domain.decisions import HoldUntil, Veto
from shared.domain.errors import Conflict, NotThere, Refused
from shared.domain.image import Digest, parse_digest
from shared.domain.observation import Observation
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion
from shared.domain.stable_tag import StableTag
from shared.intake.observe import Observer
from shared.operations.gates import GateOperations
from shared.operations.in_flight import in_flight
from shared.operations.lookup import Lookup, tag_or_digest
from shared.operations.plan import Done, Effect, Plan, Who
from shared.operations.writing import bring_up
from shared.ports.services import Services
from shared.promotion.stable_tags import StableTags
from shared.promotion.vetoes import Vetoes


class RollbackOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Whether to roll back the stable tags that stand on a vetoed digest.

    `to` is a unique tag or a digest; None is what the tag stood on before and may stand on again.
    """

    wanted: bool = False
    to: str | None = None
    until: HoldUntil = HoldUntil.LIFTED


class VetoOperations:
    """What an operator does against digests. A veto counts for every gate that promotes into the repository."""

    def __init__(self, services: Services, gates: GateOperations) -> None:
        self._services, self._lookup, self._gates = services, Lookup(services), gates
        self._vetoes, self._stable, self._observer = Vetoes(services), StableTags(services), Observer(services)

    def veto(
        self, gate_name: str, digest_text: object, who: Who, options: RollbackOptions = RollbackOptions()  # noqa: B008 (frozen)
    ) -> Plan:  # fmt: skip
        """Ban a digest. Where a stable tag stands on it, that is said, and what to roll back to.

        With a rollback the tag is rolled back at once, and held as after any rollback. Called again after it broke off
        half-way, it does what is left.

        Raises:
            Malformed: the digest is none, or what to roll back to is no tag and no digest.
            Refused: it is vetoed already, and no stable tag is to be rolled back from it.
            NotThere: there is nothing to roll back to.
        """
        gate, digest = self._lookup.gate(gate_name), parse_digest(digest_text)
        if options.to is not None:
            tag_or_digest(options.to, "to")
        known, standing = self._vetoes.standing(gate, digest), list(self._standing_on(gate, digest))
        if known is not None and not (options.wanted and standing):
            raise Refused(f"{digest} is vetoed already, by {known.actor}: {known.reason}")
        bans = () if known is not None else (Effect("ban", digest),)
        if not options.wanted:
            told = [Effect("still promoted, roll it back", self._way_back(one, stable)) for one, stable in standing]
        else:
            told = [effect for back in self._backs(gate, digest, who, options) for effect in back.effects]
        return Plan((*bans, *told), lambda: self._veto(gate, digest, who, options))

    def lift(self, gate_name: str, digest_text: object, who: Who) -> Plan:
        """Lift a veto; tags that are that digest at the source are promoted, or examined if the veto kept that out.

        Raises:
            Malformed: the digest is none. NotThere: it is not vetoed.
        """
        gate, digest = self._lookup.gate(gate_name), parse_digest(digest_text)
        veto = self._vetoes.standing(gate, digest)
        if veto is None:
            raise NotThere(f"{digest} is not vetoed at gate {gate.name}")
        waiting = [Effect("let go on", f"{seen.tag} of gate {one.name}") for one, seen in self._waiting(gate, digest)]
        return Plan((Effect("lift the veto", digest), *waiting), lambda: self._lift(gate, veto, who))

    def _backs(self, gate: Gate, digest: Digest, who: Who, options: RollbackOptions) -> list[Plan]:
        """The rollbacks of the stable tags that stand on a digest."""
        return [
            self._gates.roll_back(one.name, stable.tag, self._target(one, stable, options), options.until, who)
            for one, stable in self._standing_on(gate, digest)
        ]

    def _veto(self, gate: Gate, digest: Digest, who: Who, options: RollbackOptions) -> Done:
        """1. Ban the digest: no move to it is claimed from then on. 2. Stop those that were claimed. 3. Roll back."""
        stored, ledger = self._vetoes.load(gate, digest), self._services.ledger
        if stored is None or not stored.record.stands:  # 1
            target, now = self._vetoes.target(gate), self._services.clock.now()
            veto = Veto(gate=gate.name, target=target, digest=digest, actor=who.actor, reason=who.reason, at=now)
            if stored is not None:
                ledger.save(stored, veto)
            elif ledger.insert(veto) is None:
                raise Conflict(f"{digest} was vetoed by someone else just now")
        against = in_flight(self._services, self._sharing(gate), digest=digest)
        self._stop_moves(gate, digest)  # 2
        for back in self._backs(gate, digest, who, options) if options.wanted else ():  # 3
            back.act()
        return Done(f"gates/{gate.name}", against)

    def _stop_moves(self, gate: Gate, digest: Digest) -> None:
        """Have all that move a stable tag to a digest read the decisions again, by a new ETag of its record.

        Where somebody else changes that record at the same time, they do so anyway, or the move is done.
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
        """1. Lift the veto. 2. Examine the digest where that was ended by the veto, else promote it where it is due."""
        stored, ledger = self._vetoes.load(gate, veto.digest), self._services.ledger
        assert stored is not None  # vetoes stay, lifted
        lifted = msgspec.structs.replace(veto, lifted_at=self._services.clock.now(), lifted_by=str(who))
        ledger.save(stored, lifted)  # 1
        for one, seen in list(self._waiting(gate, veto.digest)):  # 2
            latest = self._lookup.latest(one, veto.digest)
            if latest and (latest.record.state, latest.record.reason) == (CandidateState.CANCELED, veto.words):
                bring_up(self._services, self._observer.attempt_again(one, latest.record, str(who))[1])
            else:
                self._gates.promote_again(one, seen.tag, who)
        return Done(f"gates/{gate.name}")

    def _sharing(self, gate: Gate) -> list[Gate]:
        """The gates that promote into the same repository."""
        target = self._vetoes.target(gate)
        return [one for one in self._services.policy.gates.values() if self._vetoes.target(one) == target]

    def _standing_on(self, gate: Gate, digest: Digest) -> Iterator[tuple[Gate, StableTag]]:
        for one in self._sharing(gate):
            for stored in self._services.ledger.list(StableTag, one.name):
                if stored.record.digest == digest:
                    yield one, stored.record

    def _waiting(self, gate: Gate, digest: Digest) -> Iterator[tuple[Gate, Observation]]:
        """The source tags that are a digest on which their stable tag does not stand."""
        for one in self._sharing(gate):
            for stored in self._services.ledger.list(Observation, one.name):
                seen = stored.record
                if seen.digest == digest and not seen.absent and self._stable.read(one, seen.tag).digest != digest:
                    yield one, seen

    def _way_back(self, gate: Gate, stable: StableTag) -> str:
        earlier = next(self._earlier(gate, stable), None)
        return f"{stable.tag}{f' to {earlier}' if earlier else ', and it stood on nothing before that passes now'}"

    def _target(self, gate: Gate, stable: StableTag, options: RollbackOptions) -> str:
        if options.to and self._lookup.passed(gate, options.to).digest == stable.digest:
            raise Refused(f"{options.to} is the digest that is to be vetoed")
        to = options.to or next(self._earlier(gate, stable), None)
        if to is None:
            raise NotThere(
                f"{stable.tag} stood on nothing before that passes now: name with `to` what to roll back to, "
                "or veto without rolling back"
            )
        return to

    def _earlier(self, gate: Gate, stable: StableTag) -> Iterator[Digest]:
        """What a stable tag stood on and may stand on again: first what was observed before what it stands on."""
        promoted = sorted(self._stable.promoted(gate, stable.tag), key=lambda one: one.sequence > stable.sequence)
        for digest in dict.fromkeys(one.digest for one in promoted if one.digest != stable.digest):
            try:
                self._lookup.passed(gate, digest)
            except NotThere:
                continue
            yield digest
