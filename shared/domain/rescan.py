"""The scans of a promoted digest after its promotion: the newest report, the scan in progress, when the next is due."""

from datetime import UTC, datetime, timedelta
from typing import Self

from msgspec.structs import replace

from shared.domain.candidate import CheckRecord
from shared.domain.decide import rerun_wait
from shared.domain.image import Digest, Tag
from shared.domain.record import Row
from shared.domain.stable_tag import TagScan

OFTEN = 4
"""How many times within the interval of its rule a digest is scanned at most, however new the databases are."""


class Rescan(Row, frozen=True, kw_only=True):
    """The scans of one promoted digest by one scan of its gate, whose rule runs what `fingerprint` identifies.

    `tag` is one that pointed to it when a scan was last started. `last` has the newest report, at first that of the
    candidate, and `baseline` is the place of the one that it is compared with: that of the promotion, or else the first
    one ("": there is none yet). `run` is the scan in progress, or the next one, and `failures` counts the scans in a
    row without a report. `owned` are its places in the archive; those of the candidate are not. `scan` is the last
    judgement of an image that an app runs on and no stable tag points to: else that is in the record of the tag.
    """

    gate: str
    digest: Digest
    tag: Tag
    fingerprint: str
    run: CheckRecord
    last: CheckRecord | None = None
    baseline: str = ""
    failures: int = 0
    owned: tuple[str, ...] = ()
    scan: TagScan | None = None

    @property
    def partition(self) -> str:
        """The ledger partition: the gate."""
        return self.gate

    @property
    def row(self) -> str:
        """The ledger row: digest and scan."""
        return rescan_row(self.digest, self.fingerprint)

    @property
    def is_running(self) -> bool:
        """Whether a scan is in progress, or being started."""
        return self.run.claimed_at is not None

    @property
    def mark(self) -> str:
        """The mark of the run in progress. It differs from those of candidates, which take no run of others."""
        return f"basegate-rescan/{self.gate}/{self.row}/{self.run.nonce}"

    @property
    def report(self) -> str:
        """The place of the newest report; "" if there is none."""
        return self.last.evidence.report_blob if self.last else ""

    @property
    def database_built_at(self) -> datetime | None:
        """When the database of the newest report was built; None if that does not tell."""
        return _built_at(self.last) if self.last else None

    def due_at(self, every_seconds: int, newest_database: datetime | None) -> datetime | None:
        """When it is to be scanned again, for the newest database that is known at its gate; None: at once."""
        if self.run.retry_at is not None:
            return self.run.retry_at
        scanned_at = self.last.finished_at if self.last else None
        built_at = self.database_built_at
        is_outdated = newest_database is not None and built_at is not None and newest_database > built_at
        wait = timedelta(seconds=every_seconds / OFTEN if is_outdated else every_seconds)
        return scanned_at + wait if scanned_at is not None else None

    def reported(self, last: CheckRecord) -> Self:
        """It after a scan with a report; that is the baseline if there is none."""
        run = CheckRecord(kind=last.kind, fingerprint=last.fingerprint, run_fingerprint=last.run_fingerprint)
        kept = [self.baseline] if self.baseline in self.owned else []
        owned = tuple(dict.fromkeys((*kept, *last.evidence.blobs)))
        baseline = self.baseline or last.evidence.report_blob
        return replace(self, last=last, run=run, baseline=baseline, failures=0, owned=owned)

    def outdated(self, last: CheckRecord, problem: str, now: datetime) -> Self:
        """It after a scan with a database that is too old: what that finds counts, but takes back nothing that a newer
        one found, and the scan is run again like one without a report.
        """
        known, found = self.database_built_at, _built_at(last)
        takes_back = known is not None and (found is None or found < known)
        after = self if takes_back else replace(self.reported(last), run=self.run, failures=self.failures)
        return after.failed(problem, now)

    def failed(self, reason: str, now: datetime) -> Self:
        """It after a scan without a report, which is run again: soon three times, and then once a day."""
        failures = self.failures + 1
        run = self.run.unclaimed(reason, now + timedelta(seconds=rerun_wait(failures)))
        return replace(self, run=run, failures=failures)


def _built_at(scan: CheckRecord) -> datetime | None:
    summary = scan.evidence.scan
    built_at = summary.database_built_at if summary else None
    return built_at if built_at is None or built_at.tzinfo else built_at.replace(tzinfo=UTC)


def rescan_row(digest: str, fingerprint: str) -> str:
    """The ledger row of a digest's scans."""
    return f"{digest.removeprefix('sha256:')}-{fingerprint}"
