"""Key Vault through azure-keyvault-secrets, and its management operations through ARM."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from sandbox.instance import SUBSCRIPTION, TENANT
from sandbox.keyvault import Vaults
from sandbox.tests.live import LiveGateway
from sandbox.web import Fault

NAME = "acr-task-credentials"
URL = f"https://{NAME}.vault.azure.net"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/akv-rg/providers/Microsoft.KeyVault/vaults"
POLICIES_VERSION, RBAC_VERSION = "2025-05-01", "2026-02-01"


@pytest.fixture
def vaults(live: LiveGateway) -> Vaults:
    vaults = Vaults(live.instance, live.issuer, live.index)
    vaults.mount(live.arm)
    live.gateway.add(vaults.surface())
    return vaults


@pytest.fixture
def client(vaults: Vaults) -> Iterator[SecretClient]:
    vaults.create(NAME, "akv-rg")
    with DefaultAzureCredential() as credential, SecretClient(URL, credential) as client:
        yield client


class Arm:
    """Vault management over plain HTTP."""

    def __init__(self, live: LiveGateway) -> None:
        self._headers = {"Authorization": f"Bearer {live.issuer.issue('https://management.azure.com', oid='me')}"}

    def call(self, method: str, path: str, version: str = POLICIES_VERSION, **more: Any) -> requests.Response:
        url = f"https://management.azure.com{path}"
        return requests.request(method, url, params={"api-version": version}, headers=self._headers, timeout=20, **more)

    def put(self, name: str = NAME, version: str = POLICIES_VERSION, **properties: Any) -> requests.Response:
        body = {"location": "eastus", "properties": {"tenantId": TENANT, **properties}}
        return self.call("PUT", f"{GROUP}/{name}", version, json=body)


@pytest.fixture
def arm(live: LiveGateway, vaults: Vaults) -> Arm:
    return Arm(live)


def read_as(live: LiveGateway, oid: str, name: str = "token") -> requests.Response:
    headers = {"Authorization": f"Bearer {live.issuer.issue('https://vault.azure.net', oid=oid)}"}
    return requests.get(f"{URL}/secrets/{name}", params={"api-version": "7.6"}, headers=headers, timeout=20)


def policy(oid: str, *permissions: str) -> dict[str, Any]:
    return {"tenantId": TENANT, "objectId": oid, "permissions": {"secrets": list(permissions)}}


def test_a_secret_is_read_in_its_latest_and_in_an_older_version(client: SecretClient, vaults: Vaults) -> None:
    first = client.set_secret("registry-dockerhub-user", "one", content_type="text/plain", tags={"for": "pull"})
    client.set_secret("registry-dockerhub-user", "two")
    assert client.get_secret("registry-dockerhub-user").value == "two"
    old = client.get_secret("registry-dockerhub-user", first.properties.version)
    assert (old.value, old.properties.content_type, old.properties.tags) == ("one", "text/plain", {"for": "pull"})
    assert vaults.read(f"{URL}/secrets/registry-dockerhub-user") == "two"
    assert first.id is not None
    assert vaults.read(first.id) == "one"


def test_secrets_and_versions_are_listed_without_values_page_by_page(client: SecretClient) -> None:
    for number in range(27):
        client.set_secret(f"s{number:02}", "value")
    client.set_secret("s00", "another")
    assert [item.name for item in client.list_properties_of_secrets()] == [f"s{number:02}" for number in range(27)]
    assert len(list(client.list_properties_of_secret_versions("s00"))) == 2
    small = client.list_properties_of_secrets(max_page_size=10).by_page()
    assert [len(list(page)) for page in small] == [10, 10, 7]


def test_a_disabled_secret_is_forbidden_until_it_is_enabled(client: SecretClient) -> None:
    client.set_secret("token", "value", enabled=False)
    with pytest.raises(HttpResponseError, match="disabled secret") as caught:
        client.get_secret("token")
    assert caught.value.status_code == 403
    client.update_secret_properties("token", enabled=True)
    assert client.get_secret("token").value == "value"


def test_the_dates_of_a_secret_inform_and_do_not_bar(client: SecretClient) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    tomorrow, after = now + timedelta(days=1), now + timedelta(days=2)
    client.set_secret("token", "value", not_before=tomorrow, expires_on=after)
    properties = client.get_secret("token").properties
    assert (properties.not_before, properties.expires_on) == (tomorrow, after)


def test_the_expiry_of_a_secret_is_seen_in_lists_and_after_an_update(client: SecretClient) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    client.set_secret("token", "value")
    assert client.get_secret("token").properties.expires_on is None
    client.update_secret_properties("token", expires_on=soon)
    assert [item.expires_on for item in client.list_properties_of_secrets()] == [soon]
    assert client.get_secret("token").properties.expires_on == soon


def test_a_secret_set_through_arm_is_the_vaults_with_its_expiry_and_arm_tells_no_value(
    arm: Arm, client: SecretClient
) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    path, expiry = f"{GROUP}/{NAME}/secrets/token", {"exp": int(soon.timestamp())}
    body = {"properties": {"value": "hush", "contentType": "text/plain", "attributes": expiry}, "tags": {"a": "b"}}
    assert arm.call("PUT", path, json=body).status_code == 201
    found = client.get_secret("token")
    assert (found.value, found.properties.expires_on) == ("hush", soon)
    assert (found.properties.content_type, found.properties.tags) == ("text/plain", {"a": "b"})
    responses = [arm.call("PUT", path, json=body), arm.call("GET", path), arm.call("GET", f"{GROUP}/{NAME}/secrets")]
    assert [answer.status_code for answer in responses] == [200, 200, 200]
    assert "hush" not in "".join(answer.text for answer in responses)
    shown = responses[1].json()
    assert shown["properties"]["attributes"]["exp"] == expiry["exp"]
    assert shown["properties"]["secretUri"] == f"{URL}/secrets/token"


def test_a_patch_of_a_secret_through_arm_changes_what_it_names(arm: Arm, client: SecretClient) -> None:
    path, soon = f"{GROUP}/{NAME}/secrets/token", datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    assert arm.call("PATCH", path, json={"properties": {}}).status_code == 404
    client.set_secret("token", "value", tags={"a": "b"})
    arm.call("PATCH", path, json={"properties": {"attributes": {"exp": int(soon.timestamp())}}})
    found = client.get_secret("token")
    assert (found.value, found.properties.expires_on, found.properties.tags) == ("value", soon, {"a": "b"})
    arm.call("PATCH", path, json={"properties": {"value": "next"}})
    found = client.get_secret("token")
    assert (found.value, found.properties.expires_on) == ("next", soon)
    refused = arm.call("PUT", path, json={"properties": {"contentType": "text/plain"}})
    assert (refused.status_code, "'value'" in refused.text) == (400, True)


def test_a_deleted_secret_can_be_recovered_or_purged(client: SecretClient) -> None:
    client.set_secret("token", "value")
    client.begin_delete_secret("token").result()
    with pytest.raises(ResourceNotFoundError):
        client.get_secret("token")
    with pytest.raises(HttpResponseError, match="deleted but recoverable"):
        client.set_secret("token", "again")
    assert [item.name for item in client.list_deleted_secrets()] == ["token"]
    client.begin_recover_deleted_secret("token").result()
    assert client.get_secret("token").value == "value"
    client.begin_delete_secret("token").result()
    client.purge_deleted_secret("token")
    client.set_secret("token", "again")
    assert len(list(client.list_properties_of_secret_versions("token"))) == 1


def test_secrets_are_on_disk_for_their_owner_only_and_outlive_a_restart(
    client: SecretClient, live: LiveGateway
) -> None:
    client.set_secret("token", "value")
    file = live.instance.root / "keyvault" / "secrets.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Vaults(live.instance, live.issuer, live.index).read(f"{URL}/secrets/token") == "value"


def test_without_a_token_for_key_vault_the_caller_is_challenged(client: SecretClient, live: LiveGateway) -> None:
    answer = requests.get(f"{URL}/secrets/token", params={"api-version": "7.6"}, timeout=20)
    assert answer.status_code == 401
    assert 'resource="https://vault.azure.net"' in answer.headers["WWW-Authenticate"]
    foreign = {"Authorization": f"Bearer {live.issuer.issue('https://management.azure.com')}"}
    again = requests.get(f"{URL}/secrets/token", params={"api-version": "7.6"}, headers=foreign, timeout=20)
    assert again.status_code == 401


def test_an_access_policy_decides_who_reads(arm: Arm, client: SecretClient, live: LiveGateway, vaults: Vaults) -> None:
    client.set_secret("token", "value")
    denied = read_as(live, "task-identity")
    assert (denied.status_code, denied.json()["error"]["code"]) == (403, "Forbidden")
    assert "oid=task-identity" in denied.json()["error"]["message"]
    with pytest.raises(Fault, match="does not have secrets get permission"):
        vaults.read(f"{URL}/secrets/token", principal_id="task-identity")
    given = {"properties": {"accessPolicies": [policy("task-identity", "get")]}}
    assert arm.call("PUT", f"{GROUP}/{NAME}/accessPolicies/add", json=given).status_code == 201
    assert read_as(live, "task-identity").json()["value"] == "value"
    assert vaults.read(f"{URL}/secrets/token", principal_id="task-identity") == "value"
    arm.call("PUT", f"{GROUP}/{NAME}/accessPolicies/remove", json=given)
    assert read_as(live, "task-identity").status_code == 403
    assert client.get_secret("token").value == "value"


def test_a_vault_without_a_word_on_access_is_under_rbac_in_new_versions_only(arm: Arm, live: LiveGateway) -> None:
    old, new = arm.put("old-vault"), arm.put(version=RBAC_VERSION)
    assert [vault.json()["properties"]["enableRbacAuthorization"] for vault in (old, new)] == [False, True]
    assert read_as(live, "anyone").json()["error"]["code"] == "SecretNotFound"


def test_a_vault_is_changed_listed_and_found_by_name(arm: Arm, live: LiveGateway) -> None:
    assert arm.put().status_code == 201
    assert arm.put(accessPolicies=[policy("me", "get")]).status_code == 200
    changed = arm.call("PATCH", f"{GROUP}/{NAME}", json={"properties": {"enabledForDeployment": True}}).json()
    assert changed["properties"]["enabledForDeployment"] is True
    assert changed["properties"]["accessPolicies"] == [
        {**policy("me", "get"), "permissions": {"keys": [], "secrets": ["get"], "certificates": [], "storage": []}}
    ]
    assert arm.call("GET", GROUP).json()["value"] == [changed]
    assert [item["name"] for item in live.index.list("Microsoft.KeyVault/vaults", "AKV-RG")] == [NAME]


def test_a_deleted_vault_keeps_its_name_and_secrets_until_it_is_purged(arm: Arm, client: SecretClient) -> None:
    client.set_secret("token", "value")
    subscription = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault"
    assert arm.call("DELETE", f"{GROUP}/{NAME}").status_code == 200
    assert arm.call("GET", f"{GROUP}/{NAME}").status_code == 404
    with pytest.raises(ResourceNotFoundError, match=NAME):
        client.get_secret("token")
    assert [item["name"] for item in arm.call("GET", f"{subscription}/deletedVaults").json()["value"]] == [NAME]
    check = {"name": NAME, "type": "Microsoft.KeyVault/vaults"}
    assert arm.call("POST", f"{subscription}/checkNameAvailability", json=check).json()["reason"] == "AlreadyExists"
    assert arm.put().json()["error"]["code"] == "ConflictError"
    assert arm.put(createMode="recover").status_code == 200
    assert client.get_secret("token").value == "value"
    arm.call("DELETE", f"{GROUP}/{NAME}")
    assert arm.call("POST", f"{subscription}/locations/eastus/deletedVaults/{NAME}/purge").status_code == 200
    assert arm.put(accessPolicies=[]).status_code == 201
    with pytest.raises(HttpResponseError, match="does not have secrets get permission"):
        client.get_secret("token")


def test_what_is_not_known_is_named(arm: Arm, client: SecretClient, vaults: Vaults) -> None:
    assert "colour" in arm.put(colour="red").json()["error"]["message"]
    assert "2031-01-01" in arm.put(version="2031-01-01").json()["error"]["message"]
    with pytest.raises(Fault, match="registry-missing-user"):
        vaults.read(f"{URL}/secrets/registry-missing-user")
    with pytest.raises(Fault, match="not the URL of a secret"):
        vaults.read("https://example.com/secrets/a")
    with (
        DefaultAzureCredential() as credential,
        SecretClient("https://no-vault.vault.azure.net", credential) as other,
        pytest.raises(ResourceNotFoundError, match="no-vault"),
    ):
        other.get_secret("token")


def test_a_backup_restores_a_secret_with_all_its_versions_after_it_was_purged(client: SecretClient) -> None:
    client.set_secret("token", "one")
    client.set_secret("token", "two", tags={"for": "pull"})
    versions = {item.version for item in client.list_properties_of_secret_versions("token")}
    backup = client.backup_secret("token")
    assert b"two" not in backup
    with pytest.raises(HttpResponseError, match="exists in the vault already"):
        client.restore_secret_backup(backup)
    client.begin_delete_secret("token").result()
    client.purge_deleted_secret("token")
    assert client.restore_secret_backup(backup).name == "token"
    assert client.get_secret("token").value == "two"
    assert client.get_secret("token").properties.tags == {"for": "pull"}
    assert {item.version for item in client.list_properties_of_secret_versions("token")} == versions


def test_a_backup_restores_into_another_vault_and_nothing_else_is_a_backup(
    client: SecretClient, vaults: Vaults, live: LiveGateway
) -> None:
    client.set_secret("token", "one")
    backup = client.backup_secret("token")
    vaults.create("other-vault", "akv-rg")
    with (
        DefaultAzureCredential() as credential,
        SecretClient("https://other-vault.vault.azure.net", credential) as other,
    ):
        assert other.restore_secret_backup(backup).vault_url == "https://other-vault.vault.azure.net"
        assert other.get_secret("token").value == "one"
        with pytest.raises(HttpResponseError, match="none that this sandbox made"):
            other.restore_secret_backup(b"anything")
    assert stat.S_IMODE((live.instance.folder("keyvault") / "backups.json").stat().st_mode) == 0o600


@pytest.mark.usefixtures("client")
def test_what_is_no_base64_is_no_backup_and_not_an_error_of_the_vault() -> None:
    with DefaultAzureCredential() as credential:
        token = credential.get_token("https://vault.azure.net/.default").token
    for value in ("ähnlich", "a", "!"):
        url, headers = f"{URL}/secrets/restore?api-version=7.6", {"Authorization": f"Bearer {token}"}
        refused = requests.post(url, json={"value": value}, headers=headers, timeout=20)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "BadParameter"), value


def test_backups_of_the_same_content_are_kept_once(client: SecretClient, live: LiveGateway) -> None:
    client.set_secret("token", "one")
    first = client.backup_secret("token")
    assert client.backup_secret("token") == first
    client.update_secret_properties("token", content_type="text/plain")
    assert client.backup_secret("token") != first
    client.set_secret("token", "two")
    assert client.backup_secret("token") != first
    kept = msgspec.json.decode((live.instance.folder("keyvault") / "backups.json").read_bytes())
    assert len(kept) == 3
    client.begin_delete_secret("token").result()
    client.purge_deleted_secret("token")
    client.restore_secret_backup(first)
    assert client.get_secret("token").value == "one"
