"""Registries: tags, locks, copies by digest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import HttpResponseError

from demo import scenario
from sandbox.testing import OciImage, OciIndex, tiny_image, two_platforms, until
from shared.adapters.registry_acr import AcrRegistry
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.domain.errors import Gone, Misconfigured, Rejected
from shared.domain.image import Digest, ImageRef, parse_repository
from shared.domain.policy import RegistryRule
from shared.ports import CopyStatus, RunStatus, TagState
from tests.contract.place import Place

NOWHERE = Digest("sha256:" + "0" * 64)


@pytest.fixture(scope="module")
def registry(place: Place, secrets: VaultCredentials) -> AcrRegistry:
    return AcrRegistry(place.credential, secrets)


def node(rule: RegistryRule, digest: Digest) -> ImageRef:
    return ImageRef(rule.login_server, parse_repository("node"), digest)


def copy(registry: AcrRegistry, place: Place, digest: Digest, name: str, source: RegistryRule) -> CopyStatus:
    """Copy to the base registry and wait for the outcome."""
    operation = registry.start_copy(node(source, digest), source, place.base, name)
    return until(lambda: ended(registry, place, operation))


def ended(registry: AcrRegistry, place: Place, operation: str) -> CopyStatus | None:
    status = registry.copy_status(place.base, operation)
    return status if status.state is not RunStatus.RUNNING else None


def test_a_tag_has_the_digest_that_was_pushed_last(place: Place, registry: AcrRegistry) -> None:
    assert registry.digest_of(place.team, "fresh", "1") is None
    first = place.push(place.team, "fresh", "1", tiny_image("first"))
    assert registry.digest_of(place.team, "fresh", "1") == first
    second = place.push(place.team, "fresh", "1", tiny_image("second"))
    assert registry.digest_of(place.team, "fresh", "1") == second != first
    assert registry.digest_of(place.team, "fresh", "2") is None


@pytest.mark.parametrize("credentials", ["registry-publicregistry", ""], ids=["with a token", "with its own identity"])
def test_a_copy_brings_the_index_and_every_platform_to_exactly_that_digest(
    place: Place, registry: AcrRegistry, credentials: str
) -> None:
    source = RegistryRule(name="public", server=place.public.login_server, id=place.public.id, credentials=credentials)
    image = two_platforms(f"copied {credentials}")
    digest = place.push(source, "node", "15-alpine", image)
    name = f"15-alpine-copy{len(credentials)}"
    assert copy(registry, place, digest, f"node:{name}", source) == CopyStatus(RunStatus.SUCCEEDED)
    assert registry.digest_of(place.base, "node", name) == digest
    for manifest in (image.manifest, *(part.manifest for part in image.images)):
        assert place.manifest(place.base, "node", manifest.digest) == manifest.body


def test_a_copy_from_docker_hub_needs_no_credentials(place: Place, registry: AcrRegistry) -> None:
    hub = RegistryRule(name="hub", server="docker.io")
    digest = place.hub_digest("library/node", "15-alpine")
    source = ImageRef(hub.login_server, parse_repository("library/node"), digest)
    operation = registry.start_copy(source, hub, place.base, "hub-node:15-alpine-h1")
    assert until(lambda: ended(registry, place, operation)) == CopyStatus(RunStatus.SUCCEEDED)
    assert registry.digest_of(place.base, "hub-node", "15-alpine-h1") == digest


def test_a_copy_takes_the_digest_even_where_the_tag_has_moved_on(place: Place, registry: AcrRegistry) -> None:
    tested = place.push(place.public, "node", "moving", tiny_image("tested"))
    place.push(place.public, "node", "moving", tiny_image("untested"))
    assert copy(registry, place, tested, "node:moving-c1", place.public).state is RunStatus.SUCCEEDED
    assert registry.digest_of(place.base, "node", "moving-c1") == tested


def test_a_copy_never_overwrites_a_tag(place: Place, registry: AcrRegistry) -> None:
    there = place.push(place.base, "node", "taken", tiny_image("there already"))
    other = place.push(place.public, "node", "other", tiny_image("other"))
    status = copy(registry, place, other, "node:taken", place.public)
    assert status.state is RunStatus.FAILED
    assert "already exists" in status.message
    assert registry.digest_of(place.base, "node", "taken") == there


def test_a_copy_of_an_image_that_is_gone_fails_and_says_so(place: Place, registry: AcrRegistry) -> None:
    status = copy(registry, place, NOWHERE, "node:gone", place.public)
    assert status.state is RunStatus.FAILED
    assert "not found" in status.message
    assert registry.digest_of(place.base, "node", "gone") is None


def test_a_copy_with_a_wrong_password_fails_and_keeps_it_to_itself(place: Place, registry: AcrRegistry) -> None:
    place.set_secrets(registry_wrong_user="registry-publicregistry-user", registry_wrong_password="0pen-sesame")
    source = RegistryRule(
        name="public", server=place.public.login_server, id=place.public.id, credentials="registry-wrong"
    )
    digest = place.push(place.public, "node", "guarded", tiny_image("guarded"))
    status = copy(registry, place, digest, "node:guarded", source)
    assert status.state is RunStatus.FAILED
    assert "Authentication failed" in status.message
    assert "0pen-sesame" not in status.message


def test_a_copy_needs_an_azure_registry_to_copy_to(place: Place, registry: AcrRegistry) -> None:
    hub = RegistryRule(name="hub", server="docker.io")
    with pytest.raises(Misconfigured, match="registry hub has no Azure resource id"):
        registry.start_copy(node(place.public, NOWHERE), place.public, hub, "node:1")


@pytest.mark.parametrize("image", [tiny_image("locked"), two_platforms("locked")], ids=["image", "index"])
def test_a_locked_tag_stays_and_its_manifest_can_still_be_tagged(
    place: Place, registry: AcrRegistry, image: OciImage | OciIndex
) -> None:
    repository = f"locked-{'index' if isinstance(image, OciIndex) else 'image'}"
    digest = place.push(place.base, repository, "1-c1", image)
    other = place.push(place.base, repository, "2-c2", tiny_image("other"))
    registry.lock(place.base, repository, "1-c1", digest)
    registry.lock(place.base, repository, "1-c1", digest)

    with pytest.raises(HttpResponseError):
        place.push(place.base, repository, "1-c1", tiny_image("other"))
    with pytest.raises(Rejected, match=rf"pointing .*{repository}:1-c1 at {other}"):
        registry.point(place.base, repository, "1-c1", other)
    with pytest.raises(HttpResponseError):
        place.registry(place.base).delete_tag(repository, "1-c1")
    with pytest.raises(HttpResponseError):
        place.registry(place.base).delete_manifest(repository, digest)

    registry.point(place.base, repository, "1", digest)
    registry.point(place.base, repository, "1", digest)
    assert registry.digest_of(place.base, repository, "1-c1") == digest
    assert registry.digest_of(place.base, repository, "1") == digest


@pytest.mark.parametrize(
    "image",
    [tiny_image("oci"), OciImage(b'{"os": "linux"}', ()), two_platforms("moved"), OciIndex((), "docker")],
    ids=["OCI image", "docker image", "OCI index", "docker list"],
)
def test_a_stable_tag_moves_byte_for_byte(
    place: Place, registry: AcrRegistry, image: OciImage | OciIndex, request: pytest.FixtureRequest
) -> None:
    repository = request.node.callspec.id.lower().replace(" ", "-")
    old = place.push(place.base, repository, "stable", tiny_image("old"))
    new = place.push(place.base, repository, "1-c1", image)
    registry.point(place.base, repository, "stable", new)
    assert registry.digest_of(place.base, repository, "stable") == new
    assert place.manifest(place.base, repository, "stable") == image.manifest.body
    registry.point(place.base, repository, "stable", old)
    assert registry.digest_of(place.base, repository, "stable") == old


def test_a_tag_cannot_point_at_a_digest_that_is_not_there(place: Place, registry: AcrRegistry) -> None:
    place.push(place.base, "pointed", "stable", tiny_image("here"))
    with pytest.raises(Rejected, match=rf"{NOWHERE} is not in {place.base.login_server}/pointed"):
        registry.point(place.base, "pointed", "stable", NOWHERE)
    with pytest.raises(Rejected, match=rf"{NOWHERE} is not in {place.base.login_server}/no-such"):
        registry.point(place.base, "no-such", "stable", NOWHERE)


def test_a_tag_tells_whether_it_is_locked(place: Place, registry: AcrRegistry) -> None:
    digest = place.push(place.team, "locks", "1", tiny_image("to lock"))
    assert registry.tag_state(place.team, "locks", "1") == TagState(digest, locked=False)
    registry.lock(place.team, "locks", "1", digest)
    assert registry.tag_state(place.team, "locks", "1") == TagState(digest, locked=True)
    assert registry.tag_state(place.team, "locks", "2") is None


def test_a_locked_tag_is_removed_once_it_is_unlocked_and_its_manifest_when_that_is_too(
    place: Place, registry: AcrRegistry
) -> None:
    digest = place.push(place.team, "unlocks", "1", tiny_image("to unlock"))
    registry.lock(place.team, "unlocks", "1", digest)
    with pytest.raises(Rejected, match="unlocks:1"):
        registry.remove_tag(place.team, "unlocks", "1")
    registry.unlock(place.team, "unlocks", "1", None)
    registry.remove_tag(place.team, "unlocks", "1")
    assert registry.tag_state(place.team, "unlocks", "1") is None
    with pytest.raises(HttpResponseError):
        place.registry(place.team).delete_manifest("unlocks", digest)
    for _ in range(2):  # the tag is gone
        registry.unlock(place.team, "unlocks", "1", digest)
    place.registry(place.team).delete_manifest("unlocks", digest)
    registry.unlock(place.team, "unlocks", "1", digest)
    registry.unlock(place.team, "never", "1", digest)


def test_the_newest_tags_come_first_and_no_more_than_asked_for(place: Place, registry: AcrRegistry) -> None:
    digests = {tag: place.push(place.team, "newest", tag, tiny_image(f"newest {tag}")) for tag in ("cb", "ca", "cc")}
    newest = registry.newest_tags(place.team, "newest", 2)
    assert [(tag.tag, tag.digest) for tag in newest] == [("cc", digests["cc"]), ("ca", digests["ca"])]
    assert newest[0].pushed_at >= newest[1].pushed_at
    assert registry.newest_tags(place.team, "nowhere", 2) == []


def test_a_digest_that_is_gone_cannot_be_pointed_at(place: Place, registry: AcrRegistry) -> None:
    place.push(place.team, "gone", "1", tiny_image("gone"))
    with pytest.raises(Gone, match=r"is not in contoso\.azurecr\.io/gone"):
        registry.point(place.team, "gone", "1", NOWHERE)


def test_the_next_password_of_a_token_to_expire_is_told(
    place: Place, registry: AcrRegistry, secrets: VaultCredentials
) -> None:
    now, (token, _) = datetime.now(UTC), secrets.credentials(place.public)
    assert registry.token_expiry(place.public, token, now) is None
    soon = now + timedelta(days=2)
    scope = scenario.registry_id(scenario.PUBLIC)
    body = {"tokenId": f"{scope}/tokens/{token}", "name": "password2", "expiry": soon.isoformat()}
    place.azure.post(f"{scope}/generateCredentials", "2025-11-01", body)
    expiry = registry.token_expiry(place.public, token, now)
    assert expiry is not None
    assert abs(expiry - soon) < timedelta(seconds=2)
    assert registry.token_expiry(place.public, token, soon + timedelta(days=1)) is None
    assert registry.token_expiry(place.public, "nobody", now) is None
