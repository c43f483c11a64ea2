from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from aiohttp import web
from azure.containerregistry import ContainerRegistryClient
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.mgmt.containerregistry import ContainerRegistryManagementClient
from azure.mgmt.containerregistry import models as m

from sandbox.registry import Registries
from sandbox.registry.oci import OCI_INDEX, digest_of
from sandbox.registry.pull_limit import PullLimits
from sandbox.testing import tiny_image, two_platforms
from sandbox.tests.live import LiveGateway
from sandbox.tests.registry_support import GROUP, arm_client, make, make_token
from sandbox.web import Call, Surface

ABSENT = "sha256:" + "0" * 64


@pytest.fixture
def arm(registries: Registries) -> Iterator[ContainerRegistryManagementClient]:
    with arm_client() as client:
        for name in ("publicregistry", "contosobase"):
            make(client, name)
        yield client


@pytest.fixture
def base(arm: ContainerRegistryManagementClient) -> Iterator[ContainerRegistryClient]:
    endpoint = "https://contosobase.azurecr.io"
    with DefaultAzureCredential() as credential, ContainerRegistryClient(endpoint, credential) as client:
        yield client


def run_import(arm: ContainerRegistryManagementClient, source: m.ImportSource, *tags: str, force: bool = False) -> None:
    body = m.ImportImageParameters(source=source, target_tags=list(tags), mode="Force" if force else "NoForce")
    arm.registries.begin_import_image(GROUP, "contosobase", body).result()


def from_public(arm: ContainerRegistryManagementClient, image: str) -> m.ImportSource:
    return m.ImportSource(source_image=image, resource_id=arm.registries.get(GROUP, "publicregistry").id)


def push(live: LiveGateway, registries: Registries, registry: str, repository: str, tag: str, text: str) -> str:
    record = registries.find(registry)
    assert record
    return live.run(registries.push_image(record, repository, tag, two_platforms(text)))


def test_an_import_by_digest_keeps_the_index_and_all_its_platforms(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, base: ContainerRegistryClient
) -> None:
    digest = push(live, registries, "publicregistry", "node", "15-alpine", "fifteen")
    push(live, registries, "publicregistry", "node", "15-alpine", "moved since")
    run_import(arm, from_public(arm, f"node@{digest}"), "node:15-alpine-ca4", "mirror/node:15-alpine")
    for repository, tag in (("node", "15-alpine-ca4"), ("mirror/node", "15-alpine")):
        assert base.get_tag_properties(repository, tag).digest == digest
        found = {manifest.architecture for manifest in base.list_manifest_properties(repository)}
        assert found == {"amd64", "arm64", None}


def test_a_throttled_registry_refuses_imports_until_the_drill_is_over(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, base: ContainerRegistryClient
) -> None:
    registries.mount_control(live.control)
    digest = push(live, registries, "publicregistry", "node", "15-alpine", "fifteen")
    assert live.ask("PUT", "/registries/contosobase/imports", {"throttled": True})[0] == 200
    with pytest.raises(HttpResponseError, match="TooManyRequests"):  # after the SDK has tried three times
        run_import(arm, from_public(arm, f"node@{digest}"), "node:15-alpine-ca4")
    assert live.ask("PUT", "/registries/contosobase/imports", {"throttled": False})[0] == 200
    run_import(arm, from_public(arm, f"node@{digest}"), "node:15-alpine-ca4")
    assert base.get_tag_properties("node", "15-alpine-ca4").digest == digest


def test_an_import_within_one_registry_moves_a_tag_to_a_digest(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, base: ContainerRegistryClient
) -> None:
    digest = push(live, registries, "contosobase", "node", "15-alpine-ca4", "fifteen")
    push(live, registries, "contosobase", "node", "15-alpine", "fourteen")
    source = m.ImportSource(source_image=f"node@{digest}", resource_id=arm.registries.get(GROUP, "contosobase").id)
    run_import(arm, source, "node:15-alpine", "team/node:15-alpine", force=True)
    assert base.get_tag_properties("node", "15-alpine").digest == digest
    assert base.get_tag_properties("team/node", "15-alpine").digest == digest


def test_an_existing_tag_refuses_an_import_before_anything_is_copied(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, base: ContainerRegistryClient
) -> None:
    kept = push(live, registries, "contosobase", "node", "15-alpine", "old")
    push(live, registries, "publicregistry", "node", "15-alpine", "new")
    source = from_public(arm, "node:15-alpine")
    with pytest.raises(HttpResponseError, match="Tag node:15-alpine already exists in target registry") as caught:
        run_import(arm, source, "fresh/node:1", "node:15-alpine")
    assert caught.value.status_code == 409
    assert caught.value.error and caught.value.error.code == "Conflict"
    assert list(base.list_repository_names()) == ["node"]
    assert base.get_tag_properties("node", "15-alpine").digest == kept
    run_import(arm, source, "node:15-alpine", force=True)
    assert base.get_tag_properties("node", "15-alpine").digest != kept


def test_a_locked_tag_refuses_even_a_forced_import(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, base: ContainerRegistryClient
) -> None:
    kept = push(live, registries, "contosobase", "node", "15-alpine", "old")
    push(live, registries, "publicregistry", "node", "15-alpine", "new")
    base.update_tag_properties("node", "15-alpine", can_write=False)
    with pytest.raises(HttpResponseError, match="REGISTRY_DISALLOWED_OPERATION"):
        run_import(arm, from_public(arm, "node:15-alpine"), "node:15-alpine", force=True)
    assert base.get_tag_properties("node", "15-alpine").digest == kept


def test_docker_hub_is_a_source_without_a_login(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, base: ContainerRegistryClient
) -> None:
    digest = live.run(registries.seed_hub("library/node", "15-alpine", tiny_image()))
    run_import(arm, m.ImportSource(registry_uri="docker.io", source_image="library/node:15-alpine"), "node:15-alpine")
    assert base.get_tag_properties("node", "15-alpine").digest == digest


def test_docker_hubs_rate_limit_ends_an_import_and_says_so(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, base: ContainerRegistryClient
) -> None:
    live.run(registries.seed_hub("library/node", "15-alpine", two_platforms()))
    registries.hub_limit.set(PullLimits(anonymous=2))  # an index and its two images are three pulls
    source = m.ImportSource(registry_uri="docker.io", source_image="library/node:15-alpine")
    with pytest.raises(HttpResponseError, match="TOOMANYREQUESTS"):
        run_import(arm, source, "node:15-alpine")
    assert list(base.list_repository_names()) == []
    registries.hub_limit.set(PullLimits())
    run_import(arm, source, "node:15-alpine")


def test_a_source_by_its_address_needs_credentials_that_may_pull(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, base: ContainerRegistryClient
) -> None:
    digest = push(live, registries, "publicregistry", "node", "15-alpine", "fifteen")
    password = make_token(arm, "publicregistry", "gatekeeper", "_repositories_pull")

    def source(*login: str) -> m.ImportSource:
        credentials = m.ImportSourceCredentials(username=login[0], password=login[1]) if login else None
        uri = "publicregistry.azurecr.io"
        return m.ImportSource(registry_uri=uri, source_image="node:15-alpine", credentials=credentials)

    for wrong in (source(), source("gatekeeper", "wrong")):
        with pytest.raises(HttpResponseError, match="Authentication failed for the source image"):
            run_import(arm, wrong, "node:15-alpine")
    assert list(base.list_repository_names()) == []
    run_import(arm, source("gatekeeper", password), "node:15-alpine")
    assert base.get_tag_properties("node", "15-alpine").digest == digest


def test_what_cannot_be_imported_says_why(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient
) -> None:
    push(live, registries, "publicregistry", "node", "15-alpine", "fifteen")
    for image in ("node:16", f"node@{ABSENT}", "nothing:1"):
        with pytest.raises(HttpResponseError, match="was not found"):
            run_import(arm, from_public(arm, image), "node:1")
    unknown = m.ImportSource(registry_uri="quay.example", source_image="node:1")
    with pytest.raises(HttpResponseError, match="does not answer for the source registry quay"):
        run_import(arm, unknown, "node:1")
    with pytest.raises(HttpResponseError, match="registryUri or its resourceId"):
        run_import(arm, m.ImportSource(source_image="node:1"), "node:1")
    with pytest.raises(HttpResponseError, match="INVALID"):
        run_import(arm, from_public(arm, "node@sha256:abc"), "node:1")


def test_an_untagged_import_copies_the_manifest_only(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient, base: ContainerRegistryClient
) -> None:
    digest = push(live, registries, "publicregistry", "node", "15-alpine", "fifteen")
    body = m.ImportImageParameters(
        source=from_public(arm, "node:15-alpine"), untagged_target_repositories=["quarantine/node"]
    )
    arm.registries.begin_import_image(GROUP, "contosobase", body).result()
    assert base.get_manifest_properties("quarantine/node", digest).tags == []


class PlainRegistry:
    """A registry outside Azure that serves an index of `entries` times the same image, and tells its digests or not."""

    def __init__(self, entries: int, *, tells: bool) -> None:
        self.image, self._tells = tiny_image(), tells
        manifest = self.image.manifest
        entry = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.body)}
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] * entries}
        self.index = json.dumps(document).encode()
        self._blobs = {digest: content for content, digest in self.image.blobs}

    def surface(self) -> Surface:
        surface = Surface("Plain registry", r"plain\.example\.test")
        surface.operation("GET", "/v2/node/manifests/{reference}")(self._manifest)
        surface.operation("GET", "/v2/node/blobs/{digest}")(self._blob)
        return surface

    async def _manifest(self, call: Call) -> web.StreamResponse:
        """A manifest."""
        own = call.params["reference"] == self.image.manifest.digest
        body, kind = (self.image.manifest.body, self.image.manifest.media_type) if own else (self.index, OCI_INDEX)
        headers = {"Docker-Content-Digest": digest_of(body)} if self._tells else {}
        return web.Response(body=body, content_type=kind, headers=headers)

    async def _blob(self, call: Call) -> web.StreamResponse:
        """A blob."""
        return web.Response(body=self._blobs[call.params["digest"]])


def from_plain(live: LiveGateway, registry: PlainRegistry) -> m.ImportSource:
    live.gateway.add(registry.surface())
    return m.ImportSource(source_image="node:1", registry_uri="plain.example.test")


def test_a_source_that_does_not_tell_the_digest_is_refused(
    live: LiveGateway, arm: ContainerRegistryManagementClient
) -> None:
    source = from_plain(live, PlainRegistry(1, tells=False))
    with pytest.raises(HttpResponseError, match="Docker-Content-Digest"):
        run_import(arm, source, "node:1")


def test_an_index_of_fifty_manifests_is_imported(
    live: LiveGateway, arm: ContainerRegistryManagementClient, base: ContainerRegistryClient
) -> None:
    registry = PlainRegistry(50, tells=True)
    run_import(arm, from_plain(live, registry), "node:1")
    assert base.get_tag_properties("node", "1").digest == digest_of(registry.index)


def test_an_index_of_more_than_fifty_manifests_is_refused_and_leaves_nothing(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient
) -> None:
    with pytest.raises(HttpResponseError, match="more than 50 manifests"):
        run_import(arm, from_plain(live, PlainRegistry(51, tells=True)), "node:1")
    assert registries.at("contosobase.azurecr.io").layout.repositories() == []


@pytest.mark.attack("an imported registry", "to be read for ever, through indexes in indexes", "a limit of manifests")
def test_an_index_in_an_index_without_end_is_refused(
    live: LiveGateway, registries: Registries, arm: ContainerRegistryManagementClient
) -> None:
    registry = PlainRegistry(1, tells=True)
    registry.index = json.dumps({"manifests": [{"digest": ABSENT}]}).encode()  # it answers the same to every digest
    with pytest.raises(HttpResponseError, match="more than 50 manifests"):
        run_import(arm, from_plain(live, registry), "node:1")
    assert registries.at("contosobase.azurecr.io").layout.repositories() == []


@pytest.mark.parametrize(
    "body",
    [b'{"manifests": [{"digest": 5}]}', b'{"config": [], "layers": {}}', b"[]", b'{"a": "\xff", "config": 1}', b"["],
)
def test_what_a_source_gives_and_is_no_manifest_is_refused_and_not_an_error_of_the_sandbox(
    body: bytes, live: LiveGateway, arm: ContainerRegistryManagementClient
) -> None:
    registry = PlainRegistry(1, tells=True)
    registry.index = body
    with pytest.raises(HttpResponseError, match=r"\(InvalidImage\) The manifest .* is not readable"):
        run_import(arm, from_plain(live, registry), "node:1")
