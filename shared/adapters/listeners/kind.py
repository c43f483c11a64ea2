"""The interface of every kind of listener, and the links in each outcome."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import msgspec

from shared.domain.outcome import Outcome
from shared.ports import Announcer
from shared.settings import PlugIn

if TYPE_CHECKING:
    from shared.adapters.azure_calls import Identity


class ListenerKind(PlugIn, Protocol):
    """A way to send outcomes, used if the first of its settings is set.

    Its module is imported when the settings are read, so it imports SDKs on first use.
    """

    name: str
    """Its name in the ledger and in `readyz`."""

    def make(self, values: Mapping[str, str], identity: "Identity", secret: Callable[[str], str]) -> Announcer:
        """The announcer.

        Args:
            values: the variables that are set.
            identity: the identity of the app.
            secret: reads a Key Vault secret by its name.
        """


class LinkingAnnouncer:
    """Adds `links` to each outcome's data: `board` for operators and `api` for programs.

    A link contains no key: the reader signs in, or enters one.

    Args:
        public_url: the public URL of this app, without a trailing slash; "" adds no links.
        announcer: sends the outcomes.
    """

    def __init__(self, public_url: str, announcer: Announcer) -> None:
        self._url, self._announcer = public_url, announcer

    def announce(self, outcome: Outcome) -> None:
        """Send an outcome with its links."""
        if self._url and outcome.page:
            page = quote(outcome.page, safe="/")
            links = {"board": f"{self._url}/api/board/{page}", "api": f"{self._url}/api/v1/{page}"}
            outcome = msgspec.structs.replace(outcome, data={**outcome.data, "links": links})
        self._announcer.announce(outcome)


def board_link(outcome: Outcome) -> str:
    """The link of an outcome to the board, or ""."""
    links = outcome.data.get("links")
    return str(links["board"]) if isinstance(links, Mapping) else ""


def is_permanent(status: int) -> bool:
    """Whether an HTTP status refuses this message for good: sending it again would be refused, too."""
    from shared.adapters.azure_calls import PASSING

    return 400 <= status < 500 and status not in PASSING
