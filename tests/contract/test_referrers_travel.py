"""What is attached to an image is copied from one registry of the sandbox to another, and from hostile ones to none."""

from __future__ import annotations

import json
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from sandbox.testing import tiny_image
from shared.adapters import artifacts_acr
from shared.adapters.oci import Limits, OciReferrers, OciTagReader
from shared.adapters.registry_acr import AcrRegistry
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.domain.errors import Rejected
from shared.domain.image import Digest, ImageRef, parse_digest, parse_repository
from shared.domain.policy import RegistryRule
from shared.ports import Artifact, Manifest
from shared.promotion.decision_records import attestations_tag
from shared.promotion.referrers import Copied, UpstreamReferrers
from tests.contract.place import Place
from tests.contract.registries.double import Asked, Reply, json_reply
from tests.contract.registries.doubles import ANYONE, Doubles
from tests.fakes import sample_policy
from tests.fakes.clock import FakeClock
from tests.fakes.registries import SBOM, FakeRegistry, attached_manifest, digest_of

OCI_MANIFEST, OCI_INDEX = artifacts_acr.OCI_MANIFEST, artifacts_acr.OCI_INDEX
IMAGE = parse_digest("sha256:" + "a" * 64)


class Travel:
    """From a repository of the team's registry, read as the app reads it, to the same one of the base registry."""

    def __init__(self, place: Place, secrets: VaultCredentials, repository: str) -> None:
        self.place, self.repository = place, repository
        self.source = RegistryRule(name="team", server=place.team.login_server, id=place.team.id)
        self.registry = AcrRegistry(place.credential, secrets)
        self.referrers = OciReferrers(OciTagReader(secrets, place.credential))
        image = tiny_image(repository)
        self.image = place.push(place.team, repository, "1", image)
        assert place.push(place.base, repository, "1", image) == self.image
        self.copied_at_base = RegistryRule(name="base", server=place.base.login_server, id=place.base.id)

    def attach(self, body: bytes, *blobs: bytes, tag: str | None = None) -> Digest:
        client = self.place.registry(self.place.team)
        for blob in (*blobs, b"{}"):
            client.upload_blob(self.repository, BytesIO(blob))
        return parse_digest(client.set_manifest(self.repository, BytesIO(body), tag=tag, media_type=OCI_MANIFEST))

    def go(self) -> Copied:
        gate = sample_policy().gates["node"]
        gate = replace(gate, promote=replace(gate.promote, repository=self.repository))
        services: Any = SimpleNamespace(
            registry=self.registry, referrers=self.referrers, registry_rule=lambda _: self.place.base
        )
        image = ImageRef(self.source.login_server, parse_repository(self.repository), self.image)
        return UpstreamReferrers(services).copy(image, self.source, gate, lambda _: None)

    def arrived(self) -> list[Digest]:
        found = self.referrers.attached(self.copied_at_base, self.repository, self.image).manifests
        return [one.digest for one in found]


def test_referrers_and_tags_of_cosign_arrive_with_their_bytes_and_once(place: Place, secrets: VaultCredentials) -> None:
    travel = Travel(place, secrets, "travels")
    body, signature = attached_manifest(b"an SBOM", subject=travel.image), attached_manifest(b"a signature")
    found = travel.attach(body, b"an SBOM")
    tag = f"{travel.image.replace(':', '-')}.sig"
    tagged = travel.attach(signature, b"a signature", tag=tag)
    other = travel.attach(attached_manifest(b"another", subject=digest_of(b"x")), b"another")
    copied = travel.go()
    assert (copied.words, set(copied.digests)) == ("2 copied", {found, tagged})
    assert travel.arrived() == [found]
    assert place.manifest(place.base, "travels", found) == body
    assert place.manifest(place.base, "travels", tag) == signature
    content = place.registry(place.base).download_blob("travels", digest_of(b"an SBOM"))
    assert b"".join(content) == b"an SBOM"
    assert travel.registry.manifest(place.base, "travels", other) is None
    assert travel.go().words == "0 copied; 2 there already"


def test_the_size_of_a_file_at_the_target_is_known_before_it_is_read_at_the_source(
    place: Place, secrets: VaultCredentials
) -> None:
    travel = Travel(place, secrets, "half-way")
    place.registry(place.base).upload_blob("half-way", BytesIO(b"a file"))
    assert travel.registry.blob_size(place.base, "half-way", digest_of(b"a file")) == 6
    assert travel.registry.blob_size(place.base, "half-way", digest_of(b"none")) is None


def test_attestations_are_added_to_the_decision_records_and_the_other_way_round(
    place: Place, secrets: VaultCredentials
) -> None:
    travel, tag = Travel(place, secrets, "shared-tag"), ""
    tag = attestations_tag(travel.image)
    record = Artifact(media_type="application/vnd.dsse.envelope.v1+json", content=b"a record", annotations={"a": "b"})
    travel.registry.add_layer(place.base, "shared-tag", tag, record)
    travel.attach(attached_manifest(b"an attestation"), b"an attestation", tag=tag)
    assert travel.go().words == "1 copied"
    travel.registry.add_layer(place.base, "shared-tag", tag, replace(record, content=b"another record"))
    layers = json.loads(place.manifest(place.base, "shared-tag", tag))["layers"]
    contents = [b"a record", b"an attestation", b"another record"]
    assert [layer["digest"] for layer in layers] == [digest_of(content) for content in contents]
    assert travel.go().words == "0 copied; 1 there already"


def test_a_decision_record_is_added_to_what_was_copied(place: Place, secrets: VaultCredentials) -> None:
    travel = Travel(place, secrets, "tag-first")
    tag = attestations_tag(travel.image)
    config = {"mediaType": "x", "digest": digest_of(b"{}"), "size": 2}
    travel.attach(attached_manifest(b"an attestation", config=config), b"an attestation", tag=tag)
    travel.go()
    travel.registry.add_layer(place.base, "tag-first", tag, Artifact(media_type="x", content=b"a record"))
    layers = json.loads(place.manifest(place.base, "tag-first", tag))["layers"]
    assert [layer["digest"] for layer in layers] == [digest_of(b"an attestation"), digest_of(b"a record")]


def test_what_was_copied_is_deleted_with_its_image(place: Place, secrets: VaultCredentials) -> None:
    travel = Travel(place, secrets, "no-orphans")
    found = travel.attach(attached_manifest(b"an SBOM", subject=travel.image), b"an SBOM")
    travel.go()
    place.registry(place.base).delete_manifest("no-orphans", travel.image)
    assert travel.arrived() == []
    assert travel.registry.manifest(place.base, "no-orphans", found) is None


def test_a_manifest_that_the_registry_does_not_take_is_refused(place: Place, secrets: VaultCredentials) -> None:
    travel = Travel(place, secrets, "not-taken")
    made = {"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": [], "subject": {"digest": IMAGE}}
    one = Manifest(media_type=made["mediaType"], content=json.dumps(made).encode(), subject=IMAGE)  # type: ignore[arg-type]
    with pytest.raises(Rejected, match="pushing a referrer of"):
        travel.registry.put_manifest(place.base, "not-taken", one, "")


def test_without_the_referrers_api_a_copied_referrer_is_listed_beside_the_others(
    place: Place, secrets: VaultCredentials
) -> None:
    travel = Travel(place, secrets, "no-api")
    client = place.registry(place.base)

    def put(repository: str, content: Any, *, raw_response_hook: Any = None, **more: Any) -> str:
        pushed = client.set_manifest(repository, content, **more)
        if raw_response_hook:
            raw_response_hook(SimpleNamespace(http_response=SimpleNamespace(headers={})))
        return pushed

    old: Any = SimpleNamespace(set_manifest=put, get_manifest=client.get_manifest)
    client.upload_blob("no-api", BytesIO(b"{}"))
    bodies = [attached_manifest(subject=travel.image, annotations={"number": number}) for number in ("1", "2", "1")]
    for body in bodies:
        one = Manifest(media_type=OCI_MANIFEST, content=body, subject=travel.image, artifact_type=SBOM)
        artifacts_acr.put(old, "no-api", one)
    index = json.loads(place.manifest(place.base, "no-api", travel.image.replace(":", "-")))
    assert [one["digest"] for one in index["manifests"]] == [digest_of(body) for body in bodies[:2]]
    assert {one["artifactType"] for one in index["manifests"]} == {SBOM}


# A hostile registry, as the client reads it.


def from_hostile(doubles: Doubles, answer: Any) -> tuple[Copied, FakeRegistry]:
    """Copy what a registry says is attached to an image."""
    registry, target = FakeRegistry(FakeClock()), sample_policy().registries["base"]
    registry.tags["base", "node:1"] = IMAGE
    referrers = OciReferrers(doubles.play(answer, limits=Limits()))
    services: Any = SimpleNamespace(registry=registry, referrers=referrers, registry_rule=lambda _: target)
    image = ImageRef(ANYONE.login_server, parse_repository("node"), IMAGE)
    return UpstreamReferrers(services).copy(image, ANYONE, sample_policy().gates["node"], lambda _: None), registry


def listing(*bodies: bytes, more: int = 0) -> Reply:
    listed = [{"mediaType": OCI_MANIFEST, "digest": digest_of(body), "size": len(body)} for body in bodies]
    listed += [{"mediaType": OCI_MANIFEST, "digest": f"sha256:{number:064x}", "size": 9} for number in range(more)]
    return json_reply({"schemaVersion": 2, "manifests": listed}, 200, Content_Type=OCI_INDEX)


def test_ten_thousand_referrers_that_are_not_there_cost_fifty_requests(doubles: Doubles) -> None:
    good = attached_manifest(b"an SBOM", subject=IMAGE)
    content = {digest_of(one): one for one in (good, b"an SBOM", b"{}")}

    def answer(asked: Asked) -> Reply:
        if "/referrers/" in asked.path:
            return listing(good, more=9_999)
        body = content.get(parse_digest(asked.path.rpartition("/")[2]) if "sha256:" in asked.path else IMAGE)
        return Reply(200, {}, body) if body is not None else Reply(404)

    copied, registry = from_hostile(doubles, answer)
    assert copied.words.startswith("1 copied; 9950 beyond the limits; 49 refused, ")
    assert registry.referrers[IMAGE] == [digest_of(good)]
    assert len(doubles.asked) < 65


@pytest.mark.parametrize(
    "place", ["https://169.254.169.254/latest/meta-data", "https://localhost/x", "http://x.example/"]
)
def test_a_file_that_redirects_into_a_private_network_is_refused(doubles: Doubles, place: str) -> None:
    bad, good = attached_manifest(b"a file", subject=IMAGE), attached_manifest(b"an SBOM", subject=IMAGE)
    content = {digest_of(one): one for one in (bad, good, b"an SBOM", b"{}")}

    def answer(asked: Asked) -> Reply:
        if "/referrers/" in asked.path:
            return listing(bad, good)
        if asked.path.endswith(digest_of(b"a file")):
            return Reply(307, {"Location": place})
        body = content.get(parse_digest(asked.path.rpartition("/")[2]) if "sha256:" in asked.path else IMAGE)
        return Reply(200, {}, body) if body is not None else Reply(404)

    copied, registry = from_hostile(doubles, answer)
    assert registry.referrers[IMAGE] == [digest_of(good)]
    assert copied.words.startswith("1 copied; 1 refused, ")
    assert "private" in copied.refused[0]
