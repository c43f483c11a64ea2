"""Whether the events of a registry reach this app, by the Event Grid subscriptions there are on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from shared.adapters.azure_errors import translated
from shared.adapters.azure_id import RegistryId
from shared.adapters.deadlines import DEADLINES
from shared.domain.errors import Misconfigured
from shared.domain.policy import RegistryRule

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.mgmt.eventgrid import EventGridManagementClient
    from azure.mgmt.eventgrid.models import EventSubscription

_PUSHED = "Microsoft.ContainerRegistry.ImagePushed"
_ROLE = "give the app Reader on the registry"


class EventGridSubscriptions:
    """Implements the port `Subscriptions`. `site` is the app's name in Azure ("" where it has none: any app counts)."""

    def __init__(self, credential: Callable[[], TokenCredential], site: str = "") -> None:
        self._credential, self._site = credential, site.lower()
        self._client = lru_cache(maxsize=None)(self._make_client)

    def reach_us(self, registry: RegistryRule) -> bool | None:
        """Whether a subscription sends a registry's pushes to this app; None where the app may not ask.

        Source: https://learn.microsoft.com/rest/api/eventgrid/controlplane/event-subscriptions/list-by-resource
        """
        place = RegistryId.of(registry)
        try:
            with translated(f"listing the event subscriptions of {registry.login_server}", remedy=_ROLE):
                found = self._client(place.subscription).event_subscriptions.list_by_resource(
                    place.group, "Microsoft.ContainerRegistry", "registries", place.name
                )
                return any(self._reaches_us(subscription) for subscription in found)
        except Misconfigured:  # a role the app can do without: nothing is said instead of something wrong
            return None

    def _reaches_us(self, subscription: EventSubscription) -> bool:
        types = getattr(subscription.filter, "included_event_types", None)
        delivery = subscription.delivery_with_resource_identity
        destination = subscription.destination or getattr(delivery, "destination", None)
        function = str(getattr(destination, "resource_id", "") or "").lower()
        state = str(getattr(subscription.provisioning_state, "value", subscription.provisioning_state))
        ours = "/functions/" in function and (not self._site or f"/sites/{self._site}/" in function)
        return ours and state == "Succeeded" and (not types or _PUSHED in types)

    def _make_client(self, subscription: str) -> EventGridManagementClient:
        from azure.mgmt.eventgrid import EventGridManagementClient

        return EventGridManagementClient(self._credential(), subscription, **DEADLINES)
