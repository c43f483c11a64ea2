from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
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


def test_a_registry_says_what_a_private_endpoint_could_connect_to(arm: ContainerRegistryManagementClient) -> None:
    make(arm, "contoso")
    listed = [one.properties for one in arm.registries.list_private_link_resources(GROUP, "contoso")]
    assert [one and one.required_members for one in listed] == [["registry", "registry_data_eastus"]]
    found = arm.registries.get_private_link_resource(GROUP, "contoso", "registry")
    assert found.properties and found.properties.required_zone_names == ["privatelink.azurecr.io"]
    with pytest.raises(ResourceNotFoundError, match="no private link resource 'vault'"):
        arm.registries.get_private_link_resource(GROUP, "contoso", "vault")


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


def test_every_policy_is_shown_with_its_default_and_a_change_is_merged(arm: ContainerRegistryManagementClient) -> None:
    made = make(arm, "contoso")
    assert made.properties and made.properties.policies
    policies = made.properties.policies
    assert policies.retention_policy and (policies.retention_policy.days, policies.retention_policy.status) == (
        7,
        "disabled",
    )
    assert policies["softDeletePolicy"]["retentionDays"] == 7  # the SDK of this version has no attribute for it
    assert policies.export_policy and policies.export_policy.status == "enabled"
    policies.retention_policy.days = 30
    change = m.RegistryPropertiesUpdateParameters(policies=policies)
    changed = arm.registries.begin_update(GROUP, "contoso", m.RegistryUpdateParameters(properties=change)).result()
    assert changed.properties and changed.properties.policies and changed.properties.policies.retention_policy
    assert changed.properties.policies.retention_policy.days == 30
    assert changed.properties.policies.quarantine_policy
    assert changed.properties.policies.quarantine_policy.status == "disabled"


@pytest.mark.parametrize(
    ("policies", "name"),
    [
        ({"retentionPolicy": {"status": "enabled", "days": 7}}, "policies.retentionPolicy"),
        ({"softDeletePolicy": {"status": "enabled"}}, "policies.softDeletePolicy"),
        ({"exportPolicy": {"status": "disabled"}}, "policies.exportPolicy"),
    ],
)
def test_a_policy_that_the_sandbox_does_not_follow_is_refused_by_name(
    arm: ContainerRegistryManagementClient, policies: dict[str, Any], name: str
) -> None:
    make(arm, "contoso")
    change = m.RegistryUpdateParameters({"properties": {"policies": policies}})
    with pytest.raises(HttpResponseError, match=f"sandbox's registries cannot do this: {name}"):
        arm.registries.begin_update(GROUP, "contoso", change).result()


def test_a_password_of_the_admin_user_is_generated_anew_and_the_old_one_is_refused(
    arm: ContainerRegistryManagementClient, tmp_path: Path
) -> None:
    make(arm, "contoso", admin=True)
    old = arm.registries.list_credentials(GROUP, "contoso").passwords
    which = m.RegenerateCredentialParameters(name="password2")
    new = arm.registries.regenerate_credential(GROUP, "contoso", which).passwords
    assert old and new
    assert (new[0].value == old[0].value, new[1].value == old[1].value) == (True, False)

    def login(password: str | None) -> int:
        return skopeo(
            "login", "-u", "contoso", "-p", str(password), "contoso.azurecr.io", auth=tmp_path / "a"
        ).returncode

    assert login(old[1].value) != 0
    assert login(new[1].value) == 0


def test_the_usage_of_a_registry_is_what_is_in_it_against_the_limits_of_its_sku(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient
) -> None:
    make(arm, "contoso")
    record = registries.find("contoso")
    assert record
    before = {usage.name: usage for usage in arm.registries.list_usages(GROUP, "contoso").value or ()}
    assert (before["Size"].current_value, before["Size"].limit, before["Size"].unit) == (0, 100 * 1024**3, "Bytes")
    image = tiny_image()
    live.run(registries.push_image(record, "node", "1", image))
    make_token(arm, "contoso", "reader", "_repositories_pull")
    after = {usage.name: usage for usage in arm.registries.list_usages(GROUP, "contoso").value or ()}
    assert after["Size"].current_value == len(image.manifest.body) + sum(len(content) for content, _ in image.blobs)
    assert (after["Tokens"].current_value, after["Webhooks"].limit) == (1, 10)


def test_nothing_is_soft_deleted_because_that_policy_cannot_be_enabled(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient
) -> None:
    make(arm, "contoso")
    record = registries.find("contoso")
    assert record
    live.run(registries.push_image(record, "team/node", "1", tiny_image()))
    login = registries.issue_login("contoso.azurecr.io", actor="me", repositories=None)
    for path, field in (
        ("_catalog", "repositories"),
        ("team/node/_tags", "tags"),
        ("team/node/_manifests", "manifests"),
    ):
        answer = requests.get(f"https://contoso.azurecr.io/acr/v1/_deleted/{path}", auth=login, timeout=20)
        assert (answer.status_code, answer.json()[field]) == (200, [])
    scope = {"service": "contoso.azurecr.io", "scope": "repository:team/node:deleted_read"}
    token = requests.get("https://contoso.azurecr.io/oauth2/token", params=scope, auth=login, timeout=20).json()
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    url = "https://contoso.azurecr.io/acr/v1/_deleted/team/node/_tags"
    assert requests.get(url, headers=bearer, timeout=20).status_code == 200
    assert (
        requests.get("https://contoso.azurecr.io/v2/team/node/tags/list", headers=bearer, timeout=20).status_code == 401
    )


def test_a_registry_is_given_an_identity_with_a_principal_and_it_is_taken_away(
    arm: ContainerRegistryManagementClient,
) -> None:
    make(arm, "contoso")

    def change(kind: str) -> m.IdentityProperties | None:
        body = m.RegistryUpdateParameters(identity=m.IdentityProperties(type=kind))
        return arm.registries.begin_update(GROUP, "contoso", body).result().identity

    moved = arm.registries.get(GROUP, "contoso")
    moved.location = "westeurope"
    with pytest.raises(HttpResponseError, match="location of 'contoso' cannot be changed"):
        arm.registries.begin_update(GROUP, "contoso", moved).result()  # all of it, as az sends
    first, again = change("SystemAssigned"), change("SystemAssigned")
    assert first and again and first.principal_id == again.principal_id is not None
    assert change("None") is None
