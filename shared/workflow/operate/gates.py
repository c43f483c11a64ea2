"""Hold, roll back."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.errors import Conflict, NotThere, Refused
from shared.domain.image import ImageRef, parse_repository, parse_tag
from shared.domain.policy import Gate
from shared.domain.standing import Hold, HoldUntil
from shared.domain.track import Track
from shared.ports import Stored
from shared.workflow.dependents import Dependents
from shared.workflow.find import Find
from shared.workflow.plan import Effect, Plan, Who
from shared.workflow.services import Services
from shared.workflow.tracks import Stand, Tracks
from shared.workflow.writing import save

_WRITE_ATTEMPTS = 5


class GateVerbs:
    """What an operator does with a gate's stable tags."""

    def __init__(self, services: Services) -> None:
        self._services, self._find = services, Find(services)
        self._tracks, self._dependents = Tracks(services), Dependents(services)

    def hold(self, gate_name: str, tag_name: object, until: HoldUntil, who: Who) -> Plan:
        """Keep a stable tag where it is; candidates are still examined, and wait."""
        gate, tag = self._find.gate(gate_name), parse_tag(tag_name)
        stored = self._tracks.load(gate, tag)
        if stored.record.hold is not None:
            held = stored.record.hold
            raise Refused(f"{tag} is held already, by {held.actor}: {held.reason}")
        stands = stored.record.digest or "nothing yet"
        return Plan((Effect("hold", f"{tag} on {stands}"),), lambda: self._hold(gate, stored, until, who))

    def lift(self, gate_name: str, tag_name: object, who: Who) -> Plan:
        """Lift a hold; what passed meanwhile goes on, the newest push wins."""
        gate, tag = self._find.gate(gate_name), parse_tag(tag_name)
        stored = self._tracks.load(gate, tag)
        waiting = [str(candidate.record.image) for candidate in self._held(gate, tag)]
        if stored.record.hold is None and not waiting:
            raise NotThere(f"{tag} of gate {gate.name} is not held")
        effects = (Effect("lift the hold", tag), *(Effect("let go on", image) for image in waiting))
        return Plan(effects, lambda: self._lift(gate, stored, who))

    def roll_back(self, gate_name: str, tag_name: object, to: str, until: HoldUntil, who: Who) -> Plan:
        """Move a stable tag back to a digest that once passed, and hold it there.

        Raises:
            NotThere: `to` is no unique tag or digest with a passed verdict under the current checks.
            Refused: it is vetoed, or the tag stands on it already.
        """
        gate, tag = self._find.gate(gate_name), parse_tag(tag_name)
        stored, candidate = self._tracks.load(gate, tag), self._find.passed(gate, to)
        veto = self._find.veto(gate, candidate.digest)
        if veto is not None:
            raise Refused(f"{candidate.digest} is vetoed by {veto.actor}: {veto.reason}")
        apps = [app.name for app in self._services.policy.apps_on(gate.name, tag)]
        if stored.record.digest == candidate.digest and self._dependents.begun(gate, stored.record):
            raise Refused(f"{tag} stands on {candidate.digest} already")
        effects = (
            Effect("move the stable tag", f"{tag} from {stored.record.digest} to {candidate.digest}"),
            Effect("hold", f"{tag} until {'lifted' if until is HoldUntil.LIFTED else 'a newer digest passes'}"),
            *(Effect("rebuild and redeploy", app) for app in apps),
        )
        return Plan(effects, lambda: self._roll_back(gate, stored, candidate, until, who))

    def _hold(self, gate: Gate, stored: Stored[Track], until: HoldUntil, who: Who) -> str:
        hold = Hold(actor=who.actor, reason=who.reason, at=self._services.clock.now(), until=until)
        self._tracks.save(stored, msgspec.structs.replace(stored.record, hold=hold))
        return f"gates/{gate.name}"

    def _lift(self, gate: Gate, stored: Stored[Track], who: Who) -> str:
        """1. Lift the hold. 2. Let every candidate go on that waits for this tag; their order is decided as ever."""
        self._tracks.save(stored, msgspec.structs.replace(stored.record, hold=None))  # 1
        for candidate in list(self._held(gate, stored.record.tag)):  # 2
            self._release(candidate, stored.record.tag, who)
        return f"gates/{gate.name}"

    def _release(self, stored: Stored[Candidate], tag: str, who: Who) -> None:
        for _ in range(_WRITE_ATTEMPTS):
            record = stored.record
            index = record.tag_index(tag)
            if index is None or not record.tags[index].held:
                return
            freed = msgspec.structs.replace(
                record.with_tag(index, held=False), state=CandidateState.PROMOTING, announced=False
            ).noting(self._services.clock.now(), "hold lifted", str(who))
            try:
                save(self._services, stored, freed)
            except Conflict:
                again = self._services.ledger.load(Candidate, record.partition, record.row)
                assert again is not None  # records are never deleted
                stored = again
            else:
                return

    def _held(self, gate: Gate, tag: str) -> Iterator[Stored[Candidate]]:
        for stored in self._services.ledger.list(Candidate, gate.name):
            if any(record.tag == tag and record.held for record in stored.record.tags):
                yield stored

    def _roll_back(self, gate: Gate, stored: Stored[Track], candidate: Candidate, until: HoldUntil, who: Who) -> str:
        """1. Move the tag and record the hold, in one write of the track. 2. Roll out what stands on it."""
        index = candidate.tag_index(stored.record.tag) or 0
        record, now = candidate.tags[index], self._services.clock.now()
        hold = Hold(actor=who.actor, reason=who.reason, at=now, until=until)
        stand = Stand(
            digest=candidate.digest, pushed_at=record.pushed_at, candidate=candidate.row, unique=record.unique
        )
        track = self._tracks.move(gate, stored, stand, lambda: None, hold=hold, moved_by=str(who))  # 1
        target = self._services.registry_rule(gate.promote.registry)
        image = ImageRef(target.login_server, parse_repository(gate.promote.repository), candidate.digest)
        assert track.moved_at is not None  # a move dates it
        self._dependents.roll_out(gate, track.tag, image, track.moved_at)  # 2
        return f"gates/{gate.name}"
