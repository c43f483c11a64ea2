from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.containerregistry import ContainerRegistryManagementClient
from azure.mgmt.containerregistry import models as m

from sandbox.instance import SUBSCRIPTION
from sandbox.registry import Registries
from sandbox.testing import tiny_image
from sandbox.tests.live import LiveGateway
from sandbox.tests.registry_support import GROUP, arm_client, make, make_token, skopeo


@pytest.fixture
def arm(registries: Registries) -> Iterator[ContainerRegistryManagementClient]:
    with arm_client() as client:
        yield client


def test_a_registry_is_created_shown_changed_listed_and_deleted(arm: ContainerRegistryManagementClient) -> None:
    made = make(arm, "Contoso", admin=False)
    assert made.properties and made.properties.login_server == "contoso.azurecr.io"
    assert made.properties.provisioning_state == "Succeeded"
    changed = arm.registries.begin_update(GROUP, "contoso", m.RegistryUpdateParameters(tags={"for": "team"})).result()
    assert changed.tags == {"for": "team"}
    assert [r.name for r in arm.registries.list()] == ["Contoso"]
    assert [r.name for r in arm.registries.list_by_resource_group(GROUP.upper())] == ["Contoso"]
    assert list(arm.registries.list_by_resource_group("other-rg")) == []
    arm.registries.begin_delete(GROUP, "Contoso").result()
    with pytest.raises(ResourceNotFoundError, match=r"registries/contoso"):
        arm.registries.get(GROUP, "contoso")


def test_a_name_is_checked_for_form_and_use(arm: ContainerRegistryManagementClient) -> None:
    make(arm, "contoso")

    def check(name: str) -> m.RegistryNameStatus:
        asked = m.RegistryNameCheckRequest(name=name, type="Microsoft.ContainerRegistry/registries")
        return arm.registries.check_name_availability(asked)

    assert check("fabrikam").name_available
    assert check("CONTOSO").reason == "AlreadyExists"
    assert check("a-b").reason == "Invalid"
    body = m.Registry(location="eastus", sku=m.Sku(name="Basic"))
    with pytest.raises(HttpResponseError, match="already in use"):
        arm.registries.begin_create("other-rg", "contoso", body)


def test_an_unknown_property_is_an_error_that_names_it(live: LiveGateway, registries: Registries) -> None:
    url = f"https://management.azure.com/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
    url += "/Microsoft.ContainerRegistry/registries/contoso?api-version=2025-11-01"
    token = live.issuer.issue("https://management.azure.com")

    async def put() -> tuple[int, str]:
        body = {"location": "eastus", "sku": {"name": "Basic"}, "properties": {"softDelete": True}}
        async with live.gateway.outside() as session:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.put(url, json=body, headers=headers) as answer:
                return answer.status, await answer.text()

    status, text = live.run(put())
    assert status == 400
    assert "softDelete" in text


def test_the_admin_user_has_credentials_only_when_it_is_enabled(
    arm: ContainerRegistryManagementClient, tmp_path: Path
) -> None:
    make(arm, "contoso")
    with pytest.raises(HttpResponseError, match="admin user"):
        arm.registries.list_credentials(GROUP, "contoso")
    make(arm, "contoso", admin=True)
    shown = arm.registries.list_credentials(GROUP, "contoso")
    assert shown.passwords and len(shown.passwords) == 2
    login = ("-u", str(shown.username), "-p", str(shown.passwords[1].value))
    assert skopeo("login", *login, "contoso.azurecr.io", auth=tmp_path / "auth").returncode == 0


def test_every_registry_has_the_system_scope_maps(arm: ContainerRegistryManagementClient) -> None:
    make(arm, "contoso")
    names = {scope_map.name for scope_map in arm.scope_maps.list(GROUP, "contoso")}
    assert {"_repositories_pull", "_repositories_push", "_repositories_admin"} <= names
    pull = arm.scope_maps.get(GROUP, "contoso", "_repositories_pull")
    assert pull.properties and pull.properties.actions == ["repositories/*/content/read"]


def test_a_token_pulls_and_pushes_what_its_scope_map_allows(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, tmp_path: Path
) -> None:
    make(arm, "contoso")
    record = registries.find("contoso")
    assert record
    live.run(registries.push_image(record, "hello-world", "1", tiny_image()))
    live.run(registries.push_image(record, "secret", "1", tiny_image("secret")))
    actions = ["repositories/hello-world/content/read", "repositories/hello-world/metadata/read"]
    scope_map = m.ScopeMap(properties=m.ScopeMapProperties(actions=actions, description="Created by token: reader"))
    arm.scope_maps.begin_create(GROUP, "contoso", "reader-scope-map", scope_map).result()
    password = make_token(arm, "contoso", "reader", "reader-scope-map")

    auth = tmp_path / "auth"
    assert skopeo("login", "-u", "reader", "-p", "wrong", "contoso.azurecr.io", auth=auth).returncode != 0
    assert skopeo("login", "-u", "reader", "-p", password, "contoso.azurecr.io", auth=auth).returncode == 0
    image = "docker://contoso.azurecr.io/hello-world"
    inspected = skopeo("inspect", f"{image}:1", auth=auth)
    assert inspected.returncode == 0, inspected.stderr
    assert json.loads(inspected.stdout)["Architecture"] == "amd64"
    listed = skopeo("list-tags", image, auth=auth)
    assert json.loads(listed.stdout)["Tags"] == ["1"], listed.stderr
    pushed = skopeo("copy", f"{image}:1", f"{image}:2", auth=auth)
    assert pushed.returncode != 0
    assert "authentication required" in pushed.stderr
    assert skopeo("inspect", "docker://contoso.azurecr.io/secret:1", auth=auth).returncode != 0


def test_a_push_token_pushes_and_mounts_only_what_it_may_read(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, tmp_path: Path
) -> None:
    make(arm, "contoso")
    record = registries.find("contoso")
    assert record
    digest = live.run(registries.push_image(record, "node", "1", tiny_image()))
    password = make_token(arm, "contoso", "pusher", "_repositories_push")
    auth = tmp_path / "auth"
    assert skopeo("login", "-u", "pusher", "-p", password, "contoso.azurecr.io", auth=auth).returncode == 0
    source, target = "docker://contoso.azurecr.io/node:1", "docker://contoso.azurecr.io/team/copy:1"
    copied = skopeo("copy", "--all", "--preserve-digests", source, target, auth=auth)
    assert copied.returncode == 0, copied.stderr
    found = registries.at("contoso.azurecr.io").layout.tag("team/copy", "1")
    assert found and found.digest == digest
    assert skopeo("delete", target, auth=auth).returncode != 0


def test_a_deleted_or_disabled_token_is_refused(arm: ContainerRegistryManagementClient, tmp_path: Path) -> None:
    make(arm, "contoso")
    password = make_token(arm, "contoso", "reader", "_repositories_pull")
    login = ("login", "-u", "reader", "-p", password, "contoso.azurecr.io")
    assert skopeo(*login, auth=tmp_path / "auth").returncode == 0
    disable = m.TokenUpdateParameters(properties=m.TokenUpdateProperties(status="disabled"))
    arm.tokens.begin_update(GROUP, "contoso", "reader", disable).result()
    assert skopeo(*login, auth=tmp_path / "auth").returncode != 0
    arm.tokens.begin_delete(GROUP, "contoso", "reader").result()
    with pytest.raises(ResourceNotFoundError):
        arm.tokens.get(GROUP, "contoso", "reader")


def test_passwords_are_shown_once_and_end_with_their_expiry(
    arm: ContainerRegistryManagementClient, tmp_path: Path
) -> None:
    make(arm, "contoso")
    make_token(arm, "contoso", "reader", "_repositories_pull")
    token = arm.tokens.get(GROUP, "contoso", "reader")
    assert token.properties and token.properties.credentials and token.properties.credentials.passwords
    assert [(p.name, p.value) for p in token.properties.credentials.passwords] == [
        ("password1", None),
        ("password2", None),
    ]
    expired = m.GenerateCredentialsParameters(
        {"tokenId": token.id, "name": "password1", "expiry": "2020-01-01T00:00:00Z"}
    )
    made = arm.registries.begin_generate_credentials(GROUP, "contoso", expired).result()
    assert made.passwords
    login = ("login", "-u", "reader", "-p", str(made.passwords[0].value), "contoso.azurecr.io")
    assert skopeo(*login, auth=tmp_path / "auth").returncode != 0


def test_registries_are_there_again_after_a_restart(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient
) -> None:
    for name in ("publicregistry", "contosobase", "contoso"):
        make(arm, name)
    record = registries.find("contoso.azurecr.io")
    assert record
    digest = live.run(registries.push_image(record, "node", "1", tiny_image()))
    live.run(registries.stop())
    live.run(registries.start())
    found = registries.at("contoso.azurecr.io").layout.tag("node", "1")
    assert found and found.digest == digest
    assert arm.registries.get(GROUP, "contoso").name == "contoso"
    assert live.index and len(list(live.index.list("Microsoft.ContainerRegistry/registries"))) == 3


def test_the_registries_of_a_deleted_group_go_with_it(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient
) -> None:
    make(arm, "contoso")
    record = registries.find("contoso")
    assert record
    live.run(registries.push_image(record, "node", "1", tiny_image()))
    live.run(registries.delete_group(GROUP.upper()))
    assert registries.find("contoso") is None
    make(arm, "contoso")
    assert registries.at("contoso.azurecr.io").layout.repositories() == []


def test_what_a_registry_here_cannot_do_is_refused(arm: ContainerRegistryManagementClient) -> None:
    make(arm, "contoso")
    quarantine = m.Policies(quarantine_policy=m.QuarantinePolicy(status="enabled"))
    closed = m.NetworkRuleSet(default_action="Deny")
    for properties, name in (
        (m.RegistryPropertiesUpdateParameters(policies=quarantine), "quarantinePolicy"),
        (m.RegistryPropertiesUpdateParameters(network_rule_set=closed), "networkRuleSet"),
        (m.RegistryPropertiesUpdateParameters(public_network_access="Disabled"), "publicNetworkAccess"),
    ):
        with pytest.raises(HttpResponseError, match=name):
            arm.registries.begin_update(GROUP, "contoso", m.RegistryUpdateParameters(properties=properties)).result()
