"""What operators do. An operation is a plan: its effects, and a function that executes it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import msgspec

from shared.domain.errors import Malformed
from shared.reconcile.begin import Done, Effect

KEY_LIMIT = 200
_REASON_LIMIT = 400


class Who(msgspec.Struct, frozen=True):
    """The actor and the reason, both recorded with the effects. `key` is the idempotency key of the call, or ""."""

    actor: str
    reason: str
    key: str = ""

    @classmethod
    def of(cls, actor: str, reason: object, key: str = "") -> Self:
        """An operator with a reason.

        Raises:
            Malformed: the reason is missing or too long, or the key is too long.
        """
        if len(key) > KEY_LIMIT:
            raise Malformed("Idempotency-Key", f"is longer than {KEY_LIMIT} characters")
        text = reason.strip() if isinstance(reason, str) else ""
        if not 0 < len(text) <= _REASON_LIMIT:
            raise Malformed("reason", f"give a reason of 1 to {_REASON_LIMIT} characters")
        return cls(actor, text, key)

    def __str__(self) -> str:
        return f"{self.actor}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The effects of an operation, and a function that executes it; `warnings` are problems that it does not solve.

    Creating a plan writes nothing.
    """

    effects: tuple[Effect, ...]
    act: Callable[[], Done]
    warnings: tuple[str, ...] = ()
