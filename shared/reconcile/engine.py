"""The reconciliation engine: load a record, decide, take one step, save; repeat until a wait is needed.

A work item may arrive twice, late, or from a worker that died midway. The result of a step is saved on the ETag of the
decision before the next effect begins, so a record has one linear history, whatever the number of workers.
"""

import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from heapq import nsmallest
from itertools import islice
from typing import Any

from msgspec.structs import replace

from shared.domain.decide import Action, Decision
from shared.domain.errors import BasegateError, Busy, Conflict, Inconclusive, Retry
from shared.domain.outcome import Delivery
from shared.domain.record import TEXT_LIMIT, GateRecord, Record, Stall, WorkItem, seconds_between
from shared.domain.rollout import Rollout, RolloutState
from shared.ports import Services, Stored
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

_IN_BETWEEN = frozenset((Action.ADOPT_CHECK, Action.ADOPT_BUILD, Action.COPY_REFERRERS))
"""Steps that may come between two tries of another one, after a failed start or because the sweep has asked for them:
that they succeed does not show that the next try will."""

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
_RELEASED_AT_ONCE = 2
"""How many stalled records one that resumed releases: each of them releases further ones, and one may be gone."""

_COMPARED = 20
"""Among how many of the stalled records it chooses them."""

_BAD_STATES = frozenset((RolloutState.RESTORING, RolloutState.RESTORED, RolloutState.FAILED))
"""The states of a rollout that are logged as warnings; `failed` is the one of a candidate, too."""

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
        self._services, self._controllers = services, known or controllers(services)
        self._alarms, self._outbox = Alarms(services), Outbox(services)

    def work(
        self, item: WorkItem, following: Following = (), until: datetime | None = None, *, redelivered: bool = False
    ) -> None:
        """Reconcile the record of a work item until a wait is needed, or until a time: by default 20 s from now.

        `following` is that record if the caller has just stored it.

        A record has one chain of work items: each plans the next. The first delivery of an unplanned item is dropped,
        since two chains would double every poll; a hint is sent again for after the plan, in case the planned item is
        lost. A redelivered item is handled: the worker that had it may have died. While the ledger is unavailable,
        items are delayed instead of redelivered: the number of deliveries is limited.
        """
        until = until or self._services.clock.now() + timedelta(seconds=STEP_LIMIT_SECONDS)
        try:
            stored, *beside = following or (self._load(item),)
            if stored is None:
                log.warning("work item dropped: there is no %s %s/%s", item.kind, item.partition, item.row)
                return
            if not self._is_due(item, stored.record, redelivered=redelivered):
                _log(logging.DEBUG, "work item dropped", "another work item is planned", stored.record)
                return
            step = Step(self._services, self._controllers[item.kind], stored, *beside)
            try:
                self._take_steps(step, until)
            except Conflict:
                _log(logging.DEBUG, "work item dropped", "another worker changed the record", step.record)
                hint = step.record.work_item  # the conflict may be with this worker's own write, sent twice
                self._services.queue.send(hint, _CONTENDED_WAIT_SECONDS)
        except Retry as fault:
            log.warning("work item delayed, the ledger is unavailable: %s", fault)
            self._services.queue.send(replace(item, planned_for=None), _OUTAGE_WAIT_SECONDS)

    def give_up(self, item: WorkItem, problem: str) -> bool:
        """Mark the record of a poison message as stalled, to be tried again later. False if there is no such record."""
        stored = self._load(item)
        if stored is None:
            return False
        step = Step(self._services, self._controllers[item.kind], stored)
        if step.record.settled:
            for delivery in self._unheard(step):
                self._outbox.enqueue(delivery.listener, delivery.owner)
        else:
            try:
                step.decision = step.controller.decide(step.record)
            except Exception as crash:  # noqa: BLE001  this may be what crashed at every delivery
                step.decision = Decision(Action.WAIT, f"the next step cannot be decided: {type(crash).__name__}")
            stalled, wait = self._stalled(step, Retry(problem), immediately=True)
            planned = stalled.planning(self._services.clock.now(), wait)
            self._services.ledger.save(stored, planned)
            self._services.queue.send(planned.planned_work_item, wait)
        return True

    def _load(self, item: WorkItem) -> Stored[Any] | None:
        controller = self._controllers.get(item.kind)
        return self._services.ledger.load(controller.kind, item.partition, item.row) if controller else None

    def _take_steps(self, step: Step[Any], until: datetime) -> None:
        """Take steps, each saved with the plan of the next one if that must wait."""
        decision = self._first_decision(step)
        was_done = decision.action is Action.DONE
        while decision.action is not Action.DONE:
            if decision.action is Action.WAIT:
                self._services.queue.send(step.record.planned_work_item, decision.wait_seconds)
                return
            step.decision, before = decision, step.record
            record, wait = self._take_step(step)
            now, following = self._services.clock.now(), step.controller.decide(record, step)
            wait = max(wait, following.wait_seconds)
            must_wait = wait > 0 or now >= until or record == before
            if following.action is Action.DONE or step.waits_for_record:
                record = replace(record, next_step_at=None)
            elif must_wait and (wait or record != before or record.next_step_at is None):
                record = record.planning(now, wait)  # else the plan that was due stays, and nothing is written
            is_carried = not step.waits_for_record and _is_carried(decision, following, must_wait=must_wait)
            (step.carry if is_carried else step.save)(record)
            _log_step(decision, before, record)
            if step.waits_for_record:
                return
            decision = following
            if must_wait:
                break  # what its steps have released and announced does not wait for the rest
        self._finish(step, until, was_done=was_done)
        if decision.action is not Action.DONE:
            self._services.queue.send(step.record.planned_work_item, wait)

    def _first_decision(self, step: Step[Any]) -> Decision:
        """The first decision. A record that only waits for an operator is no longer stalled."""
        decision = step.controller.decide(step.record, step)
        if decision.action is Action.DONE and step.record.failures and not step.record.settled:
            step.save(replace(self._cleared(decision, step.record, progress=True), next_step_at=None))
        return decision

    def _finish(self, step: Step[Any], until: datetime, *, was_done: bool) -> None:
        """Reconcile the records that waited for a settled one, then send its outcomes.

        A record that was done before this call is delivered again because the worker that ended it may have died.
        """
        record = step.record
        if record.settled or step.followers is not None:
            for following in step.controller.followers(record) if step.followers is None else step.followers:
                item = following[0].record.work_item
                if self._services.clock.now() < until:
                    self.work(item, following, until)
                else:
                    self._services.queue.send(item, 0)
        step.remove_delivered(self._outbox.send(self._unheard(step) if was_done else step.deliveries))

    def _unheard(self, step: Step[Any]) -> list[Delivery]:
        outcome = step.controller.outcome(step.record)
        return list(self._outbox.undelivered(step.record, outcome.subject)) if outcome is not None else []

    def _take_step(self, step: Step[Any]) -> tuple[Any, float]:
        """The record after the step, and the wait in seconds that an error asks for."""
        decision, controller = step.decision, step.controller
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
            return self._stalled(step, error)

    def _cleared(self, decision: Decision, record: Any, *, progress: bool) -> Any:
        """The record after a successful step: no longer failing or stalled. Releases those with the same cause."""
        unproven = record.failing_step and not (progress and decision.action == record.failing_step)
        if not record.failures or ((unproven or decision.action in _IN_BETWEEN) and not record.settled):
            return record
        if record.stall is not None and not record.settled:
            self._release(record)
            record = record.noting(self._services.clock.now(), "resumed", f"{record.stall.dependency} works again")
        return replace(record, failures=0, failing_since=None, failing_step="", stall=None)

    def _stalled(self, step: Step[Any], error: BasegateError, *, immediately: bool = False) -> tuple[Any, float]:
        """The record after a failed step, and the wait before the retry: stalled unless this was the first failure."""
        record, action, controller = step.record, step.decision.action, step.controller
        now, tries = self._services.clock.now(), record.failures + 1
        since = record.failing_since or now
        asked = error.delay_seconds if isinstance(error, Retry) else 0.0
        wait = max(asked, min(controller.longest_wait_seconds, _FIRST_WAIT_SECONDS * 2 ** min(tries - 1, 10)))
        _log(logging.WARNING, f"{action} failed", str(error), record)
        noted = record.noting(now, f"{action} failed", str(error))
        failing_step = action.value if isinstance(error, Inconclusive) else record.failing_step
        failing = replace(noted, failures=tries, failing_since=since, failing_step=failing_step)
        is_short = tries < STALLED_AFTER_TRIES and seconds_between(since, now) + wait < STALLED_AFTER_SECONDS
        if is_short and not immediately:
            return failing, wait
        stall = Stall(
            since=since,
            step=action.value,
            dependency=error.dependency or controller.dependency(record, step.decision),
            reason=error.problem[:TEXT_LIMIT],
            remedy=error.remedy[:TEXT_LIMIT],
            cause=error.cause or "",
            tries=tries,
            next_try_at=now + timedelta(seconds=wait),
        )
        if record.stall is None:
            self._alarms.raise_stall(stall)
        return replace(failing, stall=stall), wait

    def _release(self, record: Any) -> None:
        """Enqueue the next records that are stalled on the same dependency, spaced out: it works again.

        Each of them does so in turn while that is true, so that n records need about 2 n messages. Those that stall for
        a reason of their own have been tried more often: they come last, and do not keep the others from being
        released. Only the first are compared, since each is read from the ledger.
        """
        opened = (stored.record for stored in self._services.ledger.open(type(record), record.partition))
        others = (one for one in opened if one.stall and not one.failing_step and one.row != record.row)
        same = (one for one in others if one.stall.dependency == record.stall.dependency)
        first = nsmallest(_RELEASED_AT_ONCE, islice(same, _COMPARED), key=lambda one: one.stall.tries)
        for number, other in enumerate(first):
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


def _is_carried(decision: Decision, following: Decision, *, must_wait: bool) -> bool:
    """Whether the result of a step is saved later: with the next one, or after the rollouts that it has started.

    A worker that dies while it takes the first steps of those starts them again, which finds what it has begun.
    """
    return decision.action is Action.ROLL_OUT or (not must_wait and following.action in _SAVES_FIRST)


def _log_step(decision: Decision, before: Record, after: Record) -> None:
    """Log what a step did: DEBUG if it changed nothing (a run is still running), WARNING if the record failed by it."""
    if after.history == before.history:
        _log(logging.DEBUG, decision.action.value, decision.reason, after)
        return
    last, turned_bad = after.history[-1], after.state in _BAD_STATES and before.state not in _BAD_STATES
    _log(logging.WARNING if turned_bad else logging.INFO, last.what, last.why, after)


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
    if isinstance(record, GateRecord):
        return fields | {"gate": record.gate, "image": str(record.image)}
    if isinstance(record, Rollout):
        image = {"image": str(record.image), "digest": record.image.digest} if record.image else {}
        return fields | {"app": record.app, **image}
    return fields
