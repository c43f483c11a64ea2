"""An alarm: a problem that an operator should know about, from its detection to its end."""

import re
from datetime import datetime
from enum import StrEnum

from shared.domain.record import Row

_UNSAFE = re.compile(r"[^A-Za-z0-9._~-]")


class AlarmKind(StrEnum):
    """The kind of problem."""

    STABLE_MOVED = "stable tag moved around the gate"
    UNRECORDED = "stable tag points to a digest that is not in the ledger"
    STABLE_VETOED = "stable tag stands on a vetoed digest"
    UNIQUE_CHANGED = "unique tag changed"
    PROMOTED_GONE = "promoted image deleted"
    NOT_ON_BASE = "app not built from the current base"
    CONTAINER = "container is not the last good deployment"
    UPSTREAM_AWAY = "upstream cannot be read"
    TAG_AWAY = "upstream tag cannot be read"
    UPSTREAM_UNREAD = "upstream was not read for long"
    UPSTREAM_QUIET = "upstream has not changed for long"
    SECRET_EXPIRES = "secret near its expiry"  # noqa: S105 (a sentence)
    TAG_FLAPS = "upstream tag returns to earlier digests"
    UNLOCKED = "unique tag could not be locked"
    NOT_COPIED = "referrers could not be copied"
    STALLED = "a step does not work"
    REFUSED = "outcomes that a listener refuses"
    EXCEPTION_ENDS = "exception ends"
    AT_RISK = "promoted image at risk"
    NOT_RESCANNED = "promoted images cannot be scanned again"
    NOT_REMOVED = "left-over unique tag could not be removed"
    NO_SUBSCRIPTION = "no event subscription"

    UNKNOWN = "unknown"
    """What any other text is read as: the kind of an alarm that a newer version has raised."""

    @classmethod
    def _missing_(cls, value: object) -> "AlarmKind":
        return cls.UNKNOWN


STALLS = "stalls"
"""The scope of alarms about stalled records: gates and apps share their dependencies."""

Subject = tuple[AlarmKind, str]
"""What identifies an alarm within its scope: the kind, and the tag, container group or secret."""


class Alarm(Row, frozen=True, kw_only=True):
    """One problem.

    `scope` is what it belongs to (`gates/node`, `apps/hello-world`), `subject` the tag, container group or secret it
    is about; `words` describe what was found and what was expected, `plan` what happens next, and when. An ended alarm
    keeps its row, with `ended_at`. `last_outcome` is the number of its last outcome.
    """

    scope: str
    kind: AlarmKind
    subject: str
    words: str
    plan: str
    since: datetime
    ended_at: datetime | None = None
    last_outcome: int = 0

    @property
    def partition(self) -> str:
        """The ledger partition: its scope."""
        return self.scope.replace("/", ".")

    @property
    def about(self) -> Subject:
        """Its identity within its scope."""
        return self.kind, self.subject

    @property
    def row(self) -> str:
        """The ledger row: kind and subject, without characters that table keys forbid."""
        return _UNSAFE.sub("-", f"{self.kind.name.lower()}.{self.subject}")[:500]

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None
