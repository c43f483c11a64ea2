"""Exceptions that operators ask for and grant: accepted findings, beside those of the rules."""

import hashlib
from datetime import datetime
from typing import Self

from msgspec.structs import replace

from shared.domain.policy import ExceptionRule
from shared.domain.record import Row


class ExceptionGrant(Row, frozen=True, kw_only=True):
    """An exception at one gate, from the request to its end. It counts while it is granted and has not ended.

    `exception` is what was asked for, with who asked as its author. A granted one keeps its row after its end.
    """

    key_fields = ("gate", "id")

    gate: str
    id: str
    exception: ExceptionRule
    at: datetime
    granted_at: datetime | None = None
    granted_by: str = ""
    ended_at: datetime | None = None
    ended_by: str = ""

    @property
    def is_granted(self) -> bool:
        """Whether an approver granted it, and nobody has ended it; its own end is not considered."""
        return self.granted_at is not None and self.ended_at is None

    @property
    def counted_until(self) -> datetime:
        """When it ended, or ends: somebody ended it, or its time is over."""
        return self.ended_at or self.exception.ends_at

    @property
    def state(self) -> str:
        """`requested`, `granted` or `ended`."""
        return "ended" if self.ended_at else "granted" if self.granted_at else "requested"

    def granted(self, now: datetime, who: str) -> Self:
        """It, granted: the exception names both persons."""
        both = replace(self.exception, author=f"{self.exception.author}, granted by {who}")
        return replace(self, exception=both, granted_at=now, granted_by=who)


def exception_id(exception: ExceptionRule) -> str:
    """The id of an exception: the same for the same vulnerability, package and end."""
    parts = (exception.vulnerability.upper(), exception.package, exception.until)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
