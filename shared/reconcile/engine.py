"""The reconciliation engine: load a record, decide, take one step, save; repeat until a wait is needed.

A work item may arrive twice, late, or from a worker that died midway. The result of a step is saved on the ETag of the
decision before the next effect begins, so a record has one linear history, whatever the number of workers.
"""

import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.decide import Action, Decision
from shared.domain.errors import BasegateError, Busy, Conflict, Inconclusive, Retry
from shared.domain.outcome import Delivery
from shared.domain.record import TEXT_LIMIT, GateRecord, Record, Stall, WorkItem, seconds_between
from shared.domain.rollout import Rollout, RolloutState
from shared.ports import Services
from shared.reconcile.candidates import CandidateController
from shared.reconcile.listeners import ListenerController
from shared.reconcile.promotions import PromotionController
from shared.reconcile.rollouts import RolloutController
from shared.records.alarms import Alarms
from shared.records.outbox import Outbox
from shared.records.step import Controller, Following, Step

log = logging.getLogger(__name__)

STEP_LIMIT_SECONDS = 20.0
"""After this time an invocation begins no further step: the rest goes through the queue, behind other work."""

STALLED_AFTER_TRIES = 2
STALLED_AFTER_SECONDS = 60.0

_CLEANUP = frozenset((Action.ADOPT_CHECK, Action.ADOPT_BUILD))
"""Steps after a failed start: that they succeed does not show that the next start will."""

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
"""Steps that save before their first effect, or whose effect is idempotent: the step before is saved with them."""

_FIRST_WAIT_SECONDS = 5.0
_OUTAGE_WAIT_SECONDS = 15.0
_CONTENDED_WAIT_SECONDS = 5.0
_RECHECK_MARGIN_SECONDS = 5.0
_RELEASE_SPACING_SECONDS = 1.0
_RELEASE_LIMIT = 100

_IN_TEXT = ("record", "image", "state")
"""The fields of a log line: what happened, why, and the record with its image and state. Digests are cut to twelve
digits; the attributes of the log record have all fields with whole digests, for telemetry to filter by."""

_DIGEST = re.compile(r"(?:sha256:)?\b([0-9a-f]{12})[0-9a-f]{52}\b")


def controllers(services: Services) -> dict[str, Controller[Any]]:
    """The controllers by the kind of record that work items name."""
    return {
        "candidate": CandidateController(services),
        "promotion": PromotionController(services),
        "rollout": RolloutController(services),
        "listener": ListenerController(services),
    }


class Reconciler:
    """Reconciles records, step by step."""

    def __init__(self, services: Services, known: Mapping[str, Controller[Any]] | None = None) -> None:
        self._services = services
        self._controllers = known or controllers(services)
        self._alarms, self._outbox = Alarms(services), Outbox(services)

    def work(self, item: WorkItem, following: Following = (), *, redelivered: bool = False) -> None:
        """Reconcile the record of a work item until a wait is needed.

        `following` is that record if the caller has just stored it.

        A record has one chain of work items: each plans the next. The first delivery of an unplanned item is dropped,
        since two chains would double every poll; a hint is sent again for after the plan, in case the planned item is
        lost. A redelivered item is handled: the worker that had it may have died. While the ledger is unavailable,
        items are delayed instead of redelivered: the number of deliveries is limited.
        """
        until = self._services.clock.now() + timedelta(seconds=STEP_LIMIT_SECONDS)
        self._reconcile(item, until, following, redelivered=redelivered)

    def give_up(self, item: WorkItem, problem: str) -> bool:
        """Mark the record of a poison message as stalled, to be tried again later. False if there is no such record."""
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
            except Exception as crash:  # noqa: BLE001  this may be what crashed at every delivery
                decision = Decision(Action.WAIT, f"the next step cannot be decided: {type(crash).__name__}")
            stalled, wait = self._stalled(controller, record, decision, Retry(problem), immediately=True)
            planned = stalled.planning(self._services.clock.now(), wait)
            self._services.ledger.save(stored, planned)
            self._services.queue.send(planned.planned_work_item, wait)
        return True

    def _reconcile(
        self, item: WorkItem, until: datetime, following: Following = (), *, redelivered: bool = False
    ) -> None:
        controller, (stored, *beside) = self._controllers.get(item.kind), following or (None,)
        try:
            if stored is None and controller is not None:
                stored = self._services.ledger.load(controller.kind, item.partition, item.row)
            if controller is None or stored is None:
                log.warning("work item dropped: there is no %s %s/%s", item.kind, item.partition, item.row)
                return
            if not self._is_due(item, stored.record, redelivered=redelivered):
                log_dropped("another work item is planned", stored.record)
                return
            step = Step(self._services.ledger, self._outbox, controller.outcome, stored, *beside)
            try:
                self._take_steps(controller, step, until)
            except Conflict:
                log_dropped("another worker changed the record", step.record)
                hint = step.record.work_item  # the conflict may be with this worker's own write, sent twice
                self._services.queue.send(hint, _CONTENDED_WAIT_SECONDS)
        except Retry as fault:
            log.warning("work item delayed, the ledger is unavailable: %s", fault)
            self._services.queue.send(msgspec.structs.replace(item, planned_for=None), _OUTAGE_WAIT_SECONDS)

    def _take_steps(self, controller: Controller[Any], step: Step[Any], until: datetime) -> None:
        """Take steps, each saved with the plan of the next one if that must wait."""
        decision = self._first_decision(controller, step)
        was_done = decision.action is Action.DONE
        while decision.action is not Action.DONE:
            if decision.action is Action.WAIT:
                self._services.queue.send(step.record.planned_work_item, decision.wait_seconds)
                return
            step.decision = decision
            before = step.record
            record, wait = self._take_step(controller, step)
            now, following = self._services.clock.now(), controller.decide(record, step)
            wait = max(wait, following.wait_seconds)
            must_wait = wait > 0 or now >= until or record == before
            if following.action is Action.DONE or step.waits_for_record:
                record = msgspec.structs.replace(record, next_step_at=None)
            elif must_wait and (wait or record != before or record.next_step_at is None):
                record = record.planning(now, wait)  # else the plan that was due stays, and nothing is written
            if must_wait or step.waits_for_record or not _is_carried(decision, following):
                step.save(record)
            else:
                step.carry(record)
            log_step(decision, before, record)
            if step.waits_for_record:
                return
            if following.action is not Action.DONE and must_wait:
                self._services.queue.send(record.planned_work_item, wait)
                return
            decision = following
        self._finish(controller, step, until, was_done=was_done)

    def _first_decision(self, controller: Controller[Any], step: Step[Any]) -> Decision:
        """The first decision. A record that only waits for an operator is no longer stalled."""
        decision = controller.decide(step.record, step)
        if decision.action is Action.DONE and step.record.failures and not step.record.settled:
            cleared = self._cleared(decision, step.record, progress=True)
            step.save(msgspec.structs.replace(cleared, next_step_at=None))
        return decision

    def _finish(self, controller: Controller[Any], step: Step[Any], until: datetime, *, was_done: bool) -> None:
        """Reconcile the records that waited for a settled one, then send its outcomes.

        A record that was done before this call is delivered again because the worker that ended it may have died.
        """
        record = step.record
        if record.settled:
            for following in controller.followers(record) if step.followers is None else step.followers:
                item = following[0].record.work_item
                if self._services.clock.now() < until:
                    self._reconcile(item, until, following)
                else:
                    self._services.queue.send(item, 0)
        step.remove_delivered(self._outbox.send(self._unheard(controller, record) if was_done else step.deliveries))

    def _unheard(self, controller: Controller[Any], record: Any) -> list[Delivery]:
        outcome = controller.outcome(record)
        return list(self._outbox.undelivered(record, outcome.subject)) if outcome is not None else []

    def _take_step(self, controller: Controller[Any], step: Step[Any]) -> tuple[Any, float]:
        """The record after the step, and the wait in seconds that an error asks for."""
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
        """The record after a successful step: no longer failing or stalled. Releases those with the same cause."""
        unproven = record.failing_step and not (progress and decision.action == record.failing_step)
        if decision.action in _CLEANUP or not record.failures or (unproven and not record.settled):
            return record
        if record.stall is not None and not record.settled:
            self._release(record)
            record = record.noting(self._services.clock.now(), "resumed", f"{record.stall.dependency} works again")
        return msgspec.structs.replace(record, failures=0, failing_since=None, failing_step="", stall=None)

    def _stalled(
        self,
        controller: Controller[Any],
        record: Any,
        decision: Decision,
        error: BasegateError,
        *,
        immediately: bool = False,
    ) -> tuple[Any, float]:
        """The record after a failed step, and the wait before the retry: stalled unless this was the first failure."""
        now, tries = self._services.clock.now(), record.failures + 1
        since = record.failing_since or now
        asked = error.delay_seconds if isinstance(error, Retry) else 0.0
        wait = max(asked, min(controller.longest_wait_seconds, _FIRST_WAIT_SECONDS * 2 ** min(tries - 1, 10)))
        log_problem(f"{decision.action} failed", error, record)
        noted = record.noting(now, f"{decision.action} failed", str(error))
        step = decision.action.value if isinstance(error, Inconclusive) else record.failing_step
        failing = msgspec.structs.replace(noted, failures=tries, failing_since=since, failing_step=step)
        is_short = tries < STALLED_AFTER_TRIES and seconds_between(since, now) + wait < STALLED_AFTER_SECONDS
        if is_short and not immediately:
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
        """Enqueue the records that are stalled on the same dependency, spaced out: it works again."""
        others = self._services.ledger.open(type(record), record.partition)
        same = (
            stored.record
            for stored in others
            if stored.record.stall is not None
            and stored.record.row != record.row
            and stored.record.stall.dependency == record.stall.dependency
        )
        for number, other in zip(range(_RELEASE_LIMIT), same, strict=False):
            self._services.queue.send(other.work_item, (number + 1) * _RELEASE_SPACING_SECONDS)

    def _is_due(self, item: WorkItem, record: Record, *, redelivered: bool) -> bool:
        """Whether a work item is the planned one, or nothing is planned. Early hints are sent again for after the plan.

        Only a hint reads the clock: the clocks of two workers may disagree on when a plan is due. A hint about a
        stalled record means that its cause may be gone, unless the cause is a run that ended without a result.
        """
        planned, may_resume = record.next_step_at, record.stall is not None and not record.failing_step
        if not redelivered and (item.planned_for is not None or planned is None):
            return item.planned_for == planned
        if planned is None or item.planned_for == planned or may_resume or (redelivered and not record.failing_step):
            return True
        ahead = (planned - self._services.clock.now()).total_seconds()
        if ahead > 0:
            self._services.queue.send(record.planned_work_item, ahead + _RECHECK_MARGIN_SECONDS)
        return ahead <= 0


def _is_carried(decision: Decision, following: Decision) -> bool:
    """Whether the result of a step is saved with the next one: a promotion whose tag has moved can only be promoted."""
    return following.action in _SAVES_FIRST or (decision.action, following.action) == (Action.ROLL_OUT, Action.DONE)


def log_step(decision: Decision, before: Record, after: Record) -> None:
    """Log what a step did: DEBUG if it changed nothing (a run is still running), WARNING if the record failed by it."""
    if after.history == before.history:
        _log(logging.DEBUG, decision.action.value, decision.reason, after)
        return
    last = after.history[-1]
    level = logging.WARNING if _is_bad(after) and not _is_bad(before) else logging.INFO
    _log(level, last.what, last.why, after)


def log_problem(problem: str, why: object, record: Record) -> None:
    """Log a failed step."""
    _log(logging.WARNING, problem, str(why), record)


def log_dropped(why: str, record: Record) -> None:
    """Log a work item that ended without a step."""
    _log(logging.DEBUG, "work item dropped", why, record)


def _is_bad(record: Record) -> bool:
    match record:
        case Candidate():
            return record.state is CandidateState.FAILED
        case Rollout():
            return record.state in (RolloutState.RESTORING, RolloutState.RESTORED, RolloutState.FAILED)
    return False


def _log(level: int, what: str, why: str, record: Record) -> None:
    """Log a line; it is formatted only if the level is enabled."""
    if not log.isEnabledFor(level):
        return
    fields = _fields(record)
    text = " ".join(f"{name}={fields[name]}" for name in _IN_TEXT if name in fields)
    line = f"{what}: {why} [{text}]" if why else f"{what} [{text}]"
    attributes = {f"basegate_{name}": value for name, value in fields.items()}
    log.log(level, "%s", _DIGEST.sub(lambda digest: digest[1], line), extra=attributes)


def _fields(record: Record) -> dict[str, str]:
    """The record's ledger key, its gate or app, its image and its state."""
    fields = {"record": f"{record.work_item.kind}/{record.partition}/{record.row}", "state": record.state.value}
    match record:
        case GateRecord():
            return fields | {"gate": record.gate, "image": str(record.image)}
        case Rollout():
            image = {"image": str(record.image), "digest": record.image.digest} if record.image else {}
            return fields | {"app": record.app, **image}
    return fields
