"""A rollout's whole life: build, deploy, verify, put back."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from shared.domain.errors import NeedsRecreation, Rejected, Transitioning
from shared.domain.policy import DeployRule
from shared.domain.record import WorkItem
from shared.domain.rollout import AppRecord, BuiltImage, Cause, Rollout, RolloutState
from shared.ports import DeploymentState
from tests.fakes import ProcessDied, World, digest

ORANGE, GREEN = digest("orange"), digest("green")


def world_with(content: str = "green") -> World:
    """A world whose app is live on a promoted base."""
    world = World()
    world.push("15-alpine", digest(content))
    world.settle()
    world.clock.forward(60)
    return world


def test_a_promotion_rebuilds_and_redeploys_what_stands_on_it() -> None:
    world = world_with()
    rollout = world.rollouts()[0]
    assert (rollout.cause, rollout.state) == (Cause.BASE, RolloutState.LIVE)
    build = world.tasks.runs["ct1"]
    assert build.values["BASE_IMAGE"] == f"contosobaseartifacts.azurecr.io/node@{GREEN}"
    assert world.containers.puts == ["contoso.azurecr.io/hello-world:ct1"]
    assert "RolloutLive" in world.announcer.names


def test_an_app_is_deployed_by_digest() -> None:
    world = world_with()
    ((image, _),) = world.containers.groups.values()
    assert image == f"contoso.azurecr.io/hello-world@{world.tasks.pushed_by('ct1')}"


def test_a_process_that_dies_right_after_it_started_a_build_adopts_that_build() -> None:
    world = World()

    def die_on_run_id(record: object) -> None:
        if isinstance(record, Rollout) and record.build.run_id:
            world.ledger.before_save = None
            raise ProcessDied

    world.ledger.before_save = die_on_run_id
    world.push("15-alpine", GREEN)
    world.settle_while_crashing()
    (rollout,) = world.rollouts()
    assert [run.run_id for run in world.tasks.runs.values() if run.registry == "team"] == ["ct1"]
    assert "run adopted" in [entry.what for entry in rollout.history]
    assert (rollout.state, world.containers.puts) == (RolloutState.LIVE, ["contoso.azurecr.io/hello-world:ct1"])


def test_a_process_that_dies_before_it_sent_the_planned_message_of_a_rollout_leaves_that_to_the_next() -> None:
    world = World()
    send = world.queue.send

    def die(item: WorkItem, wait_seconds: float) -> None:
        if item.kind == "rollout":
            world.queue.send = send  # type: ignore[method-assign]
            raise ProcessDied
        send(item, wait_seconds)

    world.queue.send = die  # type: ignore[method-assign]
    world.push("15-alpine", GREEN)
    world.settle_while_crashing()
    (rollout,) = world.rollouts()
    assert world.queue.send == send, "it died"
    assert (rollout.state, len(world.tasks.runs)) == (RolloutState.LIVE, 2)


def test_the_push_of_its_own_build_is_an_echo() -> None:
    world = world_with()
    world.push("ct1", world.tasks.pushed_by("ct1"), registry="team", repository="hello-world")
    world.settle()
    assert len(world.rollouts()) == 1


def test_an_image_that_someone_else_pushed_is_deployed_without_a_build() -> None:
    world = world_with()
    runs = len(world.tasks.runs)
    commit = digest("app by commit")
    world.push("ct9", commit, registry="team", repository="hello-world")
    world.settle()
    assert len(world.tasks.runs) == runs
    assert world.containers.puts[-1] == "contoso.azurecr.io/hello-world:ct9"
    live = world.app().live
    assert live and live.digest == commit


def test_the_same_push_told_twice_is_one_rollout() -> None:
    world = world_with()
    world.push("ct9", digest("app"), registry="team", repository="hello-world")
    world.deliver(world.events[-1])
    world.settle()
    assert len(world.rollouts()) == 2
    assert world.containers.puts.count("contoso.azurecr.io/hello-world:ct9") == 1


def test_an_image_that_is_not_healthy_is_put_back_to_the_last_good_one() -> None:
    world = world_with()
    world.probe.sick["ct9"] = "HTTP 500"
    world.push("ct9", digest("broken"), registry="team", repository="hello-world")
    world.settle()
    rollout = world.rollouts()[-1]
    assert rollout.state is RolloutState.RESTORED
    assert "HTTP 500" in rollout.reason
    assert world.containers.puts[-1] == "contoso.azurecr.io/hello-world:ct1"
    assert "RolloutRestored" in world.announcer.names
    live = world.app().live
    assert live and live.tag == "ct1"


def test_a_container_that_restarts_in_a_loop_is_put_back_at_once() -> None:
    world = world_with()
    world.containers.crashing.add("contoso.azurecr.io/hello-world:ct9")
    world.push("ct9", digest("crashing"), registry="team", repository="hello-world")
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.RESTORED
    assert "it restarts in a loop, 5 times so far" in world.rollouts()[-1].reason


def test_the_first_deployment_has_nothing_to_go_back_to_and_says_so() -> None:
    world = World()
    world.probe.sick["hello-world"] = "HTTP 500"
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.rollouts()[0].state is RolloutState.FAILED
    assert "no earlier image" in world.rollouts()[0].reason
    assert world.stable_tag() == GREEN


def test_a_last_good_image_that_is_sick_too_is_told_as_a_failure() -> None:
    world = world_with()
    world.probe.sick["hello-world"] = "HTTP 503"
    world.push("ct9", digest("broken"), registry="team", repository="hello-world")
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.FAILED
    assert "not healthy either" in world.rollouts()[-1].reason


def test_a_build_that_fails_leaves_the_page_alone_and_shows_the_log_line() -> None:
    world = world_with("orange")
    puts = list(world.containers.puts)
    world.tasks.failing["hello-world"] = "npm ERR! code ENOENT\nError: no such file server.js"
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.FAILED
    assert "no such file server.js" in world.rollouts()[-1].reason
    assert world.containers.puts == puts


def test_a_group_that_is_still_transitioning_is_waited_for_without_counting_as_a_failure() -> None:
    world = world_with("orange")
    world.containers.faults = [Transitioning("still transitioning", delay_seconds=3)] * 12
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.LIVE


def test_a_change_that_needs_delete_and_create_is_done_so_and_said() -> None:
    world = world_with("orange")
    world.containers.faults = [NeedsRecreation("cpu cannot be updated")]
    world.push("15-alpine", GREEN)
    world.settle()
    rollout = world.rollouts()[-1]
    assert world.containers.deleted == ["hello-world-aci"]
    assert rollout.state is RolloutState.LIVE
    assert any("deleted and created again" in entry.why for entry in rollout.history)


def test_a_definition_that_is_refused_fails_the_rollout() -> None:
    world = world_with("orange")
    world.containers.faults = [Rejected("InaccessibleImage")]
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.FAILED


def test_rollouts_of_one_app_take_turns() -> None:
    world = world_with("orange")
    world.containers.seconds = 4
    world.push("15-alpine", GREEN)
    world.push("ct9", digest("app by commit"), registry="team", repository="hello-world")
    world.settle()
    assert {rollout.state for rollout in world.rollouts()} <= {RolloutState.LIVE, RolloutState.SUPERSEDED}


def commit_build(world: World) -> str:
    """A build of the app that a commit triggered; its push is not told yet."""
    app = world.policy.apps["hello-world"]
    return world.tasks.start(world.policy.registries["team"], app.build.task, {}, "a commit")


def test_an_image_built_before_a_later_build_went_live_is_superseded() -> None:
    world = world_with("orange")
    run_id = commit_build(world)
    world.clock.forward(1)
    world.push("15-alpine", GREEN)
    world.settle()
    world.push(run_id, world.tasks.pushed_by(run_id), registry="team", repository="hello-world")
    world.settle()
    rollout = next(r for r in world.rollouts() if r.cause is Cause.IMAGE)
    assert rollout.state is RolloutState.SUPERSEDED


def test_an_image_built_before_the_base_moved_is_built_again_on_the_new_base() -> None:
    world = world_with("orange")
    run_id = commit_build(world)
    world.clock.forward(1)
    world.tasks.failing["hello-world"] = "Error: the build machine has a bad day"
    world.push("15-alpine", GREEN)
    world.settle()
    world.tasks.failing.clear()
    world.push(run_id, world.tasks.pushed_by(run_id), registry="team", repository="hello-world")
    world.settle()
    rollout = next(r for r in world.rollouts() if r.cause is Cause.IMAGE)
    assert any(entry.what == "build again" for entry in rollout.history)
    assert rollout.state is RolloutState.LIVE
    assert world.tasks.runs[rollout.build.run_id].values["BASE_IMAGE"].endswith(GREEN)


def test_a_base_rollout_does_not_undo_code_that_went_live_while_it_was_building() -> None:
    world = world_with("orange")
    world.tasks.seconds = 30
    world.push("15-alpine", GREEN)
    while not any(r.build.run_id and r.base and r.base.digest == GREEN for r in world.rollouts()):
        world.next_item()
    world.clock.forward(5)
    world.tasks.seconds = 1
    run_id = commit_build(world)
    world.clock.forward(2)
    world.push(run_id, world.tasks.pushed_by(run_id), registry="team", repository="hello-world")
    world.settle()
    base_rollout = next(r for r in world.rollouts() if r.base and r.base.digest == GREEN)
    assert any(entry.what == "build again" for entry in base_rollout.history)
    assert base_rollout.state is RolloutState.LIVE


def test_a_rollout_for_a_base_that_moved_on_is_superseded() -> None:
    world = World()
    world.tasks.seconds = 20
    world.push("15-alpine", ORANGE)
    while not world.rollouts():
        world.next_item()
    world.clock.forward(1)
    world.push("15-alpine", GREEN)
    world.settle()
    states = [rollout.state for rollout in world.rollouts()]
    assert states[-1] is RolloutState.LIVE
    assert set(states[:-1]) <= {RolloutState.SUPERSEDED, RolloutState.LIVE}
    assert world.stable_tag() == GREEN


def test_an_older_image_that_waited_for_the_group_does_not_overwrite_what_went_live_meanwhile() -> None:
    world = world_with("orange")
    world.push("ct8", digest("old code"), registry="team", repository="hello-world")
    newer = BuiltImage(
        login_server="contoso.azurecr.io",
        repository="hello-world",
        tag="ct9",
        digest=digest("new code"),
        built_at=world.clock.now() + timedelta(seconds=1),
        run_id="ct9",
    )

    def someone_else_goes_live(record: object) -> None:
        if isinstance(record, AppRecord) and record.deploying.startswith("image-"):
            world.ledger.before_save = None
            stored = world.ledger.load(AppRecord, "hello-world", "app")
            assert stored
            world.ledger.save(stored, stored.record.with_live(newer, world.clock.now()))

    world.ledger.before_save = someone_else_goes_live
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.SUPERSEDED
    assert "contoso.azurecr.io/hello-world:ct8" not in world.containers.puts


def test_a_group_that_was_deleted_and_cannot_be_created_gets_the_last_good_one_back() -> None:
    world = world_with("orange")
    world.containers.faults = [NeedsRecreation("cpu cannot be updated"), Rejected("the new definition is refused")]
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.RESTORED
    assert world.containers.puts[-1] == "contoso.azurecr.io/hello-world:ct1"


def test_an_image_that_should_be_live_and_is_not_is_put_again() -> None:
    world = world_with("orange")
    live = world.app().live
    assert live
    world.containers.groups["hello-world-aci"] = ("contoso.azurecr.io/hello-world:by-hand", world.clock.now())
    rollout = Rollout(
        app="hello-world",
        name="again",
        cause=Cause.OPERATOR,
        state=RolloutState.DEPLOYING,
        image=live,
        after=1,
        created_at=world.clock.now(),
    )
    world.ledger.insert(rollout)
    world.queue.send(rollout.work_item, 0)
    world.settle()
    assert world.containers.groups["hello-world-aci"][0] == live.reference


def test_a_restore_waits_for_whoever_has_the_group_and_leaves_the_newer_image_alone() -> None:
    world = world_with("orange")
    world.probe.sick["ct9"] = "HTTP 500"
    until = world.clock.now() + timedelta(seconds=60)

    def another_takes_the_group(record: object) -> None:
        if isinstance(record, Rollout) and record.state is RolloutState.RESTORING:
            world.ledger.before_save = None
            stored = world.ledger.load(AppRecord, "hello-world", "app")
            assert stored
            taken = msgspec.structs.replace(stored.record, deploying="another", deploying_until=until)
            world.ledger.save(stored, taken)
            world.ledger.insert(msgspec.structs.replace(record, name="another", state=RolloutState.VERIFYING))

    world.ledger.before_save = another_takes_the_group
    world.push("ct9", digest("broken"), registry="team", repository="hello-world")
    puts = len(world.containers.puts) + 1
    world.pass_time((until - world.clock.now()).total_seconds() - 5)
    assert len(world.containers.puts) == puts
    world.pass_time(60)
    assert world.containers.puts[-1] == "contoso.azurecr.io/hello-world:ct1"


def test_restarts_of_the_image_before_do_not_count_against_the_new_one() -> None:
    world = world_with("orange")
    world.containers.seconds = 5
    world.containers.crashing.add("contoso.azurecr.io/hello-world:ct1")
    show, before = world.containers.get, world.containers.groups["hello-world-aci"][0]

    def show_the_old_one_at_first(rule: DeployRule) -> DeploymentState | None:
        state = show(rule)
        if state is not None and not state.running:
            return msgspec.structs.replace(state, image=before, restarts=5)
        return state

    world.containers.get = show_the_old_one_at_first  # type: ignore[method-assign]
    world.push("ct9", digest("mended"), registry="team", repository="hello-world")
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.LIVE
