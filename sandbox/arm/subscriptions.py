"""The single subscription of a sandbox, its tenant, and its locations.

Source: https://learn.microsoft.com/rest/api/resources/subscriptions
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from sandbox.arm.query import only
from sandbox.instance import LOCATION, SUBSCRIPTION, TENANT
from sandbox.web import Call, Surface, json_answer

_VERSIONS = ("2016-06-01", "2019-06-01", "2019-11-01", "2020-01-01", "2021-01-01", "2022-12-01", "2024-11-01")
_LOCATIONS = {
    LOCATION: ("East US", "US", "Virginia", "37.3719", "-79.8164"),
    "westeurope": ("West Europe", "Europe", "Netherlands", "52.3667", "4.9"),
    "northeurope": ("North Europe", "Europe", "Ireland", "53.3478", "-6.2597"),
    "koreacentral": ("Korea Central", "Asia Pacific", "Seoul", "37.5665", "126.9780"),
}


def mount_subscriptions(arm: Surface) -> None:
    """Add subscriptions, tenants and locations to the ARM surface."""

    @arm.operation("GET", "/subscriptions", versions=_VERSIONS)
    async def list_subscriptions(call: Call) -> web.StreamResponse:
        """The subscriptions that the caller may see: the sandbox's only one."""
        only(call)
        return json_answer({"value": [_subscription()]})

    @arm.operation("GET", "/subscriptions/{subscription}", versions=_VERSIONS)
    async def get_subscription(call: Call) -> web.StreamResponse:
        """One subscription."""
        only(call)
        return json_answer(_subscription())

    @arm.operation("GET", "/subscriptions/{subscription}/locations", versions=_VERSIONS)
    async def list_locations(call: Call) -> web.StreamResponse:
        """The Azure regions that a client may name; everything runs on this machine regardless."""
        only(call, "includeExtendedLocations")
        return json_answer({"value": [_location(name) for name in _LOCATIONS]})

    @arm.operation("GET", "/tenants", versions=_VERSIONS)
    async def list_tenants(call: Call) -> web.StreamResponse:
        """The tenants that the caller may see: the sandbox's only one."""
        only(call)
        return json_answer({"value": [_tenant()]})


def _subscription() -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}",
        "subscriptionId": SUBSCRIPTION,
        "tenantId": TENANT,
        "displayName": "Sandbox",
        "state": "Enabled",
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
    }


def _tenant() -> dict[str, Any]:
    return {
        "id": f"/tenants/{TENANT}",
        "tenantId": TENANT,
        "countryCode": "US",
        "displayName": "Sandbox",
        "domains": ["sandbox.onmicrosoft.com"],
        "defaultDomain": "sandbox.onmicrosoft.com",
        "tenantCategory": "Home",
        "tenantType": "AAD",
    }


def _location(name: str) -> dict[str, Any]:
    display, geography, place, latitude, longitude = _LOCATIONS[name]
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/locations/{name}",
        "name": name,
        "type": "Region",
        "displayName": display,
        "regionalDisplayName": f"({geography}) {display}",
        "metadata": {
            "regionType": "Physical",
            "regionCategory": "Recommended",
            "geographyGroup": geography,
            "physicalLocation": place,
            "latitude": latitude,
            "longitude": longitude,
        },
    }
