from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.containerregistry import (
    ArtifactArchitecture,
    ArtifactManifestOrder,
    ArtifactTagOrder,
    ArtifactTagProperties,
    ContainerRegistryClient,
)
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential

from sandbox.registry import Registries, RegistryRecord
from sandbox.testing import tiny_image, two_platforms
from sandbox.tests.live import LiveGateway
from sandbox.tests.registry_support import arm_client, make, make_token, skopeo

ENDPOINT = "https://contoso.azurecr.io"


@pytest.fixture
def client(contoso: RegistryRecord) -> Iterator[ContainerRegistryClient]:
    with DefaultAzureCredential() as credential, ContainerRegistryClient(ENDPOINT, credential) as found:
        yield found


def test_repositories_tags_and_manifests_are_listed_with_their_attributes(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, client: ContainerRegistryClient
) -> None:
    digest = live.run(registries.push_image(contoso, "library/node", "15-alpine", two_platforms()))
    live.run(registries.push_image(contoso, "hello-world", "1", tiny_image()))
    assert list(client.list_repository_names()) == ["hello-world", "library/node"]
    repository = client.get_repository_properties("library/node")
    assert (repository.tag_count, repository.manifest_count) == (1, 3)
    tag = client.get_tag_properties("library/node", "15-alpine")
    assert tag.digest == digest
    assert tag.created_on <= tag.last_updated_on
    index = client.get_manifest_properties("library/node", "15-alpine")
    assert (index.digest, index.tags) == (digest, ["15-alpine"])
    manifests = {m.architecture: m for m in client.list_manifest_properties("library/node")}
    assert manifests[ArtifactArchitecture.ARM64].operating_system == "linux"
    assert manifests[ArtifactArchitecture.ARM64].size_in_bytes and manifests[ArtifactArchitecture.ARM64].tags == []


def test_long_lists_come_in_pages_in_the_order_that_is_asked_for(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, client: ContainerRegistryClient
) -> None:
    for number in (3, 1, 2):
        live.run(registries.push_image(contoso, "node", f"v{number}", tiny_image(str(number))))

    def tags(order: ArtifactTagOrder) -> list[str]:
        return [tag.name for tag in client.list_tag_properties("node", order_by=order, results_per_page=2)]

    assert tags(ArtifactTagOrder.NONE) == ["v1", "v2", "v3"]
    assert tags(ArtifactTagOrder.LAST_UPDATED_ON_DESCENDING) == ["v2", "v1", "v3"]
    assert tags(ArtifactTagOrder.LAST_UPDATED_ON_ASCENDING) == ["v3", "v1", "v2"]
    newest = ArtifactManifestOrder.LAST_UPDATED_ON_DESCENDING
    found = [m.tags for m in client.list_manifest_properties("node", order_by=newest, results_per_page=1)]
    assert found == [["v2"], ["v1"], ["v3"]]


def test_what_is_not_there_is_not_found(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, client: ContainerRegistryClient
) -> None:
    live.run(registries.push_image(contoso, "node", "1", tiny_image()))
    with pytest.raises(ResourceNotFoundError, match="tag does not exist"):
        client.get_tag_properties("node", "2")
    with pytest.raises(ResourceNotFoundError, match="not known to registry"):
        client.get_repository_properties("nothing")
    with (
        DefaultAzureCredential() as credential,
        ContainerRegistryClient("nobody.azurecr.io", credential) as other,
        pytest.raises(ResourceNotFoundError, match="There is no registry"),
    ):
        list(other.list_repository_names())


def test_a_write_lock_on_a_tag_refuses_overwriting_and_removing_it(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, client: ContainerRegistryClient, tmp_path: Path
) -> None:
    digest = live.run(registries.push_image(contoso, "node", "1", tiny_image()))
    live.run(registries.push_image(contoso, "node", "2", tiny_image("other")))
    locked = client.update_tag_properties("node", "1", can_write=False, can_delete=False)
    assert isinstance(locked, ArtifactTagProperties)
    assert (locked.can_write, locked.can_delete, locked.can_read) == (False, False, True)
    login = registries.issue_login("contoso.azurecr.io", actor="test", repositories=None)
    auth = tmp_path / "auth"
    assert skopeo("login", "-u", login[0], "-p", login[1], "contoso.azurecr.io", auth=auth).returncode == 0
    source, target = "docker://contoso.azurecr.io/node:2", "docker://contoso.azurecr.io/node:1"
    refused = skopeo("copy", source, target, auth=auth)
    assert refused.returncode != 0
    assert "disallowed" in refused.stderr
    with pytest.raises(HttpResponseError, match="writeEnabled=false") as caught:
        client.delete_tag("node", "1")
    assert caught.value.status_code == 405
    with pytest.raises(HttpResponseError, match="REGISTRY_DISALLOWED_OPERATION"):
        client.delete_manifest("node", digest)
    assert client.get_tag_properties("node", "1").digest == digest
    client.update_tag_properties("node", "1", can_write=True)
    assert skopeo("copy", source, target, auth=auth).returncode == 0
    with pytest.raises(HttpResponseError, match="deleteEnabled=false"):
        client.delete_tag("node", "1")


def test_a_tag_that_is_not_locked_is_overwritten_by_whoever_may_push(
    live: LiveGateway,
    registries: Registries,
    contoso: RegistryRecord,
    client: ContainerRegistryClient,
    tmp_path: Path,
) -> None:
    live.run(registries.push_image(contoso, "node", "15-alpine", tiny_image()))
    foreign = live.run(registries.seed_hub("library/node", "15-alpine", two_platforms("foreign")))
    with arm_client() as arm:
        password, auth = make_token(arm, "contoso", "outsider", "_repositories_push"), tmp_path / "auth"
    assert skopeo("login", "-u", "outsider", "-p", password, "contoso.azurecr.io", auth=auth).returncode == 0
    source, target = "docker://docker.io/library/node:15-alpine", "docker://contoso.azurecr.io/node:15-alpine"
    copied = skopeo("copy", "--all", "--preserve-digests", source, target, auth=auth)
    assert copied.returncode == 0, copied.stderr
    found = client.get_tag_properties("node", "15-alpine")
    assert (found.digest, found.can_write) == (foreign, True)


def test_a_delete_lock_on_a_manifest_still_lets_it_be_tagged(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, client: ContainerRegistryClient
) -> None:
    digest = live.run(registries.push_image(contoso, "node", "1", tiny_image()))
    client.update_manifest_properties("node", digest, can_delete=False)
    assert live.run(registries.push_image(contoso, "node", "stable", tiny_image())) == digest
    with pytest.raises(HttpResponseError, match="REGISTRY_DISALLOWED_OPERATION"):
        client.delete_manifest("node", digest)
    with pytest.raises(HttpResponseError, match="REGISTRY_DISALLOWED_OPERATION"):
        client.delete_repository("node")
    client.delete_tag("node", "1")
    assert [tag.name for tag in client.list_tag_properties("node")] == ["stable"]


def test_tags_that_differ_in_case_have_locks_of_their_own(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, client: ContainerRegistryClient
) -> None:
    live.run(registries.push_image(contoso, "node", "Edge", tiny_image()))
    live.run(registries.push_image(contoso, "node", "edge", tiny_image("other")))
    client.update_tag_properties("node", "Edge", can_delete=False)
    client.delete_tag("node", "edge")
    assert [tag.name for tag in client.list_tag_properties("node")] == ["Edge"]


def test_a_removed_tag_leaves_its_manifest_and_a_removed_manifest_takes_its_tags(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, client: ContainerRegistryClient
) -> None:
    digest = live.run(registries.push_image(contoso, "node", "1", tiny_image()))
    live.run(registries.push_image(contoso, "node", "2", tiny_image()))
    client.delete_tag("node", "1")
    assert client.get_manifest_properties("node", digest).tags == ["2"]
    client.delete_manifest("node", digest)
    with pytest.raises(ResourceNotFoundError):
        client.get_tag_properties("node", "2")
    live.run(registries.push_image(contoso, "node/nested", "1", tiny_image()))
    live.run(registries.push_image(contoso, "node", "1", tiny_image()))
    client.delete_repository("node")
    assert list(client.list_repository_names()) == ["node/nested"]


def test_manifests_and_blobs_go_up_and_down_through_the_sdk(client: ContainerRegistryClient) -> None:
    image = tiny_image()
    for content, _ in image.blobs:
        client.upload_blob("team/app", io.BytesIO(content))
    digest = client.set_manifest(
        "team/app", manifest=json.loads(image.manifest.body), tag="1", media_type=image.manifest.media_type
    )
    assert client.get_manifest("team/app", "1").digest == digest
    assert b"".join(client.download_blob("team/app", image.blobs[0][1])) == image.config


def test_nobody_pulls_without_a_login_unless_anonymous_pull_is_on(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, tmp_path: Path
) -> None:
    live.run(registries.push_image(contoso, "node", "1", tiny_image()))
    image, auth = "docker://contoso.azurecr.io/node:1", tmp_path / "none"
    assert skopeo("inspect", image, auth=auth).returncode != 0
    with ContainerRegistryClient(ENDPOINT, None) as nobody, pytest.raises(ClientAuthenticationError):
        nobody.get_tag_properties("node", "1")
    with arm_client() as arm:
        make(arm, "contoso", anonymous=True)
    assert skopeo("inspect", image, auth=auth).returncode == 0
    with ContainerRegistryClient(ENDPOINT, None) as nobody:
        assert nobody.get_tag_properties("node", "1").name == "1"
        with pytest.raises(ClientAuthenticationError):
            nobody.delete_tag("node", "1")


def test_docker_hub_is_pulled_from_by_anyone_and_pushed_to_by_nobody(
    live: LiveGateway, registries: Registries, tmp_path: Path
) -> None:
    digest = live.run(registries.seed_hub("library/node", "15-alpine", two_platforms()))
    image, auth = "docker://docker.io/library/node:15-alpine", tmp_path / "none"
    shown = skopeo("inspect", "--format", "{{.Digest}}", image, auth=auth)
    assert shown.stdout.strip() == digest, shown.stderr
    assert skopeo("list-tags", "docker://docker.io/library/node", auth=auth).returncode == 0
    assert skopeo("copy", image, "docker://docker.io/library/node:mine", auth=auth).returncode != 0


def test_any_account_of_docker_hub_may_pull_and_none_may_push(
    live: LiveGateway, registries: Registries, tmp_path: Path
) -> None:
    digest = live.run(registries.seed_hub("library/node", "15-alpine", two_platforms()))
    image, auth = "docker://docker.io/library/node:15-alpine", tmp_path / "none"
    shown = skopeo("inspect", "--creds", "someone:a-token", "--format", "{{.Digest}}", image, auth=auth)
    assert shown.stdout.strip() == digest, shown.stderr
    mine = "docker://docker.io/library/node:mine"
    assert skopeo("copy", "--dest-creds", "someone:a-token", image, mine, auth=auth).returncode != 0


def test_sigkill_of_a_registry_loses_nothing_that_was_pushed_and_clients_recover(
    registries: Registries, client: ContainerRegistryClient
) -> None:
    process = registries.at("contoso.azurecr.io").distribution
    digests = []
    for number in range(3):
        digests.append(push(client, f"before {number}"))
        pid = process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        digests.append(push(client, f"after {number}"))
        assert process.pid not in (None, pid)
    assert {manifest.digest for manifest in client.list_manifest_properties("team/app")} == set(digests)


def push(client: ContainerRegistryClient, text: str) -> str:
    """An image, pushed as the SDK does it."""
    image = tiny_image(text)
    for content, _ in image.blobs:
        client.upload_blob("team/app", io.BytesIO(content))
    return client.set_manifest("team/app", io.BytesIO(image.manifest.body), tag="latest")
