"""Outcomes to an Event Grid custom topic, as CloudEvents."""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from shared.adapters.listeners.kind import ListenerKind, is_permanent
from shared.domain.errors import Misconfigured, Rejected, Retry
from shared.domain.outcome import Outcome
from shared.settings import url_faults

if TYPE_CHECKING:
    from azure.eventgrid import EventGridPublisherClient

    from shared.adapters.azure_calls import Identity

_ENDPOINT = "BASEGATE_ANNOUNCE_TOPIC"


class Topic(ListenerKind):
    """Publishes each outcome to a custom topic, as a CloudEvent `Basegate.<name>`."""

    name = "topic"
    settings = (_ENDPOINT,)

    def __init__(self, values: Mapping[str, str], identity: "Identity", secret: Callable[[str], str]) -> None:
        self._endpoint, self._identity = values[_ENDPOINT], identity

    @staticmethod
    def faults(values: Mapping[str, str]) -> Iterator[str]:
        return url_faults(_ENDPOINT, values)

    @cached_property
    def _client(self) -> "EventGridPublisherClient":
        from azure.eventgrid import EventGridPublisherClient

        # The client ignores deadlines in its constructor. It applies those of a call, but logs a warning each time, as
        # if they were fields of the event.
        logging.getLogger("azure.eventgrid._legacy._generated._serialization").setLevel(logging.ERROR)
        return EventGridPublisherClient(self._endpoint, self._identity())

    def announce(self, outcome: Outcome) -> None:
        """Publish the outcome.

        Raises:
            Rejected: the topic refuses it with another 4xx than 408 and 429. Retry: any other fault.
        """
        from azure.core.messaging import CloudEvent

        from shared.adapters.azure_calls import DEADLINES, translated

        kind, data = f"Basegate.{outcome.name}", dict(outcome.data)
        event = CloudEvent(
            source="basegate", type=kind, subject=outcome.subject, data=data, id=outcome.id or None, time=outcome.at
        )
        try:
            with translated(f"announcing {outcome.name}", remedy="give the app EventGrid Data Sender on the topic"):
                self._client.send(event, **DEADLINES)
        except (Misconfigured, Rejected) as error:
            refused = is_permanent(getattr(error.__cause__, "status_code", None) or 0)
            raise (Rejected if refused else Retry)(error.problem, cause=error.cause, remedy=error.remedy) from error
