"""The network rules of a registry: who may reach its content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError
from azure.mgmt.containerregistry import ContainerRegistryManagementClient
from azure.mgmt.containerregistry import models as m

from sandbox.registry import Registries
from sandbox.testing import tiny_image
from sandbox.tests.live import LiveGateway
from sandbox.tests.registry_support import GROUP, arm_client, make

HERE = "127.0.0.1"
TAGS = "https://contoso.azurecr.io/v2/node/tags/list"
TOKEN = "https://contoso.azurecr.io/oauth2/token?service=contoso.azurecr.io&scope=repository:node:pull"


@pytest.fixture
def arm(live: LiveGateway, registries: Registries) -> Iterator[ContainerRegistryManagementClient]:
    with arm_client() as client:
        client.registries.begin_create(
            GROUP, "contoso", m.Registry(location="eastus", sku=m.Sku(name="Premium"))
        ).result()
        record = registries.find("contoso")
        assert record
        live.run(registries.push_image(record, "node", "1", tiny_image()))
        yield client


@pytest.fixture
def login(registries: Registries, arm: ContainerRegistryManagementClient) -> tuple[str, str]:
    return registries.issue_login("contoso.azurecr.io", actor="client", repositories=None)


def update(arm: ContainerRegistryManagementClient, name: str = "contoso", **properties: Any) -> m.Registry:
    body = m.RegistryUpdateParameters(properties=m.RegistryPropertiesUpdateParameters(**properties))
    return arm.registries.begin_update(GROUP, name, body).result()


def rules(action: str, *addresses: str) -> m.NetworkRuleSet:
    return m.NetworkRuleSet(default_action=action, ip_rules=[m.IPRule(ip_address_or_range=one) for one in addresses])


def get(url: str, login: tuple[str, str] | None = None) -> requests.Response:
    return requests.get(url, auth=login, timeout=20)


def test_a_client_that_no_rule_names_is_refused_with_its_address(
    arm: ContainerRegistryManagementClient, login: tuple[str, str]
) -> None:
    update(arm, network_rule_set=rules("Deny", "203.0.113.0/24"))
    for url in (TAGS, TOKEN):
        answer = get(url, login)
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"]) == (403, "DENIED")
        assert f"client with IP '{HERE}' is not allowed access" in error["message"]
    assert get(TAGS).status_code == 401  # the challenge is for everybody


def test_a_rule_names_an_address_or_a_range(arm: ContainerRegistryManagementClient, login: tuple[str, str]) -> None:
    for address in (HERE, "127.0.0.0/8"):
        shown = update(arm, network_rule_set=rules("Deny", address))
        assert shown.properties and shown.properties.network_rule_set
        assert shown.properties.network_rule_set.default_action == "Deny"
        assert get(TAGS, login).status_code == 200


def test_rules_stay_when_only_the_default_changes(arm: ContainerRegistryManagementClient) -> None:
    update(arm, network_rule_set=rules("Deny", HERE))
    shown = update(arm, network_rule_set=m.NetworkRuleSet(default_action="Allow"))
    assert shown.properties and shown.properties.network_rule_set and shown.properties.network_rule_set.ip_rules
    assert [rule.ip_address_or_range for rule in shown.properties.network_rule_set.ip_rules] == [HERE]


def test_without_public_access_no_rule_helps_until_it_is_back(
    arm: ContainerRegistryManagementClient, login: tuple[str, str]
) -> None:
    update(arm, public_network_access="Disabled", network_rule_set=rules("Deny", HERE))
    assert get(TAGS, login).status_code == 403
    update(arm, public_network_access="Enabled")
    assert get(TAGS, login).status_code == 200


def test_rules_hold_after_a_restart(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, login: tuple[str, str]
) -> None:
    update(arm, public_network_access="Disabled")
    live.run(registries.stop())
    live.run(registries.start())
    assert get(TAGS, login).status_code == 403


def test_what_is_no_address_and_what_needs_another_sku_are_refused(arm: ContainerRegistryManagementClient) -> None:
    with pytest.raises(HttpResponseError, match=r"10\.0\.0\.0/40"):
        update(arm, network_rule_set=rules("Deny", "10.0.0.0/40"))
    make(arm, "standard")
    with pytest.raises(HttpResponseError, match="Premium"):
        update(arm, "standard", public_network_access="Disabled")
