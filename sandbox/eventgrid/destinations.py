"""Destinations of event subscriptions, as in ARM bodies.

Source: Microsoft.EventGrid 2022-06-15, `EventSubscriptionDestination` and `DeadLetterDestination`
"""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from sandbox.arm.body import Body
from sandbox.eventgrid.filters import invalid

_SITE_FUNCTION = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Web/sites/(?P<app>[\w-]+)/functions/(?P<function>[\w-]+)",
    re.IGNORECASE,
)
_ACCOUNT = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Storage/storageAccounts/(?P<account>[a-z0-9]+)",
    re.IGNORECASE,
)

BatchEvents = Annotated[int, msgspec.Meta(ge=1, le=5000)]
BatchKilobytes = Annotated[int, msgspec.Meta(ge=1, le=1024)]


class _AttributeProperties(Body, frozen=True):
    value: str | None = None
    is_secret: bool = False
    source_field: str | None = None


class DeliveryAttribute(Body, frozen=True):
    """A header of every delivery: a fixed value (`Static`) or one taken from the event (`Dynamic`)."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]+$")]
    type: str
    properties: _AttributeProperties

    def check(self) -> None:
        """Reject a mapping that lacks the value its type requires.

        Raises:
            Fault: 400 that names the mapping.
        """
        needed = {"static": self.properties.value, "dynamic": self.properties.source_field}
        if not needed.get(self.type.lower()):
            raise invalid(
                f"deliveryAttributeMappings '{self.name}' of type '{self.type}' lacks its value or sourceField"
            )


class _WebHookProperties(Body, frozen=True):
    endpoint_url: str | None = None
    endpoint_base_url: str | None = None
    max_events_per_batch: BatchEvents = 1
    preferred_batch_size_in_kilobytes: BatchKilobytes = 64
    azure_active_directory_tenant_id: str | None = None
    azure_active_directory_application_id_or_uri: str | None = None
    delivery_attribute_mappings: tuple[DeliveryAttribute, ...] = ()


class _FunctionProperties(Body, frozen=True):
    resource_id: str
    max_events_per_batch: BatchEvents = 1
    preferred_batch_size_in_kilobytes: BatchKilobytes = 64
    delivery_attribute_mappings: tuple[DeliveryAttribute, ...] = ()


class _QueueProperties(Body, frozen=True):
    resource_id: str
    queue_name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{2,62}$")]
    queue_message_time_to_live_in_seconds: int | None = None


class _BlobProperties(Body, frozen=True):
    resource_id: str
    blob_container_name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9$][a-z0-9-]{2,62}$")]


class WebHook(Body, frozen=True, tag_field="endpointType", tag="WebHook"):
    """Any HTTPS endpoint."""

    properties: _WebHookProperties

    @property
    def base_url(self) -> str:
        """The endpoint without its query, which may hold a secret."""
        return (self.properties.endpoint_url or "").partition("?")[0]

    def completed(self, old: WebHook) -> WebHook:
        """Return this destination, with the URL of the one it replaces if it has none."""
        if self.properties.endpoint_url is not None:
            return self
        properties = msgspec.structs.replace(self.properties, endpoint_url=old.properties.endpoint_url)
        return msgspec.structs.replace(self, properties=properties)

    def check(self) -> None:
        """Reject an endpoint that is not an HTTPS URL.

        Raises:
            Fault: 400 that names the field.
        """
        url = urlsplit(self.properties.endpoint_url or "")
        if url.scheme != "https" or not url.hostname:
            raise invalid("destination.properties.endpointUrl must be an https:// URL")
        for mapping in self.properties.delivery_attribute_mappings:
            mapping.check()


class AzureFunction(Body, frozen=True, tag_field="endpointType", tag="AzureFunction"):
    """A function with an Event Grid trigger."""

    properties: _FunctionProperties

    @property
    def target(self) -> tuple[str, str]:
        """The names of the function app and of the function.

        Raises:
            Fault: 400 if the resource id is not a function's.
        """
        match = _SITE_FUNCTION.fullmatch(self.properties.resource_id)
        if not match:
            shape = "…/providers/Microsoft.Web/sites/<app>/functions/<function>"
            raise invalid(f"destination.properties.resourceId must be a function's id: {shape}")
        return match["app"], match["function"]

    def check(self) -> None:
        """Reject a resource id that is not a function's.

        Raises:
            Fault: 400 that names the field.
        """
        assert self.target
        for mapping in self.properties.delivery_attribute_mappings:
            mapping.check()


class StorageQueue(Body, frozen=True, tag_field="endpointType", tag="StorageQueue"):
    """A storage queue; a message is the event's plain JSON, not base64."""

    properties: _QueueProperties

    @property
    def account(self) -> str:
        """The name of the storage account."""
        return account_name(self.properties.resource_id, "destination.properties.resourceId")

    def check(self) -> None:
        """Reject a resource id that is not a storage account's.

        Raises:
            Fault: 400 that names the field.
        """
        assert self.account


class StorageBlob(Body, frozen=True, tag_field="endpointType", tag="StorageBlob"):
    """The blob container for dead letters."""

    properties: _BlobProperties

    @property
    def account(self) -> str:
        """The name of the storage account."""
        return account_name(self.properties.resource_id, "deadLetterDestination.properties.resourceId")


Destination = WebHook | AzureFunction | StorageQueue


def account_name(resource_id: str, field: str) -> str:
    """Return the storage account's name from its resource id.

    Raises:
        Fault: 400 that names the field, if it is not a storage account's id.
    """
    match = _ACCOUNT.fullmatch(resource_id)
    if not match:
        raise invalid(f"{field} must be a storage account's id")
    return match["account"].lower()


def shown(destination: Destination) -> dict[str, Any]:
    """Render a destination for a response: a webhook without its query, attributes without their secrets."""
    body: dict[str, Any] = msgspec.to_builtins(destination)
    properties = body["properties"]
    if isinstance(destination, WebHook):
        properties.pop("endpointUrl", None)
        properties["endpointBaseUrl"] = destination.base_url
    if not isinstance(destination, StorageQueue):
        properties["maxEventsPerBatch"] = destination.properties.max_events_per_batch
        properties["preferredBatchSizeInKilobytes"] = destination.properties.preferred_batch_size_in_kilobytes
    for mapping in properties.get("deliveryAttributeMappings", ()):
        if mapping["properties"].get("isSecret"):
            mapping["properties"]["value"] = "Hidden"
    return body
