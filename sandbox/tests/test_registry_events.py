from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from azure.containerregistry import ContainerRegistryClient
from azure.identity import DefaultAzureCredential
from azure.mgmt.containerregistry import models as m

from sandbox.registry import Push, Registries, RegistryRecord, to_event
from sandbox.testing import tiny_image, two_platforms
from sandbox.tests.live import LiveGateway
from sandbox.tests.registry_support import GROUP, arm_client, skopeo

SCHEMA = Path(__file__).with_name("image_pushed.schema.json")


@pytest.fixture
def pushes(registries: Registries) -> list[Push]:
    seen: list[Push] = []

    async def listen(push: Push) -> None:
        seen.append(push)

    registries.on_push.append(listen)
    return seen


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it did not come to pass within 5 s"
        time.sleep(0.01)


def login(registries: Registries, auth: Path, actor: str) -> None:
    user, password = registries.issue_login("contoso.azurecr.io", actor=actor, repositories={"*": ("pull", "push")})
    assert skopeo("login", "-u", user, "-p", password, "contoso.azurecr.io", auth=auth).returncode == 0


def test_a_push_of_two_platforms_tells_of_the_untagged_children_and_then_of_the_tagged_index(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, pushes: list[Push], tmp_path: Path
) -> None:
    digest = live.run(registries.seed_hub("library/node", "15-alpine", two_platforms()))
    login(registries, tmp_path / "auth", "run ca4")
    target = "docker://contoso.azurecr.io/node:15-alpine"
    source = "docker://docker.io/library/node:15-alpine"
    copied = skopeo("copy", "--all", "--preserve-digests", source, target, auth=tmp_path / "auth")
    assert copied.returncode == 0, copied.stderr
    eventually(lambda: len(pushes) == 3)
    assert [push.tag for push in pushes] == [None, None, "15-alpine"]
    assert {push.actor for push in pushes} == {"run ca4"}
    assert pushes[-1].digest == digest
    assert pushes[-1].media_type == "application/vnd.oci.image.index.v1+json"
    event = to_event(pushes[-1])
    assert (event.subject, event.event_type) == ("node:15-alpine", "Microsoft.ContainerRegistry.ImagePushed")
    assert event.data["target"]["tag"] == "15-alpine"
    assert event.data["target"]["size"] == event.data["target"]["length"] == len(two_platforms().manifest.body)
    assert event.data["request"]["host"] == "contoso.azurecr.io"
    assert event.data["request"]["method"] == "PUT"
    assert event.data["request"]["useragent"].startswith("skopeo")
    assert to_event(pushes[0]).subject == "node"


def test_a_deleted_manifest_is_told_without_a_tag_and_a_removed_tag_not_at_all(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, pushes: list[Push]
) -> None:
    digest = live.run(registries.push_image(contoso, "node", "1", tiny_image()))
    live.run(registries.push_image(contoso, "node", "2", tiny_image()))
    with (
        DefaultAzureCredential() as credential,
        ContainerRegistryClient("https://contoso.azurecr.io", credential) as client,
    ):
        client.delete_tag("node", "1")
        client.delete_manifest("node", digest)
    eventually(lambda: len(pushes) == 3)
    event = to_event(pushes[-1])
    assert (event.subject, event.event_type) == ("node", "Microsoft.ContainerRegistry.ImageDeleted")
    assert event.data["target"] == {
        "mediaType": tiny_image().manifest.media_type,
        "digest": digest,
        "repository": "node",
    }
    assert event.data["request"]["method"] == "DELETE"


def test_an_import_is_a_push_too(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, pushes: list[Push]
) -> None:
    digest = live.run(registries.seed_hub("library/node", "15-alpine", two_platforms()))
    source = m.ImportSource(registry_uri="docker.io", source_image=f"library/node@{digest}")
    with arm_client() as arm:
        body = m.ImportImageParameters(source=source, target_tags=["node:15-alpine"])
        arm.registries.begin_import_image(GROUP, "contoso", body).result()
    eventually(lambda: len(pushes) == 3)
    assert [(push.tag, push.digest) for push in pushes][-1] == ("15-alpine", digest)


def test_a_listener_that_fails_keeps_nothing_from_the_others(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, pushes: list[Push]
) -> None:
    async def fail(push: Push) -> None:
        raise RuntimeError(push.repository)

    registries.on_push.insert(0, fail)
    live.run(registries.push_image(contoso, "node", "1", tiny_image()))
    eventually(lambda: len(pushes) == 1)


def test_event_data_is_as_specified(
    live: LiveGateway, registries: Registries, contoso: RegistryRecord, pushes: list[Push]
) -> None:
    live.run(registries.push_image(contoso, "node", "1", tiny_image()))
    eventually(lambda: len(pushes) == 1)
    jsonschema.validate(to_event(pushes[0]).data, json.loads(SCHEMA.read_text()))
