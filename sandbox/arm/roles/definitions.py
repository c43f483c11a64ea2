"""Azure's built-in roles for scenarios of registries, vaults, storage and containers, with their real ids.

The permissions of a role are not modelled: assignments are recorded, not enforced.
Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from sandbox.arm.query import only, parse_filter
from sandbox.instance import SUBSCRIPTION
from sandbox.web import Call, Fault, Surface, json_answer

_VERSIONS = ("2015-07-01", "2018-01-01-preview", "2022-04-01", "2022-05-01-preview")
_PATH = "/providers/Microsoft.Authorization/roleDefinitions"

BUILT_IN_ROLES = {
    "Owner": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "Contributor": "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "Reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
    "User Access Administrator": "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "AcrPush": "8311e382-0749-4cb8-b61a-304f252e45ec",
    "AcrDelete": "c2f4ef07-c644-48eb-af81-4b1b4947fb11",
    "Container Registry Data Importer and Data Reader": "577a9874-89fd-4f24-9dbd-b5034d0ad23a",
    "Container Registry Repository Catalog Lister": "bfdb9389-c9a5-478a-bb2f-ba9ca092c3c7",
    "Container Registry Repository Contributor": "2efddaa5-3f1f-4df3-97df-af3f13818f4c",
    "Container Registry Repository Reader": "b93aa761-3e63-49ed-ac28-beffa264f7ac",
    "Container Registry Repository Writer": "2a1e307c-b015-4ebd-883e-5b7698a07328",
    "Container Registry Tasks Contributor": "fb382eab-e894-4461-af04-94435c366c3f",
    "Azure Container Instances Contributor Role": "5d977122-f97e-4b4d-a52f-6b43003ddb4d",
    "EventGrid Contributor": "1e241071-0855-49ea-94dc-649edcd759de",
    "EventGrid Data Sender": "d5a91429-5739-47e2-a06b-3470a27159e7",
    "EventGrid EventSubscription Contributor": "428e0ff0-5e57-4d9c-a221-2c70d0e0a443",
    "EventGrid EventSubscription Reader": "2414bbcf-6497-4faf-8c65-045460748405",
    "Key Vault Administrator": "00482a5a-887f-4fb3-b363-3b7fe8e74483",
    "Key Vault Contributor": "f25e0fa2-a7c8-4377-a976-54943a77a395",
    "Key Vault Reader": "21090545-7ca7-4776-b22c-e363652d74d2",
    "Key Vault Secrets Officer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Managed Identity Contributor": "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59",
    "Managed Identity Operator": "f1a07417-d97a-45cb-824c-7a7467783830",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Storage Account Contributor": "17d1049b-9a84-46fb-8f53-869881c3d3ab",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Queue Data Message Processor": "8a0f0c08-91a1-4084-bc3d-661d67233fed",
    "Storage Queue Data Message Sender": "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
    "Storage Queue Data Reader": "19e7f393-937e-4f77-808e-94535e297925",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Storage Table Data Reader": "76199698-9eea-4c19-bc75-cec21354c6b6",
}


def find_role(guid: str) -> str:
    """The name of the built-in role with that id.

    Raises:
        Fault: 404 RoleDefinitionDoesNotExist.
    """
    for name, known in BUILT_IN_ROLES.items():
        if known == guid.lower():
            return name
    message = f"The specified role definition with ID '{guid}' does not exist (the sandbox knows built-in roles only)."
    raise Fault(404, "RoleDefinitionDoesNotExist", message)


def mount_role_definitions(arm: Surface) -> None:
    """Add the built-in roles to the ARM surface, at every scope."""

    async def list_roles(call: Call) -> web.StreamResponse:
        """The built-in roles, or the one with a name."""
        only(call, "$filter")
        filters = parse_filter(call.query.get("$filter", ""), ("roleName", "type", "atScopeAndBelow()"))
        roles = [_role(name) for name in BUILT_IN_ROLES if name.lower() == filters.get("roleName", name).lower()]
        custom_only = filters.get("type", "BuiltInRole").lower() != "builtinrole"
        return json_answer({"value": [] if custom_only else roles})

    async def get_role(call: Call) -> web.StreamResponse:
        """One built-in role by its id."""
        only(call)
        return json_answer(_role(find_role(call.params["name"])))

    for scope in ("", "/{scope:rest}"):
        arm.operation("GET", scope + _PATH, versions=_VERSIONS)(list_roles)
        arm.operation("GET", scope + _PATH + "/{name}", versions=_VERSIONS)(get_role)


def _role(name: str) -> dict[str, Any]:
    guid = BUILT_IN_ROLES[name]
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}{_PATH}/{guid}",
        "name": guid,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": name,
            "type": "BuiltInRole",
            "description": "A built-in role of Azure; the sandbox records its assignments and does not enforce them.",
            "assignableScopes": ["/"],
            "permissions": [],
        },
    }
