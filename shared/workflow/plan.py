"""A plan: what a verb would do (the blast radius), and the doing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from shared.domain.errors import Malformed

_REASON_LIMIT = 400


class Who(msgspec.Struct, frozen=True):
    """Who acts, and why. Both are recorded with what is done."""

    actor: str
    reason: str

    @classmethod
    def of(cls, actor: str, reason: object) -> Who:
        """An operator with a reason.

        Raises:
            Malformed: there is no reason, or it is too long.
        """
        text = reason.strip() if isinstance(reason, str) else ""
        if not 0 < len(text) <= _REASON_LIMIT:
            raise Malformed("reason", f"say why, in 1 to {_REASON_LIMIT} characters")
        return cls(actor, text)

    def __str__(self) -> str:
        return f"{self.actor}: {self.reason}"


class Effect(msgspec.Struct, frozen=True):
    """One thing that a verb does: `what` to which `subject`."""

    what: str
    subject: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, and how to do it. `act` returns the path of the record to look at (below `/api/v1`)."""

    effects: tuple[Effect, ...]
    act: Callable[[], str]
