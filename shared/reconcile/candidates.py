"""The controller of candidates: from the first check to a verdict."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import asdict, replace

from shared.checks import check_kinds
from shared.checks.kind import CheckKind, CheckResult, Started
from shared.domain.candidate import Candidate, CandidateState, Verdict, attempts_of, new_attempt
from shared.domain.decide import Action, Decision, decide_candidate, require_start_failed, rerun_wait
from shared.domain.errors import Busy, Conflict, Inconclusive
from shared.domain.observation import Observation
from shared.domain.outcome import Outcome
from shared.domain.policy import Gate
from shared.domain.promotion import PROMOTIONS_AT_ONCE, Promotion
from shared.domain.record import seconds_between
from shared.ports import SAVE_TRIES, Change, Services, Stored
from shared.promotion.vetoes import Vetoes
from shared.records.step import Controller, Following, Step

_FRESH_SECONDS = 1.0
"""A candidate that is younger than this is examined without checking whether a tag still points to it."""


class CandidateController(Controller[Candidate]):
    """Examines a candidate. No error is a verdict."""

    kind = Candidate

    def __init__(self, services: Services) -> None:
        self._services, self._vetoes, self._kinds = services, Vetoes(services), check_kinds(services)
        self._actions: dict[Action, Callable[[Step[Candidate], Gate], Candidate]] = {
            Action.START_CHECK: self._start,
            Action.ADOPT_CHECK: self._adopt,
            Action.WATCH_CHECK: self._poll,
            Action.EXAMINE_ANEW: self._examine_anew,
            Action.PASS: self._pass,
            Action.FAIL: self._fail,
        }

    def decide(self, record: Candidate, step: Step[Candidate] | None = None) -> Decision:
        """The next step."""
        claimed, gate = step is not None and step.is_claimed, self._services.gate(record.gate)
        return decide_candidate(record, gate, self._services.clock.now(), claimed=claimed)

    def act(self, step: Step[Candidate]) -> Candidate:
        """Take the step that was decided."""
        if step.decision.action is Action.RULE_REMOVED:
            return self._settled(step.record, CandidateState.RULE_REMOVED, step.decision.reason)
        return self._actions[step.decision.action](step, self._services.policy.gates[step.record.gate])

    def dependency(self, record: Candidate, decision: Decision) -> str:
        """The dependency of the check."""
        gate = self._services.gate(record.gate)
        if gate is None or decision.index >= len(gate.checks):
            return f"gate {record.gate}"
        return self._kind(gate, decision.index).dependency(gate.checks[decision.index])

    def outcome(self, record: Candidate) -> Outcome | None:
        """The outcome of a candidate that is settled or awaits approval."""
        subject, page = f"gates/{record.gate}/candidates/{record.row}", f"candidates/{record.id}"
        about: dict[str, object] = {"gate": record.gate, "image": str(record.image)}
        if record.state is CandidateState.AWAITING_APPROVAL:
            asked = about | {"requestedBy": record.requested_by}
            return Outcome(name="ApprovalNeeded", subject=subject, page=page, data=asked)
        if not record.settled:
            return None
        failing = next((check for check in record.checks if check.verdict not in (None, Verdict.PASSED)), None)
        data = about | {
            "attempt": record.attempt,
            "tag": record.tag,
            "state": record.state.value,
            "reason": record.reason,
            "logTail": list(failing.evidence.log_tail) if failing else [],
        }
        name = f"Candidate{record.state.value.title().replace(' ', '')}"
        return Outcome(name=name, subject=subject, page=page, data=data)

    def followers(self, record: Candidate) -> Iterator[Following]:
        """The promotions that wait for its verdict, or that a dead worker left, and the attempt that replaces it."""
        if record.state is CandidateState.SUPERSEDED:
            for later in self._services.ledger.list(Candidate, record.gate, attempts_of(record.digest)):
                if later.record.attempt == record.attempt + 1 and not later.record.settled:
                    yield (later,)
        yield from zip(self._waiting(record))

    def _waiting(self, candidate: Candidate) -> list[Stored[Promotion]]:
        """The unsettled promotions of its digest."""
        opened = self._services.ledger.open(Promotion, candidate.gate)
        return [one for one in opened if one.record.digest == candidate.digest and not one.record.settled]

    def _start(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Start a check.

        1. A digest that is vetoed, or that no tag points to any more, is not examined.
        2. Claim the check in the ledger, unless it was created with its claim: of two workers only one continues.
        3. Start the run, with a mark, so that it can be found if this process dies before 4.
        4. Record the run (the engine saves).
        """
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        if (veto := self._vetoes.active(gate, candidate.digest)) is not None:  # 1
            return self._settled(candidate, CandidateState.CANCELED, veto.words)
        if self._is_overtaken(candidate):
            return self._settled(candidate, CandidateState.SUPERSEDED, "its tags changed before it was examined")
        if not step.is_claimed:
            claimed = candidate.checks[index].claimed(now, secrets.token_hex(8))
            candidate = step.save(candidate.with_check_record(index, claimed))  # 2
        kind = self._kind(gate, index)
        started = kind.start(candidate, gate.checks[index], _mark(candidate, index))  # 3
        if isinstance(started, CheckResult):
            return self._conclude(step, index, started)
        return self._begun(candidate, index, started, kind, "started")  # 4

    def _adopt(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Find the run that a dead worker started, else release the claim so that the check is started again."""
        index, candidate = step.decision.index, step.record
        check, kind = candidate.checks[index], self._kind(gate, index)
        assert check.claimed_at is not None  # decide adopts only claimed checks
        found = kind.adopt(candidate, gate.checks[index], _mark(candidate, index), check.claimed_at)
        if found is None:
            require_start_failed(check.claimed_at, self._services.clock.now())
            again = candidate.with_check_record(index, replace(check.unclaimed(), runs=check.runs - 1))
            return again.noting(self._services.clock.now(), "claim released", "no run was started")
        return self._begun(candidate, index, found, kind, "adopted")

    def _begun(self, candidate: Candidate, index: int, run: Started, kind: CheckKind[Any], how: str) -> Candidate:
        begun = candidate.with_check(index, registry=run.registry, run_id=run.run_id)
        name = candidate.checks[index].kind
        if kind.waits_for_person:
            waiting = replace(begun, state=CandidateState.AWAITING_APPROVAL)
            return waiting.noting(self._services.clock.now(), f"{name} requested", "an operator must decide")
        return begun.noting(self._services.clock.now(), f"{name} check {how}", f"run {run.run_id} of {run.registry}")

    def _poll(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Read the result of a running check."""
        index, candidate = step.decision.index, step.record
        result = self._kind(gate, index).poll(candidate, candidate.checks[index], gate.checks[index])
        return candidate if result is None else self._conclude(step, index, result)

    def _conclude(self, step: Step[Candidate], index: int, result: CheckResult) -> Candidate:
        """Record the result of a check.

        Raises:
            Inconclusive: it is no verdict; the check is run again.
        """
        now, candidate = self._services.clock.now(), step.record
        name, check = candidate.checks[index].kind, candidate.checks[index]
        if result.verdict is Verdict.UNKNOWN:
            again = candidate.with_check_record(index, check.unclaimed(result.reason))
            step.carry(again.noting(now, f"{name} check without a verdict", result.reason))  # saved with its wait
            raise Inconclusive(result.reason, rerun_wait(check.runs))
        concluded = candidate.with_check(index, **asdict(result) | {"finished_at": result.finished_at or now})
        return concluded.noting(now, f"{name} check {result.verdict}", result.reason)

    def _pass(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Settle it together with the promotions that are now based on it, up to the limit of a transaction.

        Promotions that were based on an earlier attempt and have not started are included: the images of that attempt
        may be deleted.
        """
        passed = self._settled(step.record, CandidateState.PASSED, step.decision.reason)
        passed, now = replace(passed, next_step_at=None), self._services.clock.now()
        for _ in range(SAVE_TRIES):
            waiting = self._waiting(passed)
            first = [one for one in waiting if one.record.copy_started_at is None and one.record.moved_at is None]
            first = first[:PROMOTIONS_AT_ONCE]
            based = [Change(one.record.based_on(passed, now), one) for one in first]
            try:
                others = step.commit(passed, *based)
            except Conflict:
                if not step.is_current():
                    raise
            else:
                step.followers = zip([*others, *(one for one in waiting if one not in first)])
                return passed
        raise Busy(f"too many conflicts on the promotions of {passed.id}", delay_seconds=1.0)

    def _fail(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """End it by the verdict of a person or a check."""
        by_person = self._kind(gate, step.decision.index).waits_for_person
        state = CandidateState.REJECTED if by_person else CandidateState.FAILED
        return self._settled(step.record, state, step.decision.reason)

    def _examine_anew(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Replace this attempt by a new one under the current checks, without its results."""
        old, now, why = step.record, self._services.clock.now(), step.decision.reason
        source = self._services.registry_rule(gate.source.registry)
        new = new_attempt(gate, source, old.digest, old.tag, now, old.attempt + 1).noting(now, "admitted", why)
        new = replace(new, requested_by=old.requested_by, found_by=old.found_by)
        superseded = self._settled(old, CandidateState.SUPERSEDED, why)
        step.commit(superseded, Change(new))
        return superseded

    def _settled(self, candidate: Candidate, state: CandidateState, reason: str) -> Candidate:
        return candidate.ended(self._services.clock.now(), state, reason)

    def _is_overtaken(self, candidate: Candidate) -> bool:
        """Whether no tag points to the digest any more, and no check has begun."""
        age = seconds_between(candidate.created_at, self._services.clock.now())
        if candidate.has_begun or candidate.requested_by or age < _FRESH_SECONDS:
            return False
        for stored in self._services.ledger.open(Promotion, candidate.gate):
            if stored.record.digest == candidate.digest:
                seen = self._services.ledger.load(Observation, candidate.gate, stored.record.tag)
                if seen is not None and candidate.digest in (seen.record.digest, seen.record.doubted):
                    return False
        return True

    def _kind(self, gate: Gate, index: int) -> CheckKind[Any]:
        return self._kinds[gate.checks[index].kind]


def _mark(candidate: Candidate, index: int) -> str:
    """The mark of a run: unique to this run of this check of this attempt."""
    return f"basegate/{candidate.gate}/{candidate.row}/{index}/{candidate.checks[index].nonce}"
