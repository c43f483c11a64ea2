"""Container groups with real containers."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest

from demo import scenario
from sandbox.testing import OciImage, shell_image, until
from shared.adapters.containers_aci import AciContainerRunner
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.domain.errors import NeedsRecreation, Rejected, Retry, Transitioning
from shared.domain.image import Digest
from shared.domain.rollout import BuiltImage
from shared.domain.targets.aci import AciRule
from shared.ports import DeploymentState
from tests.contract.place import Place

pytestmark = pytest.mark.containers

NOWHERE = Digest("sha256:" + "0" * 64)


class Groups:
    """The runner, one group, and images for it."""

    def __init__(self, place: Place, secrets: VaultCredentials) -> None:
        self._place = place
        self.runner = AciContainerRunner(place.credential, secrets)

    def rule(self, name: str, **changes: object) -> AciRule:
        rule = AciRule(
            name=name,
            resource_group=scenario.CONTAINER_GROUP_RG,
            subscription=scenario.SUBSCRIPTION,
            cpu=0.5,
            memory_gb=0.25,
            environment={"GREETING": "Hello", "STAND_IN": "contract"},
        )
        return msgspec.structs.replace(rule, **changes)

    def image(self, tag: str, image: OciImage) -> BuiltImage:
        digest = self._place.push(self._place.team, "hello-world", tag, image)
        return self.named(tag, digest)

    def named(self, tag: str, digest: Digest = NOWHERE) -> BuiltImage:
        server = self._place.team.login_server
        return BuiltImage(
            login_server=server, repository="hello-world", tag=tag, digest=digest, built_at=datetime.now(UTC)
        )

    def put(self, rule: AciRule, image: BuiltImage) -> None:
        self.runner.put(rule, image, self._place.team)

    def settled(self, rule: AciRule) -> DeploymentState:
        """The group once it runs or has failed."""

        def poll() -> DeploymentState | None:
            state = self.runner.get(rule)
            return state if state and (state.running or state.failed) else None

        return until(poll)

    def identity(self) -> str:
        return self._place.make_identity(scenario.CONTAINER_GROUP_RG, "puller")


@pytest.fixture(scope="module")
def groups(place: Place, secrets: VaultCredentials) -> Iterator[Groups]:
    groups = Groups(place, secrets)
    yield groups
    for name in ("page", "page-by-identity", "once", "unpulled"):
        groups.runner.delete(groups.rule(name))


def page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/", timeout=2) as answer:
        return str(answer.read().decode())


def test_a_group_is_put_shown_updated_in_place_and_deleted(groups: Groups) -> None:
    rule = groups.rule("page")
    orange = groups.image("c1", shell_image(BACKGROUND_COLOR="Orange"))
    green = groups.image("c2", shell_image(BACKGROUND_COLOR="Green"))
    assert groups.runner.get(rule) is None

    groups.put(rule, orange)
    with pytest.raises(Transitioning, match=r"deploying .*hello-world:c2 to page: 409 ContainerGroupTransitioning"):
        groups.put(rule, green)
    first = groups.settled(rule)
    assert first == DeploymentState(image=orange.reference, running=True, address=first.address)
    assert first.address.endswith(":80")
    until(lambda: "Orange" in page(first.address))

    groups.put(rule, green)
    assert until(lambda: _running(groups, rule, green)).address == first.address
    until(lambda: "Green" in page(first.address))

    with pytest.raises(NeedsRecreation, match=r"page: .*you must delete it first"):
        groups.put(groups.rule("page", cpu=0.25), green)
    groups.runner.delete(rule)
    assert groups.runner.get(rule) is None
    groups.runner.delete(rule)

    groups.put(groups.rule("page", cpu=0.25), green)
    assert groups.settled(rule).running


def test_a_group_can_pull_with_an_identity_of_its_own(groups: Groups) -> None:
    rule = groups.rule("page-by-identity", identity=groups.identity(), dns_label="page-by-identity")
    image = groups.image("c3", shell_image(BACKGROUND_COLOR="Red"))
    groups.put(rule, image)
    state = groups.settled(rule)
    assert state.running
    until(lambda: "Red" in page(state.address))


def test_an_identity_that_is_not_there_is_refused(groups: Groups) -> None:
    rule = groups.rule("refused", identity=groups.identity() + "-not")
    with pytest.raises(Rejected, match="puller-not"):
        groups.put(rule, groups.named("c1"))
    assert groups.runner.get(rule) is None


def test_an_image_that_cannot_be_pulled_is_tried_again(groups: Groups) -> None:
    rule = groups.rule("unpulled")
    with pytest.raises(Retry, match=r"contoso\.azurecr\.io/hello-world:gone could not be pulled"):
        groups.put(rule, groups.named("gone"))
    assert groups.runner.get(rule) is None


def test_a_container_that_ends_for_good_has_failed_with_its_exit_code(groups: Groups) -> None:
    rule = groups.rule("once", restart="Never")
    groups.put(rule, groups.image("c4", shell_image(["/bin/sh", "-c", "exit 7"])))

    def failed() -> DeploymentState | None:
        state = groups.runner.get(rule)
        return state if state and state.failed else None

    state = until(failed)
    assert not state.running
    assert state.detail.startswith("terminated; exit code 7")


def _running(groups: Groups, rule: AciRule, image: BuiltImage) -> DeploymentState | None:
    state = groups.runner.get(rule)
    return state if state and state.running and state.image == image.reference else None
