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


class Stage:
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

        def look() -> DeploymentState | None:
            state = self.runner.get(rule)
            return state if state and (state.running or state.failed) else None

        return until(look)

    def identity(self) -> str:
        return self._place.make_identity(scenario.CONTAINER_GROUP_RG, "puller")


@pytest.fixture(scope="module")
def stage(place: Place, secrets: VaultCredentials) -> Iterator[Stage]:
    stage = Stage(place, secrets)
    yield stage
    for name in ("page", "page-by-identity", "once", "unpulled"):
        stage.runner.delete(stage.rule(name))


def page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/", timeout=2) as answer:
        return str(answer.read().decode())


def test_a_group_is_put_shown_updated_in_place_and_deleted(stage: Stage) -> None:
    rule = stage.rule("page")
    orange = stage.image("c1", shell_image(BACKGROUND_COLOR="Orange"))
    green = stage.image("c2", shell_image(BACKGROUND_COLOR="Green"))
    assert stage.runner.get(rule) is None

    stage.put(rule, orange)
    with pytest.raises(Transitioning, match=r"deploying .*hello-world:c2 to page: 409 ContainerGroupTransitioning"):
        stage.put(rule, green)
    first = stage.settled(rule)
    assert first == DeploymentState(image=orange.reference, running=True, address=first.address)
    assert first.address.endswith(":80")
    until(lambda: "Orange" in page(first.address))

    stage.put(rule, green)
    assert until(lambda: _running(stage, rule, green)).address == first.address
    until(lambda: "Green" in page(first.address))

    with pytest.raises(NeedsRecreation, match=r"page: .*you must delete it first"):
        stage.put(stage.rule("page", cpu=0.25), green)
    stage.runner.delete(rule)
    assert stage.runner.get(rule) is None
    stage.runner.delete(rule)

    stage.put(stage.rule("page", cpu=0.25), green)
    assert stage.settled(rule).running


def test_a_group_can_pull_with_an_identity_of_its_own(stage: Stage) -> None:
    rule = stage.rule("page-by-identity", identity=stage.identity(), dns_label="page-by-identity")
    image = stage.image("c3", shell_image(BACKGROUND_COLOR="Red"))
    stage.put(rule, image)
    state = stage.settled(rule)
    assert state.running
    until(lambda: "Red" in page(state.address))


def test_an_identity_that_is_not_there_is_refused(stage: Stage) -> None:
    rule = stage.rule("refused", identity=stage.identity() + "-not")
    with pytest.raises(Rejected, match="puller-not"):
        stage.put(rule, stage.named("c1"))
    assert stage.runner.get(rule) is None


def test_an_image_that_cannot_be_pulled_is_tried_again(stage: Stage) -> None:
    rule = stage.rule("unpulled")
    with pytest.raises(Retry, match=r"contoso\.azurecr\.io/hello-world:gone could not be pulled"):
        stage.put(rule, stage.named("gone"))
    assert stage.runner.get(rule) is None


def test_a_container_that_ends_for_good_has_failed_with_its_exit_code(stage: Stage) -> None:
    rule = stage.rule("once", restart="Never")
    stage.put(rule, stage.image("c4", shell_image(["/bin/sh", "-c", "exit 7"])))

    def failed() -> DeploymentState | None:
        state = stage.runner.get(rule)
        return state if state and state.failed else None

    state = until(failed)
    assert not state.running
    assert state.detail.startswith("terminated; exit code 7")


def _running(stage: Stage, rule: AciRule, image: BuiltImage) -> DeploymentState | None:
    state = stage.runner.get(rule)
    return state if state and state.running and state.image == image.reference else None
