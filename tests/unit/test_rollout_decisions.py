"""What operators decide about apps holds: vetoes, rollbacks, named images, cancellations."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.domain.errors import NotFound, Refused, Transitioning
from shared.domain.image import Digest
from shared.domain.rollout import BuiltImage, Cause, Rollout, RolloutState
from shared.operations import Who
from shared.operations.idempotency import IdempotentCalls
from tests.fakes import ProcessDied, World, digest, sample_policy

OLD, ORANGE, GREEN, BLUE = (digest(name) for name in ("old", "orange", "green", "blue"))
WHO = Who("op", "because")
APP, GROUP = "hello-world", "hello-world-aci"


def promote(world: World, content: Digest) -> BuiltImage:
    """A base is promoted, the app rolled out on it; returns what is live then."""
    world.push("15-alpine", content)
    world.settle()
    world.clock.forward(60)
    return live_image(world)


def live_image(world: World) -> BuiltImage:
    live = world.app().live
    assert live
    return live


def world_with(content: Digest = ORANGE) -> World:
    world = World()
    promote(world, content)
    return world


def on_base(world: World, content: Digest) -> Rollout:
    """The rollout of a move of the base."""
    return [r for r in world.rollouts() if r.cause is Cause.BASE and r.base and r.base.digest == content][-1]


def operators(world: World) -> Rollout:
    return [rollout for rollout in world.rollouts() if rollout.cause is Cause.OPERATOR][-1]


def veto(world: World, content: Digest) -> None:
    world.operate.vetoes.veto("node", content, WHO).act()


def roll_back(world: World, key: str = "") -> None:
    world.operate.apps.roll_back(APP, msgspec.structs.replace(WHO, key=key)).act()


def at_save(world: World, wanted: Callable[[Rollout], bool], then: Callable[[], None]) -> None:
    """Does something just before the first save of a rollout that is wanted."""

    def hook(record: Any) -> None:
        if isinstance(record, Rollout) and wanted(record):
            world.ledger.before_save = None
            then()

    world.ledger.before_save = hook


MOMENTS: dict[str, Callable[[Rollout], bool]] = {
    "as the build is claimed": lambda r: r.build.claimed_at is not None,
    "as the run is recorded": lambda r: bool(r.build.run_id),
    "as the image is found": lambda r: r.image is not None,
    "as the group is claimed": lambda r: r.deploy.claimed_at is not None,
    "as the deployment is recorded": lambda r: r.state is RolloutState.VERIFYING,
    "as it goes live": lambda r: r.state is RolloutState.LIVE,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_veto_at_any_moment_leaves_the_app_on_the_base_before(moment: str) -> None:
    world = world_with()
    before = live_image(world)
    at_save(world, MOMENTS[moment], lambda: veto(world, GREEN))
    promote(world, GREEN)
    rollout = on_base(world, GREEN)
    assert rollout.state in (RolloutState.CANCELED, RolloutState.RESTORED)
    assert rollout.reason.startswith("its base ")
    assert "is vetoed by op" in rollout.reason
    assert world.app().live == before
    assert world.containers.groups[GROUP][0] == before.reference


def test_a_build_on_a_base_that_is_vetoed_meanwhile_is_stopped() -> None:
    world = world_with()
    world.tasks.seconds = 30
    at_save(world, MOMENTS["as the run is recorded"], lambda: veto(world, GREEN))
    promote(world, GREEN)
    assert world.tasks.runs["ct2"].cancelled
    assert on_base(world, GREEN).state is RolloutState.CANCELED


def test_a_deployment_that_may_have_been_made_is_put_back_after_a_veto() -> None:
    world = world_with()
    before, put = live_image(world), world.containers.put

    def answer_lost(*args: Any) -> None:
        put(*args)
        world.containers.put = put  # type: ignore[method-assign]
        raise ProcessDied

    world.containers.put = answer_lost  # type: ignore[assignment]
    world.push("15-alpine", GREEN)
    with suppress(ProcessDied):
        world.settle()
    veto(world, GREEN)
    world.restart()
    world.queue.send(on_base(world, GREEN).work_item, 0)
    world.pass_time(120)
    assert on_base(world, GREEN).state is RolloutState.RESTORED
    assert world.containers.groups[GROUP][0] == before.reference


def test_a_deployment_that_a_veto_came_before_is_put_back_although_its_worker_dies_once_it_is_live() -> None:
    world = world_with()
    before, put, commit = live_image(world), world.containers.put, world.ledger.commit

    def slow_put(*args: Any) -> None:
        world.containers.put = put  # type: ignore[method-assign]
        veto(world, GREEN)
        put(*args)

    def last_commit(*changes: Any) -> Any:
        written = commit(*changes)
        if any(isinstance(one.record, Rollout) and one.record.state is RolloutState.LIVE for one in changes):
            world.ledger.commit = commit  # type: ignore[method-assign]
            raise ProcessDied
        return written

    world.containers.put = slow_put  # type: ignore[assignment]
    world.ledger.commit = last_commit  # type: ignore[method-assign]
    world.push("15-alpine", GREEN)
    world.settle_while_crashing()
    assert on_base(world, GREEN).state is RolloutState.RESTORED
    assert world.containers.groups[GROUP][0] == before.reference


def test_what_is_put_back_is_the_newest_image_whose_base_is_not_vetoed() -> None:
    world = world_with()
    first = live_image(world)
    promote(world, GREEN)
    veto(world, GREEN)
    world.probe.sick["ct3"] = "HTTP 500"
    promote(world, BLUE)
    assert on_base(world, BLUE).state is RolloutState.RESTORED
    assert world.app().live == first
    assert world.containers.groups[GROUP][0] == first.reference


def test_where_every_earlier_image_is_vetoed_nothing_is_put_back_and_that_is_said() -> None:
    world = world_with()
    veto(world, ORANGE)
    world.probe.sick["ct2"] = "HTTP 500"
    promote(world, GREEN)
    assert on_base(world, GREEN).state is RolloutState.FAILED
    assert "there is no earlier image to put back" in on_base(world, GREEN).reason


def test_a_rebuild_on_a_vetoed_base_is_refused() -> None:
    world = world_with()
    veto(world, ORANGE)
    with pytest.raises(Refused, match="is vetoed"):
        world.operate.apps.rebuild(APP, WHO)


def test_a_rebuild_asked_for_before_the_veto_is_not_built() -> None:
    world = world_with()
    world.operate.apps.rebuild(APP, WHO).act()
    veto(world, ORANGE)
    runs = len(world.tasks.runs)
    world.settle()
    assert (operators(world).state, len(world.tasks.runs)) == (RolloutState.CANCELED, runs)


def test_an_image_whose_base_is_unknown_is_shown_so_and_not_deployed_while_a_veto_stands_at_the_gate() -> None:
    world = world_with()
    world.push("ct8", digest("first"), registry="team", repository="hello-world")
    world.settle()
    assert (live_image(world).tag, world.rollouts()[-1].summary().base) == ("ct8", "unknown")
    veto(world, OLD)
    world.push("ct9", digest("second"), registry="team", repository="hello-world")
    world.settle()
    rollout = world.rollouts()[-1]
    assert (rollout.state, live_image(world).tag) == (RolloutState.CANCELED, "ct8")
    assert rollout.reason.startswith("its base is unknown, and ")


def test_rolling_back_twice_goes_two_deployments_back() -> None:
    world = World()
    first, second, _ = (promote(world, content) for content in (OLD, ORANGE, GREEN))
    for expected in (second, first):
        roll_back(world)
        world.settle()
        world.clock.forward(60)
        assert world.app().live == expected
        assert world.containers.groups[GROUP][0] == expected.reference
    with pytest.raises(NotFound):
        roll_back(world)


def test_a_rollback_leaves_out_what_stands_on_a_vetoed_base() -> None:
    world = World()
    first, _, _ = (promote(world, content) for content in (OLD, ORANGE, GREEN))
    veto(world, ORANGE)
    roll_back(world)
    world.settle()
    assert world.app().live == first


def test_a_rollback_whose_answer_got_lost_is_done_once_for_its_key() -> None:
    world = World()
    _, good, _ = (promote(world, content) for content in (OLD, ORANGE, GREEN))
    acts = IdempotentCalls(world.services)

    def work() -> tuple[int, str]:
        roll_back(world, "key")
        return 202, "done"

    def dies() -> tuple[int, str]:
        work()
        raise ProcessDied

    with suppress(ProcessDied):
        acts.once("key", "rollback", "op", dies)
    world.settle()
    assert world.app().live == good
    world.clock.forward(180)
    acts.once("key", "rollback", "op", work)
    world.settle()
    assert world.app().live == good


@pytest.mark.parametrize("verb", ["rebuild", "redeploy"])
def test_every_repeated_call_with_one_key_is_one_rollout(verb: str) -> None:
    world = world_with()
    first = live_image(world)
    promote(world, GREEN)
    who, before = Who("op", "because", "key"), len(world.rollouts())
    for _ in range(2):
        apps = world.operate.apps
        (apps.rebuild(APP, who) if verb == "rebuild" else apps.redeploy(APP, first.tag, who)).act()
        world.settle()
    assert len(world.rollouts()) == before + 1


def test_a_key_that_is_forgotten_is_refused_and_not_passed_over() -> None:
    world = world_with()
    promote(world, GREEN)
    roll_back(world, "key")
    world.settle()
    world.clock.forward(8 * 86_400)
    with pytest.raises(Refused, match="use a new key"):
        roll_back(world, "key")


def overtaken(verb: Callable[[World, str], None]) -> tuple[World, Rollout]:
    """The operator's rollout waits in the queue while a base rollout goes live."""
    world = world_with()
    good = live_image(world).tag
    promote(world, GREEN)
    verb(world, good)
    waiting, world.queue.waiting = world.queue.waiting, []
    world.clock.forward(1)
    world.push("15-alpine", BLUE)
    world.settle()
    for _, order, item in waiting:
        heapq.heappush(world.queue.waiting, (world.clock.now() + timedelta(seconds=1), order, item))
    world.settle()
    return world, operators(world)


@pytest.mark.parametrize("verb", ["rollback", "redeploy"])
def test_an_operator_s_image_is_deployed_over_what_went_live_meanwhile_and_never_built(verb: str) -> None:
    def ask(world: World, good: str) -> None:
        apps = world.operate.apps
        (apps.roll_back(APP, WHO) if verb == "rollback" else apps.redeploy(APP, good, WHO)).act()

    world, mine = overtaken(ask)
    assert (mine.state, mine.build.times) == (RolloutState.LIVE, 0)
    assert mine.image == world.app().live


def test_a_rollback_asked_for_while_another_rollout_deploys_waits_for_it_and_wins() -> None:
    world = world_with()
    orange = live_image(world)
    promote(world, GREEN)
    world.containers.seconds = 60
    world.push("15-alpine", BLUE)
    world.pass_time(30)
    assert any(stored.record.deploy.put_at for stored in world.ledger.open(Rollout, APP))
    roll_back(world)
    world.settle()
    assert operators(world).state is RolloutState.LIVE
    assert world.app().live == orange


def test_of_two_words_of_operators_the_later_one_stands_in_whatever_order_they_get_their_turn() -> None:
    world = world_with()
    orange = live_image(world)
    green = promote(world, GREEN)
    roll_back(world)
    first, world.queue.waiting = world.queue.waiting, []
    world.clock.forward(1)
    world.operate.apps.redeploy(APP, green.tag, WHO).act()
    world.settle()
    for _, order, item in first:
        heapq.heappush(world.queue.waiting, (world.clock.now() + timedelta(seconds=1), order, item))
    world.settle()
    assert (world.app().live, orange != green) == (green, True)
    states = {stored.record.name.partition("-")[0]: stored.record.state for stored in world.ledger.list(Rollout, APP)}
    assert (states["rollback"], states["redeploy"]) == (RolloutState.SUPERSEDED, RolloutState.LIVE)


def test_a_rebuild_that_began_before_a_rollback_does_not_go_live_over_it() -> None:
    world = world_with()
    good = live_image(world)
    promote(world, GREEN)
    world.tasks.seconds = 60
    world.operate.apps.rebuild(APP, WHO).act()
    world.pass_time(10)
    rebuild = operators(world)
    assert rebuild.build.run_id
    roll_back(world)
    world.settle()
    assert world.app().live == good
    stored = world.ledger.load(Rollout, APP, rebuild.name)
    assert stored
    assert stored.record.state is RolloutState.SUPERSEDED


def test_a_rebuild_is_made_on_the_base_of_when_it_begins() -> None:
    world = world_with()
    world.operate.apps.rebuild(APP, WHO).act()
    waiting, world.queue.waiting = world.queue.waiting, []
    promote(world, GREEN)
    for item in waiting:
        heapq.heappush(world.queue.waiting, item)
    world.settle()
    base = live_image(world).base
    assert base is not None
    assert base.digest == GREEN


def test_a_canceled_rollout_reads_as_canceled_and_is_announced_so() -> None:
    world = world_with()
    promote(world, GREEN)
    world.containers.faults = [Transitioning("an earlier change goes on", delay_seconds=3)] * 3
    world.operate.apps.rebuild(APP, WHO).act()
    world.tasks.seconds = 30
    world.pass_time(5)
    world.operate.apps.cancel(operators(world).id, WHO).act()
    world.settle()
    rollout = operators(world)
    assert (rollout.state_name, rollout.reason) == ("canceled", "canceled by op: because")
    assert world.announcer.names[-1] == "RolloutCanceled"


def test_a_rollback_that_waits_for_its_turn_can_be_canceled() -> None:
    world = world_with()
    green = promote(world, GREEN)
    roll_back(world)
    world.operate.apps.cancel(operators(world).id, WHO).act()
    world.settle()
    assert (operators(world).state, world.app().live) == (RolloutState.CANCELED, green)


def test_what_is_on_the_container_group_cannot_be_canceled() -> None:
    world = world_with()
    world.containers.seconds = 60
    world.push("15-alpine", GREEN)
    world.pass_time(30)
    assert on_base(world, GREEN).state is RolloutState.VERIFYING
    with pytest.raises(Refused):
        world.operate.apps.cancel(on_base(world, GREEN).id, WHO)


def test_the_rollout_of_an_app_that_leaves_the_rules_ends_so_and_says_it() -> None:
    world = world_with()
    world.tasks.seconds = 30
    world.push("15-alpine", GREEN)
    world.pass_time(40)
    world.use(sample_policy(apps={}))
    world.settle()
    assert on_base(world, GREEN).state is RolloutState.RULE_REMOVED
    assert world.announcer.names[-1] == "RolloutRuleRemoved"
