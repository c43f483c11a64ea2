"""Azure registries and the stand-in for Docker Hub, by their real names through the sandbox."""

from __future__ import annotations

import pytest

from sandbox.testing import Sandbox, tiny_image, two_platforms
from shared.adapters.oci import Limits, OciTagReader
from shared.adapters.registry_acr import AcrRegistry
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.domain.errors import Misconfigured, Retry
from shared.domain.policy import RegistryRule
from tests.contract.place import Place
from tests.contract.registries.reading import Passwords, nobody

HUB = RegistryRule(name="hub", server="docker.io")


@pytest.fixture(scope="module")
def reader(place: Place, secrets: VaultCredentials) -> OciTagReader:
    return OciTagReader(secrets, place.credential, limits=Limits(page_size=2))


def by_identity(rule: RegistryRule) -> RegistryRule:
    """The rule of a registry that the app's own identity reads."""
    return RegistryRule(name=rule.name, server=rule.login_server, id=rule.id)


@pytest.mark.parametrize("image", [tiny_image("read by tag"), two_platforms("read by tag")], ids=["image", "index"])
def test_the_apps_identity_reads_what_the_azure_client_reads(
    place: Place, secrets: VaultCredentials, reader: OciTagReader, image: object
) -> None:
    digest = place.push(place.team, "read-by-tag", "1", image)  # type: ignore[arg-type]
    team = by_identity(place.team)
    assert reader.digest_of(team, "read-by-tag", "1") == digest
    assert AcrRegistry(place.credential, secrets).digest_of(place.team, "read-by-tag", "1") == digest
    assert reader.digest_of(team, "read-by-tag", "2") is None


def test_the_tags_of_an_azure_registry_are_listed_page_by_page(place: Place, reader: OciTagReader) -> None:
    for number in range(5):
        place.push(place.team, "listed-by-tag", str(number), tiny_image(f"listed {number}"))
    assert list(reader.tags(by_identity(place.team), "listed-by-tag")) == ["0", "1", "2", "3", "4"]
    assert list(reader.tags(by_identity(place.team), "no-such")) == []


def test_a_pull_token_of_another_repository_is_told_which_rights_it_lacks(place: Place, reader: OciTagReader) -> None:
    place.push(place.team, "not-for-the-token", "1", tiny_image("guarded"))
    with pytest.raises(Misconfigured, match=r"give registry-contoso-user content/read and metadata/read"):
        reader.digest_of(place.team, "not-for-the-token", "1")


def test_a_pull_token_reads_the_public_registry_of_the_scenario(place: Place, reader: OciTagReader) -> None:
    digest = place.push(place.public, "node", "by-token", tiny_image("by token"))
    assert place.public.credentials
    assert reader.digest_of(place.public, "node", "by-token") == digest


def test_a_wrong_password_is_refused_and_kept_out_of_the_error(place: Place) -> None:
    rule = RegistryRule(
        name="public", server=place.public.login_server, id=place.public.id, credentials="registry-wrong"
    )
    with pytest.raises(Misconfigured, match="registry-wrong-user and -password") as caught:
        OciTagReader(Passwords(), nobody).digest_of(rule, "node", "1")
    assert "0pen-sesame" not in str(caught.value)


def test_anyone_reads_docker_hub(sandbox: Sandbox, reader: OciTagReader) -> None:
    tags = list(reader.tags(HUB, "node"))
    assert "15-alpine" in tags
    digest = reader.digest_of(HUB, "node", "15-alpine")
    assert digest is not None
    assert digest == reader.digest_of(HUB, "library/node", "15-alpine")


def test_a_registry_that_the_sandbox_does_not_know_is_away(reader: OciTagReader) -> None:
    with pytest.raises(Retry, match=r"reading ghcr.io/owner/app:1"):
        reader.digest_of(RegistryRule(name="ghcr", server="ghcr.io"), "owner/app", "1")
