"""Two workers at once, each at the worst moment of the other, and clocks that disagree."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from shared.checks.approval import ApprovalCheck
from shared.domain.candidate import Candidate, CandidateState
from shared.domain.errors import Conflict, Retry
from shared.domain.image import Digest
from shared.domain.observation import Observation
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.stable_tag import StableTag
from shared.promotion.stable_tags import CLAIM_SECONDS, TAKE_OVER_SECONDS
from tests.fakes import ProcessDied, World, digest, sample_policy
from tests.unit.operators import cancel, hold, lift_hold, rerun, sweep, veto

ORANGE, GREEN, BLUE = digest("orange"), digest("green"), digest("blue")


def gate_world() -> World:
    return World(sample_policy(apps={}))


def about_to_move() -> World:
    """A world whose stable tag stands on orange and is about to move to green."""
    world = gate_world()
    world.push("15-alpine", ORANGE)
    world.settle()
    world.clock.forward(60)
    world.push("15-alpine", GREEN)
    while world.promotion().digest != GREEN or not world.promotion().copy_started_at:
        world.next_item()
    return world


def once_before(world: World, wanted: Callable[[object], bool], other: Callable[[], object]) -> None:
    """Let someone else act right before the first save of a record that is wanted."""

    def hook(record: object) -> None:
        if wanted(record):
            world.ledger.before_save = None
            other()

    world.ledger.before_save = hook


def is_move(record: object) -> bool:
    return isinstance(record, StableTag) and record.digest == GREEN


def is_claim(record: object) -> bool:
    return isinstance(record, StableTag) and record.claim is not None


def touch(world: World) -> None:
    stored = world.ledger.load(StableTag, "node", "15-alpine")
    assert stored
    world.ledger.save(stored, stored.record)


@pytest.mark.parametrize("kind", ["candidate", "promotion"])
@pytest.mark.parametrize("save", range(1, 26))
def test_a_second_worker_at_any_save_changes_nothing(save: int, kind: str) -> None:
    world, saves = gate_world(), iter(range(1, 10_000))

    def second_worker(record: object) -> None:
        if next(saves) == save:
            hook, world.ledger.before_save = world.ledger.before_save, None
            records = world.candidates() if kind == "candidate" else world.promotions()
            for other in records:
                world.reconciler.work(other.work_item, redelivered=True)
            world.ledger.before_save = hook

    world.ledger.before_save = second_worker
    world.push("15-alpine", GREEN)
    world.settle()
    stable = world.stable()
    assert (world.stable_tag(), stable.digest, stable.claim, stable.move) == (GREEN, GREEN, None, 1)
    assert (len(world.unique_tags(GREEN)), len(world.tasks.runs)) == (1, 1)
    assert world.promotion().state is PromotionState.PROMOTED


@pytest.mark.parametrize("save", range(1, 12))
def test_a_second_observer_at_any_save_leads_to_nothing_twice(save: int) -> None:
    world, saves = gate_world(), iter(range(1, 10_000))

    def second_observer(record: object) -> None:
        if next(saves) == save:
            hook, world.ledger.before_save = world.ledger.before_save, None
            sweep(world)
            world.ledger.before_save = hook

    world.ledger.before_save = second_observer
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.stable_tag() == GREEN
    assert (len(world.candidates()), len(world.promotions()), len(world.tasks.runs)) == (1, 1, 1)


@pytest.mark.parametrize("wanted", [is_claim, is_move])
def test_a_lost_race_for_the_tag_s_record_is_retried_at_once(wanted: Callable[[object], bool]) -> None:
    world = about_to_move()
    once_before(world, wanted, lambda: touch(world))
    world.settle()
    promotion = world.promotion()
    assert (world.stable_tag(), promotion.state, promotion.stall) == (GREEN, PromotionState.PROMOTED, None)
    assert not [entry for entry in promotion.history if "failed" in entry.what], "it is no failed try"


def test_a_record_that_others_change_all_the_time_is_waited_for_and_no_failure() -> None:
    world = about_to_move()

    def meddle(record: object) -> None:
        if is_claim(record):
            world.ledger.before_save = None
            touch(world)
            world.ledger.before_save = meddle

    world.ledger.before_save = meddle
    world.pass_time(30)
    assert (world.stable_tag(), world.promotion().failures) == (ORANGE, 0)
    world.ledger.before_save = None
    world.settle()
    assert world.stable_tag() == GREEN


def test_what_someone_puts_on_the_tag_behind_the_mover_s_back_is_found_by_its_record() -> None:
    world = about_to_move()

    def a_late_put_arrives() -> None:
        world.registry.tags[("base", "node:15-alpine")] = ORANGE
        touch(world)

    once_before(world, is_move, a_late_put_arrives)
    world.settle()
    assert world.stable_tag() == world.stable().digest == GREEN


def test_a_mover_whose_promotion_was_overtaken_puts_back_what_the_record_says() -> None:
    world = about_to_move()

    def a_later_one_arrives() -> None:
        stored = world.ledger.load(StableTag, "node", "15-alpine")
        assert stored
        world.ledger.save(stored, msgspec.structs.replace(stored.record, sequence=9, claim=None))

    once_before(world, is_move, a_later_one_arrives)
    world.settle()
    assert world.stable_tag() == ORANGE
    assert world.promotion().state is PromotionState.SUPERSEDED


def test_a_hold_that_is_lifted_while_a_promotion_begins_to_wait_for_it_lets_it_go_on() -> None:
    world = about_to_move()
    hold(world)
    once_before(
        world,
        lambda record: isinstance(record, Promotion) and record.state is PromotionState.HELD,
        lambda: lift_hold(world),
    )
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)


def test_lifting_a_hold_again_frees_what_a_dead_operator_left_waiting() -> None:
    world = about_to_move()
    hold(world)
    world.settle()
    assert world.promotion().state is PromotionState.HELD

    def die() -> None:
        raise ProcessDied

    once_before(world, lambda record: isinstance(record, Promotion), die)
    with pytest.raises(ProcessDied):
        lift_hold(world)
    world.restart()
    lift_hold(world)
    world.settle()
    assert world.stable_tag() == GREEN


@pytest.mark.parametrize("save", range(1, 14))
@pytest.mark.parametrize("decision", ["veto", "hold"])
def test_a_decision_at_any_save_of_a_move_is_kept(save: int, decision: str) -> None:
    world, saves = about_to_move(), iter(range(1, 10_000))
    made: list[bool] = []

    def decide(record: object) -> None:
        if next(saves) == save:
            world.ledger.before_save = None
            made.append(world.stable().digest == GREEN)
            veto(world, GREEN) if decision == "veto" else hold(world)

    world.ledger.before_save = decide
    world.settle()
    if made and not made[0] and not (decision == "veto" and world.promotion().moved_at):
        assert world.stable_tag() == world.stable().digest == ORANGE
        assert world.promotion().state in (PromotionState.VETOED, PromotionState.HELD)
    else:
        assert world.stable_tag() == world.stable().digest == GREEN
    assert world.stable().claim is None


def test_a_veto_before_the_claim_is_seen_by_the_mover_and_after_it_sees_the_claim() -> None:
    world = about_to_move()
    seen: list[bool] = []

    def the_operator_writes_and_reads() -> None:
        veto(world, GREEN)
        seen.append(world.stable().claim is not None)

    once_before(world, is_claim, the_operator_writes_and_reads)
    world.settle()
    assert seen == [False]
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.VETOED)


@pytest.mark.parametrize("save", range(1, 10))
def test_a_cancel_at_any_save_of_an_examination_leaves_no_tag_on_a_canceled_attempt(save: int) -> None:
    world, saves = gate_world(), iter(range(1, 10_000))

    def cancel_in_between(record: object) -> None:
        if next(saves) == save and world.candidates() and not world.candidate(GREEN).settled:
            world.ledger.before_save = None
            with suppress(Conflict):
                cancel(world, GREEN)

    world.ledger.before_save = cancel_in_between
    world.push("15-alpine", GREEN)
    world.settle()
    canceled = world.candidate(GREEN).state is CandidateState.CANCELED
    assert world.stable_tag() == (None if canceled else GREEN)
    assert all(isinstance(one, Candidate) and one.settled for one in world.candidates())
    assert world.unheard() == []


def test_another_attempt_that_begins_while_a_promotion_is_refused_by_the_last_one_promotes_it() -> None:
    world = gate_world()
    world.tasks.failing[GREEN] = "ERROR: no"
    world.push("15-alpine", GREEN)

    def is_refused(record: object) -> bool:
        return isinstance(record, Promotion) and record.state is PromotionState.REFUSED

    def operator() -> None:
        world.tasks.failing.clear()
        rerun(world, GREEN)

    once_before(world, is_refused, operator)
    world.settle()
    assert world.ledger.before_save is None
    assert (world.candidate(GREEN).state, world.stable_tag()) == (CandidateState.PASSED, GREEN)


def test_a_base_that_moved_by_a_clock_that_is_behind_moves_all_the_same() -> None:
    world = gate_world()
    world.push("15-alpine", ORANGE)
    world.clock.forward(90)
    world.settle()
    world.clock.forward(-85)
    world.push("15-alpine", GREEN)
    world.settle()
    assert (world.stable_tag(), world.stable().move) == (GREEN, 2)


def test_a_move_that_fails_keeps_nobody_else_waiting() -> None:
    world = about_to_move()
    real = world.registry.point

    def away(*given: object) -> None:
        assert world.stable().claim is not None
        raise Conflict("no: this is what a ledger says")

    world.registry.point = away  # type: ignore[method-assign,assignment]
    world.pass_time(10)
    assert world.stable().claim is None
    world.registry.point = real  # type: ignore[method-assign]
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_worker_that_fails_before_it_claims_leaves_the_claim_of_another_worker_for_the_same_promotion() -> None:
    world = about_to_move()
    item, point, load = world.promotion().work_item, world.registry.point, world.ledger.load

    def fail(kind: type[Any], *key: str) -> Any:
        if kind is not Observation:
            return load(kind, *key)
        world.ledger.load = load  # type: ignore[method-assign]
        raise Retry("the table answers 503", 1.0)

    def while_another_fails(*given: Any) -> None:
        world.registry.point = point  # type: ignore[method-assign]
        claimed = world.stable().claim
        assert claimed is not None
        world.ledger.load = fail  # type: ignore[method-assign,assignment]
        world.reconciler.work(item, redelivered=True)
        assert world.ledger.load is load
        assert world.stable().claim == claimed
        point(*given)

    world.registry.point = while_another_fails  # type: ignore[method-assign,assignment]
    world.settle()
    assert world.stable_tag() == world.stable().digest == GREEN


def test_a_promotion_whose_tag_is_being_moved_is_not_examined_anew_for_rules_that_change_in_that_moment() -> None:
    world = about_to_move()
    item, point, before = world.promotion().work_item, world.registry.point, len(world.candidates())
    (gate,) = world.policy.gates.values()
    stricter = msgspec.structs.replace(gate, checks=(*gate.checks, ApprovalCheck()))

    def while_the_rules_change(*given: Any) -> None:
        world.registry.point = point  # type: ignore[method-assign]
        world.use(msgspec.structs.replace(world.policy, gates={gate.name: stricter}))
        world.reconciler.work(item, redelivered=True)
        point(*given)

    world.registry.point = while_the_rules_change  # type: ignore[method-assign,assignment]
    world.settle()
    assert (world.stable_tag(), world.stable().digest, world.promotion().state) == (
        GREEN,
        GREEN,
        PromotionState.PROMOTED,
    )
    assert (len(world.candidates()), world.registry.moves.count(("base/node:15-alpine", GREEN))) == (before, 1)


def test_while_a_worker_that_was_taken_over_from_may_still_move_the_tag_no_later_promotion_moves_it() -> None:
    world = about_to_move()
    item, point, moved = world.promotion().work_item, world.registry.point, list[str]()

    def record(registry: Any, repository: str, tag: str, content: Digest) -> None:
        point(registry, repository, tag, content)
        moved.append(content)

    def paused(*given: Any) -> None:
        world.registry.point = record  # type: ignore[method-assign,assignment]
        world.clock.forward(TAKE_OVER_SECONDS + 1)
        world.reconciler.work(item, redelivered=True)
        assert world.stable().digest == GREEN
        world.push("15-alpine", BLUE)
        world.pass_time(120)
        record(*given)

    world.registry.point = paused  # type: ignore[method-assign,assignment]
    world.settle()
    world.pass_time(CLAIM_SECONDS)
    assert moved == [GREEN, GREEN, BLUE]
    assert world.stable_tag() == world.stable().digest == BLUE
    assert world.stable().claim is None
