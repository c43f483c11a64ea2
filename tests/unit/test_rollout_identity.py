"""Which run built an app's image, which of two images is newer, and that what is deployed is these bytes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from shared.domain.errors import NotFound
from shared.domain.image import Digest
from shared.domain.policy import BaseRule, Policy
from shared.domain.rollout import BuiltImage, Cause, Rollout, RolloutState
from shared.operations import Who
from shared.ports import OutputImage, Run
from shared.rules import InvalidGates, parse_gates
from tests.fakes import World, digest, sample_policy

ORANGE, GREEN, EVIL = digest("orange"), digest("green"), digest("evil")
GROUP = "hello-world-aci"
ROOT = Path(__file__).parents[2]
ON_TWO_TAGS = ("15-alpine", "16-alpine")


def world_with(content: Digest = ORANGE, policy: Policy | None = None) -> World:
    """A world whose app is live on a promoted base."""
    world = World(policy or sample_policy())
    promote(world, content)
    return world


def promote(world: World, content: Digest, tag: str = "15-alpine") -> None:
    world.push(tag, content)
    world.settle()
    world.clock.forward(60)


def test_the_rules_say_by_tag_with_one_key() -> None:
    sample = (ROOT / "gates.sample.yaml").read_text(encoding="utf-8")
    image = 'image: "hello-world:{run}"'
    assert image in sample
    assert parse_gates(sample).apps["hello-world"].build.output == "listed"
    assert parse_gates(sample.replace(image, f"{image}, output: by-tag")).apps["hello-world"].build.output == "by-tag"
    with pytest.raises(InvalidGates, match="output"):
        parse_gates(sample.replace(image, f"{image}, output: anything"))


def by_tag() -> Policy:
    app = sample_policy().apps["hello-world"]
    build = msgspec.structs.replace(app.build, output="by-tag")
    return sample_policy(apps={"hello-world": msgspec.structs.replace(app, build=build)})


def live_image(world: World) -> BuiltImage:
    live = world.app().live
    assert live
    return live


def images(world: World) -> list[Rollout]:
    return [rollout for rollout in world.rollouts() if rollout.cause is Cause.IMAGE]


def push_image(world: World, tag: str, content: Digest) -> Rollout:
    """Somebody pushes an image under a tag of the app; returns its rollout, settled."""
    world.push(tag, content, registry="team", repository="hello-world")
    world.settle()
    return images(world)[-1]


def sweeps(world: World, times: int) -> None:
    for _ in range(times):
        world.clock.forward(300)
        world.sweep_now()
        world.settle()


def test_an_image_names_its_registry_its_run_and_its_base() -> None:
    live = live_image(world_with())
    assert (live.login_server, live.run_id) == ("contoso.azurecr.io", "ct1")
    assert live.base is not None
    assert live.base.digest == ORANGE


def test_equal_run_ids_of_two_registries_are_two_runs() -> None:
    world = World()
    world.tasks.prefixes = {"base": "ca", "team": "ca"}
    promote(world, ORANGE)
    assert (live_image(world).tag, live_image(world).digest) == ("ca1", world.tasks.pushed_by("ca1"))
    assert world.candidate(ORANGE).checks[0].run_id == "ca1"
    assert {run.registry for run in world.tasks.runs.values()} == {"base", "team"}


def test_an_image_pushed_beside_the_app_s_task_under_the_tag_of_another_run_is_not_deployed() -> None:
    world = world_with()
    other = world.tasks.start(world.services.registry_rule("team"), "some-other-task", {}, "x")
    world.clock.forward(10)
    rollout = push_image(world, other, EVIL)
    assert (rollout.state, live_image(world).digest) == (RolloutState.CANCELED, world.tasks.pushed_by("ct1"))
    assert "some-other-task" in rollout.reason


def test_an_image_pushed_over_the_tag_of_a_run_of_the_app_s_task_is_not_deployed() -> None:
    world = world_with()
    run_id = world.tasks.start(world.services.registry_rule("team"), "hello-world", {}, "a commit")
    world.clock.forward(10)
    world.tasks.get(world.services.registry_rule("team"), run_id)
    rollout = push_image(world, run_id, EVIL)
    assert (rollout.state, rollout.image and rollout.image.digest) == (RolloutState.CANCELED, EVIL)
    assert "does not list" in rollout.reason


def test_an_image_that_was_refused_cannot_be_named_by_an_operator_either() -> None:
    world = world_with()
    other = world.tasks.start(world.services.registry_rule("team"), "some-other-task", {}, "x")
    world.clock.forward(10)
    push_image(world, other, EVIL)
    with pytest.raises(NotFound):
        world.operate.apps.redeploy("hello-world", other, Who("op", "because"))


def test_an_image_under_a_tag_that_names_no_run_is_not_deployed() -> None:
    world = world_with()
    world.registry.tags[("team", "hello-world:dev")] = EVIL
    event = world.event("dev", EVIL, registry="team", repository="hello-world")
    del world.tasks.others["dev"]
    world.deliver(event)
    world.settle()
    assert images(world)[-1].state is RolloutState.CANCELED
    assert images(world)[-1].reason == "dev does not name a run of contoso.azurecr.io"


def test_what_an_event_says_of_an_image_is_not_believed() -> None:
    world = world_with()
    world.registry.tags[("team", "hello-world:ct9")] = digest("app by commit")
    world.deliver(world.event("ct9", EVIL, registry="team", repository="hello-world"))
    world.settle()
    assert live_image(world).digest == digest("app by commit")


def test_an_image_is_waited_for_while_its_run_goes_on() -> None:
    world = world_with()
    world.tasks.seconds = 45
    run_id = world.tasks.start(world.services.registry_rule("team"), "hello-world", {}, "a commit")
    assert push_image(world, run_id, digest("app by commit")).state is RolloutState.LIVE


def test_a_build_whose_outputs_are_listed_late_is_waited_for() -> None:
    world = World()
    world.tasks.unlisted = True
    world.push("15-alpine", ORANGE)
    world.pass_time(30)
    assert world.rollouts()[-1].state is RolloutState.BUILDING
    world.tasks.unlisted = False
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.LIVE
    assert world.rollouts()[-1].stall is None


def test_a_build_whose_outputs_are_never_listed_fails_and_names_the_key_to_set() -> None:
    world = World()
    world.tasks.unlisted = True
    world.push("15-alpine", ORANGE)
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.FAILED
    assert "set `build: {output: by-tag}`" in world.rollouts()[-1].reason


def test_by_tag_accepts_what_was_pushed_during_the_run_and_pins_it() -> None:
    world = World(by_tag())
    world.tasks.unlisted = True
    promote(world, ORANGE)
    live = live_image(world)
    assert (live.digest, world.containers.groups[GROUP][0]) == (world.tasks.pushed_by("ct1"), live.reference)


@pytest.mark.parametrize("seconds", [-60, 5])
def test_by_tag_does_not_accept_what_was_pushed_outside_the_run(seconds: float) -> None:
    world = World(by_tag())
    world.tasks.unlisted = True
    world.push("15-alpine", ORANGE)
    while "ct1" not in world.tasks.runs:
        world.next_item()
    get, place = world.tasks.get, ("team", "hello-world:ct1")

    def overwritten(registry: object, run_id: str) -> Run | None:
        run = get(registry, run_id)  # type: ignore[arg-type]
        if run is not None and run.finished_at is not None and run_id == "ct1":
            world.registry.tags[place] = EVIL
            world.registry.pushed[place] = run.finished_at + timedelta(seconds=seconds)
        return run

    world.tasks.get = overwritten  # type: ignore[method-assign]
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.FAILED
    assert "not last updated while it ran" in world.rollouts()[-1].reason


def test_an_output_in_another_repository_or_registry_does_not_count() -> None:
    world = world_with()
    get = world.tasks.get

    def elsewhere(registry: object, run_id: str) -> Run | None:
        run = get(registry, run_id)  # type: ignore[arg-type]
        outputs = (
            OutputImage("contoso.azurecr.io", "other", "ct9", EVIL),
            OutputImage("evil.azurecr.io", "hello-world", "ct9", EVIL),
        )
        return msgspec.structs.replace(run, outputs=outputs) if run else None

    world.tasks.get = elsewhere  # type: ignore[method-assign]
    assert push_image(world, "ct9", EVIL).state is RolloutState.CANCELED


def test_a_live_tag_that_was_overwritten_is_deployed_again_as_the_bytes_it_was() -> None:
    world = world_with()
    live = live_image(world)
    world.registry.tags[("team", f"hello-world:{live.tag}")] = EVIL
    world.containers.groups.clear()
    sweeps(world, 2)
    assert world.containers.groups[GROUP][0] == live.reference
    assert world.app().live == live


def test_an_image_that_no_event_told_of_is_found_by_the_sweep_and_held_to_the_same_rule() -> None:
    world = world_with()
    world.tasks.others["ct8"] = world.clock.now()
    world.registry.tags[("team", "hello-world:ct8")] = digest("commit")
    world.registry.pushed[("team", "hello-world:ct8")] = world.clock.now()
    sweeps(world, 1)
    assert live_image(world).digest == digest("commit")
    world.registry.tags[("team", "hello-world:ct9")] = EVIL
    world.registry.pushed[("team", "hello-world:ct9")] = world.clock.now()
    sweeps(world, 2)
    assert [rollout.state for rollout in images(world)] == [RolloutState.LIVE, RolloutState.CANCELED]
    assert live_image(world).digest == digest("commit")


def test_a_rollback_is_not_undone_by_the_sweep_for_an_older_image_that_no_event_told_of() -> None:
    world = world_with()
    first = live_image(world)
    world.tasks.others["cz9"] = world.clock.now()
    world.registry.tags[("team", "hello-world:cz9")] = digest("commit")
    world.registry.pushed[("team", "hello-world:cz9")] = world.clock.now()
    world.clock.forward(60)
    promote(world, GREEN)
    world.operate.apps.roll_back("hello-world", Who("op", "because")).act()
    world.settle()
    sweeps(world, 3)
    assert world.app().live == first


def two_bases(tag: str = "15-alpine") -> Policy:
    policy = sample_policy()
    gate = policy.gates["node"]
    gate = msgspec.structs.replace(gate, source=msgspec.structs.replace(gate.source, tags=ON_TWO_TAGS))
    app = msgspec.structs.replace(policy.apps["hello-world"], base=BaseRule(gate="node", tag=tag))
    return sample_policy(gates={"node": gate}, apps={"hello-world": app})


def test_an_app_whose_base_rule_changed_there_and_back_stands_on_what_the_rule_says() -> None:
    world = World(two_bases())
    promote(world, GREEN, "16-alpine")
    promote(world, ORANGE)
    for tag, content in (("16-alpine", GREEN), ("15-alpine", ORANGE), ("16-alpine", GREEN)):
        world.use(two_bases(tag))
        sweeps(world, 3)
        base = live_image(world).base
        assert base is not None
        assert base.digest == content
    assert len({rollout.name for rollout in world.rollouts()}) == 4


def test_the_same_move_told_again_is_one_rollout_and_a_later_move_to_the_same_digest_another() -> None:
    world = world_with()
    promote(world, GREEN)
    promote(world, ORANGE)
    world.pass_time(3600)
    sweeps(world, 3)
    assert [r.base and r.base.digest for r in world.rollouts()] == [ORANGE, GREEN, ORANGE]
    assert [r.base_move for r in world.rollouts()] == [1, 2, 3]


def test_the_order_of_images_is_that_of_their_runs_and_not_of_their_events() -> None:
    world = world_with()
    team = world.services.registry_rule("team")
    older = world.tasks.start(team, "hello-world", {}, "a commit")
    world.clock.forward(1)
    newer = world.tasks.start(team, "hello-world", {}, "another commit")
    world.clock.forward(60)
    assert push_image(world, newer, world.tasks.pushed_by(newer)).state is RolloutState.LIVE
    assert push_image(world, older, world.tasks.pushed_by(older)).state is RolloutState.SUPERSEDED
    assert live_image(world).tag == newer
