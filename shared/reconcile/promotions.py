"""The controller of promotions: from the verdict on a digest to the rollouts of the apps on its stable tag."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from shared.checks import check_kinds
from shared.deployment.dependents import Dependents
from shared.domain.alarm import AlarmKind
from shared.domain.candidate import (
    VERDICTS,
    Candidate,
    CandidateState,
    FoundBy,
    Verdict,
    attempt_after,
    attempts_of,
    new_attempt,
)
from shared.domain.decide import REFERRER_TRIES, Action, Decision, decide_promotion
from shared.domain.errors import (
    BasegateError,
    Busy,
    Conflict,
    Gone,
    Inconclusive,
    Misconfigured,
    Rejected,
    Retry,
    Throttled,
)
from shared.domain.image import short
from shared.domain.observation import Observation
from shared.domain.outcome import Outcome
from shared.domain.policy import Gate, RegistryRule
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.record import TEXT_LIMIT, seconds_between
from shared.domain.retention import LeftOver
from shared.domain.stable_tag import Claim, StableTag
from shared.intake.observe import Observer, Trigger
from shared.intake.upstreams import Upstreams
from shared.ports import SAVE_TRIES, Artifact, Change, RunStatus, Services, Stored, last, newest_promotions, removal
from shared.promotion.decision_records import DecisionRecords, documents_in
from shared.promotion.referrers import Ask, UpstreamReferrers, not_copied
from shared.promotion.stable_tags import StableTags, target_of
from shared.promotion.vetoes import Vetoes
from shared.records.alarms import Alarms
from shared.records.step import Controller, Step

_DOUBT_WAIT_SECONDS = 30.0

_ANNOUNCED_BY_CANDIDATE = frozenset((PromotionState.REFUSED, PromotionState.CANCELED))
"""End states that the candidate's outcome announces, unless the promotion was based on an attempt that had passed."""


class PromotionController(Controller[Promotion]):
    """Moves a stable tag to a digest that passed.

    No error ends a promotion: it is retried until a newer digest has the tag, or an operator ends it.
    """

    kind = Promotion

    def __init__(self, services: Services) -> None:
        self._services, self._dependents, self._observer = services, Dependents(services), Observer(services)
        self._stable, self._vetoes, self._upstreams = StableTags(services), Vetoes(services), Upstreams(services)
        self._records, self._referrers = DecisionRecords(services), UpstreamReferrers(services)
        self._alarms = Alarms(services)
        self._actions: dict[Action, Callable[[Step[Promotion], Gate], Promotion]] = {
            Action.AWAIT_VERDICT: self._await_verdict,
            Action.COPY: self._copy,
            Action.WATCH_COPY: self._watch_copy,
            Action.LOCK: self._lock,
            Action.MOVE_STABLE_TAG: self._move,
            Action.RECORD_TASK_PROMOTION: self._record_task_promotion,
            Action.ROLL_OUT: self._roll_out,
            Action.COPY_REFERRERS: self._copy_referrers,
            Action.SIGN_RECORD: self._sign_record,
            Action.ATTACH_RECORD: self._attach_record,
        }

    def decide(self, record: Promotion, step: Step[Promotion] | None = None) -> Decision:
        """The next step."""
        return decide_promotion(record, self._services.gate(record.gate), self._services.clock.now())

    def act(self, step: Step[Promotion]) -> Promotion:
        """Take the step that was decided."""
        if step.decision.action is Action.RULE_REMOVED:
            return self._rule_removed(step)
        gate = self._services.gate(step.record.gate)
        if gate is None:  # the tag has moved already, and the rules name no app on it
            return self._without_gate(step.record)
        return self._actions[step.decision.action](step, gate)

    def dependency(self, record: Promotion, decision: Decision) -> str:
        """The target registry, which every step uses but the signature of the decision record; or an error names it."""
        if decision.action is Action.SIGN_RECORD:
            return "signing key"
        gate = self._services.gate(record.gate)
        return f"registry {gate.promote.registry}" if gate else f"gate {record.gate}"

    def outcome(self, record: Promotion) -> Outcome | None:
        """The outcome of a promotion that is settled or parked, or whose tag has moved: then it counts as promoted."""
        moved = record.moved_at is not None and not record.settled
        if (not record.settled and not moved) or (record.state in _ANNOUNCED_BY_CANDIDATE and not record.candidate):
            return None
        candidate = f"{record.gate}.{record.candidate}" if record.candidate else ""
        state = PromotionState.PROMOTED if moved else record.state
        data = {
            "gate": record.gate,
            "tag": record.tag,
            "sequence": record.sequence,
            "image": str(record.image),
            "candidate": candidate,
            "state": state.value,
            "reason": f"promoted as {record.unique}" if moved else record.reason,
            "uniqueTag": record.unique,
        }
        name = "Promoted" if state is PromotionState.PROMOTED else f"Promotion{state.value.title().replace(' ', '')}"
        subject, page = f"gates/{record.gate}/promotions/{record.row}", candidate and f"candidates/{candidate}"
        return Outcome(name=name, subject=subject, page=page, data=data)

    def waits_for_record(self, record: Promotion) -> bool:
        """Whether it waits for a verdict, which enqueues it."""
        latest = self._latest(record) if record.state is PromotionState.WAITING else None
        return latest is not None and not latest.settled

    def _await_verdict(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """Follow the last attempt at the digest: base the promotion on it, wait, end with it, or create another one.

        Raises:
            Conflict: another worker is moving the tag for it, by rules that have changed since.
        """
        if (ended := self._ended_early(step.record, gate)) is not None:
            return ended
        promotion, latest = step.record, self._latest(step.record)
        if promotion.candidate:
            self._stable.own_claim(self._stable.read(gate, promotion.tag), promotion.row, None)
        if latest is None or (latest.fingerprint != gate.fingerprint and latest.settled):
            return self._examine(step, gate, latest)
        if not latest.settled:
            step.waits_for_record = True
            return self._waiting(promotion, f"attempt {latest.attempt} is {latest.state_name}")
        if latest.state is CandidateState.PASSED:
            if self._has_failed_since(latest, gate):
                return self._examine(step, gate, latest)
            return promotion.based_on(latest, self._services.clock.now())
        if latest.state not in (*VERDICTS, CandidateState.CANCELED):
            return self._examine(step, gate, latest)
        state = PromotionState.REFUSED if latest.state in VERDICTS else PromotionState.CANCELED
        return self._ended(promotion, state, f"attempt {latest.attempt}: {latest.reason}")

    def _has_failed_since(self, attempt: Candidate, gate: Gate) -> bool:
        """Whether a report of an attempt that passed fails by now: an exception has ended since."""
        kinds = check_kinds(self._services)
        judged = (
            kinds[rule.kind].judge_again(attempt, check, rule)
            for check, rule in zip(attempt.checks, gate.checks, strict=True)
        )
        return any(one is not None and one.verdict is Verdict.FAILED for one in judged)

    def _ended_early(self, promotion: Promotion, gate: Gate) -> Promotion | None:
        """The ended promotion if a verdict would not matter: it is vetoed or superseded. Else None."""
        return self._vetoed(promotion, gate) or self._superseded(promotion, self._stable.read(gate, promotion.tag))

    def _superseded(self, promotion: Promotion, stable: StableTag) -> Promotion | None:
        """The ended promotion if its tag points to another digest that was observed later, else None."""
        if stable.sequence <= promotion.sequence or stable.digest == promotion.digest:
            return None
        reason = f"{stable.tag} points to {short(stable.digest or '')}, observed later"
        return self._ended(promotion, PromotionState.SUPERSEDED, reason)

    def _examine(self, step: Step[Promotion], gate: Gate, latest: Candidate | None) -> Promotion:
        """Create another attempt, unless the source tag has changed meanwhile."""
        promotion, now = step.record, self._services.clock.now()
        seen = self._services.ledger.load(Observation, gate.name, promotion.tag)
        if seen is not None and seen.record.sequence > promotion.sequence:
            return self._ended(promotion, PromotionState.SUPERSEDED, "its tag changed before it was examined")
        source = self._services.registry_rule(gate.source.registry)
        if latest is None:
            new, why = new_attempt(gate, source, promotion.digest, promotion.tag, now), "first attempt"
        else:
            new = replace(attempt_after(latest, gate, source, now), tag=promotion.tag)
            why = f"last attempt {latest.state}: {latest.reason}"
        new = new.noting(now, "admitted", why)
        waiting = self._waiting(promotion, f"attempt {new.attempt} is {new.state_name}")
        step.commit(waiting, Change(new))
        self._services.queue.send(new.work_item, 0)
        step.waits_for_record = True
        return waiting

    def _waiting(self, promotion: Promotion, reason: str) -> Promotion:
        waiting = promotion.reset() if promotion.candidate else promotion
        return replace(waiting, state=PromotionState.WAITING, reason=reason)

    def _latest(self, promotion: Promotion) -> Candidate | None:
        stored = last(self._services.ledger, Candidate, promotion.gate, attempts_of(promotion.digest))
        return stored.record if stored else None

    def _copy(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """Start the server-side copy to the unique tag, unless it exists. A vetoed digest is not copied."""
        now, promotion, repository = self._services.clock.now(), step.record, gate.promote.repository
        if vetoed := self._vetoed(promotion, gate):
            return vetoed
        target = self._services.registry_rule(gate.promote.registry)
        unique, there = self._free_name(promotion, gate, target)
        if there:
            promotion = self._use(step, unique)
            there = self._services.registry.digest_of(target, repository, unique) == promotion.digest
        begun = replace(promotion, unique=unique, copy_started_at=now, copy_operation="")
        if there:
            return replace(begun, copied_at=now).noting(now, "copied", f"{unique} exists already")
        name = f"{repository}:{unique}"
        try:
            operation = self._services.registry.start_copy(promotion.image, self._source(promotion), target, name)
        except Rejected:
            if self._services.registry.digest_of(target, repository, unique) != promotion.digest:
                raise
            return replace(begun, copied_at=now).noting(now, "copied", f"{unique} exists by now")
        return replace(begun, copy_operation=operation).noting(now, "copy started", name)

    def _watch_copy(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """Check whether the copy is complete: by the tag in the registry, not by the status of the operation.

        Raises:
            Inconclusive: the copy failed; it is started again.
        """
        now, promotion = self._services.clock.now(), step.record
        target = self._services.registry_rule(gate.promote.registry)
        status = self._services.registry.copy_status(target, promotion.copy_operation)
        if status.state is RunStatus.RUNNING:
            return promotion
        there = self._services.registry.digest_of(target, gate.promote.repository, promotion.unique)
        if there == promotion.digest:
            return replace(promotion, copied_at=now).noting(now, "copied", f"{promotion.unique}")
        found = f"it is {short(there)}" if there else status.message or "the tag does not exist"
        step.carry(replace(promotion, copy_started_at=None, copy_operation=""))
        raise Inconclusive(f"the copy to {promotion.unique} failed: {found}", delay_seconds=10.0)

    def _lock(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """Lock the unique tag against any change, and its manifest against deletion only: a rollback must tag it.

        If the lock is refused, the promotion continues; the sweep raises an alarm and retries.
        """
        now, promotion = self._services.clock.now(), step.record
        target = self._services.registry_rule(gate.promote.registry)
        try:
            self._services.registry.lock(target, gate.promote.repository, promotion.unique, promotion.digest)
        except (Misconfigured, Rejected) as error:
            self._copy_again_if_gone(step, error)
            problem = str(error)[:500]
            return replace(promotion, lock_problem=problem).noting(now, "lock refused", problem)
        return replace(promotion, locked_at=now).noting(now, "locked", promotion.unique)

    def _copy_again_if_gone(self, step: Step[Promotion], error: BasegateError) -> None:
        """Have the copy made again if it was deleted before the stable tag moved."""
        if isinstance(error, Gone):
            parts: dict[str, object] = {"copy_started_at": None, "copy_operation": "", "copied_at": None}
            step.save(replace(step.record, locked_at=None, lock_problem="", **parts))
            raise Inconclusive(f"the copy was deleted: {error}", delay_seconds=10.0) from error

    def _move(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """Move the stable tag to the digest: never backwards, never against a standing decision.

        1. If something prevents the move, the promotion ends or is parked, and a tag that was moved is put back.
        2. The claim on the tag's record is saved with the promotion: an operation that cancels the promotion either
           sees the claim or causes a conflict. A claim belongs to one worker, even if others have the promotion too.
        3. Vetoes are read after the claim, and again after the tag was moved and read back.
        4. The tag's record and the promotion are settled in one transaction. Lost races are retried immediately.
        """
        stored, mover = self._stable.load(gate, step.record.tag), step.record.row
        mine: Claim | None = None
        for _ in range(SAVE_TRIES):
            try:
                ended = self._blocked(step, gate, stored)  # 1
                if ended is not None:
                    break
                claimed = self._stable.claimed(stored.record, mover, step.record.digest, mine)
                mine = claimed.claim  # also where the answer is lost
                (stored,) = step.commit(step.record, Change(claimed, stored))  # 2
                ended = self._vetoed(step.record, gate)  # 3
                if ended is None:
                    self._stable.point(gate, step.record.tag, step.record.digest, stored.record)
                    ended = self._vetoed(step.record, gate)
                if ended is None:
                    return self._moved(step, stored)  # 4
                break
            except Conflict:
                stored = self._after_race(step, gate, mine)
            except (Retry, Rejected, Misconfigured) as error:
                self._stable.undo(gate, step.record.tag, mine, step.record.digest)
                self._copy_again_if_gone(step, error)
                raise
        else:
            self._stable.undo(gate, step.record.tag, mine, step.record.digest)
            raise Busy(f"other workers keep changing {step.record.tag}", delay_seconds=1.0)
        if claim := self._stable.own_claim(stored.record, mover, mine) or mine:
            self._stable.undo(gate, step.record.tag, claim, step.record.digest)
        return ended

    def _record_task_promotion(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """Record what the gate's own task pushed. A move that is not allowed is put back, or raises an alarm.

        The task runs once for a digest, for one of its tags; another run may push later, and a tag may return to a
        digest. What the task did not do then is done as for gates that Basegate promotes.
        """
        promotion, now = step.record, self._services.clock.now()
        target, repository = self._services.registry_rule(gate.promote.registry), gate.promote.repository
        unique = promotion.unique_names(gate, target.login_server)[0]
        stored = self._stable.load(gate, promotion.tag)
        if stored.record.is_moving(now):
            raise Busy(f"{promotion.tag} is being moved", delay_seconds=2.0)
        ended = self._vetoed(promotion, gate) or self._blocked(step, gate, stored)
        if ended is not None:
            self._stable.undo(gate, promotion.tag, stored.record.claim, promotion.digest)
            return ended
        promotion = self._use(step, unique)
        tags, registry = (unique, promotion.tag), self._services.registry
        there, current = (registry.digest_of(target, repository, name) for name in tags)
        if there != promotion.digest and not (there is None and self._ran_for_another(promotion)):
            found = short(there) if there else "missing"
            problem = f"the gate's task passed {short(promotion.digest)} and {unique} is {found}"
            raise Rejected(problem, remedy="the task must push what it examined, by digest, under both tags")
        if not there == current == promotion.digest:
            return self._copy(step, gate)
        return self._moved(step, stored)

    def _ran_for_another(self, promotion: Promotion) -> bool:
        """Whether the attempt was made for another tag, or for an earlier promotion of this one."""
        stored = self._services.ledger.load(Candidate, promotion.gate, promotion.candidate)
        return stored is not None and (
            stored.record.tag != promotion.tag or stored.record.created_at < promotion.created_at
        )

    def _moved(self, step: Step[Promotion], stored: Stored[StableTag]) -> Promotion:
        promotion, now = step.record, self._services.clock.now()
        stable = self._stable.settled(stored.record, target_of(promotion))
        moved = replace(promotion, moved_at=stable.moved_at or now, move=stable.move)
        moved = moved.noting(now, "stable tag moved", f"{promotion.tag} is {short(promotion.digest)}, verified")
        hold, freed = stable.hold, list[Change]()
        if hold is not None and not hold.stops(promotion.sequence, returning=promotion.returning):
            stable = replace(stable, hold=None)  # it was set until a newer digest passes
            listed = newest_promotions(self._services.ledger, promotion.gate, promotion.tag)
            held = (one for one in listed if one.record.state is PromotionState.HELD)
            freed = [Change(one.record.reset().noting(now, "resumed", "the hold has ended"), one) for one in held]
        step.commit(moved, Change(stable, stored), *freed)
        for change in freed:
            self._services.queue.send(change.record.work_item, 0)
        return moved

    def _blocked(self, step: Step[Promotion], gate: Gate, stored: Stored[StableTag]) -> Promotion | None:
        """The promotion, ended or parked, if its tag may not move; None if it may.

        A parked promotion is saved with the record that it waits for, unchanged: a concurrent change of that record,
        which may end the wait, is a conflict.

        Raises:
            Busy: the digest of the source tag is in doubt. Conflict: the record that it would wait for has changed.
        """
        promotion, stable = step.record, stored.record
        if stable.claim is not None and (vetoed := self._vetoed(promotion, gate)):
            return vetoed  # a worker that died may have moved the tag
        if stable.digest == promotion.digest:
            return None  # nothing moves, whatever the order
        if (superseded := self._superseded(promotion, stable)) is not None:
            return superseded
        hold = stable.hold
        if hold is not None and hold.stops(promotion.sequence, returning=promotion.returning):
            if vetoed := self._vetoed(promotion, gate):
                return vetoed
            held = self._ended(promotion, PromotionState.HELD, f"{stable.tag} is held by {hold.actor}: {hold.reason}")
            step.commit(held, Change(stable, stored))
            return held
        return self._withdrawn(step, gate)

    def _withdrawn(self, step: Step[Promotion], gate: Gate) -> Promotion | None:
        """The promotion, parked, if its source tag does not exist any more; else None.

        Raises:
            Busy: the digest of the source tag is in doubt.
        """
        promotion, seen = step.record, self._services.ledger.load(Observation, gate.name, step.record.tag)
        if seen is None or seen.record.digest is None:
            return None
        if seen.record.doubted is not None:
            reason = f"the source returned an earlier digest of {promotion.tag}, to be confirmed"
            raise Busy(reason, delay_seconds=self._until_confirmed(gate, seen.record))
        if seen.record.absent:
            gone = self._ended(promotion, PromotionState.WITHDRAWN, f"{promotion.tag} no longer exists at the source")
            step.commit(gone, Change(seen.record, seen))
            return gone
        return None

    def _until_confirmed(self, gate: Gate, seen: Observation) -> float:
        """The seconds to wait for the next reading of a tag in doubt.

        If the sweep has not read it in time, it is read here: a tag that was deleted is in no list any more.
        """
        interval = self._observer.interval(gate)
        since = seconds_between(seen.doubted_at, self._services.clock.now()) if seen.doubted_at else 0.0
        if since < 2 * interval:
            return _DOUBT_WAIT_SECONDS
        with suppress(BasegateError):  # it is read again after the wait
            self._upstreams.grant(gate, for_hints=True)
            for item in self._observer.observe(gate, seen.tag, Trigger(FoundBy.SWEEP)).items:
                self._services.queue.send(item, 0)
        return interval

    def _vetoed(self, promotion: Promotion, gate: Gate) -> Promotion | None:
        veto = self._vetoes.active(gate, promotion.digest)
        return self._ended(promotion, PromotionState.VETOED, veto.words) if veto is not None else None

    def _after_race(self, step: Step[Promotion], gate: Gate, mine: Claim | None) -> Stored[StableTag]:
        """The current record of the tag, for a retry after a lost race.

        Raises:
            Conflict: another worker changed this promotion (a move that was made is undone), or is moving the tag for
                it.
        """
        mover = step.record.row
        if not step.is_current():
            if mine is not None:
                self._stable.undo(gate, step.record.tag, mine, step.record.digest)
            raise Conflict(f"promotion {step.record.id} was changed by another worker")
        fresh = self._stable.load(gate, step.record.tag)
        self._stable.own_claim(fresh.record, mover, mine)
        return fresh

    def _free_name(self, promotion: Promotion, gate: Gate, target: RegistryRule) -> tuple[str, bool]:
        """The unique tag of a promotion, and whether it exists already; never one that points to another digest.

        Raises:
            Rejected: all possible names are taken.
        """
        names = promotion.unique_names(gate, target.login_server)
        for name in names:
            there = self._services.registry.digest_of(target, gate.promote.repository, name)
            if there is None or (there == promotion.digest and not self._is_removed(promotion, name)):
                return name, there is not None
        taken = f"{target.login_server}/{gate.promote.repository} has other digests under {', '.join(names)}"
        raise Rejected(f"{taken}, or the sweep is removing them")

    def _use(self, step: Step[Promotion], unique: str) -> Promotion:
        """Save that the promotion uses a unique tag, before that is read. One that was left over is so no more.

        Raises:
            Busy: the sweep is removing it. See `LeftOvers`, which marks it before it reads what promotions use.
        """
        promotion = step.save(replace(step.record, unique=unique))
        left = self._services.ledger.load(LeftOver, promotion.gate, unique)
        if left is None:
            return promotion
        if not left.record.removing:
            with suppress(Conflict):
                self._services.ledger.commit(removal(left))
                return promotion
        raise Busy(f"{unique} is left over, and is being removed", delay_seconds=2.0)

    def _is_removed(self, promotion: Promotion, unique: str) -> bool:
        left = self._services.ledger.load(LeftOver, promotion.gate, unique)
        return left is not None and left.record.removing

    def _source(self, promotion: Promotion) -> RegistryRule:
        """The registry that a digest comes from, even if the rules have renamed it.

        Raises:
            Misconfigured: the rules do not name it any more.
        """
        policy, server = self._services.policy, promotion.login_server
        named = policy.registries.get(promotion.source_registry)
        source = named if named is not None and named.login_server == server else policy.registry_at(server)
        if source is None:
            problem = f"{server} is not in the rules any more: {promotion.image} cannot be copied"
            raise Misconfigured(problem, remedy="add that registry to the rules again, or cancel the promotion")
        return source

    def _roll_out(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """Start a rollout of every app that is built on the tag, unless the tag has moved since.

        Right after the move, when vetoes were just read, rollouts are created with a claim: they build immediately.
        """
        promotion, blank = step.record, StableTag(gate=gate.name, tag=step.record.tag)
        just_moved, stable = step.knows(blank), step.beside(blank).record
        if stable.move != promotion.move or stable.digest != promotion.digest:
            step.followers = ()
            return self._promoted(promotion, gate, f"promoted as {promotion.unique}; {promotion.tag} has moved since")
        promotion = replace(promotion, target=self._vetoes.target(gate))
        step.followers, names = self._dependents.roll_out(gate, stable, claim=just_moved)
        promotion = promotion.noting(self._services.clock.now(), "rollouts started", names)
        return self._promoted(promotion, gate, f"promoted as {promotion.unique}")

    def _promoted(self, promotion: Promotion, gate: Gate | None, reason: str) -> Promotion:
        now = self._services.clock.now()
        done = replace(
            promotion,
            rolled_out_at=now,
            state=PromotionState.PROMOTED,
            reason=reason,
            record_due=self._services.signer is not None,
            referrers_due=gate is None or gate.referrers == "copy",
        )
        return done.noting(now, "promoted", reason)

    def _without_gate(self, promotion: Promotion) -> Promotion:
        """The end of a promotion whose tag has moved: without a gate, no app is built on it, and no target is known."""
        why = "its gate was removed from the rules"
        ended = self._promoted(promotion, None, why) if promotion.under_way else promotion
        return self._unrecorded(self._without_referrers(ended, why), why)

    def _copy_referrers(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """Copy what is attached to the digest upstream. If that fails, the image stays promoted: after a few tries
        there is an alarm, and the sweep tries again. A try while the source backs off asks it nothing.
        """
        promotion = step.record
        ignored = "the rules say `referrers: ignore`" if gate.referrers == "ignore" else ""
        if why := ignored or self._moved_elsewhere(promotion, gate):
            return self._without_referrers(promotion, why)
        try:
            source = self._source(promotion)
            copied = self._referrers.copy(promotion.image, source, gate, self._ask(source, gate))
        except Gone as gone:
            return self._without_referrers(promotion, gone.problem)
        except BasegateError as error:
            if isinstance(error, Throttled) and self._is_source(source, gate):  # other faults may be those of one file
                self._upstreams.failed(gate, error)
            return self._not_copied(promotion, error)
        if promotion.referrers_problem:
            self._alarms.settle(f"gates/{gate.name}", {(AlarmKind.NOT_COPIED, str(promotion.tag))}, ())
        parts: dict[str, object] = {"referrers": tuple(copied.digests), "referrers_problem": ""}
        done = replace(promotion, referrers_due=False, **parts)
        return done if copied.is_nothing else done.noting(self._services.clock.now(), "referrers copied", copied.words)

    def _ask(self, source: RegistryRule, gate: Gate) -> Ask:
        """Grants requests to a source. One that is not the gate's any more has no limits in the rules."""
        return partial(self._upstreams.grant, gate) if self._is_source(source, gate) else lambda _: None

    def _is_source(self, source: RegistryRule, gate: Gate) -> bool:
        return self._services.registry_rule(gate.source.registry).login_server == source.login_server

    def _without_referrers(self, promotion: Promotion, why: str) -> Promotion:
        if not promotion.referrers_due:
            return promotion
        done = replace(promotion, referrers_due=False, referrers_problem="")
        return done.noting(self._services.clock.now(), "no referrers copied", why)

    def _not_copied(self, promotion: Promotion, error: BasegateError) -> Promotion:
        """The promotion after a try that failed; the last one raises an alarm, and the sweep does if that fails."""
        now, tries = self._services.clock.now(), promotion.referrer_tries + 1
        failed = replace(promotion, referrer_tries=tries).noting(now, "copy of referrers failed", str(error))
        if tries < REFERRER_TRIES:
            return failed
        failed = replace(failed, referrers_due=False, referrers_problem=str(error)[:TEXT_LIMIT])
        self._alarms.raise_alarm(not_copied(failed, now))
        return failed

    def _sign_record(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """Sign what was decided, and archive it. Without a key, or the attempt, there is nothing to sign (with)."""
        promotion, signer = step.record, self._services.signer
        if signer is None:
            return self._unrecorded(promotion, "no signing key is set any more")
        veto = self._vetoes.active(gate, promotion.digest)
        if why := veto.words if veto else self._moved_elsewhere(promotion, gate):
            return self._unrecorded(promotion, why)
        stored = self._services.ledger.load(Candidate, promotion.gate, promotion.candidate)
        if stored is None:
            return self._unrecorded(promotion, "its attempt is not in the ledger any more")
        kinds = check_kinds(self._services)
        known = [(i, one) for i, one in enumerate(stored.record.checks) if one.kind in kinds]
        checks = {i: kinds[one.kind].facts(one, self._records.image(promotion, gate)) for i, one in known}
        place = self._records.sign(promotion, stored.record, gate, checks, signer)
        signed = replace(promotion, signed_record=place)
        return signed.noting(self._services.clock.now(), "decision record signed", place)

    def _attach_record(self, step: Step[Promotion], gate: Gate) -> Promotion:
        """Attach the archived record to the image, unless the image is gone: then it is promoted, and signed, again.

        What the archive has lost is signed again. The documents that the record names are made, and attached, too.
        """
        if why := self._moved_elsewhere(step.record, gate):
            return self._unrecorded(step.record, why)
        bundles = self._records.signed(step.record)
        if not bundles:
            lost = replace(step.record, signed_record="")
            return lost.noting(self._services.clock.now(), "decision record lost", step.record.signed_record)
        named = documents_in(bundles)
        documents = self._documents(step.record, gate, named or {})
        try:
            attached = self._records.attach(step.record, gate, bundles, documents.values())
        except Gone as gone:
            return self._unrecorded(step.record, gone.problem)
        now, done = self._services.clock.now(), replace(step.record, record_due=False, attached=attached)
        done = done.noting(now, "decision record attached", ", ".join(map(short, attached)))
        why = _not_attached(named, documents)
        return done.noting(now, "report of the scan not attached", why) if why else done

    def _documents(self, promotion: Promotion, gate: Gate, named: Collection[str]) -> dict[str, Artifact]:
        """The documents about its attempt that its decision record names, by their digests."""
        stored = self._services.ledger.load(Candidate, promotion.gate, promotion.candidate) if named else None
        if stored is None:
            return {}
        kinds, image = check_kinds(self._services), self._records.image(promotion, gate)
        known = [check for check in stored.record.checks if check.kind in kinds]
        made = (one for check in known for one in kinds[check.kind].documents(check, image).values())
        digested = ((f"sha256:{hashlib.sha256(one.content).hexdigest()}", one) for one in made)
        return {digest: one for digest, one in digested if digest in named}

    def _moved_elsewhere(self, promotion: Promotion, gate: Gate) -> str:
        """That the gate promotes into another repository by now, where the image is not; else ""."""
        target = self._vetoes.target(gate)
        return f"gate {gate.name} promotes into {target} now" if promotion.target not in ("", target) else ""

    def _unrecorded(self, promotion: Promotion, why: str) -> Promotion:
        if not promotion.record_due:
            return promotion
        what = "decision record given up" if promotion.signed_record else "no decision record"  # a part may be attached
        return replace(promotion, record_due=False).noting(self._services.clock.now(), what, why)

    def _rule_removed(self, step: Step[Promotion]) -> Promotion:
        """End it, and forget the observed digest: if the rule is added again, the tag counts as changed."""
        ended = self._ended(step.record, PromotionState.RULE_REMOVED, step.decision.reason)
        seen = self._services.ledger.load(Observation, ended.gate, ended.tag)
        if seen is not None and seen.record.sequence == ended.sequence:
            step.commit(ended, Change(seen.record.forgotten(), seen))
        return ended

    def _ended(self, promotion: Promotion, state: PromotionState, reason: str) -> Promotion:
        return replace(promotion, stall=None).ended(self._services.clock.now(), state, reason)


def _not_attached(named: Mapping[str, str] | None, attached: Collection[str]) -> str:
    """Why not all documents are attached that a record names, by their digests; "" if all are. None: nobody knows."""
    if named is None:
        return "the record is of another version's form: which documents it names is not known"
    if missing := ", ".join(name for digest, name in named.items() if digest not in attached):
        return f"{missing}: what the record names cannot be made again from what is kept of the scan"
    return ""
