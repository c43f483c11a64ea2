"""Evidence, people, and the time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from shared.domain.policy import RegistryRule


class Archive(Protocol):
    """Keeps evidence that is too long for a record."""

    def keep(self, name: str, text: str) -> str:
        """Store a text under a name, replacing an earlier one, and return where it is."""
        ...

    def read(self, place: str) -> str:
        """The text that was stored there. Raises `Rejected` where there is none."""
        ...

    def check(self) -> None:
        """See whether the archive can be used; nothing is stored."""
        ...


class Secrets(Protocol):
    """Credentials that are not the app's own."""

    def of(self, registry: RegistryRule) -> tuple[str, str]:
        """User and password of a registry."""
        ...

    def expiry(self, registry: RegistryRule) -> datetime | None:
        """When the first of a registry's two secrets expires, None where no such time is set."""
        ...


class Subscriptions(Protocol):
    """Event Grid subscriptions of registries."""

    def reach_us(self, registry: RegistryRule) -> bool | None:
        """Whether an event subscription of a registry sends its pushes to this app; None where that cannot be told."""
        ...


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome to tell: `Basegate.<name>` about a subject, with what an operator wants to know.

    `page` is the path of the record's page on the board, and of its story in the HTTP interface, each below its
    root: `candidates/<id>`, `rollouts/<id>` or `drift`; "" makes no link.
    """

    name: str
    subject: str
    page: str = ""
    data: Mapping[str, object]


class Announcer(Protocol):
    """Tells outcomes to people and programs."""

    def announce(self, outcome: Outcome) -> None:
        """Tell an outcome."""
        ...


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        ...
