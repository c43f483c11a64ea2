"""The ARM surface, resource ids, and the index behind `GET /subscriptions/{id}/resources`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sandbox.entra import ARM_AUDIENCES, Issuer
from sandbox.instance import SUBSCRIPTION
from sandbox.web import Fault, Surface, merged_slashes

_ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/(?P<provider>[^/]+)/(?P<kind>[^/]+)/(?P<name>[^/]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ResourceId:
    """A top-level resource: `/subscriptions/S/resourceGroups/G/providers/P/K/N`."""

    group: str
    provider: str
    kind: str
    name: str
    subscription: str = SUBSCRIPTION

    def __str__(self) -> str:
        scope = f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        return f"{scope}/providers/{self.provider}/{self.kind}/{self.name}"

    @property
    def type(self) -> str:
        """The resource type, `Microsoft.ContainerRegistry/registries`."""
        return f"{self.provider}/{self.kind}"

    @classmethod
    def parse(cls, text: str) -> ResourceId:
        """The resource at the beginning of an id (child segments are cut off).

        Raises:
            Fault: 400 LinkedInvalidPropertyId if the text is not a resource id.
        """
        match = _ID.match(text)
        if not match:
            raise Fault(400, "LinkedInvalidPropertyId", f"'{text}' is not a resource id.")
        return cls(match["group"], match["provider"], match["kind"], match["name"], match["subscription"])


def arm_surface(issuer: Issuer, check_path: Callable[[str], None] | None = None) -> Surface:
    """The surface `management.azure.com`: every operation requires a token for ARM.

    Several slashes in a path count as one: a client that fills `/{scope}/providers/…` with an id sends two
    (https://github.com/hashicorp/terraform-provider-azurerm/pull/21255).

    Args:
        issuer: validates the tokens.
        check_path: raises `Fault` if a path contains a resource group that does not exist
            (`ResourceGroups.check_path`); None if groups are not stored.
    """

    def authorize(request: web.BaseRequest, host: str, params: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            claims = issuer.bearer(request.headers.get("Authorization", ""), ARM_AUDIENCES)
        except Fault as fault:
            fault.headers["WWW-Authenticate"] = (
                f'Bearer authorization_uri="https://login.microsoftonline.com/{host}", error="invalid_token"'
            )
            raise
        subscription = params.get("subscription", SUBSCRIPTION)
        if subscription.lower() != SUBSCRIPTION:
            raise Fault(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")
        if check_path:
            check_path(merged_slashes(request.path))
        return claims

    hosts = r"management\.azure\.com"
    return Surface("Azure Resource Manager", hosts, authorize=authorize, merge_slashes=True)


class ResourceIndex:
    """All resources of all providers, in which `az` finds a registry or vault by name."""

    def __init__(self) -> None:
        self._listers: dict[str, Callable[[], Iterable[Mapping[str, Any]]]] = {}

    def register(self, resource_type: str, lister: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """Register the lister of one resource type; it returns ARM bodies (with `id`, `name`, `type`, `location`)."""
        self._listers[resource_type.lower()] = lister

    def list(self, resource_type: str | None = None, group: str | None = None) -> Iterator[Mapping[str, Any]]:
        """The resources, optionally of one type or one group."""
        for kind, lister in self._listers.items():
            if resource_type is None or kind == resource_type.lower():
                for resource in lister():
                    if group is None or ResourceId.parse(resource["id"]).group.lower() == group.lower():
                        yield resource
