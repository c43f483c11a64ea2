"""Subscriptions, resource groups, resources, roles and identities, as any ARM client sees them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from azure.identity import DefaultAzureCredential

from sandbox.arm.foundation import Foundation
from sandbox.arm.surface import ResourceId
from sandbox.instance import SUBSCRIPTION, TENANT
from sandbox.tests.live import LiveGateway
from sandbox.web import Fault

ROOT = "https://management.azure.com"
SCOPE = f"/subscriptions/{SUBSCRIPTION}"
GROUPS = f"{SCOPE}/resourceGroups"
RESOURCES, ROLES, IDENTITIES = "2024-11-01", "2022-04-01", "2024-11-30"
ROLE_DEFINITIONS = "/providers/Microsoft.Authorization/roleDefinitions"
IDENTITY_TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"


class Arm:
    """Plain HTTP with a token from the sandbox's identity endpoint."""

    def __init__(self) -> None:
        self.session = requests.Session()
        with DefaultAzureCredential() as credential:
            token = credential.get_token(f"{ROOT}/.default").token
        self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, version: str = RESOURCES, **more: Any) -> requests.Response:
        parameters = {"api-version": version, **more.pop("params", {})}
        return self.session.request(method, ROOT + path, params=parameters, timeout=20, **more)


@pytest.fixture
def foundation(live: LiveGateway) -> Foundation:
    foundation = Foundation(live.instance, live.index)
    foundation.mount(live.arm, live.operations)
    return foundation


@pytest.fixture
def arm(foundation: Foundation) -> Iterator[Arm]:
    client = Arm()
    yield client
    client.session.close()


def put_group(arm: Arm, name: str, **body: Any) -> requests.Response:
    return arm.call("PUT", f"{GROUPS}/{name}", json={"location": "eastus", **body})


def test_the_subscription_its_tenant_and_its_locations_are_listed(arm: Arm) -> None:
    (subscription,) = arm.call("GET", "/subscriptions", "2022-12-01").json()["value"]
    assert (subscription["subscriptionId"], subscription["tenantId"]) == (SUBSCRIPTION, TENANT)
    assert arm.call("GET", SCOPE, "2022-12-01").json() == subscription
    (tenant,) = arm.call("GET", "/tenants", "2022-12-01").json()["value"]
    assert tenant["tenantId"] == TENANT
    locations = arm.call("GET", f"{SCOPE}/locations", "2022-12-01").json()["value"]
    assert "eastus" in [location["name"] for location in locations]


def test_a_provider_is_registered_and_an_unknown_one_is_named(arm: Arm) -> None:
    provider = arm.call("GET", f"{SCOPE}/providers/microsoft.keyvault").json()
    assert (provider["namespace"], provider["registrationState"]) == ("Microsoft.KeyVault", "Registered")
    assert arm.call("POST", f"{SCOPE}/providers/Microsoft.Web/register").json()["registrationState"] == "Registered"
    unknown = arm.call("GET", f"{SCOPE}/providers/Microsoft.Compute")
    assert unknown.status_code == 404
    assert "Microsoft.Compute" in unknown.json()["error"]["message"]


def test_a_group_is_made_changed_found_and_listed(arm: Arm) -> None:
    assert put_group(arm, "contoso-rg", tags={"a": "b"}).status_code == 201
    assert put_group(arm, "contoso-rg").json()["tags"] == {}
    assert arm.call("PATCH", f"{GROUPS}/Contoso-RG", json={"tags": {"team": "base"}}).json()["tags"] == {"team": "base"}
    assert arm.call("HEAD", f"{GROUPS}/contoso-rg").status_code == 204
    assert arm.call("HEAD", f"{GROUPS}/other-rg").status_code == 404
    (group,) = arm.call("GET", GROUPS).json()["value"]
    assert group == arm.call("GET", f"{GROUPS}/contoso-rg").json()
    assert group["properties"]["provisioningState"] == "Succeeded"


def test_groups_are_listed_by_a_tag_and_its_value(arm: Arm) -> None:
    put_group(arm, "contoso-rg", tags={"team": "base"})
    put_group(arm, "public-rg", tags={"Team": "public"})
    put_group(arm, "other-rg")

    def names(clauses: str) -> list[str]:
        return [group["name"] for group in arm.call("GET", GROUPS, params={"$filter": clauses}).json()["value"]]

    assert names("tagName eq 'team'") == ["contoso-rg", "public-rg"]
    assert names("tagname eq 'team' and tagvalue eq 'base'") == ["contoso-rg"]
    assert names("tagName eq 'colour'") == []


def test_several_slashes_in_a_path_count_as_one(arm: Arm) -> None:
    put_group(arm, "contoso-rg")
    assert arm.call("GET", f"/{GROUPS}//contoso-rg").json()["name"] == "contoso-rg"
    identity = f"{GROUPS}/contoso-rg/providers/{IDENTITY_TYPE.replace('/', '//')}/puller"
    assert arm.call("PUT", identity, IDENTITIES, json={"location": "eastus"}).json()["name"] == "puller"


@pytest.mark.parametrize("body", [b'{"location": "\xff"}', b'{"tags": ' + b"[" * 100_000, b"", b"null", b"{"])
def test_a_body_that_is_no_document_is_the_error_of_its_sender(body: bytes, arm: Arm) -> None:
    refused = arm.call("PUT", f"{GROUPS}/odd-rg", data=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InvalidRequestContent")


def test_a_group_does_not_move_and_an_unknown_field_is_named(arm: Arm) -> None:
    put_group(arm, "contoso-rg")
    assert put_group(arm, "contoso-rg", location="westeurope").status_code == 409
    assert "colour" in put_group(arm, "contoso-rg", colour="red").json()["error"]["message"]


def test_deleting_a_group_deletes_what_the_providers_keep_in_it(arm: Arm, foundation: Foundation) -> None:
    deleted: list[str] = []

    async def forget(group: str) -> None:
        deleted.append(group)

    foundation.groups.on_delete.append(forget)
    put_group(arm, "contoso-rg")
    identity = f"{GROUPS}/contoso-rg/providers/{IDENTITY_TYPE}/puller"
    arm.call("PUT", identity, IDENTITIES, json={"location": "eastus"})
    answer = arm.call("DELETE", f"{GROUPS}/contoso-rg")
    assert answer.status_code == 202
    while (poll := arm.session.get(answer.headers["Location"], timeout=20)).status_code == 202:
        time.sleep(0.05)
    assert poll.status_code == 200
    assert deleted == ["contoso-rg"]
    assert arm.call("HEAD", f"{GROUPS}/contoso-rg").status_code == 404
    assert arm.call("GET", identity, IDENTITIES).status_code == 404


def test_a_path_through_a_group_that_does_not_exist_is_refused(foundation: Foundation) -> None:
    foundation.groups.create("contoso-rg")
    foundation.groups.check_path(f"{GROUPS}/CONTOSO-RG/providers/{IDENTITY_TYPE}/puller")
    with pytest.raises(Fault, match="ResourceGroupNotFound"):
        foundation.groups.check_path(f"{GROUPS}/other-rg/providers/{IDENTITY_TYPE}/puller")


def test_resources_are_listed_by_type_name_and_group(arm: Arm, live: LiveGateway) -> None:
    registries = [
        {"id": str(ResourceId(f"{name}-rg", "P", "registries", name)), "name": name, "type": "P/registries", "x": 1}
        for name in ("contoso", "public")
    ]
    live.index.register("P/registries", lambda: registries)
    put_group(arm, "public-rg")

    def names(path: str, **params: str) -> list[str]:
        return [resource["name"] for resource in arm.call("GET", path, params=params).json()["value"]]

    by_type = {"$filter": "resourceType eq 'p/Registries'"}
    assert names(f"{SCOPE}/resources", **by_type) == ["contoso", "public"]
    assert names(f"{SCOPE}/resources", **{"$filter": by_type["$filter"] + " and name eq 'public'"}) == ["public"]
    assert names(f"{SCOPE}/resources", **{"$filter": "name eq 'public' and resourceType eq 'Q/other'"}) == []
    assert names(f"{GROUPS}/public-rg/resources") == ["public"]


@pytest.mark.parametrize(
    "text", ["tagName eq 'a'", "name ne 'a'", "name eq 'a' or name eq 'b'", "startswith(name,'a')"]
)
def test_a_filter_that_is_not_understood_is_named(arm: Arm, text: str) -> None:
    answer = arm.call("GET", f"{SCOPE}/resources", params={"$filter": text})
    assert answer.status_code == 400
    assert text in answer.json()["error"]["message"]


def test_a_role_is_found_by_its_name_at_any_scope(arm: Arm) -> None:
    asked = {"$filter": "roleName eq 'acrpull'"}
    (role,) = arm.call("GET", f"{GROUPS}/any-rg{ROLE_DEFINITIONS}", ROLES, params=asked).json()["value"]
    assert role["name"] == "7f951dda-4ed3-4680-a7ca-43fe172d538d"
    assert arm.call("GET", role["id"], ROLES).json()["properties"]["roleName"] == "AcrPull"
    assert arm.call("GET", f"{SCOPE}{ROLE_DEFINITIONS}/{uuid.uuid4()}", ROLES).status_code == 404


def test_a_role_assignment_is_recorded_inherited_and_taken_away(arm: Arm, foundation: Foundation) -> None:
    put_group(arm, "contoso-rg")
    principal, group = str(uuid.uuid4()), f"{GROUPS}/contoso-rg"
    reader = f"{SCOPE}{ROLE_DEFINITIONS}/acdd72a7-3385-48ef-bd42-f606fba81ae7"
    body = {"properties": {"roleDefinitionId": reader, "principalId": principal}}
    path = "/providers/Microsoft.Authorization/roleAssignments"
    assignment = f"{group}{path}/{uuid.uuid4()}"
    assert arm.call("PUT", assignment, ROLES, json=body).json()["properties"]["scope"] == group
    again = arm.call("PUT", f"{group}{path}/{uuid.uuid4()}", ROLES, json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "RoleAssignmentExists")

    def count(scope: str, text: str) -> int:
        return len(arm.call("GET", scope + path, ROLES, params={"$filter": text}).json()["value"])

    below = f"{group}/providers/P/registries/contoso"
    assert (count(below, "atScope()"), count(group, "atScope()"), count(SCOPE, "atScope()")) == (1, 1, 0)
    assert count(SCOPE, f"principalId eq '{principal}'") == 1
    assert count(SCOPE, f"assignedTo('{uuid.uuid4()}')") == 0
    assert list(foundation.assignments.at_or_above(below, principal)) == ["Reader"]
    assert arm.call("DELETE", assignment, ROLES).status_code == 200
    assert arm.call("GET", assignment, ROLES).status_code == 404


def test_a_user_assigned_identity_keeps_its_ids_and_speaks_for_its_principal(arm: Arm, foundation: Foundation) -> None:
    put_group(arm, "contoso-rg")
    path = f"{GROUPS}/contoso-rg/providers/{IDENTITY_TYPE}/puller"
    first = arm.call("PUT", path, IDENTITIES, json={"location": "eastus"})
    assert first.status_code == 201
    again = arm.call("PUT", path, IDENTITIES, json={"location": "eastus", "tags": {"a": "b"}})
    assert again.status_code == 200
    properties = again.json()["properties"]
    assert properties == first.json()["properties"]
    assert foundation.identities.principal_of(properties["clientId"]) == properties["principalId"]
    listed = arm.call("GET", f"{SCOPE}/providers/{IDENTITY_TYPE}", IDENTITIES).json()["value"]
    assert [item["name"] for item in listed] == ["puller"]
    assert arm.call("DELETE", path, IDENTITIES).status_code == 200
    assert arm.call("GET", path, IDENTITIES).status_code == 404
