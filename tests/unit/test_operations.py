"""What operators do, and that it stays until they lift it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from shared.checks.approval import ApprovalCheck
from shared.checks.task import TaskCheck
from shared.domain.alarm import Alarm
from shared.domain.candidate import Candidate, CandidateState
from shared.domain.errors import BasegateError, Busy, Conflict, Malformed, NotFound, Refused, Retry
from shared.domain.image import Digest, short
from shared.domain.policy import PromotionRule
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.rollout import RolloutState
from shared.domain.stable_tag import HoldUntil
from shared.operations import Plan, Who
from shared.operations.idempotency import IdempotentCalls
from shared.reconcile.begin import Effect
from tests.fakes import ProcessDied, World, digest, sample_policy

ORANGE, RED, GREEN, BLUE = digest("orange"), digest("red"), digest("green"), digest("blue")
NIGHT = Who("op@example.com", "it is three in the morning")


def world_after(*contents: str) -> World:
    """A world into which these were pushed, one a minute."""
    world = World()
    for content in contents:
        world.push("15-alpine", digest(content))
        world.settle()
        world.clock.forward(60)
    return world


def do(world: World, plan: Plan) -> str:
    done = plan.act()
    world.settle()
    world.clock.forward(60)
    return done.location


def latest(world: World, content: str) -> Candidate:
    return [candidate for candidate in world.candidates() if candidate.digest == digest(content)][-1]


def test_a_plan_says_what_it_would_do_and_does_nothing() -> None:
    world = world_after("orange", "green")
    before = dict(world.ledger.rows)
    plan = world.operate.gates.roll_back("node", "15-alpine", "15-alpine-cb1", HoldUntil.LIFTED, NIGHT)
    assert [effect.what for effect in plan.effects] == ["move the stable tag", "hold", "rebuild and redeploy"]
    assert dict(world.ledger.rows) == before
    assert world.stable_tag() == GREEN


def test_a_rerun_is_a_second_attempt_with_a_verdict_of_its_own() -> None:
    world = World()
    world.tasks.failing[RED] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", RED)
    world.settle()
    path = do(world, world.operate.candidates.rerun(world.candidate(RED).id, NIGHT))
    assert path.endswith("-002")
    assert [c.attempt for c in world.candidates()] == [1, 2]
    assert latest(world, "red").state is CandidateState.FAILED
    assert latest(world, "red").requested_by == NIGHT.actor


def test_a_rerun_that_passes_now_promotes() -> None:
    world = World()
    world.tasks.failing[GREEN] = "Error: the test had a bad day"
    world.push("15-alpine", GREEN)
    world.settle()
    world.tasks.failing.clear()
    do(world, world.operate.candidates.rerun(world.candidate(GREEN).id, NIGHT))
    assert world.stable_tag() == GREEN


def test_a_rerun_of_an_older_image_does_not_overwrite_a_newer_one() -> None:
    world = world_after("orange", "green")
    plan = world.operate.candidates.rerun(world.candidate(ORANGE).id, NIGHT)
    assert [what for what, _ in effects(plan)] == ["examine", "promote nothing"]
    do(world, plan)
    assert world.stable_tag() == GREEN
    assert latest(world, "orange").state is CandidateState.PASSED


def test_a_rerun_of_what_goes_on_is_refused() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.next_item()
    with pytest.raises(Refused, match="is examining"):
        world.operate.candidates.rerun(world.candidate(GREEN).id, NIGHT)


def test_a_tag_is_examined_by_hand() -> None:
    world = World()
    world.registry.tags[("public", "node:15-alpine")] = GREEN
    do(world, world.operate.candidates.examine("node", "15-alpine", NIGHT))
    assert world.stable_tag() == GREEN


@pytest.mark.parametrize(("tag", "error"), [("latest", Malformed), ("15.9", NotFound), ("no tag!", Malformed)])
def test_a_tag_that_cannot_be_examined_is_said(tag: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        World().operate.candidates.examine("node", tag, NIGHT)


def test_a_canceled_candidate_stops_its_run_and_goes_nowhere() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.next_item()
    do(world, world.operate.candidates.cancel(world.candidate(GREEN).id, NIGHT))
    assert world.tasks.runs["cb1"].cancelled
    assert world.candidate(GREEN).state is CandidateState.CANCELED
    assert world.stable_tag() is None
    assert world.announcer.names == ["CandidateCanceled"]


def test_what_is_promoted_cannot_be_canceled() -> None:
    world = world_after("green")
    with pytest.raises(Refused):
        world.operate.candidates.cancel(world.candidate(GREEN).id, NIGHT)


def test_a_rollback_moves_the_stable_tag_at_once_and_rolls_out() -> None:
    world = world_after("orange", "green")
    plan = world.operate.gates.roll_back("node", "15-alpine", "15-alpine-cb1", HoldUntil.LIFTED, NIGHT)
    plan.act()
    assert world.stable_tag() == ORANGE
    world.settle()
    live = [r for r in world.rollouts() if r.state is RolloutState.LIVE][-1]
    assert live.base
    assert live.base.digest == ORANGE
    assert [run.task for run in world.tasks.runs.values()].count("base-import-node") == 2


def test_a_hold_keeps_the_tag_under_events_reruns_restarts_and_repeated_pushes() -> None:
    world = world_after("orange", "green")
    do(world, world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, NIGHT))
    world.push("15-alpine", BLUE)
    world.restart()
    world.settle()
    assert (world.candidate(BLUE).state, world.promotion().state) == (CandidateState.PASSED, PromotionState.HELD)
    do(world, world.operate.candidates.rerun(world.candidate(GREEN).id, NIGHT))
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.stable_tag() == ORANGE
    assert "PromotionHeld" in world.announcer.names


def test_lifting_a_hold_lets_the_newest_go_through() -> None:
    world = world_after("orange", "green")
    do(world, world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, NIGHT))
    world.push("15-alpine", BLUE)
    world.settle()
    do(world, world.operate.gates.lift("node", "15-alpine", NIGHT))
    assert world.stable_tag() == BLUE
    assert world.promotion().state is PromotionState.PROMOTED


def test_a_hold_until_something_newer_ends_by_itself() -> None:
    world = world_after("orange", "green")
    do(world, world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.NEWER, NIGHT))
    world.tasks.failing[RED] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", RED)
    world.settle()
    assert world.stable_tag() == ORANGE
    world.clock.forward(60)
    world.push("15-alpine", BLUE)
    world.settle()
    assert world.stable_tag() == BLUE


def test_a_rollback_to_what_never_passed_is_refused() -> None:
    world = world_after("green")
    world.registry.tags[("base", "node:foreign")] = RED
    with pytest.raises(NotFound, match="no passed verdict"):
        world.operate.gates.roll_back("node", "15-alpine", "foreign", HoldUntil.LIFTED, NIGHT)
    with pytest.raises(NotFound):
        world.operate.gates.roll_back("node", "15-alpine", "no-such-tag", HoldUntil.LIFTED, NIGHT)


def test_a_rollback_goes_to_what_passed_last_whatever_the_checks_were() -> None:
    world = world_after("orange", "green")
    gate = world.policy.gates["node"]
    stricter = msgspec.structs.replace(gate, checks=(TaskCheck(registry="base", task="stricter"),))
    world.use(sample_policy(gates={"node": stricter}))
    world.tasks.failing[GREEN] = "ERROR: Invalid Color: Green"
    do(world, world.operate.candidates.rerun(world.candidate(GREEN).id, NIGHT))
    with pytest.raises(NotFound, match="did not pass when it was last examined"):
        world.operate.gates.roll_back("node", "15-alpine", GREEN, HoldUntil.LIFTED, NIGHT)
    do(world, world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, NIGHT))
    assert world.stable_tag() == ORANGE


def test_a_veto_survives_events_and_reruns_and_says_who_and_why() -> None:
    world = World()
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT))
    world.push("15-alpine", GREEN)
    world.settle()
    assert (world.candidate(GREEN).state, world.promotion().state) == (CandidateState.CANCELED, PromotionState.VETOED)
    assert NIGHT.reason in world.candidate(GREEN).reason
    assert world.tasks.runs == {}
    with pytest.raises(Refused, match="vetoed"):
        world.operate.candidates.rerun(world.candidate(GREEN).id, NIGHT)


def test_a_veto_reaches_a_candidate_that_is_under_way() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.next_item()
    world.operate.vetoes.veto("node", GREEN, NIGHT).act()
    world.settle()
    assert (world.candidate(GREEN).state, world.promotion().state) == (CandidateState.PASSED, PromotionState.VETOED)
    assert world.stable_tag() is None


def effects(plan: Plan) -> list[tuple[str, str]]:
    return [(effect.what, effect.subject) for effect in plan.effects]


def test_a_veto_of_what_is_promoted_says_which_tag_stands_on_it_and_where_to_roll_back_to() -> None:
    world = world_after("orange", "green")
    plan = world.operate.vetoes.veto("node", GREEN, NIGHT)
    assert effects(plan) == [("ban", GREEN)]
    assert plan.warnings == (f"15-alpine of gate node still points to the banned digest: roll it back to {ORANGE}",)
    do(world, plan)
    assert world.stable_tag() == GREEN


def test_a_veto_of_the_only_thing_that_was_ever_promoted_says_so() -> None:
    world = world_after("green")
    (warning,) = world.operate.vetoes.veto("node", GREEN, NIGHT).warnings
    assert warning.endswith("still points to the banned digest: no earlier digest of it may be promoted again")
    with pytest.raises(NotFound, match="veto without a rollback"):
        world.operate.vetoes.veto("node", GREEN, NIGHT, rollback=True)


def test_a_veto_may_roll_back_at_once_and_hold() -> None:
    world = world_after("orange", "blue", "green")
    plan = world.operate.vetoes.veto("node", GREEN, NIGHT, rollback=True)
    assert [what for what, _ in effects(plan)] == ["ban", "move the stable tag", "hold", "rebuild and redeploy"]
    assert plan.warnings == ()
    assert world.stable_tag() == GREEN
    do(world, plan)
    assert world.stable_tag() == BLUE
    hold = world.operate.gates.lift("node", "15-alpine", NIGHT)
    assert effects(hold)[0] == ("lift the hold", "15-alpine")
    base = world.app().base
    assert base is not None
    assert base.digest == BLUE


def test_a_veto_rolls_back_past_what_is_vetoed_or_passed_under_other_checks() -> None:
    world = world_after("orange", "blue", "green")
    do(world, world.operate.vetoes.veto("node", BLUE, NIGHT))
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT, rollback=True))
    assert world.stable_tag() == ORANGE


def test_a_veto_rolls_back_to_what_is_named_and_never_to_itself() -> None:
    world = world_after("orange", "blue", "green")
    with pytest.raises(Refused, match="to be vetoed"):
        world.operate.vetoes.veto("node", GREEN, NIGHT, to="15-alpine-cb3")
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT, to="15-alpine-cb1"))
    assert world.stable_tag() == ORANGE


def test_a_veto_with_nothing_to_roll_back_is_only_a_veto() -> None:
    world = world_after("orange", "green")
    assert effects(world.operate.vetoes.veto("node", ORANGE, NIGHT, rollback=True)) == [("ban", ORANGE)]


def test_a_veto_that_could_not_roll_back_can_be_called_again() -> None:
    world = world_after("orange", "green")
    plan = world.operate.vetoes.veto("node", GREEN, NIGHT, rollback=True)
    world.registry.fault = Retry("503")
    with pytest.raises(Retry):
        plan.act()
    world.registry.fault = None
    again = world.operate.vetoes.veto("node", GREEN, NIGHT, rollback=True)
    assert [what for what, _ in effects(again)] == ["move the stable tag", "hold", "rebuild and redeploy"]
    do(world, again)
    assert world.stable_tag() == ORANGE
    with pytest.raises(Refused, match="vetoed already"):
        world.operate.vetoes.veto("node", GREEN, NIGHT, rollback=True)


def test_an_image_that_was_built_before_is_deployed_again_by_its_tag_or_its_digest() -> None:
    for by_digest in (False, True):
        world = world_after("orange", "green", "blue")
        first = world.rollouts()[0].image
        assert first is not None
        builds = len(world.tasks.runs)
        plan = world.operate.apps.redeploy("hello-world", first.digest if by_digest else first.tag, NIGHT)
        assert effects(plan)[0] == ("deploy", f"{first} in place of {world.app().live}")
        do(world, plan)
        assert world.containers.puts[-1] == str(first)
        assert world.app().live == first
        assert world.rollouts()[-1].state is RolloutState.LIVE
        assert len(world.tasks.runs) == builds


@pytest.mark.parametrize(
    ("image", "error", "match"),
    [
        ("", Malformed, "not a tag"),
        ("no tag!", Malformed, "not a tag"),
        ("sha256:1", Malformed, "not a digest"),
        (7, Malformed, "not a tag"),
        ("ct99", NotFound, "no recent rollout of app hello-world had the image ct99"),
        (digest("foreign"), NotFound, "had the image"),
    ],
)
def test_an_image_that_was_never_built_is_not_deployed(image: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        world_after("green").operate.apps.redeploy("hello-world", image, NIGHT)


def test_an_image_that_is_gone_or_is_not_what_was_built_any_more_is_not_deployed() -> None:
    world = world_after("green")
    image = world.rollouts()[0].image
    assert image is not None
    place = ("team", f"hello-world:{image.tag}")
    world.registry.tags[place] = digest("another")
    with pytest.raises(NotFound, match=r"was sha256:.* when it was built and is sha256:"):
        world.operate.apps.redeploy("hello-world", image.tag, NIGHT)
    del world.registry.tags[place]
    with pytest.raises(NotFound, match="deleted now"):
        world.operate.apps.redeploy("hello-world", image.tag, NIGHT)


def test_an_image_on_a_vetoed_base_is_not_deployed() -> None:
    world = world_after("orange", "green")
    image = world.rollouts()[0].image
    assert image is not None
    do(world, world.operate.vetoes.veto("node", ORANGE, NIGHT))
    with pytest.raises(Refused, match=r"its base .* is vetoed by"):
        world.operate.apps.redeploy("hello-world", image.tag, NIGHT)


def test_a_rollback_of_an_app_passes_over_what_stands_on_a_vetoed_base() -> None:
    world = world_after("orange", "green", "blue")
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT))
    do(world, world.operate.apps.roll_back("hello-world", NIGHT))
    live = world.app().live
    orange = next(rollout for rollout in world.rollouts() if rollout.base and rollout.base.digest == ORANGE)
    assert live == orange.image


def test_an_app_that_is_built_and_not_deployed_has_nothing_to_deploy() -> None:
    world = world_after("green")
    app = msgspec.structs.replace(world.policy.apps["hello-world"], deploy=None)
    world.policy = sample_policy(apps={"hello-world": app})
    world.restart()
    with pytest.raises(Refused, match="not deployed"):
        world.operate.apps.redeploy("hello-world", "ct2", NIGHT)


def test_a_lifted_veto_has_the_digest_examined_that_it_kept_out_and_can_be_spoken_again() -> None:
    world = World()
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT))
    world.push("15-alpine", GREEN)
    world.settle()
    plan = world.operate.vetoes.lift("node", GREEN, NIGHT)
    assert effects(plan) == [("lift the veto", GREEN), ("resume", "15-alpine of gate node")]
    do(world, plan)
    assert world.candidate(GREEN).attempt == 2
    assert world.stable_tag() == GREEN
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT))
    with pytest.raises(Refused):
        world.operate.vetoes.veto("node", GREEN, NIGHT)


def test_an_app_is_rolled_back_to_the_image_before() -> None:
    world = world_after("orange", "green")
    before = world.containers.puts[0]
    do(world, world.operate.apps.roll_back("hello-world", NIGHT))
    assert world.containers.puts[-1] == before
    assert world.rollouts()[-1].state is RolloutState.LIVE


def test_an_app_is_rebuilt_on_the_current_base() -> None:
    world = world_after("green")
    path = do(world, world.operate.apps.rebuild("hello-world", NIGHT))
    assert path == f"rollouts/{world.rollouts()[-1].id}"
    assert world.rollouts()[-1].state is RolloutState.LIVE
    assert world.containers.puts[-1].endswith("ct2")


def test_a_rollout_that_is_being_built_can_be_canceled_and_a_live_one_cannot() -> None:
    world = world_after("green")
    world.operate.apps.rebuild("hello-world", NIGHT).act()
    world.next_item()
    rollout = world.rollouts()[-1]
    do(world, world.operate.apps.cancel(rollout.id, NIGHT))
    assert world.rollouts()[-1].state is RolloutState.CANCELED
    with pytest.raises(Refused):
        world.operate.apps.cancel(world.rollouts()[0].id, NIGHT)


@pytest.mark.parametrize("identifier", ["", "node", "node.xyz", "node.7d8c", "../../etc", "node.7d8cc9181145' or '1"])
def test_what_is_no_id_is_said_to_be_none(identifier: str) -> None:
    with pytest.raises(Malformed):
        World().operate.candidates.rerun(identifier, NIGHT)


def test_an_id_may_be_cut_to_twelve_digits() -> None:
    world = world_after("green")
    short_id = f"node.{GREEN.removeprefix('sha256:')[:12]}"
    assert world.operate.candidates.rerun(short_id, NIGHT).effects[0].what == "examine"


@pytest.mark.parametrize("reason", [None, "", "   ", "x" * 401, 3])
def test_whoever_acts_must_say_why(reason: object) -> None:
    with pytest.raises(Malformed, match="give a reason"):
        Who.of("op", reason)


def test_what_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(NotFound, match="there is node"):
        World().operate.gates.lift("nodes", "15-alpine", NIGHT)
    with pytest.raises(NotFound, match="hello-world"):
        World().operate.apps.rebuild("hello", NIGHT)


def test_a_tag_that_is_another_name_of_a_known_digest_is_promoted_when_it_is_examined() -> None:
    world = World()
    world.push("15-alpine", digest("green"))
    world.settle()
    world.registry.tags[("public", "node:15.14")] = digest("green")
    world.operate.candidates.examine("node", "15.14", Who("op", "no event ever told of it")).act()
    world.settle()
    assert world.stable_tag("15.14") == digest("green")


def with_gate(**changes: object) -> World:
    """A world whose gate differs in these."""
    gate = msgspec.structs.replace(sample_policy().gates["node"], **changes)
    return World(sample_policy(gates={"node": gate}))


def sweeps(world: World, times: int = 3) -> None:
    for _ in range(times):
        world.clock.forward(300)
        world.sweep_now()
        world.settle()


def during_the_move(world: World, act: Callable[[], object], *, after: bool = False) -> None:
    """Have something done by somebody else just before, or just after, the next stable tag is pointed."""
    point = world.registry.point

    def pointed(*where: Any) -> None:
        world.registry.point = point  # type: ignore[method-assign]
        if after:
            point(*where)
        act()
        if not after:
            point(*where)

    world.registry.point = pointed  # type: ignore[assignment, method-assign]


def alarms(world: World) -> list[str]:
    return [stored.record.words for stored in world.ledger.list(Alarm, "gates.node")]


@pytest.mark.parametrize("tag", ["15-alpien", "lastest"])
def test_a_tag_that_the_gate_does_not_take_is_neither_held_nor_rolled_back_nor_examined(tag: str) -> None:
    world = world_after("orange", "green")
    before = dict(world.ledger.rows)
    with pytest.raises(Malformed, match=f"does not track {tag}"):
        world.operate.gates.hold("node", tag, HoldUntil.LIFTED, NIGHT)
    with pytest.raises(Malformed, match=f"does not track {tag}"):
        world.operate.gates.roll_back("node", tag, ORANGE, HoldUntil.LIFTED, NIGHT)
    with pytest.raises(Malformed, match=f"does not track {tag}"):
        world.operate.candidates.examine("node", tag, NIGHT)
    assert world.ledger.rows == before


def test_a_tag_that_is_none_is_answered_with_those_of_a_similar_name() -> None:
    with pytest.raises(Malformed, match=r"did you mean 15-alpine\?"):
        World().operate.gates.hold("node", "15-alpien", HoldUntil.LIFTED, NIGHT)


def test_a_tag_that_the_rules_dropped_can_still_be_held_where_it_stands() -> None:
    world = world_after("green")
    gate = world.policy.gates["node"]
    source = msgspec.structs.replace(gate.source, tags=("16.*",))
    world.use(sample_policy(gates={"node": msgspec.structs.replace(gate, source=source)}))
    do(world, world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, NIGHT))
    assert world.stable().hold is not None


def test_a_hold_of_a_tag_that_the_rules_dropped_can_be_lifted_though_it_stands_on_nothing() -> None:
    world = World()
    do(world, world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, NIGHT))
    gate = world.policy.gates["node"]
    source = msgspec.structs.replace(gate.source, tags=("16.*",))
    world.use(sample_policy(gates={"node": msgspec.structs.replace(gate, source=source)}, apps={}))
    do(world, world.operate.gates.lift("node", "15-alpine", NIGHT))
    assert world.stable().hold is None


def test_a_plan_of_any_operation_writes_nothing() -> None:
    world = world_after("orange", "green")
    before, queued = dict(world.ledger.rows), len(world.queue.waiting)
    operate = world.operate
    operate.gates.hold("node", "15.14", HoldUntil.LIFTED, NIGHT)
    operate.candidates.examine("node", "15-alpine", NIGHT)
    operate.candidates.rerun(world.candidate(GREEN).id, NIGHT)
    operate.vetoes.veto("node", GREEN, NIGHT, rollback=True)
    operate.apps.rebuild("hello-world", NIGHT)
    operate.apps.roll_back("hello-world", NIGHT)
    assert (world.ledger.rows, len(world.queue.waiting)) == (before, queued)


def test_what_failed_once_and_is_back_at_the_source_is_examined_by_hand_and_promoted() -> None:
    world = World()
    world.tasks.failing[GREEN] = "ERROR: a bad day"
    for content in (GREEN, ORANGE):
        world.push("15-alpine", content)
        world.settle()
        world.clock.forward(60)
    world.tasks.failing.clear()
    world.registry.tags[("public", "node:15-alpine")] = GREEN  # and no event tells of it
    do(world, world.operate.candidates.examine("node", "15-alpine", NIGHT))
    assert world.candidate(GREEN).attempt == 2
    assert world.stable_tag() == GREEN


def test_an_examination_by_hand_of_what_passed_already_under_another_tag_is_none() -> None:
    world = world_after("green")
    world.registry.tags[("public", "node:15.14")] = GREEN
    do(world, world.operate.candidates.examine("node", "15.14", NIGHT))
    assert [one.attempt for one in world.candidates()] == [1]
    assert world.stable_tag("15.14") == GREEN


def test_what_is_unchanged_and_passed_is_examined_again_when_asked() -> None:
    world = world_after("green")
    assert do(world, world.operate.candidates.examine("node", "15-alpine", NIGHT)).endswith("-002")
    assert world.candidate(GREEN).state is CandidateState.PASSED
    assert world.stable_tag() == GREEN


def test_a_tag_that_is_gone_between_plan_and_act_is_not_examined() -> None:
    world = world_after("green")
    plan = world.operate.candidates.examine("node", "15-alpine", NIGHT)
    del world.registry.tags[("public", "node:15-alpine")]
    with pytest.raises(Busy, match="missing, to be confirmed"):
        plan.act()
    assert len(world.candidates()) == 1


def test_a_canceled_examination_stays_so_when_its_push_is_told_again() -> None:
    world = World()
    world.tasks.seconds = 30
    world.push("15-alpine", ORANGE)
    world.next_item()
    do(world, world.operate.candidates.cancel(world.candidate(ORANGE).id, NIGHT))
    assert (world.candidate(ORANGE).state, world.promotion().state) == (
        CandidateState.CANCELED,
        PromotionState.CANCELED,
    )
    world.deliver(world.event("15-alpine", ORANGE))
    world.settle()
    assert world.candidate(ORANGE).state is CandidateState.CANCELED
    assert world.stable_tag() is None


def test_a_canceled_request_for_approval_stays_so_when_its_push_is_told_again() -> None:
    world = with_gate(checks=(ApprovalCheck(),))
    world.push("15-alpine", ORANGE)
    world.settle()
    do(world, world.operate.candidates.cancel(world.candidate(ORANGE).id, NIGHT))
    world.push("15-alpine", ORANGE)
    world.settle()
    assert world.candidate(ORANGE).state is CandidateState.CANCELED
    assert world.candidate(ORANGE).settled
    assert world.promotion().settled


def test_a_stalled_examination_is_canceled_at_once_and_takes_its_promotion_with_it() -> None:
    world = World()
    world.tasks.start_fault = Retry("503")
    world.push("15-alpine", ORANGE)
    world.settle()
    assert world.candidate(ORANGE).state_name == "stalled"
    do(world, world.operate.candidates.cancel(world.candidate(ORANGE).id, NIGHT))
    assert world.promotion().state is PromotionState.CANCELED


def test_a_run_that_cannot_be_canceled_does_not_keep_its_examination() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.next_item()

    def cancel(*_: object) -> None:
        raise Retry("503")

    world.tasks.cancel = cancel  # type: ignore[assignment, method-assign]
    do(world, world.operate.candidates.cancel(world.candidate(GREEN).id, NIGHT))
    assert world.candidate(GREEN).state is CandidateState.CANCELED


def test_a_promotion_that_is_held_can_be_canceled_and_then_the_end_of_the_hold_promotes_nothing() -> None:
    world = world_after("orange")
    do(world, world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, NIGHT))
    world.push("15-alpine", GREEN)
    world.settle()
    plan = world.operate.candidates.cancel(world.candidate(GREEN).id, NIGHT)
    assert effects(plan) == [("cancel the promotion", "15-alpine, held")]
    do(world, plan)
    assert world.promotion().state is PromotionState.CANCELED
    with pytest.raises(Refused, match="no promotion in progress"):
        world.operate.candidates.cancel(world.candidate(GREEN).id, NIGHT)


def test_what_a_stable_tag_is_being_moved_to_cannot_be_canceled() -> None:
    world, problems = World(), list[str]()

    def cancel() -> None:
        with pytest.raises(Refused, match="roll back instead") as refused:
            world.operate.candidates.cancel(world.candidate(GREEN).id, NIGHT)
        problems.append(str(refused.value))

    during_the_move(world, cancel)
    world.push("15-alpine", GREEN)
    world.settle()
    assert len(problems) == 1
    assert world.stable_tag() == GREEN


def test_a_cancellation_that_meets_a_claim_made_since_its_plan_is_a_conflict() -> None:
    world = World()
    world.registry.lock_fault = Retry("503")
    world.push("15-alpine", GREEN)
    world.settle()
    plan = world.operate.candidates.cancel(world.candidate(GREEN).id, NIGHT)
    world.registry.lock_fault = None
    caught: list[type[Exception]] = []

    def cancel() -> None:
        with pytest.raises(Conflict) as conflict:
            plan.act()
        caught.append(conflict.type)

    during_the_move(world, cancel)
    world.pass_time(600)
    assert caught == [Conflict]
    assert world.stable_tag() == GREEN


def test_a_stable_tag_that_was_moved_before_its_worker_died_is_not_canceled_away() -> None:
    world = World()

    def die() -> None:
        raise ProcessDied

    during_the_move(world, die, after=True)
    world.push("15-alpine", ORANGE)
    with pytest.raises(ProcessDied):
        world.settle()
    world.restart()
    assert world.stable_tag() == ORANGE
    with pytest.raises(Refused, match="roll back instead"):
        world.operate.candidates.cancel(world.candidate(ORANGE).id, NIGHT)


def test_a_gate_that_begins_with_approval_promotes_one_digest_after_the_other() -> None:
    for checks in (
        (ApprovalCheck(),),
        (ApprovalCheck(), TaskCheck(registry="base", task="base-import-node")),
    ):
        world = with_gate(checks=checks)
        for content in (ORANGE, GREEN, BLUE):
            world.push("15-alpine", content)
            world.settle()
            do(world, world.operate.candidates.approve(world.candidate(content).id, NIGHT))
            assert world.stable_tag() == content


def test_an_answer_under_checks_that_have_changed_since_is_refused() -> None:
    world = with_gate(checks=(ApprovalCheck(),))
    world.push("15-alpine", GREEN)
    world.settle()
    world.use(sample_policy())
    with pytest.raises(Refused, match="does not await approval"):
        world.operate.candidates.approve(world.candidate(GREEN).id, NIGHT)


def test_who_asked_is_the_same_person_in_any_spelling_of_the_name() -> None:
    world = with_gate(checks=(ApprovalCheck(two_persons=True),))
    world.registry.tags[("public", "node:15-alpine")] = GREEN
    do(world, world.operate.candidates.examine("node", "15-alpine", Who("mara (by key)", "please")))
    with pytest.raises(Refused, match="another person"):
        world.operate.candidates.approve(world.candidate(GREEN).id, Who("Mara (by key)", "fine"))
    do(world, world.operate.candidates.approve(world.candidate(GREEN).id, Who("nils (by key)", "fine")))
    assert world.stable_tag() == GREEN


def test_digits_that_several_digests_begin_with_name_none_of_them() -> None:
    world = world_after("green")
    twin = Digest(GREEN[:-4] + "0000")
    world.ledger.insert(msgspec.structs.replace(world.candidate(GREEN), digest=twin))
    with pytest.raises(Malformed, match="give more digits"):
        world.operate.candidates.rerun(f"node.{short(GREEN)}", NIGHT)
    assert GREEN in str(world.operate.candidates.rerun(f"node.{GREEN.removeprefix('sha256:')}", NIGHT).effects)


def test_a_hold_names_the_move_the_promotion_and_the_rollout_that_are_in_flight() -> None:
    world, responses = world_after("orange"), list[tuple[Effect, ...]]()
    world.tasks.seconds = 600
    world.operate.apps.rebuild("hello-world", NIGHT).act()
    world.next_item()
    world.tasks.seconds = 3

    def hold() -> None:
        responses.append(world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, NIGHT).act().in_flight)

    during_the_move(world, hold)
    world.push("15-alpine", GREEN)
    world.settle()
    ((move, promotion, rollout),) = responses
    assert (move.what, promotion.what, rollout.what) == ("move", "promotion", "rollout")
    assert move.subject.startswith(f"15-alpine to {short(GREEN)}")
    assert rollout.subject.startswith("hello-world.rebuild-")
    assert world.stable_tag() == ORANGE
    assert world.promotion().state is PromotionState.HELD


def test_a_hold_on_nothing_while_the_first_promotion_moves_the_tag() -> None:
    world = World()
    during_the_move(world, lambda: world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, NIGHT).act())
    world.push("15-alpine", ORANGE)
    world.settle()
    assert world.stable_tag() is world.stable().digest is None
    assert len(alarms(world)) == 1


def test_a_hold_is_not_put_on_another() -> None:
    world = world_after("orange")
    first = world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, NIGHT)
    second = world.operate.gates.hold("node", "15-alpine", HoldUntil.NEWER, NIGHT)
    first.act()
    with pytest.raises(Refused, match="held already"):
        second.act()
    assert world.stable().hold == world.stable().hold
    with pytest.raises(NotFound, match="is not held"):
        world.operate.gates.lift("node", "15.14", NIGHT)


def test_the_end_of_a_hold_after_a_rollback_promotes_what_the_source_is_now() -> None:
    world = world_after("orange", "green")
    do(world, world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, NIGHT))
    plan = world.operate.gates.lift("node", "15-alpine", NIGHT)
    assert effects(plan) == [("lift the hold", "15-alpine"), ("resume", GREEN)]
    do(world, plan)
    assert world.stable_tag() == GREEN
    assert world.promotion().state is PromotionState.PROMOTED


def test_a_rollback_takes_the_place_in_the_order_of_what_it_goes_to() -> None:
    world = world_after("orange", "green")
    orange = world.promotions()[0]
    do(world, world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, NIGHT))
    stable = world.stable()
    assert (stable.sequence, stable.promotion, stable.moved_by) == (orange.sequence, orange.row, str(NIGHT))


def test_a_rollback_may_go_to_what_passed_under_another_tag_only() -> None:
    world = world_after("green")
    world.push("15.14", ORANGE)
    world.settle()
    do(world, world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, NIGHT))
    assert world.stable_tag() == ORANGE
    assert world.stable().promotion == ""
    do(world, world.operate.gates.lift("node", "15-alpine", NIGHT))
    assert world.stable_tag() == GREEN


def test_a_rollback_that_was_held_out_goes_there_and_the_hold_can_be_lifted() -> None:
    world = world_after("orange")
    do(world, world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, NIGHT))
    world.push("15-alpine", GREEN)
    world.settle()
    do(world, world.operate.gates.roll_back("node", "15-alpine", GREEN, HoldUntil.LIFTED, NIGHT))
    assert world.stable_tag() == GREEN
    do(world, world.operate.gates.lift("node", "15-alpine", NIGHT))
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)


def test_what_is_vetoed_while_it_is_held_is_not_promoted_when_the_hold_ends() -> None:
    world = world_after("orange")
    do(world, world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, NIGHT))
    world.push("15-alpine", GREEN)
    world.settle()
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT))
    do(world, world.operate.gates.lift("node", "15-alpine", NIGHT))
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.VETOED)
    do(world, world.operate.vetoes.lift("node", GREEN, NIGHT))
    assert world.stable_tag() == GREEN


@pytest.mark.parametrize("after", [False, True])
def test_a_veto_between_the_claim_and_the_end_of_a_move_is_seen_by_the_mover_and_names_the_move(after: bool) -> None:
    world, responses = world_after("orange"), list[tuple[Effect, ...]]()
    veto = world.operate.vetoes.veto("node", GREEN, NIGHT)
    during_the_move(world, lambda: responses.append(veto.act().in_flight), after=after)
    world.push("15-alpine", GREEN)
    world.settle()
    assert [effect.what for effect in responses[0]] == ["move", "promotion"]
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.VETOED)
    assert len(alarms(world)) == 1
    assert all(rollout.base and rollout.base.digest == ORANGE for rollout in world.rollouts())


def test_a_veto_before_any_write_between_passed_and_live_leaves_tag_and_app_on_the_base_before() -> None:
    for number in range(100):
        world, writes = world_after("orange"), iter(range(number + 1))

        def veto(_: object, world: World = world, writes: Iterator[int] = writes) -> None:
            if next(writes, None) == number:  # noqa: B023 (called within its own turn)
                world.operate.vetoes.veto("node", GREEN, NIGHT, rollback=True).act()

        world.ledger.before_save = veto
        world.push("15-alpine", GREEN)
        world.settle()
        world.ledger.before_save = None
        sweeps(world, 2)
        live = world.app().live
        if next(writes, None) is not None:
            assert live is not None and live.base is not None and live.base.digest == GREEN
            return
        assert world.stable_tag() == ORANGE, number
        assert live is not None and live.base is not None and live.base.digest == ORANGE, number
    raise AssertionError("a promotion has no end")


def test_a_rerun_takes_up_a_promotion_that_is_saved_at_the_same_time() -> None:
    world = World()
    world.tasks.failing[GREEN] = "ERROR: a bad day"
    world.push("15-alpine", GREEN)
    world.settle()
    world.tasks.failing.clear()
    plan = world.operate.candidates.rerun(world.candidate(GREEN).id, NIGHT)

    def meanwhile(record: object) -> None:
        if isinstance(record, Promotion):
            world.ledger.before_save = None
            stored = world.ledger.load(Promotion, "node", record.row)
            assert stored
            world.ledger.save(stored, msgspec.structs.replace(stored.record, reason="saved meanwhile"))

    world.ledger.before_save = meanwhile
    do(world, plan)
    assert world.stable_tag() == GREEN


def test_a_veto_of_what_is_built_on_names_the_rollout_and_keeps_it_from_going_live() -> None:
    world = world_after("orange")
    world.push("15-alpine", GREEN)
    while not any(rollout.base and rollout.base.digest == GREEN for rollout in world.rollouts()):
        world.next_item()
    done = world.operate.vetoes.veto("node", GREEN, NIGHT).act()
    assert [effect.what for effect in done.in_flight] == ["rollout"]
    world.settle()
    assert world.rollouts()[-1].state is not RolloutState.LIVE


def test_an_app_is_not_rebuilt_on_a_vetoed_base() -> None:
    world = world_after("orange")
    do(world, world.operate.vetoes.veto("node", ORANGE, NIGHT))
    with pytest.raises(Refused, match="vetoed"):
        world.operate.apps.rebuild("hello-world", NIGHT)


def test_a_veto_counts_for_every_gate_into_the_same_repository_and_no_other() -> None:
    gate = sample_policy().gates["node"]
    twin = msgspec.structs.replace(gate, name="twin")
    other = msgspec.structs.replace(gate, name="other", promote=PromotionRule(registry="base", repository="other"))
    world = World(sample_policy(gates={"node": gate, "twin": twin, "other": other}))
    do(world, world.operate.vetoes.veto("twin", GREEN, NIGHT))
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.stable_tag() is None
    assert world.registry.tags[("base", "other:15-alpine")] == GREEN
    with pytest.raises(Refused, match="vetoed already"):
        world.operate.vetoes.veto("node", GREEN, NIGHT)
    do(world, world.operate.vetoes.lift("node", GREEN, NIGHT))
    assert world.stable_tag() == GREEN


def test_a_first_promotion_whose_worker_died_after_the_move_does_not_survive_a_veto() -> None:
    world = World()

    def die() -> None:
        raise ProcessDied

    during_the_move(world, die, after=True)
    world.push("15-alpine", ORANGE)
    with pytest.raises(ProcessDied):
        world.settle()
    world.restart()
    done = world.operate.vetoes.veto("node", ORANGE, NIGHT).act()
    assert [effect.what for effect in done.in_flight] == ["move", "promotion"]
    sweeps(world, 6)
    assert world.stable_tag() != ORANGE or alarms(world)


def test_a_veto_and_a_hold_count_where_the_gates_task_promotes_by_itself() -> None:
    for decide in ("veto", "hold"):
        world = with_gate(promote=PromotionRule(registry="base", repository="node", by="task"))
        for content in (ORANGE, GREEN):
            world.push("15-alpine", content)
            world.next_item()
            run = [run.run_id for run in world.tasks.runs.values() if run.registry == "base"][-1]
            if content == GREEN and decide == "veto":
                world.operate.vetoes.veto("node", GREEN, NIGHT).act()
            elif content == GREEN:
                world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, NIGHT).act()
            world.registry.tags[("base", f"node:15-alpine-{run}")] = content
            world.registry.tags[("base", "node:15-alpine")] = content
            world.settle()
            world.clock.forward(60)
        sweeps(world, 2)
        assert world.stable().digest == world.stable_tag() == ORANGE


def test_a_rollback_of_an_app_is_done_once_for_its_key_though_its_answer_was_lost() -> None:
    world = world_after("orange", "green")
    good = world.rollouts()[0].image
    calls, who = IdempotentCalls(world.services), Who("op", "because", key="one")

    def work() -> tuple[int, str]:
        return 202, world.operate.apps.roll_back("hello-world", who).act().location

    def dies() -> tuple[int, str]:
        work()
        raise ProcessDied

    with pytest.raises(ProcessDied):
        calls.once("one", "rollback", "op", dies)
    world.settle()
    assert world.app().live == good
    world.clock.forward(180)
    calls.once("one", "rollback", "op", work)
    world.settle()
    assert world.app().live == good


def test_an_image_that_is_gone_is_not_rolled_back_to_for_ever() -> None:
    world = world_after("orange")
    do(world, world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, NIGHT))
    world.push("15-alpine", GREEN)
    world.settle()
    do(world, world.operate.gates.roll_back("node", "15-alpine", GREEN, HoldUntil.LIFTED, NIGHT))
    for place in [place for place, content in world.registry.tags.items() if place[0] == "base" and content == GREEN]:
        del world.registry.tags[place]
    with pytest.raises(BasegateError):
        world.operate.gates.roll_back("node", "15-alpine", RED, HoldUntil.LIFTED, NIGHT)
    sweeps(world, 12)
    assert world.announcer.names.count("PromotionHeld") < 3


def test_of_what_a_hold_kept_out_only_the_newest_is_promoted_when_it_ends() -> None:
    world = world_after("orange")
    do(world, world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, NIGHT))
    for content in (BLUE, GREEN):
        world.push("15-alpine", content)
        world.settle()
    moves = len(world.registry.moves)
    do(world, world.operate.gates.lift("node", "15-alpine", NIGHT))
    assert [content for _, content in world.registry.moves[moves:]] == [GREEN]
    assert [one.state.value for one in world.promotions()] == ["promoted", "superseded", "promoted"]


def test_a_veto_rolls_back_what_came_to_stand_on_its_digest_since_the_plan() -> None:
    world = world_after("orange")
    plan = world.operate.vetoes.veto("node", GREEN, NIGHT, rollback=True)
    assert effects(plan) == [("ban", GREEN)]
    world.push("15-alpine", GREEN)
    world.settle()
    do(world, plan)
    assert world.stable_tag() == ORANGE
