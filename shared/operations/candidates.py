"""The operations on candidates: examine, rerun, cancel, approve, reject."""

import logging

from msgspec.structs import replace

from shared.checks import check_kinds
from shared.domain.candidate import Candidate, CandidateState, FoundBy, Verdict, new_attempt
from shared.domain.errors import BasegateError, Busy, Conflict, NotFound, Refused
from shared.domain.image import Digest, ImageRef, Tag, parse_repository, short
from shared.domain.observation import Change, Observation
from shared.domain.policy import Gate
from shared.domain.promotion import PARKED, Promotion, PromotionState
from shared.domain.stable_tag import StableTag
from shared.intake.observe import Observer, Trigger
from shared.operations import Plan, Who
from shared.ports import Services, Stored
from shared.promotion.vetoes import Vetoes
from shared.queries.lookup import Lookup
from shared.reconcile.begin import Done, Effect, cancel, enqueue, save

log = logging.getLogger(__name__)


class CandidateOperations:
    """The operations on candidates."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)
        self._observer, self._vetoes, self._kinds = Observer(services), Vetoes(services), check_kinds(services)

    def examine(self, gate_name: str, tag: object, who: Who) -> Plan:
        """Examine the current digest of a source tag.

        Raises:
            Malformed: the tag is invalid, or the gate does not track it.
            NotFound: the tag does not exist at the source.
            Refused: that digest is being examined, or is vetoed.
        """
        gate = self._lookup.gate(gate_name)
        tracked = self._lookup.tag(gate, tag)
        source = self._services.registry_rule(gate.source.registry)
        digest = self._services.tags.digest_of(source, gate.source.repository, tracked)
        if digest is None:
            raise NotFound(f"there is no {source.login_server}/{gate.source.repository}:{tracked}")
        seen = self._services.ledger.load(Observation, gate.name, tracked)
        is_known = seen is not None and seen.record.digest == digest
        self._require_free(gate, digest, self._lookup.latest(gate, digest) if is_known else None)
        image = ImageRef(source.login_server, parse_repository(gate.source.repository), digest)
        effects = (Effect("examine", str(image)), Effect("promote if it passes", tracked))
        return Plan(effects, lambda: self._examine(gate, tracked, digest, who))

    def rerun(self, identifier: str, who: Who) -> Plan:
        """Examine a digest again, as a new attempt. The sequence of its observations stays the same.

        Raises:
            Refused: an attempt is in progress, or the digest is vetoed.
        """
        stored = self._lookup.candidate(identifier)
        gate = self._lookup.gate(stored.record.gate)
        latest = self._lookup.latest(gate, stored.record.digest) or stored
        self._require_free(gate, latest.record.digest, latest)
        observed = (seen.record for seen in self._services.ledger.list(Observation, gate.name))
        tags = ", ".join(seen.tag for seen in observed if seen.digest == latest.record.digest and not seen.absent)
        gone = f"no source tag points to {short(latest.record.digest)} any more"
        promotes = Effect("promote if it passes", tags) if tags else Effect("promote nothing", gone)
        effects = (Effect("examine", str(latest.record.image)), promotes)
        return Plan(effects, lambda: self._again(gate, latest.record, who))

    def cancel(self, identifier: str, who: Who) -> Plan:
        """Cancel an attempt and its run; or, if it has passed, the promotions that are based on it.

        Raises:
            Refused: nothing of it is in progress, or a stable tag points to its digest or is being moved to it.
        """
        stored = self._lookup.candidate(identifier)
        record = stored.record
        if not record.settled:
            return Plan((Effect("cancel", str(record.image)),), lambda: self._cancel(stored, who))
        listed = self._lookup.promotions_about(record)
        promotions = [one for one in listed if one.record.candidate in ("", record.row)]  # based on it, now or soon
        unmoved = [one for one in promotions if one.record.moved_at is None]
        active = [one for one in unmoved if not one.record.settled or one.record.state in PARKED]
        moving = [one for one in active if self._is_claimed(one.record)]
        if moving or (not active and any(one.record.moved_at for one in promotions)):
            raise Refused(f"a stable tag points to {record.id} already, or is being moved to it: roll back instead")
        if not active:
            raise Refused(f"{record.id} is {record.state} already, and has no promotion in progress")
        effects = tuple(Effect("cancel the promotion", f"{one.record.tag}, {one.record.state_name}") for one in active)
        return Plan(effects, lambda: self._cancel_promotions(record, active, who))

    def approve(self, identifier: str, who: Who) -> Plan:
        """Approve an attempt that awaits approval.

        Raises:
            Refused: it does not await approval, or the gate requires two persons and this one requested the run.
        """
        return self._answer(identifier, Verdict.PASSED, "approved", who)

    def reject(self, identifier: str, who: Who) -> Plan:
        """Reject an attempt that awaits approval."""
        return self._answer(identifier, Verdict.FAILED, "rejected", who)

    def _answer(self, identifier: str, verdict: Verdict, word: str, who: Who) -> Plan:
        stored = self._lookup.candidate(identifier)
        record, gate = stored.record, self._lookup.gate(stored.record.gate)
        index = next((i for i, check in enumerate(record.checks) if check.verdict is not Verdict.PASSED), None)
        waits = record.state is CandidateState.AWAITING_APPROVAL and record.fingerprint == gate.fingerprint
        if index is None or not waits:
            raise Refused(f"{identifier} does not await approval: it is {record.state_name}")
        rule = gate.checks[index]
        if rejection := self._kinds[rule.kind].rejection(record, rule, verdict, who.actor):
            raise Refused(rejection)
        now, reason = self._services.clock.now(), f"{word} by {who}"
        answered = record.with_check(index, verdict=verdict, reason=reason, finished_at=now).noting(now, word, str(who))
        resumed = replace(answered, state=CandidateState.EXAMINING, next_step_at=None)
        return Plan((Effect(word, str(record.image)),), lambda: save(self._services, resumed, stored))

    def _require_free(self, gate: Gate, digest: Digest, latest: Stored[Candidate] | None) -> None:
        """Raises `Refused` if an attempt is in progress, or the digest is vetoed."""
        if (veto := self._vetoes.active(gate, digest)) is not None:
            raise Refused(f"{veto.words}. Lift the veto first")
        if latest is not None and not latest.record.settled:
            raise Refused(f"{latest.record.id} is {latest.record.state_name}: wait for it, or cancel it")

    def _examine(self, gate: Gate, tag: Tag, expected: Digest, who: Who) -> Done:
        """1. Observe the tag; a return to the digest of the plan needs no confirmation.

        2. Create another attempt, unless the digest is new to the tag and its last attempt is in progress or passed.
        """
        observed = self._observer.observe(gate, tag, Trigger(FoundBy.OPERATOR, expected, str(who)))  # 1
        enqueue(self._services, observed.items)
        needs_promotion, digest = observed.meaning.needs_promotion, observed.digest
        gone = observed.meaning in (Change.MISSED, Change.ABSENT)
        if digest is None or gone or not (needs_promotion or digest == expected):
            raise Busy(f"{tag} is no longer {short(expected)}: {observed.meaning}. Retry", delay_seconds=5.0)
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
            raise Refused(f"someone else just started another attempt at {latest.digest}") from None
        enqueue(self._services, items)
        return Done(f"candidates/{attempt.id}")

    def _cancel(self, stored: Stored[Candidate], who: Who) -> Done:
        """End an attempt and the promotions that wait for it. A run that cannot be canceled runs to its end."""
        done = cancel(self._services, stored, CandidateState.CANCELED, who)
        for check in stored.record.checks:
            kind = self._kinds.get(check.kind)
            if kind is None or not check.run_id or check.verdict is not None:
                continue
            try:
                kind.cancel(check)
            except BasegateError as error:
                log.warning("run %s of the canceled %s not canceled: %s", check.run_id, stored.record.id, error)
        return done

    def _cancel_promotions(self, record: Candidate, promotions: list[Stored[Promotion]], who: Who) -> Done:
        for stored in promotions:
            cancel(self._services, stored, PromotionState.CANCELED, who)
        return Done(f"candidates/{record.id}")

    def _is_claimed(self, promotion: Promotion) -> bool:
        """Whether the stable tag is being moved for a promotion, or may have been.

        The mover saves its claim together with the promotion: if canceling can then save the promotion on the ETag that
        was read before, no tag is moved for it.
        """
        stored = self._services.ledger.load(StableTag, promotion.gate, promotion.tag)
        return stored is not None and stored.record.claim is not None and stored.record.claim.mover == promotion.row
