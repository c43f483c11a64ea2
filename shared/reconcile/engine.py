"""The engine: load a record, decide, take one step, save; again, until something must be waited for.

A work item may come twice, late, or from a worker that died half-way. What a step did is saved before the next effect
begins, on the ETag that it was decided on, so that a record has one line of steps however many workers have it.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.domain.decide import Action, Decision
from shared.domain.errors import BasegateError, Busy, Conflict, Inconclusive, Retry
from shared.domain.outcome import Delivery
from shared.domain.record import TEXT_LIMIT, Record, Stall, WorkItem, seconds_between
from shared.ports import Services
from shared.reconcile.candidates import CandidateController
from shared.reconcile.listeners import ListenerController
from shared.reconcile.narration import tell_dropped, tell_problem, tell_step
from shared.reconcile.promotions import PromotionController
from shared.reconcile.rollouts import RolloutController
from shared.records.alarms import Alarms
from shared.records.outbox import Outbox
from shared.records.step import Controller, Following, Step

log = logging.getLogger(__name__)

STEP_LIMIT_SECONDS = 20.0
"""No step begins later than this after its invocation did: the rest goes through the queue, behind other work."""

STALLED_AFTER_TRIES = 2
STALLED_AFTER_SECONDS = 60.0

_CLEARING_UP = frozenset((Action.ADOPT_CHECK, Action.ADOPT_BUILD))
"""What comes after a start that failed: it works each time, and says nothing of whether the next start will."""

_SAVES_FIRST = frozenset(
    (
        Action.PASS,
        Action.FAIL,
        Action.START_CHECK,
        Action.WATCH_COPY,
        Action.LOCK,
        Action.MOVE_STABLE_TAG,
        Action.DEPLOY,
    )
)
"""What has no effect of its own, or one that can be repeated, before it saves: the step before is saved with it."""

_FIRST_WAIT_SECONDS = 5.0
_OUTAGE_WAIT_SECONDS = 15.0
_CONTENDED_WAIT_SECONDS = 5.0
_WATCH_MARGIN_SECONDS = 5.0
_RELEASE_SPACING_SECONDS = 1.0
_RELEASED_AT_ONCE = 100


def controllers(services: Services) -> dict[str, Controller[Any]]:
    """The controller of each kind of record, by the kind that its work items name."""
    return {
        "candidate": CandidateController(services),
        "promotion": PromotionController(services),
        "rollout": RolloutController(services),
        "listener": ListenerController(services),
    }


class Reconciler:
    """Takes records from step to step."""

    def __init__(self, services: Services, known: Mapping[str, Controller[Any]] | None = None) -> None:
        self._services = services
        self._controllers = known or controllers(services)
        self._alarms, self._outbox = Alarms(services), Outbox(services)

    def work(self, item: WorkItem, following: Following = (), *, redelivered: bool = False) -> None:
        """Take the steps of the record that a work item is about, until something must be waited for.

        `following` has that record, where it was stored this very moment.

        A record has one chain of work items: each plans the next. The first delivery of one that is not planned ends
        here, since two chains would double every poll; a hint comes back after the plan, in case the planned item got
        lost. A redelivered one may be the last trace of a worker that died: it goes on. While the ledger itself is
        away, the work item is put off: deliveries are few, and an outage is no crash.
        """
        until = self._services.clock.now() + timedelta(seconds=STEP_LIMIT_SECONDS)
        self._run(item, until, following, redelivered=redelivered)

    def give_up(self, item: WorkItem, problem: str) -> bool:
        """Record that the queue gave up on a work item: its record is stalled, visibly, and tried again later.

        False where there is no such record.
        """
        controller = self._controllers.get(item.kind)
        stored = self._services.ledger.load(controller.kind, item.partition, item.row) if controller else None
        if controller is None or stored is None:
            return False
        record: Record = stored.record
        if record.settled:
            for delivery in self._unheard(controller, record):
                self._outbox.enqueue(delivery.listener, delivery.owner)
        else:
            try:
                decision = controller.decide(record)
            except Exception as crash:  # noqa: BLE001  it may be what crashed at every delivery
                decision = Decision(Action.WAIT, f"what comes next cannot be decided: {type(crash).__name__}")
            stalled, wait = self._stalled(controller, record, decision, Retry(problem), at_once=True)
            planned = stalled.planning(self._services.clock.now(), wait)
            self._services.ledger.save(stored, planned)
            self._services.queue.send(planned.planned_work_item, wait)
        return True

    def _run(self, item: WorkItem, until: datetime, following: Following = (), *, redelivered: bool = False) -> None:
        controller, (stored, *beside) = self._controllers.get(item.kind), following or (None,)
        try:
            if stored is None and controller is not None:
                stored = self._services.ledger.load(controller.kind, item.partition, item.row)
            if controller is None or stored is None:
                log.warning("work item dropped: there is no %s %s/%s", item.kind, item.partition, item.row)
                return
            if not self._is_due(item, stored.record, redelivered=redelivered):
                tell_dropped("another work item is planned", stored.record)
                return
            step = Step(self._services.ledger, self._outbox, controller.outcome, stored, *beside)
            try:
                self._steps(controller, step, until)
            except Conflict:
                tell_dropped("someone else advanced the record", step.record)
                hint = step.record.work_item  # or it was this very write, sent twice
                self._services.queue.send(hint, _CONTENDED_WAIT_SECONDS)
        except Retry as fault:
            log.warning("work item put off, the ledger is away: %s", fault)
            self._services.queue.send(msgspec.structs.replace(item, planned_for=None), _OUTAGE_WAIT_SECONDS)

    def _steps(self, controller: Controller[Any], step: Step[Any], until: datetime) -> None:
        """Step after step, each saved with the plan of what comes after it if that must wait."""
        decision = self._first(controller, step)
        was_done = decision.action is Action.DONE
        while decision.action is not Action.DONE:
            if decision.action is Action.WAIT:
                self._services.queue.send(step.record.planned_work_item, decision.wait_seconds)
                return
            step.decision = decision
            before = step.record
            record, wait = self._take(controller, step)
            now, following = self._services.clock.now(), controller.decide(record, step)
            wait = max(wait, following.wait_seconds)
            must_wait = wait > 0 or now >= until or record == before
            if following.action is Action.DONE or step.waits_for_record:
                record = msgspec.structs.replace(record, next_step_at=None)
            elif must_wait and (wait or record != before or record.next_step_at is None):
                record = record.planning(now, wait)  # else the plan that was due goes on, and nothing is written
            if must_wait or step.waits_for_record or not _is_carried(decision, following):
                step.save(record)
            else:
                step.carry(record)
            tell_step(decision, before, record)
            if step.waits_for_record:
                return
            if following.action is not Action.DONE and must_wait:
                self._services.queue.send(record.planned_work_item, wait)
                return
            decision = following
        self._end(controller, step, until, was_done=was_done)

    def _first(self, controller: Controller[Any], step: Step[Any]) -> Decision:
        """The first decision. What has nothing to do but to wait for a person stalls on nothing any more."""
        decision = controller.decide(step.record, step)
        if decision.action is Action.DONE and step.record.failures and not step.record.settled:
            well = self._cleared(decision, step.record, progress=True)
            step.save(msgspec.structs.replace(well, next_step_at=None))
        return decision

    def _end(self, controller: Controller[Any], step: Step[Any], until: datetime, *, was_done: bool) -> None:
        """Bring up what waited for a record that is settled, then send what is to be announced about it.

        One that was done before has come again because the worker that ended it may have died.
        """
        record = step.record
        if record.settled:
            for following in controller.followers(record) if step.followers is None else step.followers:
                item = following[0].record.work_item
                if self._services.clock.now() < until:
                    self._run(item, until, following)
                else:
                    self._services.queue.send(item, 0)
        step.remove_delivered(self._outbox.send(self._unheard(controller, record) if was_done else step.deliveries))

    def _unheard(self, controller: Controller[Any], record: Any) -> list[Delivery]:
        outcome = controller.outcome(record)
        return list(self._outbox.undelivered(record, outcome.subject)) if outcome is not None else []

    def _take(self, controller: Controller[Any], step: Step[Any]) -> tuple[Any, float]:
        """The record after the step, and how long a fault asks to wait."""
        decision = step.decision
        try:
            before, record = step.record, controller.act(step)
            return self._cleared(decision, record, progress=record != before), 0.0
        except Busy as busy:
            waiting = step.record.noting(self._services.clock.now(), "waiting", str(busy))
            return self._cleared(decision, waiting, progress=False), busy.delay_seconds
        except Conflict:
            raise
        except BasegateError as error:
            ended = controller.ended_by(step.record, decision, error)
            if ended is not None:
                return self._cleared(decision, ended, progress=True), 0.0
            return self._stalled(controller, step.record, decision, error)

    def _cleared(self, decision: Decision, record: Any, *, progress: bool) -> Any:
        """The record after a step that was taken: it fails no more, and neither do those that stalled on the same."""
        unproven = record.failing_step and not (progress and decision.action == record.failing_step)
        if decision.action in _CLEARING_UP or not record.failures or (unproven and not record.settled):
            return record
        if record.stall is not None and not record.settled:
            self._release(record)
            record = record.noting(self._services.clock.now(), "goes on", f"{record.stall.dependency} answers again")
        return msgspec.structs.replace(record, failures=0, failing_since=None, failing_step="", stall=None)

    def _stalled(
        self,
        controller: Controller[Any],
        record: Any,
        decision: Decision,
        error: BasegateError,
        *,
        at_once: bool = False,
    ) -> tuple[Any, float]:
        """The record after a step that cannot be taken now: tried again, and stalled if it is not the first time."""
        now, tries = self._services.clock.now(), record.failures + 1
        since = record.failing_since or now
        asked = error.delay_seconds if isinstance(error, Retry) else 0.0
        wait = max(asked, min(controller.longest_wait_seconds, _FIRST_WAIT_SECONDS * 2 ** min(tries - 1, 10)))
        tell_problem(f"{decision.action} did not work", error, record)
        noted = record.noting(now, f"{decision.action} did not work", str(error))
        step = decision.action.value if isinstance(error, Inconclusive) else record.failing_step
        failing = msgspec.structs.replace(noted, failures=tries, failing_since=since, failing_step=step)
        if not at_once and tries < STALLED_AFTER_TRIES and seconds_between(since, now) + wait < STALLED_AFTER_SECONDS:
            return failing, wait
        stall = Stall(
            since=since,
            step=decision.action.value,
            dependency=controller.dependency(record, decision),
            reason=error.problem[:TEXT_LIMIT],
            remedy=error.remedy[:TEXT_LIMIT],
            cause=error.cause or "",
            tries=tries,
            next_try_at=now + timedelta(seconds=wait),
        )
        if record.stall is None:
            self._alarms.raise_stall(stall)
        return msgspec.structs.replace(failing, stall=stall), wait

    def _release(self, record: Any) -> None:
        """Bring up what is stalled on the same dependency, one after the other: it answers again."""
        others = self._services.ledger.open(type(record), record.partition)
        same = (
            stored.record
            for stored in others
            if stored.record.stall is not None
            and stored.record.row != record.row
            and stored.record.stall.dependency == record.stall.dependency
        )
        for place, other in zip(range(_RELEASED_AT_ONCE), same, strict=False):
            self._services.queue.send(other.work_item, (place + 1) * _RELEASE_SPACING_SECONDS)

    def _is_due(self, item: WorkItem, record: Record, *, redelivered: bool) -> bool:
        """Whether a work item is the planned one, or nothing is planned; a hint too many is made to watch the plan.

        Only a hint asks the clock: the clocks of two workers need not agree on when a plan is due. A hint about a
        stalled record says that its cause may be gone; a run that ended without a result is no cause that goes.
        """
        planned, waits_in_vain = record.next_step_at, record.stall is not None and not record.failing_step
        if not redelivered and (item.planned_for is not None or planned is None):
            return item.planned_for == planned
        if planned is None or item.planned_for == planned or waits_in_vain or (redelivered and not record.failing_step):
            return True
        ahead = (planned - self._services.clock.now()).total_seconds()
        if ahead > 0:
            self._services.queue.send(record.planned_work_item, ahead + _WATCH_MARGIN_SECONDS)
        return ahead <= 0


def _is_carried(decision: Decision, following: Decision) -> bool:
    """Whether what a step did is saved later: a promotion whose tag has moved can only end as promoted."""
    return following.action in _SAVES_FIRST or (decision.action, following.action) == (Action.ROLL_OUT, Action.DONE)
