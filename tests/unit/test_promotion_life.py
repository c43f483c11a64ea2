"""A promotion's whole life: every state, how it comes to it, and what the target registry looks like meanwhile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.checks.approval import ApprovalCheck
from shared.checks.task import TaskCheck
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import CandidateState
from shared.domain.errors import Misconfigured, Rejected, Retry, Throttled
from shared.domain.image import Digest, Tag
from shared.domain.policy import CheckRule, PromotionRule
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.stable_tag import HoldUntil
from shared.operations import Who
from shared.ports import Change
from tests.fakes import ProcessDied, World, digest, sample_policy
from tests.unit.operators import TAG, answer, gate_of, hold, lift_hold, lift_veto, rerun, sweep, veto

ORANGE, RED, GREEN = digest("orange"), digest("red"), digest("green")
NIGHT = Who("op@example.com", "it is three in the morning")
STRICTER = TaskCheck(registry="base", task="stricter")


def gate_world(*checks: CheckRule, **promote: Any) -> World:
    """A world without apps, whose gate has these checks and promotes like this."""
    gate = sample_policy().gates["node"]
    rule = msgspec.structs.replace(gate.promote, **promote)
    gate = msgspec.structs.replace(gate, checks=checks or gate.checks, promote=rule)
    return World(sample_policy(gates={"node": gate}, apps={}))


def promoted(content: Digest = ORANGE) -> World:
    world = gate_world()
    push(world, content)
    return world


def push(world: World, content: Digest, tag: str = TAG) -> None:
    world.push(tag, content)
    world.settle()
    world.clock.forward(60)


def until_locked(world: World, content: Digest = GREEN) -> None:
    """Go on until the stable tag is what is to be moved next."""
    real = world.registry.point

    def away(*_: object) -> None:
        raise Retry("503")

    world.registry.point = away  # type: ignore[method-assign,assignment]
    world.push("15-alpine", content)
    world.settle()
    world.registry.point = real  # type: ignore[method-assign]
    assert world.promotion().locked_at


def alarms(world: World, kind: AlarmKind = AlarmKind.STABLE_MOVED) -> list[Alarm]:
    return [one.record for one in world.ledger.list(Alarm, "gates.node") if one.record.kind is kind]


# promoted


def test_a_passed_digest_gets_its_unique_locked_tag_and_then_the_stable_one() -> None:
    world = promoted(GREEN)
    promotion = world.promotion()
    assert (promotion.state, promotion.unique) == (PromotionState.PROMOTED, "15-alpine-cb1")
    assert world.unique_tags(GREEN) == ["node:15-alpine-cb1"]
    assert ("base", "node:15-alpine-cb1") in world.registry.locked
    stable = world.stable()
    assert (stable.digest, stable.sequence, stable.promotion, stable.move) == (GREEN, 1, promotion.row, 1)
    assert (stable.candidate, stable.unique, stable.claim) == (world.candidate(GREEN).row, "15-alpine-cb1", None)
    assert "Promoted" in world.announcer.names


def test_every_decision_can_be_explained_from_the_record() -> None:
    world = promoted(GREEN)
    assert [entry.what for entry in world.promotion().history] == [
        "observed",
        "passed",
        "copy started",
        "copied",
        "locked",
        "stable tag moved",
        "rollouts started",
        "promoted",
    ]


def test_the_unique_tag_is_there_and_locked_before_the_stable_tag_moves() -> None:
    world = gate_world()
    real = world.registry.point

    def point(*given: Any) -> None:
        assert ("base", "node:15-alpine-cb1") in world.registry.locked
        real(*given)

    world.registry.point = point  # type: ignore[method-assign,assignment]
    push(world, GREEN)
    assert world.stable_tag() == GREEN


def test_a_gate_that_does_not_lock_does_not() -> None:
    world = gate_world(lock=False)
    push(world, GREEN)
    assert (world.stable_tag(), world.registry.locked) == (GREEN, set())


@pytest.mark.parametrize("error", [Misconfigured("403: AcrPush may not lock"), Rejected("405")])
def test_a_refused_lock_is_kept_with_the_promotion_and_does_not_stop_it(error: Exception) -> None:
    world = gate_world()
    world.registry.lock_fault = error
    push(world, GREEN)
    assert (world.stable_tag(), world.promotion().lock_problem) == (GREEN, str(error))
    assert world.promotion().locked_at is None


def test_one_digest_at_two_gates_is_promoted_at_both() -> None:
    gate = sample_policy().gates["node"]
    other = msgspec.structs.replace(gate, name="other", promote=PromotionRule(registry="base", repository="other"))
    world = World(sample_policy(gates={"node": gate, "other": other}, apps={}))
    push(world, GREEN)
    assert world.registry.tags[("base", "other:15-alpine")] == GREEN == world.stable_tag()


@pytest.mark.parametrize(
    "checks",
    [
        (ApprovalCheck(),),
        (ApprovalCheck(), STRICTER),
        (STRICTER, ApprovalCheck()),
    ],
)
def test_a_gate_with_an_approval_promotes_digest_after_digest(checks: tuple[CheckRule, ...]) -> None:
    world = gate_world(*checks)
    for content in (ORANGE, RED, GREEN):
        push(world, content)
        answer(world, content, approved=True)
        world.settle()
        assert world.stable_tag() == content
    assert len({promotion.unique for promotion in world.promotions()}) == 3


# unique tags


def test_a_unique_tag_without_a_run_of_the_target_registry_is_attempt_and_digest() -> None:
    world = gate_world(TaskCheck(registry="team", task="examine"))
    push(world, GREEN)
    assert world.promotion().unique == f"15-alpine-1-{GREEN[7:15]}"


def test_a_unique_tag_that_is_another_digest_is_never_overwritten() -> None:
    world = gate_world()
    world.registry.tags[("base", "node:15-alpine-cb1")] = RED
    push(world, GREEN)
    assert world.registry.tags[("base", "node:15-alpine-cb1")] == RED
    assert (world.stable_tag(), world.promotion().unique) == (GREEN, f"15-alpine-1-{GREEN[7:15]}")


def test_where_both_names_are_taken_the_promotion_stalls_and_says_so() -> None:
    world = gate_world()
    for name in ("15-alpine-cb1", f"15-alpine-1-{GREEN[7:15]}"):
        world.registry.tags[("base", f"node:{name}")] = RED
    push(world, GREEN)
    stall = world.promotion().stall
    assert stall
    assert "15-alpine-cb1" in stall.reason
    del world.registry.tags[("base", "node:15-alpine-cb1")]
    world.pass_time(600)
    assert world.stable_tag() == GREEN


def test_a_digest_that_comes_back_keeps_its_unique_tag() -> None:
    world = promoted(ORANGE)
    push(world, GREEN)
    push(world, ORANGE)
    assert world.stable_tag() == ORANGE
    assert world.unique_tags(ORANGE) == ["node:15-alpine-cb1"]
    assert len(world.registry.copies) == 2


# copies


def test_an_import_that_is_throttled_for_an_hour_is_promoted_afterwards_with_nobody_touching_it() -> None:
    world = gate_world()
    world.registry.copy_fault = Throttled("TOOMANYREQUESTS", 60.0)
    world.push("15-alpine", GREEN)
    world.pass_time(3600)
    assert (world.promotion().state_name, world.stable_tag()) == ("stalled", None)
    assert world.candidate(GREEN).state is CandidateState.PASSED
    world.registry.copy_fault = None
    world.pass_time(600)
    assert world.stable_tag() == GREEN


def test_an_import_whose_operation_fails_for_an_hour_is_promoted_afterwards() -> None:
    world = gate_world()
    world.registry.copy_problem = "TOOMANYREQUESTS"
    world.push("15-alpine", GREEN)
    world.pass_time(3600)
    stall = world.promotion().stall
    assert stall
    assert "TOOMANYREQUESTS" in stall.reason
    world.registry.copy_problem = ""
    world.pass_time(600)
    assert world.stable_tag() == GREEN


@pytest.mark.parametrize("minutes", [2, 11, 60, 3 * 24 * 60])
def test_an_outage_of_any_length_ends_nothing(minutes: int) -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.next_item()
    world.registry.fault = world.tasks.start_fault = Retry("503")
    world.pass_time(minutes * 60)
    world.registry.fault = world.tasks.start_fault = None
    world.pass_time(700)
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)


def test_what_arrives_in_the_target_must_be_what_was_examined() -> None:
    world = gate_world()
    world.registry.copy_result = digest("something else")
    push(world, GREEN)
    world.pass_time(600)
    assert (world.stable_tag(), world.promotion().state_name) == (None, "stalled")


def test_a_copy_of_a_dead_worker_that_arrives_meanwhile_is_no_conflict() -> None:
    world = gate_world()

    def refuse(*arguments: object) -> str:
        world.registry.tags[("base", "node:15-alpine-cb1")] = GREEN
        raise Rejected("409 the tag exists")

    world.registry.start_copy = refuse  # type: ignore[method-assign,assignment]
    push(world, GREEN)
    assert world.stable_tag() == GREEN


def test_a_source_that_left_the_rules_is_said_to_have_left() -> None:
    world = gate_world()
    world.registry.copy_fault = Retry("503")
    push(world, GREEN)
    mirror = msgspec.structs.replace(world.policy.registries["public"], server="mirror.azurecr.io")
    world.use(msgspec.structs.replace(world.policy, registries={**world.policy.registries, "public": mirror}))
    world.registry.copy_fault = None
    world.pass_time(600)
    stall = world.promotion().stall
    assert stall
    assert "not in the rules any more" in stall.reason


def test_a_registry_that_is_called_something_else_by_now_is_still_the_source() -> None:
    world = gate_world()
    world.registry.copy_fault = Retry("503")
    push(world, GREEN)
    renamed = msgspec.structs.replace(world.policy.registries["public"], name="upstream")
    gate = gate_of(world)
    gate = msgspec.structs.replace(gate, source=msgspec.structs.replace(gate.source, registry="upstream"))
    registries = {"upstream": renamed, "base": world.policy.registries["base"]}
    world.use(msgspec.structs.replace(world.policy, registries=registries, gates={"node": gate}))
    world.registry.copy_fault = None
    world.pass_time(600)
    assert world.stable_tag() == GREEN


# superseded, in the order of sequences


def test_an_older_observation_that_passes_later_never_overwrites_a_newer_one() -> None:
    world = gate_world()
    world.tasks.seconds = 100
    world.push("15-alpine", ORANGE)
    world.next_item()
    world.tasks.seconds = 5
    world.push("15-alpine", GREEN)
    world.settle()
    first, second = world.promotions()
    assert (first.state, second.state) == (PromotionState.SUPERSEDED, PromotionState.PROMOTED)
    assert (world.stable_tag(), world.candidate(ORANGE).state) == (GREEN, CandidateState.PASSED)
    assert [content for _, content in world.registry.moves] == [GREEN]
    assert "PromotionSuperseded" in world.announcer.names


def test_a_promotion_that_is_done_again_under_an_old_number_does_not_lower_the_tag_s() -> None:
    world = promoted(ORANGE)
    world.registry.tags[("public", "node:15-alpine")] = GREEN
    world.registry.copy_fault = Retry("503")
    world.push("15-alpine", GREEN)
    world.settle()
    world.push("15-alpine", ORANGE)
    world.settle()
    assert world.stable().sequence == 3
    first = world.ledger.load(Promotion, "node", world.promotions()[0].row)
    assert first
    world.ledger.commit(Change(first.record.reset(), first))
    world.registry.copy_fault = None
    world.reconciler.work(first.record.work_item)
    world.pass_time(600)
    assert (world.stable_tag(), world.stable().sequence, world.stable().move) == (ORANGE, 3, 1)
    assert world.promotions()[1].state is PromotionState.SUPERSEDED


# refused, canceled, vetoed


def test_a_refused_digest_is_promoted_when_another_attempt_passes() -> None:
    world = gate_world()
    world.tasks.failing[GREEN] = "ERROR: flaky"
    push(world, GREEN)
    assert world.promotion().state is PromotionState.REFUSED
    world.tasks.failing.clear()
    rerun(world, GREEN)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)


def test_a_failed_digest_that_upstream_goes_back_to_is_promoted_when_an_attempt_passes() -> None:
    world = gate_world()
    world.tasks.failing[GREEN] = "ERROR: flaky"
    push(world, GREEN)
    push(world, ORANGE)
    world.tasks.failing.clear()
    push(world, GREEN)
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.REFUSED)
    rerun(world, GREEN)
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_veto_while_it_is_examined_ends_the_promotion_and_lifting_it_takes_it_up_again() -> None:
    world = promoted(ORANGE)
    world.tasks.seconds = 60
    world.push("15-alpine", GREEN)
    world.next_item()
    veto(world, GREEN)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.VETOED)
    assert "a hole in it" in world.promotion().reason
    assert "PromotionVetoed" in world.announcer.names
    lift_veto(world, GREEN)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)


def test_a_veto_while_it_is_copied_leaves_the_stable_tag_alone() -> None:
    world = promoted(ORANGE)
    until_locked(world)
    veto(world, GREEN)
    world.pass_time(600)
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.VETOED)
    assert GREEN not in [content for _, content in world.registry.moves]


def deciding_at_the_move(world: World, decide: Any) -> None:
    """Let an operator decide between the last check before the move and the move itself."""
    real = world.registry.point

    def point(*given: Any) -> None:
        world.registry.point = real  # type: ignore[method-assign]
        decide()
        real(*given)

    world.registry.point = point  # type: ignore[method-assign,assignment]
    world.pass_time(600)


def test_a_veto_between_the_check_for_it_and_the_move_has_the_move_put_back() -> None:
    world = promoted(ORANGE)
    until_locked(world)
    deciding_at_the_move(world, lambda: veto(world, GREEN))
    assert (world.stable_tag(), world.stable().digest) == (ORANGE, ORANGE)
    assert world.promotion().state is PromotionState.VETOED
    assert [content for _, content in world.registry.moves] == [ORANGE, GREEN, ORANGE]
    assert len(alarms(world)) == 1


def test_a_veto_at_the_first_move_of_a_tag_removes_the_tag() -> None:
    world = gate_world()
    until_locked(world)
    deciding_at_the_move(world, lambda: veto(world, GREEN))
    assert (world.stable_tag(), world.stable().digest) == (None, None)
    assert world.unique_tags(GREEN) == ["node:15-alpine-cb1"], "the manifest stays"
    assert len(alarms(world)) == 1


def test_where_the_role_does_not_let_it_be_removed_an_alarm_stands() -> None:
    world = gate_world()
    until_locked(world)
    world.registry.remove_fault = Misconfigured("403", remedy="grant AcrDelete")
    deciding_at_the_move(world, lambda: veto(world, GREEN))
    assert world.stable_tag() == GREEN
    assert [(alarm.is_active, "grant AcrDelete" in alarm.plan) for alarm in alarms(world)] == [(True, True)]


def test_a_move_that_must_not_stand_goes_back_to_the_newest_promotion_that_is_not_vetoed() -> None:
    world = promoted(ORANGE)
    push(world, RED)
    until_locked(world)

    def ban_both() -> None:
        for content in (RED, GREEN):
            veto(world, content)

    deciding_at_the_move(world, ban_both)
    assert (world.stable_tag(), world.stable().digest) == (ORANGE, ORANGE)
    assert world.stable().sequence == world.promotions()[0].sequence


def test_a_fault_before_the_first_move_leaves_a_tag_alone_that_stood_there_before_the_gate() -> None:
    world = gate_world()
    world.registry.tags[("base", "node:15-alpine")] = RED
    until_locked(world)
    assert world.stable_tag() == RED
    world.pass_time(600)
    assert world.stable_tag() == GREEN


def test_what_is_vetoed_while_it_is_examined_never_enters_the_target_registry() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.next_item()  # the check has begun
    veto(world, GREEN)
    world.settle()
    assert world.promotion().state is PromotionState.VETOED
    assert world.registry.copies == []


def test_the_first_promotion_dies_after_the_move_and_its_digest_is_vetoed_then() -> None:
    world = gate_world()
    until_locked(world)
    real = world.registry.point

    def point(*given: Any) -> None:
        real(*given)
        world.registry.point = real  # type: ignore[method-assign]
        raise ProcessDied

    world.registry.point = point  # type: ignore[method-assign,assignment]
    item = world.promotion().work_item
    with pytest.raises(ProcessDied):
        world.reconciler.work(item, redelivered=True)
    world.restart()
    assert world.stable_tag() == GREEN
    veto(world, GREEN)
    world.reconciler.work(item, redelivered=True)
    world.pass_time(120)
    assert (world.stable_tag(), world.promotion().state) == (None, PromotionState.VETOED)
    assert len(alarms(world)) == 1


# held


def test_a_held_tag_stays_and_what_passed_waits_until_the_hold_is_lifted() -> None:
    world = promoted(ORANGE)
    hold(world)
    push(world, GREEN)
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.HELD)
    assert "PromotionHeld" in world.announcer.names
    assert world.queue.waiting == []
    lift_hold(world)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)


def test_of_several_that_were_held_the_newest_has_the_tag_in_the_end() -> None:
    world = promoted(ORANGE)
    hold(world)
    push(world, RED)
    push(world, GREEN)
    lift_hold(world)
    world.settle()
    assert world.stable_tag() == GREEN
    assert PromotionState.HELD not in {promotion.state for promotion in world.promotions()}


@pytest.mark.parametrize(
    ("content", "moves"), [(GREEN, True), (ORANGE, False)], ids=["a new digest", "one that the tag had before"]
)
def test_a_hold_until_newer_ends_only_with_a_digest_that_was_first_observed_after_it_began(
    content: Digest, moves: bool
) -> None:
    world = promoted(ORANGE)
    push(world, RED)
    hold(world, until=HoldUntil.NEWER)
    push(world, content)
    assert (world.stable_tag() == content) is moves
    assert (world.stable().hold is None) is moves


def test_what_was_held_is_taken_up_again_when_a_newer_digest_ends_the_hold() -> None:
    world = promoted(ORANGE)
    push(world, GREEN)
    hold(world, until=HoldUntil.NEWER)
    world.tasks.seconds = 100
    world.push("15-alpine", RED)
    world.next_item()
    world.push("15-alpine", ORANGE)
    world.settle(within_seconds=30)
    assert (world.promotion().returning, world.promotion().state) == (True, PromotionState.HELD)
    world.settle()
    assert (world.stable_tag(), world.stable().hold) == (ORANGE, None)
    assert world.promotion().state is PromotionState.PROMOTED


def test_a_hold_until_newer_stands_against_what_was_observed_before_it() -> None:
    world = promoted(ORANGE)
    world.tasks.seconds = 60
    world.push("15-alpine", GREEN)
    world.next_item()
    hold(world, until=HoldUntil.NEWER)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.HELD)


def test_a_hold_stays_when_the_digest_that_it_holds_is_promoted_again() -> None:
    world = promoted(ORANGE)
    push(world, GREEN)
    until_locked(world, ORANGE)
    roll_back = world.operate.gates.roll_back("node", TAG, ORANGE, HoldUntil.LIFTED, NIGHT)
    roll_back.act()
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.PROMOTING)
    world.pass_time(600)
    assert (world.promotion().state, world.stable().hold is not None) == (PromotionState.PROMOTED, True)
    push(world, RED)
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.HELD)


@pytest.mark.parametrize("first", [True, False])
def test_a_hold_between_the_check_for_it_and_the_move_has_the_move_put_back(first: bool) -> None:
    world = gate_world() if first else promoted(ORANGE)
    until_locked(world)
    deciding_at_the_move(world, lambda: hold(world))
    assert world.stable_tag() == world.stable().digest == (None if first else ORANGE)
    assert world.promotion().state is PromotionState.HELD
    lift_hold(world)
    world.settle()
    assert world.stable_tag() == GREEN


def test_what_was_held_and_then_vetoed_does_not_move_when_the_hold_is_lifted() -> None:
    world = promoted(ORANGE)
    hold(world)
    push(world, GREEN)
    veto(world, GREEN)
    lift_hold(world)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.VETOED)


def test_what_was_held_under_other_checks_must_pass_the_new_ones() -> None:
    world = promoted(ORANGE)
    hold(world)
    push(world, GREEN)
    gate = msgspec.structs.replace(gate_of(world), checks=(STRICTER,))
    world.use(msgspec.structs.replace(world.policy, gates={"node": gate}))
    world.tasks.failing["stricter"] = "ERROR: it has a hole"
    lift_hold(world)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.REFUSED)


# withdrawn


def test_what_was_withdrawn_goes_on_when_its_tag_is_created_again() -> None:
    world = promoted(ORANGE)
    world.tasks.seconds = 60
    world.push("15-alpine", GREEN)
    world.next_item()
    del world.registry.tags[("public", "node:15-alpine")]
    for _ in range(2):
        world.clock.forward(1)
        sweep(world)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.WITHDRAWN)
    assert "PromotionWithdrawn" in world.announcer.names
    world.push("15-alpine", GREEN)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)


# changed rules


@pytest.mark.parametrize("fails", [True, False])
def test_checks_that_change_while_it_is_promoted_must_be_passed_before_the_tag_moves(fails: bool) -> None:
    world = promoted(ORANGE)
    until_locked(world)
    gate = msgspec.structs.replace(gate_of(world), checks=(STRICTER,))
    world.use(msgspec.structs.replace(world.policy, gates={"node": gate}))
    if fails:
        world.tasks.failing["stricter"] = "ERROR: it has a hole"
    world.pass_time(600)
    assert world.stable_tag() == (ORANGE if fails else GREEN)
    assert world.promotion().state is (PromotionState.REFUSED if fails else PromotionState.PROMOTED)
    assert world.candidate(GREEN).attempt == 2


def test_a_gate_that_left_the_rules_ends_its_promotion_before_the_move() -> None:
    world = promoted(ORANGE)
    until_locked(world)
    world.use(sample_policy(gates={}, apps={}))
    world.pass_time(600)
    promotion = world.promotion()
    assert (world.stable_tag(), promotion.state, world.unheard()) == (ORANGE, PromotionState.RULE_REMOVED, [])


# by task


def by_task() -> World:
    return gate_world(by="task")


def task_pushes(world: World, content: Digest, *tags: str) -> None:
    for tag in tags:
        world.registry.tags[("base", f"node:{tag}")] = content


def test_a_task_that_promotes_by_itself_is_recorded_where_the_digests_agree() -> None:
    world = by_task()
    task_pushes(world, GREEN, "15-alpine", "15-alpine-cb1")
    push(world, GREEN)
    assert (world.promotion().state, world.stable().digest, world.registry.copies) == (
        PromotionState.PROMOTED,
        GREEN,
        [],
    )


def test_a_task_that_promotes_other_bytes_stalls_and_says_so() -> None:
    world = by_task()
    task_pushes(world, RED, "15-alpine", "15-alpine-cb1")
    push(world, GREEN)
    stall = world.promotion().stall
    assert stall
    assert RED[7:19] in stall.reason
    assert world.stable().digest is None


def test_what_a_task_moved_although_its_tag_is_held_is_put_back() -> None:
    world = by_task()
    task_pushes(world, ORANGE, "15-alpine", "15-alpine-cb1")
    push(world, ORANGE)
    hold(world)
    task_pushes(world, GREEN, "15-alpine", "15-alpine-cb2")
    push(world, GREEN)
    assert (world.stable_tag(), world.stable().digest) == (ORANGE, ORANGE)
    assert world.promotion().state is PromotionState.HELD
    assert len(alarms(world)) == 1


def test_what_a_task_moved_although_it_is_vetoed_is_never_what_the_tag_is_said_to_stand_on() -> None:
    world = by_task()
    task_pushes(world, ORANGE, "15-alpine", "15-alpine-cb1")
    push(world, ORANGE)
    world.push("15-alpine", GREEN)
    world.next_item()
    veto(world, GREEN)
    task_pushes(world, GREEN, "15-alpine", "15-alpine-cb2")
    world.settle()
    assert (world.promotion().state, world.stable().digest) == (PromotionState.VETOED, ORANGE)


def test_a_promotion_whose_task_s_push_is_gone_stands_on_the_next_attempt_that_passes() -> None:
    world = by_task()
    push(world, GREEN)
    assert world.promotion().state_name == "stalled"
    rerun(world, GREEN)
    task_pushes(world, GREEN, "15-alpine", "15-alpine-cb2")
    world.pass_time(600)
    assert (world.promotion().state, world.promotion().unique) == (PromotionState.PROMOTED, "15-alpine-cb2")
    assert world.stable().digest == GREEN


def test_a_digest_that_returns_after_what_its_task_had_pushed_was_deleted_is_copied() -> None:
    world = by_task()
    for number, content in enumerate((ORANGE, GREEN), 1):
        task_pushes(world, content, "15-alpine", f"15-alpine-cb{number}")
        push(world, content)
    assert world.stable().digest == GREEN
    del world.registry.tags["base", "node:15-alpine-cb1"]
    push(world, ORANGE)
    assert (world.promotion().state, world.stable_tag(), world.stable().digest) == (
        PromotionState.PROMOTED,
        ORANGE,
        ORANGE,
    )


# deaths and losses


@pytest.mark.parametrize("call", ["start_copy", "lock", "point"])
@pytest.mark.parametrize("after", [True, False])
def test_a_worker_that_dies_at_any_call_leaves_the_old_or_the_new_state_and_the_next_goes_on(
    call: str, after: bool
) -> None:
    world = promoted(ORANGE)
    real = getattr(world.registry, call)

    def die(*given: Any) -> Any:
        setattr(world.registry, call, real)
        if after:
            real(*given)
        raise ProcessDied

    setattr(world.registry, call, die)
    world.push("15-alpine", GREEN)
    world.settle_while_crashing()
    assert world.stable_tag() == world.stable().digest == GREEN
    assert len(world.unique_tags(GREEN)) == 1


@pytest.mark.parametrize("call", ["start_copy", "lock", "point", "digest_of"])
def test_an_answer_that_is_lost_after_success_changes_nothing(call: str) -> None:
    world = promoted(ORANGE)
    real = getattr(world.registry, call)

    def lose(*given: Any) -> Any:
        setattr(world.registry, call, real)
        real(*given)
        raise Retry("the answer was lost")

    world.push("15-alpine", GREEN)
    world.next_item()
    setattr(world.registry, call, lose)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)


def test_an_image_that_is_deleted_before_its_tag_moves_is_copied_again() -> None:
    world = promoted(ORANGE)
    until_locked(world)
    del world.registry.tags[("base", "node:15-alpine-cb2")]
    world.registry.locked.discard(("base", "node:15-alpine-cb2"))
    world.pass_time(600)
    assert world.stable_tag() == GREEN
    assert world.registry.copies == ["node:15-alpine-cb1", "node:15-alpine-cb2", "node:15-alpine-cb2"]


def test_two_tags_of_one_digest_are_two_promotions_on_one_attempt() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.push("15.14", GREEN)
    world.settle()
    assert world.stable_tag("15-alpine") == world.stable_tag("15.14") == GREEN
    assert sorted(world.unique_tags(GREEN)) == ["node:15-alpine-cb1", "node:15.14-cb1"]
    assert {promotion.candidate for promotion in world.promotions()} == {world.candidate(GREEN).row}
    assert world.promotion("15.14").tag == Tag("15.14")
