"""One look: load a record, decide, take one step, save, plan the next look."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from shared.domain.decision import STEP_ATTEMPTS, Action
from shared.domain.errors import Busy, Conflict, Malformed, Misconfigured, NeedsRecreation, Rejected, Retry
from shared.domain.record import TEXT_LIMIT, Look, Record
from shared.ports import Stored
from shared.workflow.candidates import CandidateCourse
from shared.workflow.narration import tell_dropped, tell_problem, tell_step
from shared.workflow.rollouts import RolloutCourse
from shared.workflow.services import Services
from shared.workflow.step import Course, Step

log = logging.getLogger(__name__)

ANNOUNCE_ATTEMPTS = 5
_CLEARING_UP = frozenset((Action.ADOPT_CHECK, Action.ADOPT_BUILD))
"""What comes after a start that failed: it works each time, and says nothing of whether the next start will."""

_BACKOFF_LIMIT_SECONDS = 300.0
_OUTAGE_WAIT_SECONDS = 15.0
_CONTENDED_WAIT_SECONDS = 5.0
_WATCH_MARGIN_SECONDS = 5.0


class Advance:
    """Brings records forward. Every look may come twice, late, or from a worker that died half-way."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._courses: dict[str, Course[Any]] = {
            "candidate": CandidateCourse(services),
            "rollout": RolloutCourse(services),
        }

    def look(self, look: Look, *, redelivered: bool = False) -> None:
        """Take one step of the record that a look is about.

        A record has one chain of looks: each step plans the next. A first delivery of a look that is not the
        planned one ends here, since two chains would double every poll; a hint comes back after the plan, in case
        the planned look got lost. A redelivered look may be the last trace of a worker that died: it goes on.
        While the ledger itself is away, the look is put off: deliveries are few, and an outage is no crash.
        """
        try:
            self._look(look, redelivered=redelivered)
        except Retry as fault:
            log.warning("look put off, the ledger is away: %s", fault)
            self._services.queue.send(_hint(look), _OUTAGE_WAIT_SECONDS)

    def _look(self, look: Look, *, redelivered: bool) -> None:
        course = self._courses.get(look.kind)
        stored = course.load(look.partition, look.row) if course else None
        if course is None or stored is None:
            log.warning("look dropped: there is no %s %s/%s", look.kind, look.partition, look.row)
            return
        if not redelivered and not self._is_due(look, stored.record):
            tell_dropped("another look is planned", stored.record)
            return
        try:
            self._step(course, stored)
        except Conflict:
            tell_dropped("someone else advanced the record", stored.record)
            self._services.queue.send(_hint(look), _CONTENDED_WAIT_SECONDS)  # or it was this very write, sent twice

    def give_up(self, look: Look, problem: str) -> bool:
        """Record that the queue gave up on a look; the record fails, visibly. False where there is no such record."""
        course = self._courses.get(look.kind)
        stored = course.load(look.partition, look.row) if course else None
        if course is None or stored is None:
            return False
        if not stored.record.finished:
            failed = self._fail(course, stored.record, problem)
            self._finish_look(course, self._services.ledger.save(stored, failed))
        return True

    def _step(self, course: Course[Any], stored: Stored[Any]) -> None:
        decision = course.decide(stored.record)
        if decision.action is Action.DONE:
            return
        if decision.action is Action.WAIT:
            self._services.queue.send(stored.record.planned_look, decision.wait_seconds)
            return
        step = Step(self._services.ledger, stored, decision)
        record, wait = self._take(course, step)
        planned = course.decide(record)
        wait = max(wait, planned.wait_seconds)
        if planned.action is not Action.DONE:
            record = record.planning(self._services.clock.now(), wait)
        step.save(record)
        tell_step(decision, stored.record, record)
        if planned.action is not Action.DONE:
            self._services.queue.send(record.planned_look, wait)

    def _take(self, course: Course[Any], step: Step[Any]) -> tuple[Any, float]:
        """The record after the step, and how long a fault asks to wait."""
        try:
            if step.decision.action is Action.ANNOUNCE:
                return self._announce(course, step.record)
            if step.decision.action is Action.FAIL:
                return self._fail(course, step.record, step.decision.reason), 0.0
            failures = step.record.failures if step.decision.action in _CLEARING_UP else 0
            return msgspec.structs.replace(course.act(step), failures=failures), 0.0
        except Busy as busy:
            waiting = step.record.noting(self._services.clock.now(), "waiting", str(busy))
            return msgspec.structs.replace(waiting, failures=0), busy.delay_seconds
        except Retry as fault:
            return self._after_fault(course, step, fault)
        except (Rejected, Misconfigured, Malformed, NeedsRecreation) as refusal:
            return self._fail(course, step.record, str(refusal)), 0.0

    def _after_fault(self, course: Course[Any], step: Step[Any], fault: Retry) -> tuple[Any, float]:
        failures = step.record.failures + 1
        action = step.decision.action
        tell_problem(f"{action} did not work", fault, step.record)
        if failures >= STEP_ATTEMPTS:
            reason = f"the step {action} failed {failures} times, last: {fault}"
            return self._fail(course, step.record, reason), 0.0
        noted = step.record.noting(self._services.clock.now(), f"{action} did not work", str(fault))
        wait = min(_BACKOFF_LIMIT_SECONDS, fault.delay_seconds * 2 ** (failures - 1))
        return msgspec.structs.replace(noted, failures=failures), wait

    @staticmethod
    def _fail(course: Course[Any], record: Any, reason: str) -> Any:
        return msgspec.structs.replace(course.fail(record, reason), failures=0)

    def _announce(self, course: Course[Any], record: Any) -> tuple[Any, float]:
        """Tell the outcome; a refusal, or enough faults, count as told, with the reason in the history."""
        try:
            self._services.announcer.announce(course.notice(record))
        except (Retry, Rejected, Misconfigured) as error:
            failures = record.failures + 1
            given_up = failures >= ANNOUNCE_ATTEMPTS or not isinstance(error, Retry)
            tell_problem("announcement failed", error, record)
            noted = record.noting(self._services.clock.now(), "announcement failed", str(error))
            wait = error.delay_seconds if isinstance(error, Retry) and not given_up else 0.0
            untold = str(error)[:TEXT_LIMIT] if given_up else ""
            return msgspec.structs.replace(noted, failures=failures, announced=given_up, untold=untold), wait
        return msgspec.structs.replace(record, announced=True, untold="", failures=0), 0.0

    def _finish_look(self, course: Course[Any], stored: Stored[Any]) -> None:
        decision = course.decide(stored.record)
        if decision.action is not Action.DONE:
            self._services.queue.send(stored.record.look, decision.wait_seconds)

    def _is_due(self, look: Look, record: Record) -> bool:
        """Whether a look is the planned one, or nothing is planned; a hint too many is made to watch over the plan.

        Only a hint asks the clock: the clocks of two workers need not agree on when a plan is due.
        """
        planned = record.next_look_at
        if look.planned_for is not None or planned is None:
            return look.planned_for == planned
        ahead = (planned - self._services.clock.now()).total_seconds()
        if ahead > 0:
            self._services.queue.send(record.planned_look, ahead + _WATCH_MARGIN_SECONDS)
        return ahead <= 0


def _hint(look: Look) -> Look:
    return msgspec.structs.replace(look, planned_for=None)
