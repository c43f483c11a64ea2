"""Microsoft Graph, as far as `az` asks it."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from azure.identity import DefaultAzureCredential

from sandbox.arm.directory import Directory
from sandbox.identity import SYSTEM_PRINCIPAL_ID
from sandbox.tests.live import LiveGateway

GRAPH = "https://graph.microsoft.com"


@pytest.fixture
def headers(live: LiveGateway) -> dict[str, str]:
    live.gateway.add(Directory(live.issuer, {"client-1": "principal-1"}.get).surface())
    with DefaultAzureCredential() as credential:
        return {"Authorization": f"Bearer {credential.get_token(f'{GRAPH}/.default').token}"}


def by_name(headers: dict[str, str], name: str) -> list[dict[str, Any]]:
    query = {"$filter": f"servicePrincipalNames/any(c:c eq '{name}')"}
    found = requests.get(f"{GRAPH}/v1.0/servicePrincipals", params=query, headers=headers, timeout=20)
    value: list[dict[str, Any]] = found.json()["value"]
    return value


def test_a_service_principal_is_found_by_its_client_id(headers: dict[str, str]) -> None:
    assert [item["id"] for item in by_name(headers, "client-1")] == ["principal-1"]
    assert [item["id"] for item in by_name(headers, "systemAssignedIdentity")] == [SYSTEM_PRINCIPAL_ID]
    assert by_name(headers, "somebody") == []


def test_ids_stand_for_service_principals(headers: dict[str, str]) -> None:
    body = {"ids": ["principal-7"], "types": ["servicePrincipal"]}
    answer = requests.post(f"{GRAPH}/v1.0/directoryObjects/getByIds", json=body, headers=headers, timeout=20)
    (found,) = answer.json()["value"]
    assert (found["id"], found["@odata.type"]) == ("principal-7", "#microsoft.graph.servicePrincipal")


def test_nobody_is_signed_in_as_a_person(headers: dict[str, str]) -> None:
    assert requests.get(f"{GRAPH}/v1.0/me", headers=headers, timeout=20).status_code == 400
    assert requests.get(f"{GRAPH}/v1.0/me", timeout=20).status_code == 401
