"""Exceptions that operators ask for and grant: accepted findings, beside those of the rules."""

import hashlib
from datetime import datetime
from typing import Self

from msgspec import Struct
from msgspec.structs import asdict, replace

from shared.domain.policy import ExceptionRule
from shared.domain.record import Row


class StoredException(Struct, frozen=True, kw_only=True):
    """An exception as records keep it.

    Unlike the rules it allows unknown fields: a record that another version of the app wrote must be readable.
    """

    vulnerability: str
    package: str = ""
    justification: str
    author: str
    until: str

    @classmethod
    def of(cls, exception: ExceptionRule) -> Self:
        """An exception of the rules, or one that was asked for."""
        return cls(**{name: getattr(exception, name) for name in cls.__struct_fields__})


class ExceptionGrant(Row, frozen=True, kw_only=True):
    """An exception at one gate, from the request to its end. It counts while it is granted and has not ended.

    `exception` is what was asked for, with who asked, and who granted it, as its author. `granted_by` and `ended_by`
    say why, too: `ada: because`. A granted one keeps its row after its end.
    """

    key_fields = ("gate", "id")

    gate: str
    id: str
    exception: StoredException
    at: datetime
    granted_at: datetime | None = None
    granted_by: str = ""
    ended_at: datetime | None = None
    ended_by: str = ""

    @property
    def rule(self) -> ExceptionRule:
        """The exception, to judge by."""
        return ExceptionRule(**asdict(self.exception), gates=(self.gate,))

    @property
    def is_granted(self) -> bool:
        """Whether an approver granted it, and nobody has ended it; its own end is not considered."""
        return self.granted_at is not None and self.ended_at is None

    @property
    def counted_until(self) -> datetime:
        """When it ended, or ends: somebody ended it, or its time is over."""
        return self.ended_at or self.rule.ends_at

    @property
    def state(self) -> str:
        """`requested`, `granted` or `ended`."""
        return "ended" if self.ended_at else "granted" if self.granted_at else "requested"

    def granted(self, now: datetime, actor: str, words: str) -> Self:
        """It, granted by an actor, with the reason in these words: the exception names both persons."""
        both = replace(self.exception, author=f"{self.exception.author}, granted by {actor}")
        return replace(self, exception=both, granted_at=now, granted_by=words)


def exception_id(exception: ExceptionRule, ended: str = "") -> str:
    """The id of an exception: the same for the same vulnerability, package and end.

    `ended` is the id of the last one like it, if that was ended before its time: its row stays, and this one is new.
    """
    parts = (exception.vulnerability.upper(), exception.package, exception.until, *filter(None, [ended]))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
