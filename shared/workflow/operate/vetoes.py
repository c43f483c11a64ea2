"""Ban a digest, and get off it where a stable tag stands on it already."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from shared.domain.errors import NotThere, Refused
from shared.domain.image import Digest, parse_digest
from shared.domain.policy import Gate
from shared.domain.standing import HoldUntil, Veto, veto_row
from shared.domain.track import Track
from shared.ports import Stored
from shared.workflow.find import Find, tag_or_digest
from shared.workflow.operate.gates import GateVerbs
from shared.workflow.plan import Effect, Plan, Who
from shared.workflow.services import Services

_MOVES_LOOKED_AT = 100
"""How far back in the moves of a gate's stable tags something to roll back to is looked for."""


class Retreat(msgspec.Struct, frozen=True, kw_only=True):
    """Whether to roll back the stable tags that stand on a vetoed digest.

    `to` is a unique tag or a digest; None is what the tag stood on before and may stand on again.
    """

    wanted: bool = False
    to: str | None = None
    until: HoldUntil = HoldUntil.LIFTED


class VetoVerbs:
    """What an operator does against digests."""

    def __init__(self, services: Services, gates: GateVerbs) -> None:
        self._services, self._find, self._gates = services, Find(services), gates

    def veto(self, gate_name: str, digest_text: object, who: Who, retreat: Retreat = Retreat()) -> Plan:  # noqa: B008 (frozen)
        """Ban a digest from this gate. Where a stable tag stands on it, that is said, and what to roll back to.

        With a retreat the tag is rolled back at once, and held as after any rollback. Called again after it broke off
        half-way, it does what is left.

        Raises:
            Malformed: the digest is none, or what to roll back to is no tag and no digest.
            Refused: it is vetoed already, and no stable tag is to be rolled back from it.
            NotThere: there is nothing to roll back to.
        """
        gate, digest = self._find.gate(gate_name), parse_digest(digest_text)
        if retreat.to is not None:
            tag_or_digest(retreat.to, "to")
        known = self._find.veto(gate, digest)
        standing = [t.record for t in self._services.ledger.list(Track, gate.name) if t.record.digest == digest]
        if known is not None and not (retreat.wanted and standing):
            raise Refused(f"{digest} is vetoed already, by {known.actor}: {known.reason}")
        veto = Veto(gate=gate.name, digest=digest, actor=who.actor, reason=who.reason, at=self._services.clock.now())
        bans = () if known is not None else (Effect("ban", digest),)
        if not retreat.wanted:
            told = (Effect("still promoted, roll it back", self._way_back(gate, track)) for track in standing)
            return Plan((*bans, *told), lambda: self._veto(veto))
        backs = [
            self._gates.roll_back(gate.name, t.tag, self._target(gate, t, retreat), retreat.until, who)
            for t in standing
        ]
        effects = (*bans, *(effect for back in backs for effect in back.effects))
        return Plan(effects, lambda: self._veto_and_roll_back(None if known else veto, backs, gate))

    def lift(self, gate_name: str, digest_text: object, who: Who) -> Plan:
        """Lift a veto; the digest may be examined again."""
        gate, digest = self._find.gate(gate_name), parse_digest(digest_text)
        stored = self._services.ledger.load(Veto, gate.name, veto_row(digest))
        if stored is None or not stored.record.stands:
            raise NotThere(f"{digest} is not vetoed at gate {gate.name}")
        lifted = msgspec.structs.replace(stored.record, lifted_at=self._services.clock.now(), lifted_by=str(who))
        return Plan((Effect("lift the veto", digest),), lambda: self._save(stored, lifted))

    def _way_back(self, gate: Gate, track: Track) -> str:
        earlier = next(self._earlier(gate, track), None)
        return (
            f"{track.tag} to {earlier}" if earlier else f"{track.tag}, and it stood on nothing before that passes now"
        )

    def _target(self, gate: Gate, track: Track, retreat: Retreat) -> str:
        if retreat.to and self._find.passed(gate, retreat.to).digest == track.digest:
            raise Refused(f"{retreat.to} is the digest that is to be vetoed")
        to = retreat.to or next(self._earlier(gate, track), None)
        if to is None:
            raise NotThere(
                f"{track.tag} stood on nothing before that passes now: name with `to` what to roll back to, "
                "or veto without rolling back"
            )
        return to

    def _earlier(self, gate: Gate, track: Track) -> Iterator[Digest]:
        """What a stable tag stood on before, the last first: passed under the current checks, and not vetoed."""
        moves = self._services.ledger.page(Track, gate.name, _MOVES_LOOKED_AT, "").items
        others = dict.fromkeys(m["digest"] for m in moves if m["tag"] == track.tag and m["digest"] != track.digest)
        for digest in others:
            if self._find.veto(gate, digest) is None and self._may_stand(gate, digest):
                yield parse_digest(digest)

    def _may_stand(self, gate: Gate, digest: str) -> bool:
        try:
            self._find.passed(gate, digest)
        except NotThere:
            return False
        return True

    def _veto(self, veto: Veto) -> str:
        ledger = self._services.ledger
        if ledger.insert(veto) is None:
            stored = ledger.load(Veto, veto.partition, veto.row)
            assert stored is not None  # the insert found it
            ledger.save(stored, veto)
        return f"gates/{veto.gate}"

    def _veto_and_roll_back(self, veto: Veto | None, backs: list[Plan], gate: Gate) -> str:
        """1. Ban the digest, so that nothing moves a tag to it again. 2. Roll back."""
        if veto is not None:
            self._veto(veto)  # 1
        for back in backs:  # 2
            back.act()
        return f"gates/{gate.name}"

    def _save(self, stored: Stored[Veto], veto: Veto) -> str:
        self._services.ledger.save(stored, veto)
        return f"gates/{veto.gate}"
