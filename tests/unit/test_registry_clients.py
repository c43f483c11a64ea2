"""The SDK's client of a registry is used for an hour: after three idle ones its token would be expired for good."""

from __future__ import annotations

import time

import pytest
from azure.containerregistry._exchange_client import ACRExchangeClient
from azure.core.credentials import AccessToken

from shared.adapters.registry_acr import AcrRegistry
from shared.adapters.secrets_keyvault import VaultCredentials


class Credential:
    def get_token(self, *scopes: str, **kwargs: object) -> AccessToken:
        return AccessToken("a token", 0)

    def get_token_info(self, *scopes: str, options: object = None) -> object:
        raise NotImplementedError


def registry() -> AcrRegistry:
    return AcrRegistry(Credential, VaultCredentials("https://vault", Credential))


def test_a_client_is_shared_for_an_hour_and_made_anew_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = registry()
    clients = []
    for now in (7200.0, 7200.0 + 3599, 7200.0 + 3600):
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        clients.append(adapter._data("contoso.azurecr.io"))
    monkeypatch.undo()
    assert clients[0] is clients[1]
    assert clients[1] is not clients[2]


def test_the_sdk_still_keeps_a_token_that_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails the SDK has been mended, and the client can be kept."""
    client = ACRExchangeClient("https://contoso.azurecr.io", Credential())
    monkeypatch.setattr(client, "exchange_aad_token_for_refresh_token", lambda service: "a new token")
    client._refresh_token, client._expiration_time = "an expired token", time.time() - 1
    assert client.get_refresh_token("contoso.azurecr.io") == "an expired token"
