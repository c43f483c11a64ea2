"""The purge jobs: delete records that are unused and older than `keep`, and archive old promotions.

Deletes use the ETag that was read: a record that changes meanwhile stays until the next round. The archive is written
before its record is deleted, and the log of a run is deleted before its record: after a crash in between the next round
repeats that.
"""

import string
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache, partial
from itertools import groupby
from typing import Any, TypeVar

import msgspec

from shared.domain.alarm import STALLS, AlarmKind
from shared.domain.candidate import Candidate
from shared.domain.errors import Conflict
from shared.domain.exception import ExceptionGrant
from shared.domain.observation import Observation
from shared.domain.policy import App, Gate
from shared.domain.promotion import Promotion, archive_name, promotion_row
from shared.domain.record import Row
from shared.domain.retention import (
    KEPT,
    IdempotentCall,
    LeftOver,
    Numbers,
    bases_of,
    is_purgeable,
    last_seen,
    purgeable_attempts,
    rows_in_use,
    settled_before,
)
from shared.domain.rollout import AppRecord, Rollout
from shared.domain.stable_tag import StableTag, Veto, veto_partition
from shared.ports import Change, Removal, Services, Stored, TagPush, read, removal
from shared.promotion.stable_tags import StableTags
from shared.promotion.vetoes import Vetoes
from shared.sweep.job import JobRun, SweepJob, in_batches
from shared.sweep.jobs.left_over import LeftOvers

_ROUND = timedelta(days=1)
_READ_AT_ONCE = 500
_REMOVED_AT_ONCE = 25
"""Each has three rows at most, and a transaction takes 100."""

K = TypeVar("K", bound=Row)
Part = Callable[[JobRun, str], Iterator[str]]


class PurgeJob(SweepJob):
    """One round a day, in sequential parts; the cursor is the name of a part and its position."""

    def __init__(self, services: Services, name: str, parts: Mapping[str, Part], scope: str = "") -> None:
        super().__init__(services, f"purge.{name}", "purge", scope)
        self._parts, self.interval_seconds = parts, min(_ROUND, services.keep / 4).total_seconds()

    def batches(self, run: JobRun) -> Iterator[str]:
        """Continue with the part that the cursor names, then with those behind it."""
        begun, _, after = run.record.after.partition(":")
        names = list(self._parts)
        for name in names[names.index(begun) if begun in names else 0 :]:
            for row in self._parts[name](run, after if name == begun else ""):
                yield f"{name}:{row}"

    @property
    def _before(self) -> datetime:
        """Records that did not change since then are old."""
        return self._services.clock.now() - self._services.keep

    def _groups(
        self, kind: type[K], partition: str, after: str, key: Callable[[Stored[K]], object]
    ) -> Iterator[list[list[Stored[K]]]]:
        """The records behind a row in groups that belong together, some hundred records at a time."""
        listed = self._services.ledger.between(kind, partition, after, "")
        some, count = list[list[Stored[K]]](), 0
        for _, group in groupby((stored for stored in listed if stored.record.row > after), key):
            some.append(list(group))
            count += len(some[-1])
            if count >= _READ_AT_ONCE:
                yield some
                some, count = [], 0
        if some:
            yield some

    def _remove(self, run: JobRun, what: str, doomed: Sequence[Stored[Any]], beside: Sequence[Change] = ()) -> None:
        """Delete records of one partition and the logs of their runs, with further changes in the same transactions."""
        for batch in in_batches(doomed, _REMOVED_AT_ONCE):
            run.note("purge", f"{len(batch)} {what}")
            if not run.dry_run:
                for place in (place for stored in batch for place in _logs(stored.record)):
                    self._services.archive.remove(place)
                with suppress(Conflict):
                    self._services.ledger.commit(*map(removal, batch), *beside)

    def _remove_alarms(self, run: JobRun, scope: str) -> None:
        listed = self._alarms.all(scope)
        ended = [one for one in listed if one.record.ended_at is not None and one.record.ended_at < self._before]
        self._remove(run, f"ended alarms of {scope}", ended)


class GatePurgeJob(PurgeJob):
    """Purges one gate. Stable tags with their holds, and active vetoes, are never purged."""

    def __init__(self, services: Services, gate: Gate) -> None:
        parts: dict[str, Part] = {
            "promotions": self._promotions,
            "attempts": self._attempts,  # after the promotions that refer to them
            "observations": self._observations,
            "others": self._others,
            "unique tags": self._unique_tags,
        }
        super().__init__(services, f"gate.{gate.name}", parts, f"gates/{gate.name}")
        self._gate, self._vetoes, self._left_overs = gate, Vetoes(services), LeftOvers(services, gate)
        self._stable = StableTags(services)

    def _promotions(self, run: JobRun, after: str) -> Iterator[str]:
        bases, done = self._bases(), after
        for tags in self._groups(Promotion, self._gate.name, after, lambda one: one.record.tag):
            for known in tags:
                for _ in self._purge_tag(run, known, bases):
                    yield done  # the next run begins with this tag
                done = known[-1].record.row
            yield done

    def _bases(self) -> set[str]:
        """The digests that the apps of this gate are built on, or are being built on."""
        ledger, bases = self._services.ledger, set[str]()
        for app in self._services.policy.apps.values():
            if app.base.gate == self._gate.name:
                bases |= bases_of(read(ledger, AppRecord(app=app.name)))
                bases |= {one.record.base.digest for one in ledger.open(Rollout, app.name) if one.record.base}
        return bases

    def _purge_tag(self, run: JobRun, known: list[Stored[Promotion]], bases: set[str]) -> Iterator[None]:
        """Archive a tag's old unused promotions, and release their unique tags, some at a time; by the gate's rule
        unique tags are released earlier.

        The record of the stable tag is written with them, unchanged: a move that began meanwhile makes that a conflict,
        and the rest waits for the next round.
        """
        early = self._gate.promote.kept_since(self._services.clock.now()) or self._before
        aged = [one for one in known if self._is_old(one) or (one.record.unique and settled_before(one.record, early))]
        if not aged:
            return
        stable, rows = self._in_use(known, bases)
        aged = [one for one in aged if one.record.row not in rows]
        going = {one.record.row for one in aged}
        kept = {one.record.unique for one in known if one.record.row not in going} | {""}
        for batch in in_batches(aged, _REMOVED_AT_ONCE):
            changes = [*self._aged(run, batch, kept), *self._new_left_overs(batch, kept)]
            if changes and not run.dry_run:
                unchanged = [Change(stable.record, stable)] if stable else []
                try:
                    written = self._services.ledger.commit(*changes, *unchanged)
                except Conflict:
                    return
                stable = written[-1] if stable else None
            yield

    def _in_use(self, known: list[Stored[Promotion]], bases: set[str]) -> tuple[Stored[StableTag] | None, set[str]]:
        ledger, name, tag = self._services.ledger, self._gate.name, known[0].record.tag
        stored, seen = ledger.load(StableTag, name, tag), read(ledger, Observation(gate=name, tag=tag))
        stable = stored.record if stored else StableTag(gate=name, tag=tag)
        promotions, at_least = [one.record for one in known], self._gate.promote.at_least
        against = partial(self._vetoes.against, self._gate)
        return stored, rows_in_use(promotions, stable, seen, bases, at_least, lambda digest: not against(digest))

    def _is_old(self, promotion: Stored[Promotion]) -> bool:
        return settled_before(promotion.record, self._before)

    def _aged(self, run: JobRun, batch: list[Stored[Promotion]], kept: set[str]) -> Iterator[Change | Removal]:
        """Old promotions are archived; of the others only the unique tag is released, unless another one has it too."""
        now = self._services.clock.now()
        for stored in batch:
            one = stored.record
            if self._is_old(stored):
                run.note("archive", f"promotion {one.id}")
                if not run.dry_run:
                    name, text = archive_name(one.gate, one.digest, one.row), msgspec.json.encode(one).decode()
                    self._services.archive.store(name, text)
                yield removal(stored)
            elif one.unique not in kept:
                run.note("release the unique tag", f"{one.unique}, of promotion {one.id}")
                left = msgspec.structs.replace(one, unique="")
                yield Change(left.noting(now, "unique tag released", one.unique), stored)

    def _new_left_overs(self, batch: list[Stored[Promotion]], kept: set[str]) -> Iterator[Change]:
        """The records of the unique tags that this stable tag does not use any more."""
        gate, listed = self._gate.name, cache(partial(self._stable.listed, self._gate))
        released = {self._unique(one.record, listed): one.record for one in batch}
        for name, one in released.items():
            if name not in kept and self._services.ledger.load(LeftOver, gate, name) is None:
                yield Change(LeftOver(gate=gate, unique=name, digest=one.digest, tag=one.tag, since=one.changed_at))

    def _unique(self, promotion: Promotion, listed: Callable[[], list[TagPush]]) -> str:
        """Its unique tag, "" if it has none.

        One that ended while a worker started its copy, or was reset, may have one without naming it. If that were not
        recorded, the ledger would not know a digest that somebody moves the stable tag to.
        """
        if promotion.unique or not promotion.has_passed:
            return promotion.unique
        return self._stable.unique_tag(self._gate, promotion.tag, promotion.digest, listed())

    def _attempts(self, run: JobRun, after: str) -> Iterator[str]:
        ledger, name, in_use = self._services.ledger, self._gate.name, set[str]()
        for digests in self._groups(Candidate, name, after, lambda one: one.record.digest):
            if not in_use and any(_spare(attempts, self._before, in_use) for attempts in digests):
                in_use = {one.record.candidate for one in ledger.list(Promotion, name)} | {""}
                in_use |= {one.record.candidate for one in ledger.list(StableTag, name)}
            spare = [one for attempts in digests for one in _spare(attempts, self._before, in_use)]
            self._remove(run, f"attempts of gate {name}", spare)
            yield digests[-1][-1].record.row

    def _observations(self, run: JobRun, after: str) -> Iterator[str]:
        """Source tags that are not tracked any more, or are gone. Their sequence numbers are never reused."""
        ledger, name = self._services.ledger, self._gate.name
        for tags in self._groups(Observation, name, after, lambda one: one.record.tag):
            for batch in in_batches([one for (one,) in tags if self._is_forgotten(one.record)], _REMOVED_AT_ONCE):
                numbers, highest = ledger.load(Numbers, name, name), max(one.record.sequence for one in batch)
                is_higher = numbers is None or numbers.record.sequence < highest
                beside = [Change(Numbers(gate=name, sequence=highest), numbers)] if is_higher else []
                self._remove(run, f"observations of gate {name}", batch, beside)
            yield tags[-1][-1].record.row

    def _is_forgotten(self, seen: Observation) -> bool:
        """Whether a tag is untracked or gone, has no hold, and neither it nor its promotion changed for `keep`."""
        if self._gate.takes(seen.tag) and not seen.absent:
            return False
        ledger, moment = self._services.ledger, last_seen(seen)
        promotion = ledger.load(Promotion, seen.gate, promotion_row(seen.tag, seen.sequence))
        if (moment is not None and moment >= self._before) or (promotion is not None and not self._is_old(promotion)):
            return False
        stable = read(ledger, StableTag(gate=seen.gate, tag=seen.tag))
        return stable.hold is None and stable.claim is None

    def _others(self, run: JobRun, after: str) -> Iterator[str]:
        """Ended alarms and exceptions, lifted vetoes, and the moves whose stable tag has no record."""
        ledger, name = self._services.ledger, self._gate.name
        self._remove_alarms(run, self._scope)
        exceptions = ledger.list(ExceptionGrant, name)
        ended = [one for one in exceptions if one.record.counted_until < self._before]
        self._remove(run, f"ended exceptions of gate {name}", ended)
        vetoes = ledger.list(Veto, veto_partition(self._vetoes.target(self._gate)))
        lifted = [one for one in vetoes if one.record.lifted_at is not None and one.record.lifted_at < self._before]
        self._remove(run, f"lifted vetoes of gate {name}", lifted)
        if not run.dry_run:
            kept = {one.record.time_row for one in ledger.list(StableTag, name)}
            for count in ledger.purge_moves(name, self._before, kept):
                run.note("purge", f"{count} moves of gate {name}")
                yield ""

    def _unique_tags(self, run: JobRun, after: str) -> Iterator[str]:
        refused = yield from self._left_overs.remove(run, after)
        alarms = [self._alarm(AlarmKind.NOT_REMOVED, self._gate.promote.repository, *refused)] if refused else []
        self._settle(run, (AlarmKind.NOT_REMOVED,), alarms)


class AppPurgeJob(PurgeJob):
    """Purges the rollouts of one app that are no rollback targets any more."""

    def __init__(self, services: Services, app: App) -> None:
        parts = {"rollouts": self._rollouts, "alarms": self._alarms_over}
        super().__init__(services, f"app.{app.name}", parts, f"apps/{app.name}")
        self._app = app

    def _rollouts(self, run: JobRun, after: str) -> Iterator[str]:
        """Those of operators stay as long as their idempotency keys are valid."""
        name, before = self._app.name, self._services.clock.now() - max(self._services.keep, KEPT)
        for rollouts in self._groups(Rollout, name, after, lambda one: one.record.name):
            record = read(self._services.ledger, AppRecord(app=name))
            spare = [one for (one,) in rollouts if is_purgeable(one.record, record, before)]
            self._remove(run, f"rollouts of app {name}", spare)
            yield rollouts[-1][-1].record.row

    def _alarms_over(self, run: JobRun, after: str) -> Iterator[str]:
        self._remove_alarms(run, self._scope)
        yield ""


class CommonPurgeJob(PurgeJob):
    """Purges what belongs to no gate or app: alarms of registries and stalls, and idempotent responses."""

    def __init__(self, services: Services) -> None:
        super().__init__(services, "common", {"alarms": self._alarms_over, "answers": self._repeats})

    def _alarms_over(self, run: JobRun, after: str) -> Iterator[str]:
        for scope in (STALLS, *(f"registries/{name}" for name in self._services.policy.registries)):
            self._remove_alarms(run, scope)
        yield ""

    def _repeats(self, run: JobRun, after: str) -> Iterator[str]:
        """They are partitioned by the first digit of their key, and kept for a week."""
        before = self._services.clock.now() - KEPT
        for digit in string.hexdigits[:16] if not run.dry_run else "":
            while count := self._services.ledger.purge(IdempotentCall, digit, before, 100):
                run.note("purge", f"{count} answers")
                yield digit


def _spare(attempts: list[Stored[Candidate]], before: datetime, in_use: Collection[str]) -> list[Stored[Candidate]]:
    spare = purgeable_attempts([one.record for one in attempts], before, in_use)
    return [one for one in attempts if one.record in spare]


def _logs(record: object) -> Iterable[str]:
    """Where the evidence of a record's runs is."""
    match record:
        case Candidate():
            return record.blobs
        case Rollout():
            return record.build.evidence.blobs
        case _:
            return ()
