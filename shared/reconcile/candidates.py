"""The controller of candidates: from the first check to a verdict."""

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

from msgspec.structs import asdict, replace

from shared.checks import check_kinds
from shared.checks.kind import CheckKind, CheckResult, Started
from shared.domain.candidate import Candidate, CandidateState, Verdict, attempt_after, attempts_of
from shared.domain.decide import (
    Action,
    Decision,
    decide_candidate,
    only_waits_to_retry,
    require_start_failed,
    rerun_wait,
)
from shared.domain.errors import BasegateError, Busy, Conflict, Inconclusive
from shared.domain.observation import Observation
from shared.domain.outcome import Outcome
from shared.domain.policy import Gate, Phase
from shared.domain.promotion import PROMOTIONS_AT_ONCE, Promotion
from shared.domain.record import seconds_between
from shared.ports import SAVE_TRIES, Change, Services, Stored
from shared.promotion.vetoes import Vetoes
from shared.records.step import Controller, Following, Step

log = logging.getLogger(__name__)

_STARTS = (Action.START_CHECK, Action.ADOPT_CHECK)

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
        gate = self._services.policy.gates[step.record.gate]
        if step.record.failures and step.decision.action in _STARTS:
            self._read_others(step, gate)
        return self._actions[step.decision.action](step, gate)

    def _read_others(self, step: Step[Candidate], gate: Gate) -> None:
        """Read the running checks beside one that cannot be started: that is always due, and would hide them."""
        decision = step.decision  # that of the reading is about a running check, which must not be started
        with suppress(BasegateError):  # what the start of the other one says comes first
            step.carry(self._poll(step, gate))
        following = self.decide(step.record, step)
        step.decision = following if following.action is Action.FAIL else decision

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
        2. A report that was kept when the rules changed is judged again, without a run.
        3. Claim the check in the ledger, unless it was created with its claim: of two workers only one continues. One
           that only reads is not claimed.
        4. Start the run, with a mark, so that it can be found if this process dies before 5.
        5. Record the run (the engine saves).
        """
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        kind, rule = self._kind(gate, index), gate.checks[index]
        if (veto := self._vetoes.active(gate, candidate.digest)) is not None:  # 1
            return self._settled(candidate, CandidateState.CANCELED, veto.words)
        if self._is_overtaken(candidate):
            return self._settled(candidate, CandidateState.SUPERSEDED, "its tags changed before it was examined")
        if (judged := kind.judge_again(candidate, candidate.checks[index], rule)) is not None:  # 2
            return self._conclude(step, gate, index, judged)
        if rule.phase is Phase.READ:
            return self._read(step, gate, index)
        if not (step.is_claimed and candidate.checks[index].claimed_at):
            claimed = candidate.checks[index].claimed(now, secrets.token_hex(8))
            candidate = step.save(candidate.with_check_record(index, claimed))  # 3
        started = kind.start(candidate, rule, _mark(candidate, index))  # 4
        if isinstance(started, CheckResult):
            return self._conclude(step, gate, index, started)
        return self._begun(candidate, index, started, kind, "started")  # 5

    def _read(self, step: Step[Candidate], gate: Gate, index: int) -> Candidate:
        """Run a check that only reads: to do it twice does no harm, and there is no run to be found.

        Raises:
            Busy: what it looks for may still come. It says so in its reason, and nothing is amiss.
        """
        candidate, check = step.record, step.record.checks[index]
        try:
            result = self._kind(gate, index).start(candidate, gate.checks[index], _mark(candidate, index))
        except Busy as busy:
            waiting = candidate.with_check_record(index, check.unclaimed(str(busy)))
            step.carry(replace(waiting, failing_step=""))
            raise
        assert isinstance(result, CheckResult)  # what only reads starts no run
        step.carry(candidate.with_check_record(index, replace(check.unclaimed(), runs=check.runs + 1)))
        return self._conclude(step, gate, index, result)

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
        """Read the results of all running checks. What one of them tells is kept, whatever happens to another.

        Raises:
            BasegateError: the first error of a check whose run could not be read.
        """
        failed: tuple[int, BasegateError] | None = None
        for index, check in enumerate(step.record.checks):
            kind = self._kind(gate, index)
            if not check.is_running or kind.waits_for_person:
                continue
            try:
                result = kind.poll(step.record, check, gate.checks[index])
            except BasegateError as error:
                failed = failed or (index, error)
                continue
            if result is not None:
                step.carry(self._conclude(step, gate, index, result))
        if failed is not None:
            step.decision = replace(step.decision, index=failed[0])
            raise failed[1]
        return step.record

    def _conclude(self, step: Step[Candidate], gate: Gate, index: int, result: CheckResult) -> Candidate:
        """Record the result of a check.

        Raises:
            Inconclusive: what is left has no verdict, and none of it is in progress: it is run again when it is due.
        """
        now, candidate = self._services.clock.now(), step.record
        name, check = candidate.checks[index].kind, candidate.checks[index]
        if result.verdict is Verdict.UNKNOWN:
            unclaimed = check.unclaimed(result.reason, now + timedelta(seconds=rerun_wait(check.runs)))
            after = candidate.with_check_record(index, unclaimed)
            after = after.noting(now, f"{name} check without a verdict", result.reason)
        else:
            times = {  # of the run, also if its report is judged again: that makes no scan newer
                "started_at": result.started_at or check.started_at,
                "finished_at": result.finished_at or check.finished_at or now,
            }
            after = candidate.with_check(index, **asdict(result) | times)
            after = after.noting(now, f"{name} check {result.verdict}", result.reason)
        if result.verdict is Verdict.FAILED or not only_waits_to_retry(after, gate):
            return after  # the other checks of its phase go on meanwhile
        step.carry(after)  # saved with its wait
        following = decide_candidate(after, gate, now)
        step.decision = replace(step.decision, index=following.index)
        raise Inconclusive(after.checks[following.index].reason, max(following.wait_seconds, rerun_wait(1)))

    def _pass(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Settle it together with the promotions that are now based on it, up to the limit of a transaction.

        Reports are judged again first: an exception may have ended while another check was waited for.

        Promotions that were based on an earlier attempt and have not started are included: the images of that attempt
        may be deleted.
        """
        if (changed := self._failed_since(step, gate)) is not None:
            return changed
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

    def _failed_since(self, step: Step[Candidate], gate: Gate) -> Candidate | None:
        """The candidate if one of its reports fails by now, else None."""
        for index, check in enumerate(step.record.checks):
            judged = self._kind(gate, index).judge_again(step.record, check, gate.checks[index])
            if judged is not None and judged.verdict is Verdict.FAILED:
                return self._conclude(step, gate, index, judged)
        return None

    def _fail(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """End it by the verdict of a person or a check, and cancel the runs that are not needed any more.

        A run that cannot be canceled runs to its end: it only examines.
        """
        for index, check in enumerate(step.record.checks):
            if check.is_running:
                try:
                    self._kind(gate, index).cancel(check)
                except BasegateError as error:
                    log.warning("run %s of %s not canceled: %s", check.run_id, step.record.id, error)
        by_person = self._kind(gate, step.decision.index).waits_for_person
        state = CandidateState.REJECTED if by_person else CandidateState.FAILED
        return self._settled(step.record, state, step.decision.reason)

    def _examine_anew(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Replace this attempt by a new one under the current checks, with the results that these still allow."""
        old, now, why = step.record, self._services.clock.now(), step.decision.reason
        source = self._services.registry_rule(gate.source.registry)
        new = attempt_after(old, gate, source, now).noting(now, "admitted", why)
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
