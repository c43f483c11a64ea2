"""Azure registries and the stand-in for Docker Hub, by their real names through the sandbox."""

from __future__ import annotations

import json
from hashlib import sha256
from io import BytesIO

import pytest

from sandbox.testing import Sandbox, tiny_image, two_platforms
from shared.adapters.oci import Limits, OciReferrers, OciTagReader
from shared.adapters.registry_acr import AcrRegistry
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.domain.errors import Misconfigured, Retry
from shared.domain.image import parse_digest
from shared.domain.policy import RegistryRule
from tests.contract.place import Place
from tests.contract.registries.reading import Passwords, nobody

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
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


def test_what_is_attached_in_an_azure_registry_is_listed_and_read(place: Place, reader: OciTagReader) -> None:
    digest = place.push(place.team, "with-referrers", "1", tiny_image("with referrers"))
    client, payload, empty = place.registry(place.team), b'{"signed": true}', b"{}"
    for content in (payload, empty):
        client.upload_blob("with-referrers", BytesIO(content))
    parts = [
        {"mediaType": "application/x", "digest": f"sha256:{sha256(content).hexdigest()}", "size": len(content)}
        for content in (empty, payload)
    ]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/y",
            "config": parts[0],
            "layers": parts[1:],
            "subject": {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1},
        }
    ).encode()
    tag = f"{digest.replace(':', '-')}.sig"
    attached = client.set_manifest("with-referrers", BytesIO(manifest), tag=tag, media_type=OCI_MANIFEST)
    referrers, where = OciReferrers(reader), (by_identity(place.team), "with-referrers")
    (found,) = referrers.attached(*where, digest, "application/y").manifests
    assert (found.digest, found.artifact_type) == (attached, "application/y")
    assert referrers.attached(*where, digest, "application/z").manifests == ()
    assert [(one.digest, one.tag) for one in referrers.cosign_tags(*where, digest)] == [(attached, tag)]
    assert referrers.manifest(*where, found.digest, 10_000) == manifest
    assert referrers.blob(*where, parse_digest(parts[1]["digest"]), 10_000) == payload


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
