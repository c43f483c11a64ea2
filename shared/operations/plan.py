"""A plan: what an operation would do (the blast radius), and the doing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from shared.domain.errors import Malformed

_REASON_LIMIT = 400


class Who(msgspec.Struct, frozen=True):
    """Who acts, and why: both are recorded with what is done. `key` is the idempotency key of the call, or ""."""

    actor: str
    reason: str
    key: str = ""

    @classmethod
    def of(cls, actor: str, reason: object, key: str = "") -> Who:
        """An operator with a reason.

        Raises:
            Malformed: there is no reason, or it is too long.
        """
        text = reason.strip() if isinstance(reason, str) else ""
        if not 0 < len(text) <= _REASON_LIMIT:
            raise Malformed("reason", f"say why, in 1 to {_REASON_LIMIT} characters")
        return cls(actor, text, key)

    def __str__(self) -> str:
        return f"{self.actor}: {self.reason}"


class Effect(msgspec.Struct, frozen=True):
    """One thing that an operation does: `what` to which `subject`."""

    what: str
    subject: str


class Done(msgspec.Struct, frozen=True):
    """What was done: the path of the record to read (below `/api/v1`), and what was in flight against it by then."""

    location: str
    in_flight: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, and how to do it. Making a plan writes nothing."""

    effects: tuple[Effect, ...]
    act: Callable[[], Done]
