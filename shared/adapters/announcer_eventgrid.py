"""Outcomes as CloudEvents to an Event Grid custom topic."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from shared.adapters.azure_errors import translated
from shared.ports import Notice

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.eventgrid import EventGridPublisherClient

log = logging.getLogger(__name__)


class EventGridAnnouncer:
    """Implements the port `Announcer`: one CloudEvent `Basegate.<name>` an outcome."""

    def __init__(self, endpoint: str, credential: Callable[[], TokenCredential]) -> None:
        self._endpoint, self._credential = endpoint, credential

    @cached_property
    def _client(self) -> EventGridPublisherClient:
        from azure.eventgrid import EventGridPublisherClient

        return EventGridPublisherClient(self._endpoint, self._credential())

    def announce(self, notice: Notice) -> None:
        """Publish the outcome."""
        from azure.core.messaging import CloudEvent

        event = CloudEvent(
            source="basegate", type=f"Basegate.{notice.name}", subject=notice.subject, data=dict(notice.data)
        )
        with translated(f"announcing {notice.name}", remedy="give the app EventGrid Data Sender on the topic"):
            self._client.send(event)


class NullAnnouncer:
    """Tells nobody but the log: no topic is configured."""

    def announce(self, notice: Notice) -> None:
        """Write the outcome to the log."""
        log.info("outcome %s of %s (no topic to announce it to)", notice.name, notice.subject)
