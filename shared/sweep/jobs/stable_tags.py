"""The stable-tag job: compares the tags of a gate's promotions with the ledger, and puts them back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import Candidate, attempts_of
from shared.domain.decisions import Veto
from shared.domain.drift import TagDifference, TagState, read_tags
from shared.domain.errors import Busy, Malformed, Rejected
from shared.domain.image import Digest, short
from shared.domain.policy import Drift, Gate, PromoteBy, TaskCheck
from shared.domain.promotion import Promotion
from shared.domain.stable_tag import StableTag
from shared.ports import Stored
from shared.ports.services import Services
from shared.promotion.stable_tags import StableTags
from shared.promotion.vetoes import Vetoes
from shared.sweep.job import JobRun, in_batches
from shared.sweep.repair import Repair
from shared.workflow.alarms import Alarms

_BATCH_TAGS = 100
_FEW_TAGS = 20
_LOCK_ROUNDS = 12
"""Every hour, where the sweep comes by every five minutes."""

_TASK = str(TaskCheck.__struct_config__.tag)

_KINDS = {
    TagDifference.STABLE: AlarmKind.STABLE_MOVED,
    TagDifference.UNIQUE_GONE: AlarmKind.UNIQUE_CHANGED,
    TagDifference.UNIQUE_MOVED: AlarmKind.UNIQUE_CHANGED,
    TagDifference.UNIQUE_UNLOCKED: AlarmKind.UNIQUE_CHANGED,
}
_LOCK_KINDS = frozenset((AlarmKind.UNIQUE_CHANGED, AlarmKind.UNLOCKED))
_LEFT_AS_IT_IS = frozenset((AlarmKind.STABLE_MOVED, AlarmKind.PROMOTED_GONE))
_ALL_KINDS = frozenset((AlarmKind.STABLE_MOVED, AlarmKind.PROMOTED_GONE, AlarmKind.STABLE_VETOED)) | _LOCK_KINDS

Seen = tuple[Digest | None, TagState | None]
Answer = Seen | Malformed | Rejected


class StableTagsJob:
    """Checks the stable tags of one gate, and the unique tags behind them: one HEAD each.

    Whether a unique tag is locked, only the registry's own interface says, at four requests a tag: where there are many
    tags, every twelfth round asks.
    """

    interval_seconds = 0.0

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self._stable, self._alarms, self._repair = StableTags(services), Alarms(services), Repair(services, gate)
        self._target = services.registry_rule(gate.promote.registry)
        self._locks = gate.promote.lock and gate.promote.by is PromoteBy.COPY
        self.name, self.concurrency_key = f"stable.{gate.name}", f"target {self._target.login_server}"
        self._scope = f"gates/{gate.name}"

    def batches(self, run: JobRun) -> Iterator[str]:
        """Check the stable tags from the cursor on, which is the last tag that was checked."""
        listed = self._services.ledger.between(StableTag, self._gate.name, run.record.after, "")
        behind = (stored.record for stored in listed if stored.record.tag != run.record.after)
        vetoes = {veto.digest: veto for veto in Vetoes(self._services).all(self._gate) if veto.stands}
        for batch in in_batches(behind, _BATCH_TAGS):
            locks = len(batch) <= _FEW_TAGS or run.dry_run or run.record.round % _LOCK_ROUNDS == 1
            answers = run.executor(partial(self._ask, locks=locks), batch)
            pairs = zip(batch, answers, strict=True)
            judged = [(stable.tag, self._wrong(run, stable, answer, vetoes)) for stable, answer in pairs]
            kinds = _ALL_KINDS if locks else _ALL_KINDS - _LOCK_KINDS
            found = [alarm for _, alarms in judged for alarm in alarms or ()]
            checked = {(kind, tag) for tag, alarms in judged if alarms is not None for kind in kinds}
            self._alarms.settle(run, self._scope, checked, found)
            run.record = msgspec.structs.replace(run.record, checked=run.record.checked + len(batch))
            yield batch[-1].tag

    def _ask(self, stable: StableTag, *, locks: bool) -> Answer:
        """What the tags of a record are. One that the registry cannot answer for keeps no other from being checked."""
        try:
            return self._read(stable, locks=locks)
        except (Malformed, Rejected) as refusal:
            return refusal

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
        self, run: JobRun, stable: StableTag, answer: Answer, vetoes: Mapping[Digest, Veto]
    ) -> list[Alarm] | None:
        """What is wrong with a stable tag and stays wrong; None where nobody can tell, since it is being moved."""
        if isinstance(answer, Malformed | Rejected):
            words = f"what {stable.tag} is cannot be read: {answer}"
            return [self._alarm(stable.tag, AlarmKind.STABLE_MOVED, words)]
        alarms = self._judge(run, stable, answer)
        if alarms is None:
            return None
        stays = answer[0] == stable.digest or any(alarm.kind in _LEFT_AS_IT_IS for alarm in alarms)
        veto = vetoes.get(answer[0]) if stays and answer[0] else None
        return alarms if veto is None else [*alarms, self._vetoed(stable, veto)]

    def _vetoed(self, stable: StableTag, veto: Veto) -> Alarm:
        words = f"{self._name(stable.tag)} stands on {short(veto.digest)}, vetoed by {veto.actor}: {veto.reason}"
        alarm = self._alarm(stable.tag, AlarmKind.STABLE_VETOED, words)
        return msgspec.structs.replace(alarm, plan="roll it back to another digest, or lift the veto")

    def _judge(self, run: JobRun, stable: StableTag, seen: Seen) -> list[Alarm] | None:
        """What differs is read a second time, record first: a mover may have been at it."""
        if not list(read_tags(stable, *seen, locks=self._locks)):
            return []
        try:
            stored = self._stable.load(self._gate, stable.tag)
            if self._is_moving(stored.record):
                return None
            return list(self._differences(run, stored, self._read(stored.record)))
        except (Malformed, Rejected, Busy):
            return None

    def _is_moving(self, stable: StableTag) -> bool:
        """Whether somebody moves the tag, or may: a first promotion, or a gate's own task before the ledger knows."""
        if stable.is_moving(self._services.clock.now()):
            return True
        by_task = self._gate.promote.by is PromoteBy.TASK
        if stable.digest is not None and not by_task:
            return False
        promotions = (stored.record for stored in self._services.ledger.open(Promotion, self._gate.name))
        under_way = [one for one in promotions if one.tag == stable.tag and not one.settled]
        return any(map(self._task_may_push, under_way)) if by_task else bool(under_way)

    def _task_may_push(self, promotion: Promotion) -> bool:
        """Whether the gate's task runs for a digest, or has passed it: before that nothing may push its tag."""
        attempts = list(self._services.ledger.list(Candidate, promotion.gate, attempts_of(promotion.digest)))
        return bool(attempts) and (attempts[-1].record.settled or attempts[-1].record.open_check == _TASK)

    def _differences(self, run: JobRun, stored: Stored[StableTag], seen: Seen) -> Iterator[Alarm]:
        for drift in read_tags(stored.record, *seen, locks=self._locks):
            alarm = self._difference(stored.record, drift, seen)
            left = alarm if self._gate.drift is Drift.REPORT else self._repair.repair(run, stored, drift, alarm)
            if left is not None:
                yield left
                if left.kind is AlarmKind.PROMOTED_GONE:  # with the image all its tags went
                    return

    def _difference(self, stable: StableTag, drift: TagDifference, seen: Seen) -> Alarm:
        there, unique = seen
        stable_name, unique_name, was = self._name(stable.tag), self._name(stable.unique), _named(stable.digest)
        words = {
            TagDifference.STABLE: f"{stable_name} is {_named(there)}, not {was}, which was promoted",
            TagDifference.UNIQUE_GONE: f"{unique_name} is gone; it was {was}",
            TagDifference.UNIQUE_MOVED: f"{unique_name} is {_named(unique.digest if unique else None)}, not {was}",
            TagDifference.UNIQUE_UNLOCKED: f"{unique_name} is not locked any more",
        }[drift]
        alarm = self._alarm(stable.tag, _KINDS[drift], words)
        if stable.digest is None:
            return msgspec.structs.replace(alarm, words=f"{stable_name} is {_named(there)}, and nothing was promoted")
        if drift is TagDifference.UNIQUE_UNLOCKED:
            promotion = self._repair.promotion_of(stable)
            if promotion is not None and promotion.record.lock_problem:
                words = f"{unique_name} could not be locked"
                return msgspec.structs.replace(alarm, kind=AlarmKind.UNLOCKED, words=words)
        return alarm

    def _name(self, tag: str) -> str:
        return f"{self._target.login_server}/{self._gate.promote.repository}:{tag}"

    def _alarm(self, tag: str, kind: AlarmKind, words: str) -> Alarm:
        plan = "reported only: the gate's rule says `drift: report`"
        if self._gate.drift is Drift.REPAIR:
            plan = "the next sweep checks it again"
        return Alarm(
            scope=self._scope, kind=kind, subject=tag, words=words, plan=plan, since=self._services.clock.now()
        )


def _named(digest: str | None) -> str:
    return short(digest) if digest else "gone"
