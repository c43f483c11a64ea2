"""One call of an operator under an idempotency key, kept so that its repeat is answered and not done again."""

from __future__ import annotations

from datetime import datetime

import msgspec


class IdempotentCall(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one call.

    `call` names what was asked for (method, path, and a digest of the query and the body), `answer` is the JSON of
    the first answer, "" while it is being worked on.
    """

    key: str
    call: str
    actor: str
    at: datetime
    status: int = 0
    answer: str = ""

    @property
    def partition(self) -> str:
        """The ledger partition: all calls, by the first digit of their key."""
        return self.key[:1]

    @property
    def row(self) -> str:
        """The ledger row: the key's digest."""
        return self.key
