"""The interface of every kind of listener, and the links in each outcome."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol
from urllib.parse import quote

from msgspec.structs import replace

from shared.domain.outcome import Outcome
from shared.ports import Announcer
from shared.settings import PlugIn

if TYPE_CHECKING:
    from shared.adapters.azure_calls import Identity


class ListenerKind(PlugIn, Announcer, Protocol):
    """A way to send outcomes, used if the first of its settings is set.

    Its module is imported when the settings are read, so it imports SDKs on first use.
    """

    name: ClassVar[str]
    """Its name in the ledger and in `readyz`."""

    def __init__(self, values: Mapping[str, str], identity: "Identity", secret: Callable[[str], str]) -> None:
        """From the variables that are set, the identity of the app, and a function that reads a Key Vault secret."""


class LinkingAnnouncer:
    """Adds `links` to each outcome's data: `board` for operators and `api` for programs.

    A link contains no key: the reader signs in, or enters one. `public_url` is that of this app, without a trailing
    slash; "" adds no links.
    """

    def __init__(self, public_url: str, announcer: Announcer) -> None:
        self._url, self._announcer = public_url, announcer

    def announce(self, outcome: Outcome) -> None:
        if self._url and outcome.page:
            page = quote(outcome.page, safe="/")
            links = {"board": f"{self._url}/api/board/{page}", "api": f"{self._url}/api/v1/{page}"}
            outcome = replace(outcome, data={**outcome.data, "links": links})
        self._announcer.announce(outcome)


def board_link(outcome: Outcome) -> str:
    """The link of an outcome to the board, or ""."""
    links = outcome.data.get("links")
    return str(links["board"]) if isinstance(links, Mapping) else ""


def is_permanent(status: int) -> bool:
    """Whether an HTTP status refuses this message for good: sending it again would be refused, too."""
    from shared.adapters.azure_calls import PASSING

    return 400 <= status < 500 and status not in PASSING
