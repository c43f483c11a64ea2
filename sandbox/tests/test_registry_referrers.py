"""Referrers: signatures and SBOMs beside the images that they are about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import requests
from azure.mgmt.containerregistry import models as m

from sandbox.registry import Registries, RegistryRecord
from sandbox.registry.layout import Entry, Layout
from sandbox.registry.locks import AttributesChange
from sandbox.registry.oci import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, digest_of
from sandbox.testing import tiny_image
from sandbox.tests.live import LiveGateway
from sandbox.tests.registry_support import GROUP, arm_client, make

EMPTY, EMPTY_TYPE = b"{}", "application/vnd.oci.empty.v1+json"
SIGNATURE, SBOM = "application/vnd.cncf.notary.signature", "application/spdx+json"


class Client:
    """An OCI client of one registry, with every right."""

    def __init__(self, live: LiveGateway, registries: Registries, registry: str) -> None:
        self._live, self.target = live, registries.at(f"{registry}.azurecr.io")
        self._url = f"https://{registry}.azurecr.io/v2"
        self._login = registries.issue_login(f"{registry}.azurecr.io", actor="client", repositories=None)

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Accept": f"{OCI_MANIFEST}, {OCI_INDEX}, {DOCKER_MANIFEST}"} | more.pop("headers", {})
        url = f"{self._url}/{path}"
        return requests.request(method, url, auth=self._login, headers=headers, timeout=20, **more)

    def put(self, reference: str, document: Mapping[str, Any], repository: str = "node") -> requests.Response:
        headers = {"Content-Type": document["mediaType"]}
        return self.call("PUT", f"{repository}/manifests/{reference}", data=encode(document), headers=headers)

    def attach(self, subject: str, artifact_type: str, text: str = "", *, config_type: str = EMPTY_TYPE) -> str:
        """Push an artifact about `subject` by its digest, which is returned."""
        self._live.run(self.target.put_blob("node", digest_of(EMPTY), EMPTY))
        blob = {"mediaType": config_type, "digest": digest_of(EMPTY), "size": len(EMPTY)}
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": blob,
            "layers": [blob],
            "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1},
            "annotations": {"text": text},
        } | ({"artifactType": artifact_type} if artifact_type else {})
        answer = self.put(digest_of(encode(document)), document)
        assert answer.status_code == 201, answer.text
        assert answer.headers["OCI-Subject"] == subject
        return digest_of(encode(document))

    def referrers(self, subject: str, **query: str) -> list[dict[str, Any]]:
        answer = self.call("GET", f"node/referrers/{subject}", params=query)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, OCI_INDEX)
        found: list[dict[str, Any]] = answer.json()["manifests"]
        return found


def encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def digests(descriptors: Sequence[Mapping[str, Any]]) -> list[str]:
    return [descriptor["digest"] for descriptor in descriptors]


@pytest.fixture
def client(live: LiveGateway, registries: Registries, contoso: RegistryRecord) -> Client:
    return Client(live, registries, "contoso")


@pytest.fixture
def image(live: LiveGateway, registries: Registries, contoso: RegistryRecord) -> str:
    return live.run(registries.push_image(contoso, "node", "1", tiny_image()))


def test_what_is_about_an_image_is_listed_with_its_type_and_annotations(client: Client, image: str) -> None:
    assert client.referrers(image) == []
    signature = client.attach(image, SIGNATURE, "signed")
    (shown,) = client.referrers(image)
    assert (shown["digest"], shown["artifactType"], shown["mediaType"]) == (signature, SIGNATURE, OCI_MANIFEST)
    assert shown["annotations"] == {"text": "signed"}
    assert shown["size"] == int(client.call("HEAD", f"node/manifests/{signature}").headers["Content-Length"])
    about_it = client.attach(signature, SBOM)
    assert digests(client.referrers(signature)) == [about_it]


def test_without_an_artifact_type_the_type_is_that_of_the_configuration(client: Client, image: str) -> None:
    client.attach(image, "", config_type="application/vnd.example.config+json")
    (shown,) = client.referrers(image)
    assert shown["artifactType"] == "application/vnd.example.config+json"


def test_one_artifact_type_is_asked_for_and_long_lists_come_in_pages(client: Client, image: str) -> None:
    signatures = sorted(client.attach(image, SIGNATURE, str(number)) for number in range(3))
    client.attach(image, SBOM)
    first = client.call("GET", f"node/referrers/{image}", params={"artifactType": SIGNATURE, "n": 2})
    assert first.headers["OCI-Filters-Applied"] == "artifactType"
    assert digests(first.json()["manifests"]) == signatures[:2]
    second = client.call("GET", first.links["next"]["url"].removeprefix("/v2/"))
    assert digests(second.json()["manifests"]) == signatures[2:]
    assert "next" not in second.links


def test_a_digest_that_nothing_is_about_has_no_referrers_and_what_is_no_digest_is_refused(
    client: Client, image: str
) -> None:
    assert client.referrers("sha256:" + "0" * 64) == []
    assert client.call("GET", "node/referrers/latest").status_code == 400
    assert requests.get(f"https://contoso.azurecr.io/v2/node/referrers/{image}", timeout=20).status_code == 401


def test_a_client_that_maintains_a_referrers_tag_finds_it_again(client: Client, image: str) -> None:
    signature = client.attach(image, SIGNATURE)
    tag, entry = image.replace(":", "-"), client.referrers(image)[0]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    assert client.put(tag, index).status_code == 201
    shown = client.call("GET", f"node/manifests/{tag}").json()
    assert digests(shown["manifests"]) == [signature] == digests(client.referrers(image))


def test_what_is_about_a_deleted_image_goes_with_it_but_for_what_is_locked(client: Client, image: str) -> None:
    signature, locked = client.attach(image, SIGNATURE), client.attach(image, SBOM)
    about_it = client.attach(signature, SBOM)
    client.target.locks.change(f"node@{locked}", AttributesChange(delete_enabled=False))
    everything = (image, signature, about_it, locked)

    def states() -> list[int]:
        return [client.call("HEAD", f"node/manifests/{one}").status_code for one in everything]

    assert states() == [200, 200, 200, 200]
    assert client.call("DELETE", f"node/manifests/{image}").status_code == 202
    assert states() == [404, 404, 404, 200]
    assert digests(client.referrers(image)) == [locked]


def test_an_import_carries_no_referrers(
    live: LiveGateway, registries: Registries, client: Client, image: str, contoso: RegistryRecord
) -> None:
    client.attach(image, SIGNATURE)
    with arm_client() as arm:
        make(arm, "fabrikam")
        source = m.ImportSource(source_image=f"node@{image}", resource_id=contoso.id)
        body = m.ImportImageParameters(source=source, target_tags=["node:1"])
        arm.registries.begin_import_image(GROUP, "fabrikam", body).result()
    other = Client(live, registries, "fabrikam")
    assert other.call("HEAD", f"node/manifests/{image}").status_code == 200
    assert other.referrers(image) == []


def test_a_manifest_with_layers_that_are_fetched_from_elsewhere_is_taken(client: Client, image: str) -> None:
    layer = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": "sha256:" + "1" * 64,
        "size": 1,
        "urls": ["https://mcr.microsoft.com/v2/windows/nanoserver/blobs/sha256:" + "1" * 64],
    }
    document = json.loads(tiny_image().manifest.body)
    document["layers"] = [layer, *document["layers"]]
    assert client.put("windows", document).status_code == 201
    del layer["urls"]
    missing = client.put("broken", document)
    assert missing.status_code == 400, missing.text


def odd_manifests() -> dict[str, bytes]:
    """Manifests that distribution takes, or might, and nobody writes by accident."""
    image = json.loads(tiny_image().manifest.body) | {"mediaType": OCI_MANIFEST}
    traversal = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": "sha256:../../../../../data",
        "size": 1,
        "urls": ["https://mcr.microsoft.com/x"],
    }
    empty = {"artifactType": None, "subject": None, "annotations": None}
    return {
        "null": encode(image | empty),
        "null types": encode(image | {"mediaType": None, "config": image["config"] | {"mediaType": None}}),
        "no digest": encode(image | {"subject": {"mediaType": OCI_MANIFEST, "digest": None, "size": 1}}),
        "tag": encode(image | {"subject": {"mediaType": OCI_MANIFEST, "digest": "latest", "size": 1}}),
        "path": encode(image | {"subject": {"mediaType": OCI_MANIFEST, "digest": "sha256:../x", "size": 1}}),
        "number": encode(image | {"subject": 5}),
        "bytes": encode(image | {"annotations": {"text": "?"}}).replace(b"?", b"\xff"),
        "depth": encode(image | {"x": None}).replace(b'"x": null', b'"x": ' + b"[" * 5000 + b"]" * 5000),
        "foreign configuration": encode(image | {"config": traversal}),
    }


@pytest.mark.attack(
    "a push", "errors for everybody, through a manifest that nothing reads", "it is read as far as it can be"
)
def test_a_manifest_that_distribution_takes_and_nothing_else_reads_harms_nobody(client: Client, image: str) -> None:
    taken = []
    for name, content in odd_manifests().items():
        put = client.call("PUT", "node/manifests/odd", data=content, headers={"Content-Type": OCI_MANIFEST})
        assert put.status_code in (201, 400), (name, put.text)
        assert "OCI-Subject" not in put.headers, name
        taken += [name] if put.status_code == 201 else []
        assert client.referrers(image) == [], name
        shown = client.call("GET", "../acr/v1/node/_manifests")
        assert shown.status_code == 200, (name, shown.text)
        if put.status_code == 201:
            assert client.call("DELETE", f"node/manifests/{digest_of(content)}").status_code == 202, name
    assert {"null", "tag", "path", "bytes", "depth"} <= set(taken)


class CountingLayout(Layout):
    """A store that counts how often its manifests and its tags are listed."""

    listings = 0

    def manifests(self, repository: str) -> list[Entry]:
        self.listings += 1
        return super().manifests(repository)

    def tags(self, repository: str) -> list[Entry]:
        self.listings += 1
        return super().tags(repository)


@pytest.mark.attack("a push", "a registry that is busy for long, through a chain of referrers", "they are listed once")
def test_a_chain_of_referrers_is_deleted_without_listing_all_for_each(
    live: LiveGateway, client: Client, image: str
) -> None:
    def delete_chain(subject: str, length: int) -> int:
        chain = [subject]
        for number in range(length):
            chain.append(client.attach(chain[-1], SIGNATURE, str(number)))
        counting = CountingLayout(live.instance.folder("registry") / "data" / "contoso" / "content")
        client.target.layout = counting
        assert client.call("DELETE", f"node/manifests/{chain[0]}").status_code == 202
        assert [client.call("HEAD", f"node/manifests/{one}").status_code for one in chain] == [404] * len(chain)
        return counting.listings

    first = client.attach(image, SBOM)
    assert delete_chain(first, 1) == delete_chain(image, 12)
