"""Whether a registry's events reach this app, by the Event Grid subscriptions of the registry."""

from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid.models import EventSubscription

from shared.adapters.azure_calls import Identity, per_subscription, registry_id, translated
from shared.domain.errors import Misconfigured
from shared.domain.policy import RegistryRule

_PUSHED = "Microsoft.ContainerRegistry.ImagePushed"
_ROLE = "give the app Reader on the registry"


class EventGridSubscriptions:
    """Implements the port `Subscriptions`. `site` is the app's name in Azure ("" if it has none: any app counts)."""

    def __init__(self, credential: Identity, site: str = "") -> None:
        self._client, self._site = per_subscription(EventGridManagementClient, credential), site.lower()

    def delivers_to_app(self, registry: RegistryRule) -> bool | None:
        """Whether a subscription sends a registry's pushes to this app; None if the app lacks the role to list them.

        Source: https://learn.microsoft.com/rest/api/eventgrid/controlplane/event-subscriptions/list-by-resource
        """
        subscription, group, name = registry_id(registry)
        try:
            with translated(f"listing the event subscriptions of {registry.login_server}", remedy=_ROLE):
                found = self._client(subscription).event_subscriptions.list_by_resource(
                    group, "Microsoft.ContainerRegistry", "registries", name
                )
                return any(map(self._reaches_us, found))
        except Misconfigured:  # the app works without this role; unknown is better than a wrong answer
            return None

    def _reaches_us(self, subscription: EventSubscription) -> bool:
        types = getattr(subscription.filter, "included_event_types", None)
        delivery = subscription.delivery_with_resource_identity
        destination = subscription.destination or getattr(delivery, "destination", None)
        function = str(getattr(destination, "resource_id", "") or "").lower()
        state = str(getattr(subscription.provisioning_state, "value", subscription.provisioning_state))
        ours = "/functions/" in function and (not self._site or f"/sites/{self._site}/" in function)
        return ours and state == "Succeeded" and (not types or _PUSHED in types)
