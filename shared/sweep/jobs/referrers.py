"""The referrers job: tries again to copy what was attached to a promoted digest upstream and could not be copied."""

from collections.abc import Iterator
from contextlib import suppress

from msgspec.structs import replace

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.decide import REFERRER_TRIES
from shared.domain.errors import Conflict
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion
from shared.domain.stable_tag import StableTag
from shared.ports import Services, Stored
from shared.promotion.referrers import not_copied
from shared.sweep.job import JobRun, SweepJob, in_batches

_BATCH_TAGS = 100


class ReferrersJob(SweepJob):
    """Looks at the promotions that the stable tags of one gate stand on.

    One whose referrers could not be copied is an alarm, and tries once more. The alarm ends when they are copied, or
    the tag points to another digest. A promotion with nothing left to copy is read once: the tag's record says so then.
    """

    interval_seconds = 3600.0

    def __init__(self, services: Services, gate: Gate) -> None:
        super().__init__(services, f"referrers.{gate.name}", "ledger", f"gates/{gate.name}")
        self._gate = gate

    def batches(self, run: JobRun) -> Iterator[str]:
        """Look at the stable tags from the cursor on, which is the last tag that was looked at."""
        listed = self._services.ledger.between(StableTag, self._gate.name, run.record.after, "")
        for batch in in_batches(listed, _BATCH_TAGS):
            found = [alarm for stored in batch if (alarm := self._left(run, stored)) is not None]
            self._settle(run, {(AlarmKind.NOT_COPIED, stored.record.tag) for stored in batch}, found)
            yield batch[-1].record.tag

    def _left(self, run: JobRun, stable: Stored[StableTag]) -> Alarm | None:
        """The alarm about what is left to be copied for a stable tag, which is tried again; None if nothing is."""
        row = stable.record.promotion
        if self._gate.referrers == "ignore" or stable.record.referrers_done or not row:
            return None
        stored = self._services.ledger.load(Promotion, self._gate.name, row)
        if stored is None:
            return None
        if not stored.record.referrers_problem:
            if stored.record.rolled_out_at is not None and not stored.record.referrers_due:
                self._note_done(run, stable)
            return None
        if not stored.record.referrers_due:
            self._try_again(run, stored)
        return not_copied(stored.record, self._services.clock.now())

    def _note_done(self, run: JobRun, stable: Stored[StableTag]) -> None:
        if not run.dry_run and not stable.record.is_moving(self._services.clock.now()):
            with suppress(Conflict):  # another worker changed it: the next round reads the promotion again
                self._services.ledger.save(stable, replace(stable.record, referrers_done=True))

    def _try_again(self, run: JobRun, stored: Stored[Promotion]) -> None:
        run.note("copy referrers again", f"{stored.record.tag} of gate {self._gate.name}")
        if not run.dry_run:
            again = replace(stored.record, referrers_due=True, referrer_tries=REFERRER_TRIES - 1)
            with suppress(Conflict):  # it has been taken up again: the next round sees how that went
                self._services.ledger.save(stored, again)
                self._services.queue.send(again.work_item, 0)
