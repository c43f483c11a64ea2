"""Who may see a registry's credentials."""

from __future__ import annotations

import pytest

from shared.adapters.oci.dialects import may_see_credentials


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("ghcr.io", "ghcr.io"),
        ("auth.docker.io", "registry-1.docker.io"),
        ("gitlab.com", "registry.gitlab.com"),
        ("auth.example.com", "registry.example.com"),
        ("sso.eu.example.com", "registry.example.com"),
        ("auth.example.co.uk", "registry.example.co.uk"),
        ("auth.example.asso.fr", "registry.example.asso.fr"),
        ("auth.contoso.github.io", "registry.contoso.github.io"),
        ("contoso.azurecr.io", "contoso.azurecr.io"),
        ("10.0.0.1", "10.0.0.1"),
        ("registry", "registry"),
    ],
)
def test_a_token_service_of_the_same_owner_may(realm: str, registry: str) -> None:
    assert may_see_credentials(realm, registry)


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("auth.evil.net", "registry.example.com"),
        ("evilexample.com", "registry.example.com"),
        ("example.com.evil.net", "example.com"),
        ("auth.docker.io", "ghcr.io"),
        ("evil.azurecr.io", "contoso.azurecr.io"),
        ("azurecr.io", "contoso.azurecr.io"),
        ("evil.jfrog.io", "acme.jfrog.io"),
        ("evil.dkr.ecr.eu-west-1.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com"),
        ("evil.co.uk", "registry.co.uk"),
        ("auth.evil.co.uk", "auth.example.co.uk"),
        ("evil.com.au", "example.com.au"),
        ("evil.asso.fr", "example.asso.fr"),
        ("evil.github.io", "contoso.github.io"),
        ("evil.azurecontainerapps.io", "contoso.azurecontainerapps.io"),
        ("com", "example.com"),
        ("10.0.0.2", "10.0.0.1"),
        ("1.0.0.1", "2.0.0.1"),
        ("2001:db8::2", "2001:db8::1"),
        ("auth", "registry"),
        ("", "registry"),
    ],
)
def test_a_stranger_may_not(realm: str, registry: str) -> None:
    assert not may_see_credentials(realm, registry)
