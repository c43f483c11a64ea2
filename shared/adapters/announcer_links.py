"""Outcomes that say where to read more of them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from shared.ports import Announcer, Notice


class LinkingAnnouncer:
    """Implements the port `Announcer`: adds `links` to each outcome's data, and has another announcer tell it.

    A link holds no key: whoever follows it signs in, or gives a key, on the board.

    Args:
        announcer: tells the outcome.
        public_url: where people reach this app, without a slash at its end; "" adds no links.
    """

    def __init__(self, announcer: Announcer, public_url: str) -> None:
        self._announcer, self._url = announcer, public_url

    def announce(self, notice: Notice) -> None:
        """Tell the outcome, with `links.board` for people and `links.api` for programs."""
        if self._url and notice.page:
            page = quote(notice.page, safe="/")
            links = {"board": f"{self._url}/api/board/{page}", "api": f"{self._url}/api/v1/{page}"}
            notice = msgspec.structs.replace(notice, data={**notice.data, "links": links})
        self._announcer.announce(notice)


def board_link(notice: Notice) -> str:
    """The link to the page for people that an outcome carries, or ""."""
    links = notice.data.get("links")
    return str(links["board"]) if isinstance(links, Mapping) else ""
