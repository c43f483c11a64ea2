"""The stable-tag job: compares the tags of a gate's promotions with the ledger, and repairs them."""

import heapq
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from functools import partial
from itertools import groupby

from msgspec.structs import replace

from shared.checks import KINDS
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import Candidate, attempts_of
from shared.domain.errors import BasegateError, Busy, Conflict, Gone, Malformed, Rejected
from shared.domain.image import Digest, short
from shared.domain.observation import Observation
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.stable_tag import StableTag, Veto
from shared.ports import Services, Stored, TagState, last
from shared.promotion.stable_tags import REBUILD_REMEDY, StableTags
from shared.promotion.vetoes import Vetoes
from shared.sweep.job import JobRun, SweepJob, in_batches

_BATCH_TAGS = 100
_FEW_TAGS = 20
_LOCK_ROUNDS = 12
"""Every hour, if the sweep runs every five minutes."""

_LOCK_KINDS = frozenset((AlarmKind.UNIQUE_CHANGED, AlarmKind.UNLOCKED))
_STABLE_KINDS = frozenset((AlarmKind.STABLE_MOVED, AlarmKind.UNRECORDED, AlarmKind.PROMOTED_GONE))
_ALL_KINDS = _STABLE_KINDS | {AlarmKind.STABLE_VETOED} | _LOCK_KINDS

Seen = tuple[Digest | None, TagState | None]
"""The digest of a stable tag, and the state of its unique tag, in the registry."""

TagRead = Seen | Malformed | Rejected


class Difference(StrEnum):
    """How a promotion's tags differ from the ledger."""

    STABLE = "stable tag"
    UNIQUE = "unique tag"
    LOCK = "lock of the unique tag"


class StableTagsJob(SweepJob):
    """Checks the stable tags of one gate, and their unique tags: one HEAD for each.

    The lock of a unique tag is only in Azure's own API, which takes four requests for each tag: if there are many tags,
    it is read in every twelfth round.
    """

    def __init__(self, services: Services, gate: Gate) -> None:
        self._gate, self._target = gate, services.registry_rule(gate.promote.registry)
        super().__init__(services, f"stable.{gate.name}", f"target {self._target.login_server}", f"gates/{gate.name}")
        self._stable, self._vetoes = StableTags(services), Vetoes(services)
        self._locks = gate.promote.locks_copies

    def batches(self, run: JobRun) -> Iterator[str]:
        """Check the stable tags from the cursor on, which is the last tag that was checked."""
        vetoes = {veto.digest: veto for veto in self._vetoes.all(self._gate) if veto.is_active}
        for batch in in_batches(self._behind(run.record.after), _BATCH_TAGS):
            locks = len(batch) <= _FEW_TAGS or run.dry_run or run.record.round % _LOCK_ROUNDS == 1
            reads = run.executor(partial(self._ask, locks=locks), batch)
            pairs = zip(batch, reads, strict=True)
            judged = [(stable.tag, self._wrong(run, stable, answer, vetoes)) for stable, answer in pairs]
            kinds = _ALL_KINDS if locks else _ALL_KINDS - _LOCK_KINDS
            checked = {(kind, tag) for tag, alarms in judged if alarms is not None for kind in kinds}
            self._settle(run, checked, (alarm for _, alarms in judged for alarm in alarms or ()))
            run.record = replace(run.record, checked=run.record.checked + len(batch))
            yield batch[-1].tag

    def _behind(self, cursor: str) -> Iterator[StableTag]:
        """The records of the stable tags behind the cursor, and empty ones for source tags that have none."""
        ledger, gate = self._services.ledger, self._gate.name
        records = (stored.record for stored in ledger.between(StableTag, gate, cursor, ""))
        observed = (stored.record for stored in ledger.between(Observation, gate, cursor, ""))
        blanks = (StableTag(gate=gate, tag=seen.tag) for seen in observed)
        both = heapq.merge(records, blanks, key=lambda one: one.tag)  # of two, the record comes first
        return (next(same) for tag, same in groupby(both, lambda one: one.tag) if tag != cursor)

    def _ask(self, stable: StableTag, *, locks: bool) -> TagRead:
        """The state of a record's tags. A tag that cannot be read does not block the others."""
        try:
            return self._read(stable, locks=locks)
        except (Malformed, Rejected) as rejection:
            return rejection

    def _read(self, stable: StableTag, *, locks: bool = True) -> Seen:
        repository, tags = self._gate.promote.repository, self._services.tags
        there = tags.digest_of(self._target, repository, stable.tag)
        if stable.digest is None or not stable.unique:
            return there, None
        if locks:
            return there, self._services.registry.tag_state(self._target, repository, stable.unique)
        unique = tags.digest_of(self._target, repository, stable.unique)
        return there, TagState(unique, locked=None) if unique else None

    def _wrong(
        self, run: JobRun, stable: StableTag, answer: TagRead, vetoes: Mapping[Digest, Veto]
    ) -> list[Alarm] | None:
        """The alarms that remain about a stable tag; None while a move is in progress: then drift is unknown."""
        if isinstance(answer, Malformed | Rejected):
            return [self._about(stable, AlarmKind.STABLE_MOVED, f"{self._name(stable.tag)} cannot be read: {answer}")]
        alarms = self._judge(run, stable, answer)
        if alarms is None:
            return None
        left = _STABLE_KINDS & {alarm.kind for alarm in alarms}
        if (left or answer[0] == stable.digest) and answer[0] and (veto := vetoes.get(answer[0])):
            words = f"{self._name(stable.tag)} points to {short(veto.digest)}, vetoed by {veto.actor}: {veto.reason}"
            plan = "roll it back to another digest, or lift the veto"
            alarms.append(self._alarm(AlarmKind.STABLE_VETOED, stable.tag, words, plan))
        return alarms

    def _judge(self, run: JobRun, stable: StableTag, seen: Seen) -> list[Alarm] | None:
        """Confirmed drift after a second read, record first: a mover may have changed both."""
        if next(self._differences(stable, seen), None) is None:
            return []
        try:
            stored = self._services.ledger.load(StableTag, stable.gate, stable.tag) or Stored(stable, "")
            if self._is_moving(stored.record, seen[0]):
                return None
            again = self._read(stored.record)
            if stored.record.digest is None and again != seen:  # no claim shows whether a mover changed it
                return None
            return list(self._repaired(run, stored, again))
        except (Malformed, Rejected, Busy):
            return None

    def _is_moving(self, stable: StableTag, there: Digest | None) -> bool:
        """Whether a move is in progress or possible: by a promotion, or by the gate's own task before the ledger
        records it.

        A promotion moves the tag only to its own digest, and only after that has passed. One that is stalled on what
        its task pushed blocks repair only while the tag is at its own digest.
        """
        if stable.is_moving(self._services.clock.now()):
            return True
        by_task = self._gate.promote.by == "task"
        promotions = (stored.record for stored in self._services.ledger.open(Promotion, self._gate.name))
        under_way = [one for one in promotions if one.tag == stable.tag and one.under_way]
        if not by_task:
            promoting = (one for one in under_way if one.state is PromotionState.PROMOTING and one.stall is None)
            return any(one.digest == there for one in promoting)
        return any(self._task_may_push(one) and (one.stall is None or one.digest == there) for one in under_way)

    def _task_may_push(self, promotion: Promotion) -> bool:
        """Whether the gate's task runs for a digest, or has passed it: before that nothing may push the tag."""
        stored = last(self._services.ledger, Candidate, promotion.gate, attempts_of(promotion.digest))
        if stored is None or stored.record.settled:
            return stored is not None
        kind = KINDS.get(stored.record.open_check)
        return kind is not None and kind.may_promote

    def _differences(self, stable: StableTag, seen: Seen) -> Iterator[tuple[Difference, Alarm]]:
        """The differences of the tags from the record, in which the stable tag may not exist."""
        (there, unique), name, was = seen, self._name(stable.unique), _named(stable.digest)
        if there != stable.digest:
            promoted = f"not {was}, which was promoted" if stable.digest else "and the ledger has no record of that"
            words = f"{self._name(stable.tag)} is {_named(there)}, {promoted}"
            unrecorded = self._alarm(AlarmKind.UNRECORDED, stable.tag, words, f"left as it is; {REBUILD_REMEDY}")
            moved = self._about(stable, AlarmKind.STABLE_MOVED, words)
            yield Difference.STABLE, moved if stable.digest else unrecorded
        if stable.digest is None or not stable.unique:
            return
        if unique is None or unique.digest != stable.digest:
            words = f"{name} is {_named(unique.digest)}, not {was}" if unique else f"{name} is gone; it was {was}"
            yield Difference.UNIQUE, self._about(stable, AlarmKind.UNIQUE_CHANGED, words)
        elif self._locks and unique.locked is False:
            promotion = self._promotion_of(stable)
            refused = promotion is not None and promotion.record.lock_problem
            kind = AlarmKind.UNLOCKED if refused else AlarmKind.UNIQUE_CHANGED
            words = "could not be locked" if refused else "is not locked any more"
            yield Difference.LOCK, self._about(stable, kind, f"{name} {words}")

    def _repaired(self, run: JobRun, stored: Stored[StableTag], seen: Seen) -> Iterator[Alarm]:
        """Repair the differences as far as the rules allow; returns the alarms that remain."""
        for difference, alarm in self._differences(stored.record, seen):
            left = self._unrecorded(alarm, seen[0]) if difference is Difference.STABLE else None
            if left is None:
                left = alarm if self._gate.drift == "report" else self._repair(run, stored, difference, alarm)
            if left is not None:
                yield left
                if left.kind is AlarmKind.PROMOTED_GONE:  # an image is deleted with all its tags
                    return

    def _unrecorded(self, alarm: Alarm, there: Digest | None) -> Alarm | None:
        """The alarm about a digest that is not in the ledger; None if the tag may be put back."""
        if alarm.kind is AlarmKind.UNRECORDED:
            return alarm
        why = self._stable.unrecorded(self._gate, alarm.subject, there)
        plan = f"not put back: {why}; {REBUILD_REMEDY}"
        return replace(alarm, kind=AlarmKind.UNRECORDED, plan=plan) if why else None

    def _repair(self, run: JobRun, stored: Stored[StableTag], difference: Difference, alarm: Alarm) -> Alarm | None:
        """Repair one difference; returns the alarm that remains, None if it is repaired.

        Raises:
            Busy: a move of the tag is in progress.
        """
        assert stored.record.digest is not None  # a tag without a digest is not repaired
        if why := self._vetoes.against(self._gate, stored.record.digest):
            return replace(alarm, plan=f"not put back: {why}; roll back to another digest")
        if not run.dry_run:
            try:
                self._put_back(stored, difference, alarm.words)
            except Gone:
                return self._promote_again(run, stored.record)
            except Rejected as rejection:
                plan = f"the repair is refused; fix the cause, and the next sweep repairs it: {rejection}"
                return replace(alarm, plan=plan)
            except Busy:
                raise
            except BasegateError as error:
                return replace(alarm, plan=f"the repair failed, the next sweep tries again: {error}")
        done = "locked" if difference is Difference.LOCK else "put back"
        run.note(done, alarm.words, logged=True)
        if not run.dry_run:
            self._alarms.repaired(alarm, done)
        return None

    def _put_back(self, stored: Stored[StableTag], difference: Difference, words: str) -> None:
        stable, repository, registry = stored.record, self._gate.promote.repository, self._services.registry
        assert stable.digest is not None  # a tag without a digest is not repaired
        if difference is Difference.STABLE:
            self._stable.put_back(self._gate, stored, words)
            return
        if difference is Difference.UNIQUE:
            registry.point(self._target, repository, stable.unique, stable.digest)
        if self._locks:
            registry.lock(self._target, repository, stable.unique, stable.digest)
            self._record_lock(stable)

    def _record_lock(self, stable: StableTag) -> None:
        """Record that the lock was not refused this time."""
        stored, now = self._promotion_of(stable), self._services.clock.now()
        if stored is not None and stored.record.lock_problem:
            locked = replace(stored.record, lock_problem="", locked_at=now)
            with suppress(Conflict):  # it is under way again, and locks by itself
                self._services.ledger.save(stored, locked.noting(now, "locked", stable.unique))

    def _promote_again(self, run: JobRun, stable: StableTag) -> Alarm:
        """Promote a deleted image again, once, from its source; the alarm stays until that is done."""
        name = f"{self._target.login_server}/{self._gate.promote.repository}@{short(stable.digest or '')}"
        stored = self._promotion_of(stable)
        if self._gate.promote.by == "task":
            plan = f"the gate's own task promotes: run candidate {stable.gate}.{stable.candidate} again"
        elif stored is None:
            plan = "no promotion is on record for it: roll back to another digest"
        elif not stored.record.under_way and stored.record.state is not PromotionState.PROMOTED:
            ended = f"{stored.record.state_name}: {stored.record.reason}"
            plan = f"promoting it again ended: {ended}; roll back to another digest, or examine it again"
        else:
            plan = f"promoted again from its source by {stored.record.id}"
            if not stored.record.under_way:
                run.note("promote again", name, logged=True)  # the alarm says it
                self._reset(stored)
        words = f"the promoted image {name} was deleted: {stable.tag} cannot be put back"
        return self._alarm(AlarmKind.PROMOTED_GONE, stable.tag, words, plan)

    def _reset(self, stored: Stored[Promotion]) -> None:
        why = "the promoted image was deleted"
        again = stored.record.reset().noting(self._services.clock.now(), "promoted again", why)
        with suppress(Conflict):  # somebody else has taken it up: the next sweep sees how that went
            self._services.ledger.save(stored, again)
            self._services.queue.send(again.work_item, 0)

    def _promotion_of(self, stable: StableTag) -> Stored[Promotion] | None:
        """The promotion of a stable tag."""
        return self._services.ledger.load(Promotion, stable.gate, stable.promotion) if stable.promotion else None

    def _name(self, tag: str) -> str:
        return f"{self._target.login_server}/{self._gate.promote.repository}:{tag}"

    def _about(self, stable: StableTag, kind: AlarmKind, words: str) -> Alarm:
        plan = "the next sweep checks it again"
        if self._gate.drift == "report":
            plan = "reported only: the gate's rule says `drift: report`"
        return self._alarm(kind, stable.tag, words, plan)


def _named(digest: str | None) -> str:
    return short(digest) if digest else "gone"
