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
from shared.sweep.job import JobRun, SweepJob


class ReferrersJob(SweepJob):
    """Looks at the alarms of one gate about referrers: each is about a stable tag.

    The alarm ends when the tag points to a digest whose referrers were copied; the promotion itself ends it, too. Else
    the promotion of that digest tries once more.
    """

    interval_seconds = 3600.0

    def __init__(self, services: Services, gate: Gate) -> None:
        super().__init__(services, f"referrers.{gate.name}", "ledger", f"gates/{gate.name}")
        self._gate = gate

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: there are as many as alarms."""
        active = [one for one in self._alarms.active(self._scope) if one.kind is AlarmKind.NOT_COPIED]
        self._settle(run, {one.about for one in active}, [one for one in active if self._remains(run, one)])
        yield self._gate.name

    def _remains(self, run: JobRun, alarm: Alarm) -> bool:
        """Whether an alarm is still true; then the copy is tried again."""
        stored = self._promotion_on(alarm.subject)
        if stored is None or not stored.record.referrers_problem or self._gate.referrers == "ignore":
            return False
        if not stored.record.referrers_due:
            run.note("copy referrers again", f"{alarm.subject} of gate {self._gate.name}")
            if not run.dry_run:
                again = replace(stored.record, referrers_due=True, referrer_tries=REFERRER_TRIES - 1)
                with suppress(Conflict):  # it has been taken up again: the next round sees how that went
                    self._services.ledger.save(stored, again)
                    self._services.queue.send(again.work_item, 0)
        return True

    def _promotion_on(self, tag: str) -> Stored[Promotion] | None:
        """The promotion that a stable tag stands on."""
        stable = self._services.ledger.load(StableTag, self._gate.name, tag)
        row = stable.record.promotion if stable else ""
        return self._services.ledger.load(Promotion, self._gate.name, row) if row else None
