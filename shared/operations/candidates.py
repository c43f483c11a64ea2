"""Examine, rerun, cancel, approve, reject."""

import logging

import msgspec

from shared.domain.candidate import Candidate, CandidateState, FoundBy, Verdict, new_attempt
from shared.domain.effect import Effect
from shared.domain.errors import BasegateError, Busy, Conflict, NotFound, Refused
from shared.domain.image import Digest, ImageRef, Tag, parse_repository, short
from shared.domain.observation import Change, Observation
from shared.domain.policy import Gate
from shared.domain.promotion import PARKED, Promotion, PromotionState
from shared.domain.stable_tag import StableTag
from shared.intake.observe import Observer, Trigger
from shared.operations.plan import Plan, Who
from shared.ports import Services, Stored
from shared.promotion.vetoes import Vetoes
from shared.queries.lookup import Lookup
from shared.reconcile.begin import Done, cancel, enqueue, save

log = logging.getLogger(__name__)


class CandidateOperations:
    """What an operator does with candidates."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)
        self._observer, self._vetoes = Observer(services), Vetoes(services)

    def examine(self, gate_name: str, tag_name: object, who: Who) -> Plan:
        """Examine what a tag of the source is now.

        Raises:
            Malformed, NotFound: the tag is none, none of the gate's, or not at the source.
            Refused: that digest is being examined, or is vetoed.
        """
        gate = self._lookup.gate(gate_name)
        tag = self._lookup.tag(gate, tag_name)
        source = self._services.registry_rule(gate.source.registry)
        digest = self._services.tags.digest_of(source, gate.source.repository, tag)
        if digest is None:
            raise NotFound(f"there is no {source.login_server}/{gate.source.repository}:{tag}")
        seen = self._services.ledger.load(Observation, gate.name, tag)
        is_known = seen is not None and seen.record.digest == digest
        self._require_free(gate, digest, self._lookup.latest(gate, digest) if is_known else None)
        image = ImageRef(source.login_server, parse_repository(gate.source.repository), digest)
        effects = (Effect("examine", str(image)), Effect("promote if it passes", tag))
        return Plan(effects, lambda: self._examine(gate, tag, digest, who))

    def rerun(self, identifier: str, who: Who) -> Plan:
        """Examine a digest again, as a new attempt. Its place among the digests of its tags stays what it was.

        Raises:
            Refused: an attempt goes on, or the digest is vetoed.
        """
        stored = self._lookup.candidate(identifier)
        gate = self._lookup.gate(stored.record.gate)
        latest = self._lookup.latest(gate, stored.record.digest) or stored
        self._require_free(gate, latest.record.digest, latest)
        observed = (seen.record for seen in self._services.ledger.list(Observation, gate.name))
        tags = ", ".join(seen.tag for seen in observed if seen.digest == latest.record.digest and not seen.absent)
        gone = f"its tags have moved on: no tag is {short(latest.record.digest)} any more"
        promotes = Effect("promote if it passes", tags) if tags else Effect("promote nothing", gone)
        effects = (Effect("examine", str(latest.record.image)), promotes)
        return Plan(effects, lambda: self._again(gate, latest.record, who))

    def cancel(self, identifier: str, who: Who) -> Plan:
        """Stop an attempt and the run that examines it; of one that has passed, the promotions that stand on it.

        Raises:
            Refused: nothing of it goes on, or a stable tag stands on it or is being moved to it.
        """
        stored = self._lookup.candidate(identifier)
        record = stored.record
        if not record.settled:
            return Plan((Effect("cancel", str(record.image)),), lambda: self._cancel(stored, who))
        listed = self._lookup.promotions_about(record)
        promotions = [one for one in listed if one.record.candidate in ("", record.row)]  # on it, or about to be
        unmoved = [one for one in promotions if one.record.moved_at is None]
        going = [one for one in unmoved if not one.record.settled or one.record.state in PARKED]
        moving = [one for one in going if self._is_claimed(one.record)]
        if moving or (not going and any(one.record.moved_at for one in promotions)):
            raise Refused(f"a stable tag stands on {record.id} already, or moves to it: roll back instead")
        if not going:
            raise Refused(f"{record.id} is {record.state} already, and no promotion of it goes on")
        effects = tuple(Effect("cancel the promotion", f"{one.record.tag}, {one.record.state_name}") for one in going)
        return Plan(effects, lambda: self._cancel_promotions(record, going, who))

    def approve(self, identifier: str, who: Who) -> Plan:
        """Approve an attempt that waits for it.

        Raises:
            Refused: it does not wait for approval, or the gate wants another person than the one who asked.
        """
        return self._answer(identifier, Verdict.PASSED, "approved", who)

    def reject(self, identifier: str, who: Who) -> Plan:
        """Reject an attempt that waits for approval."""
        return self._answer(identifier, Verdict.FAILED, "rejected", who)

    def _answer(self, identifier: str, verdict: Verdict, word: str, who: Who) -> Plan:
        stored = self._lookup.candidate(identifier)
        record, gate = stored.record, self._lookup.gate(stored.record.gate)
        index = next((i for i, check in enumerate(record.checks) if check.verdict is not Verdict.PASSED), None)
        waits = record.state is CandidateState.AWAITING_APPROVAL and record.fingerprint == gate.fingerprint
        rule = gate.checks[index].approval if waits and index is not None else None
        if index is None or rule is None:
            raise Refused(f"{identifier} does not wait for approval: it is {record.state_name}")
        if rule.two_persons and verdict is Verdict.PASSED and _name(record.requested_by) == _name(who.actor):
            raise Refused(f"{who.actor} asked for this run: gate {gate.name} wants another person to approve it")
        now, reason = self._services.clock.now(), f"{word} by {who}"
        answered = record.with_check(index, verdict=verdict, reason=reason, finished_at=now).noting(now, word, str(who))
        goes_on = msgspec.structs.replace(answered, state=CandidateState.EXAMINING, next_step_at=None)
        return Plan((Effect(word, str(record.image)),), lambda: save(self._services, goes_on, stored))

    def _require_free(self, gate: Gate, digest: Digest, latest: Stored[Candidate] | None) -> None:
        """Raises `Refused` where an attempt goes on, or the digest is vetoed."""
        if (veto := self._vetoes.active(gate, digest)) is not None:
            raise Refused(f"{veto.words}. Lift the veto first")
        if latest is not None and not latest.record.settled:
            raise Refused(f"{latest.record.id} is {latest.record.state_name}: wait for it, or cancel it")

    def _examine(self, gate: Gate, tag: Tag, expected: Digest, who: Who) -> Done:
        """1. Observe the tag; a return to the digest that the plan names is believed at once.

        2. Another attempt at it, unless it is news and its last attempt goes on, or has passed.
        """
        observed = self._observer.observe(gate, tag, Trigger(FoundBy.OPERATOR, expected, str(who)))  # 1
        enqueue(self._services, observed.items)
        needs_promotion, digest = observed.meaning.needs_promotion, observed.digest
        gone = observed.meaning in (Change.MISSED, Change.ABSENT)
        if digest is None or gone or not (needs_promotion or digest == expected):
            raise Busy(f"{tag} was {short(expected)} just now: {observed.meaning}. Ask again", delay_seconds=5.0)
        latest = self._lookup.latest(gate, digest)  # 2
        if latest is None:
            source = self._services.registry_rule(gate.source.registry)
            return self._again(gate, new_attempt(gate, source, digest, tag, self._services.clock.now(), 0), who)
        if needs_promotion and (not latest.record.settled or latest.record.state is CandidateState.PASSED):
            return Done(f"candidates/{latest.record.id}")
        self._require_free(gate, digest, latest)
        return self._again(gate, latest.record, who)

    def _again(self, gate: Gate, latest: Candidate, who: Who) -> Done:
        try:
            attempt, items = self._observer.attempt_again(gate, latest, str(who))
        except Conflict:
            raise Refused(f"another attempt at {latest.digest} was begun by someone else just now") from None
        enqueue(self._services, items)
        return Done(f"candidates/{attempt.id}")

    def _cancel(self, stored: Stored[Candidate], who: Who) -> Done:
        """End an attempt; the promotions that wait for it end with it. A run that cannot be canceled is left to end."""
        done = cancel(self._services, stored, CandidateState.CANCELED, who)
        for check in stored.record.checks:
            registry = self._services.policy.registry_at(check.registry)
            if registry is None or check.verdict is not None:
                continue
            try:
                self._services.tasks.cancel(registry, check.run_id)
            except BasegateError as error:
                log.warning("run %s of the canceled %s goes on: %s", check.run_id, stored.record.id, error)
        return done

    def _cancel_promotions(self, record: Candidate, promotions: list[Stored[Promotion]], who: Who) -> Done:
        for stored in promotions:
            cancel(self._services, stored, PromotionState.CANCELED, who)
        return Done(f"candidates/{record.id}")

    def _is_claimed(self, promotion: Promotion) -> bool:
        """Whether the stable tag is being moved for a promotion, or may have been.

        Its mover saves the claim together with the promotion. So a promotion that was read before, and is saved
        unchanged since, as canceling does, is one for which no tag moves.
        """
        stored = self._services.ledger.load(StableTag, promotion.gate, promotion.tag)
        return stored is not None and stored.record.claim is not None and stored.record.claim.mover == promotion.row


def _name(actor: str) -> str:
    """A person's name, to compare: as it is taken down for an attempt, whatever the case of its letters."""
    return actor.partition(":")[0].strip().casefold()
