"""Registry credentials out of the vault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.keyvault.secrets import SecretClient

from demo import scenario
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.domain.errors import BasegateError, Misconfigured, Retry
from shared.domain.policy import RegistryRule
from tests.contract.place import VAULT_URL, Place


def rule(stem: str) -> RegistryRule:
    return RegistryRule(name="hub", server="docker.io", credentials=stem)


def test_user_and_password_are_read_at_every_use(place: Place, secrets: VaultCredentials) -> None:
    place.set_secrets(registry_hub_user="contoso", registry_hub_password="first")
    assert secrets.credentials(rule("registry-hub")) == ("contoso", "first")
    place.set_secrets(registry_hub_password="rotated")
    assert secrets.credentials(rule("registry-hub")) == ("contoso", "rotated")


def test_a_secret_that_is_missing_is_named_and_the_other_one_not_told(place: Place, secrets: VaultCredentials) -> None:
    place.set_secrets(registry_half_user="s3cret-user")
    said = rf"no secret registry-half-password in {VAULT_URL}\. To fix it: create it"
    with pytest.raises(Misconfigured, match=said) as caught:
        secrets.credentials(rule("registry-half"))
    assert "s3cret-user" not in str(caught.value)


def test_a_disabled_secret_asks_for_a_person(place: Place, secrets: VaultCredentials) -> None:
    place.set_secrets(registry_off_user="user")
    with SecretClient(VAULT_URL, place.credential()) as client:
        client.update_secret_properties("registry-off-user", enabled=False)
    with pytest.raises(Misconfigured, match="reading secret registry-off-user: 403"):
        secrets.credentials(rule("registry-off"))


def test_all_that_a_run_may_have_been_given_is_told(place: Place, secrets: VaultCredentials) -> None:
    place.set_secrets(registry_hub_password="first one", other="kept")
    place.set_secrets(registry_hub_password="rotated since", gone="deleted meanwhile", off="switched off")
    with SecretClient(VAULT_URL, place.credential()) as client:
        client.update_secret_properties("off", enabled=False)
        client.begin_delete_secret("gone").wait()
    values = secrets.values()
    assert {"first one", "rotated since", "kept"} <= set(values)
    assert not {"deleted meanwhile", "switched off"} & set(values)
    assert list(VaultCredentials("", place.credential).values()) == []


def test_a_vault_without_this_identity_asks_for_the_role(place: Place) -> None:
    vault = f"{scenario.group_id(scenario.VAULT_GROUP)}/providers/Microsoft.KeyVault/vaults/closed-vault"
    properties = {
        "tenantId": "00000000-0000-0000-0000-00000000000a",
        "sku": {"family": "A", "name": "standard"},
        "enableRbacAuthorization": False,
        "accessPolicies": [],
    }
    place.azure.put(vault, {"location": scenario.LOCATION, "properties": properties}, "2023-07-01")
    closed = VaultCredentials("https://closed-vault.vault.azure.net", place.credential)
    with pytest.raises(Misconfigured, match=r"403.* To fix it: give the app Key Vault Secrets User on the vault"):
        closed.credentials(rule("registry-hub"))
    with pytest.raises(Misconfigured, match=r"403.* To fix it: give the app Key Vault Secrets User on the vault"):
        closed.values()


def test_a_vault_that_is_not_there_is_no_verdict(place: Place) -> None:
    nowhere = VaultCredentials("https://no-such-vault.vault.azure.net", place.credential)
    with pytest.raises(BasegateError, match="registry-hub-user") as caught:
        nowhere.credentials(rule("registry-hub"))
    assert isinstance(caught.value, Misconfigured | Retry)


def test_without_a_vault_the_setting_is_named() -> None:
    with pytest.raises(Misconfigured, match="registry hub names credentials, and BASEGATE_KEY_VAULT is not set"):
        VaultCredentials("", lambda: pytest.fail("no token is needed")).credentials(rule("registry-hub"))


def test_the_first_of_both_secrets_to_expire_counts(place: Place, secrets: VaultCredentials) -> None:
    place.set_secrets(registry_ages_user="user", registry_ages_password="secret")
    assert secrets.expiry(rule("registry-ages")) is None
    soon = datetime(2030, 1, 1, tzinfo=UTC)
    with SecretClient(VAULT_URL, place.credential()) as client:
        client.update_secret_properties("registry-ages-user", expires_on=soon + timedelta(days=1))
        client.update_secret_properties("registry-ages-password", expires_on=soon)
    assert secrets.expiry(rule("registry-ages")) == soon
