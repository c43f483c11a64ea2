"""Repairs what was done to the tags of a promotion around the gate."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import VERDICTS, Candidate, CandidateState, attempts_of
from shared.domain.drift import TagDifference
from shared.domain.errors import BasegateError, Busy, Conflict, Gone, Rejected
from shared.domain.image import short
from shared.domain.policy import Gate, PromoteBy
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.stable_tag import StableTag
from shared.ports import Stored
from shared.ports.services import Services
from shared.promotion.stable_tags import StableTags
from shared.promotion.vetoes import Vetoes
from shared.sweep.job import JobRun
from shared.workflow.alarms import Alarms


class Repair:
    """Puts the tags of one gate back to what the ledger says."""

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self._stable, self._alarms, self._vetoes = StableTags(services), Alarms(services), Vetoes(services)
        self._target = services.registry_rule(gate.promote.registry)

    def repair(self, run: JobRun, stored: Stored[StableTag], drift: TagDifference, alarm: Alarm) -> Alarm | None:
        """Repair one difference; returns the alarm that stays, None where nothing is wrong any more.

        Raises:
            Busy: somebody is moving the tag.
        """
        if obstacle := self._obstacle(stored.record):
            return msgspec.structs.replace(alarm, plan=obstacle)
        done = "locked" if drift is TagDifference.UNIQUE_UNLOCKED else "put back"
        if not run.dry_run:
            try:
                self._put_back(stored, drift)
            except Gone:
                return self._promote_again(run, stored.record, alarm)
            except Rejected as refusal:
                return msgspec.structs.replace(alarm, plan=f"it is refused, see to it: {refusal}")
            except Busy:
                raise
            except BasegateError as error:
                return msgspec.structs.replace(alarm, plan=f"it does not work, the next sweep tries again: {error}")
        self._alarms.repaired(run, alarm, done)
        return None

    def promotion_of(self, stable: StableTag) -> Stored[Promotion] | None:
        """The promotion that a stable tag stands on."""
        return self._services.ledger.load(Promotion, stable.gate, stable.promotion) if stable.promotion else None

    def _obstacle(self, stable: StableTag) -> str:
        """Why a tag must not be put back, "" where it may: it stands on nothing, on a ban, or on what failed since."""
        if stable.digest is None:
            return "nothing was promoted to it: let its source tag be examined, or remove it"
        why, veto = "", self._vetoes.standing(self._gate, stable.digest)
        attempts = self._services.ledger.list(Candidate, stable.gate, attempts_of(stable.digest))
        verdicts = [one.record for one in attempts if one.record.state in VERDICTS]
        if veto is not None:
            why = f"{short(veto.digest)} is vetoed by {veto.actor}: {veto.reason}"
        elif verdicts and verdicts[-1].state is not CandidateState.PASSED:
            why = (
                f"{short(stable.digest)} {verdicts[-1].state} in attempt {verdicts[-1].attempt}: {verdicts[-1].reason}"
            )
        return f"not put back: {why}; roll back to another digest" if why else ""

    def _put_back(self, stored: Stored[StableTag], drift: TagDifference) -> None:
        stable, repository, registry = stored.record, self._gate.promote.repository, self._services.registry
        assert stable.digest is not None  # that is an obstacle
        if drift is TagDifference.STABLE:
            self._stable.put_back(self._gate, stored)
            return
        if drift is not TagDifference.UNIQUE_UNLOCKED:
            registry.point(self._target, repository, stable.unique, stable.digest)
        if self._gate.promote.lock and self._gate.promote.by is PromoteBy.COPY:
            registry.lock(self._target, repository, stable.unique, stable.digest)
            self._locked(stable)

    def _locked(self, stable: StableTag) -> None:
        """Record that a lock was not refused this time."""
        stored, now = self.promotion_of(stable), self._services.clock.now()
        if stored is not None and stored.record.lock_problem:
            locked = msgspec.structs.replace(stored.record, lock_problem="", locked_at=now)
            with suppress(Conflict):  # it is under way again, and locks by itself
                self._services.ledger.save(stored, locked.noting(now, "locked", stable.unique))

    def _promote_again(self, run: JobRun, stable: StableTag, alarm: Alarm) -> Alarm:
        """Promote a deleted image again, from its source and once; the alarm stands until that is done."""
        name = f"{self._target.login_server}/{self._gate.promote.repository}@{short(stable.digest or '')}"
        stored = self.promotion_of(stable)
        plan = self._no_second_promotion(stored, stable)
        if not plan and stored is not None:
            plan = f"promoted again from its source by {stored.record.id}"
            if not stored.record.is_open:
                run.note("promote again", name, logged=True)  # the alarm says it
                self._reset(stored)
        words = f"the promoted image {name} was deleted: {stable.tag} cannot be put back"
        return msgspec.structs.replace(alarm, kind=AlarmKind.PROMOTED_GONE, words=words, plan=plan)

    def _no_second_promotion(self, stored: Stored[Promotion] | None, stable: StableTag) -> str:
        """Why an image cannot be promoted again by itself, and what to do; "" where it can, or is being."""
        if self._gate.promote.by is PromoteBy.TASK:
            return f"the gate's own task promotes: run candidate {stable.gate}.{stable.candidate} again"
        if stored is None:
            return "no promotion is on record for it: roll back to another digest"
        promotion = stored.record
        if promotion.settled and promotion.state is not PromotionState.PROMOTED:
            reason = f"{promotion.state_name}: {promotion.reason}"
            return f"promoting it again ended: {reason}; roll back to another digest, or examine it again"
        return ""

    def _reset(self, stored: Stored[Promotion]) -> None:
        why = "the promoted image was deleted"
        again = stored.record.reset().noting(self._services.clock.now(), "promoted again", why)
        with suppress(Conflict):  # somebody else has taken it up: the next sweep sees how that went
            self._services.ledger.save(stored, again)
            self._services.queue.send(again.work_item, 0)
