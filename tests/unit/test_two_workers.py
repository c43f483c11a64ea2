"""Two workers at once, each at the worst moment of the other, and clocks that disagree."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.errors import Conflict, Refused, Retry
from shared.domain.rollout import RolloutState
from shared.domain.standing import HoldUntil
from shared.domain.track import Track
from shared.workflow.find import candidate_id
from shared.workflow.operate import Who
from tests.fakes import ProcessDied, World, digest

ORANGE, GREEN = digest("orange"), digest("green")
WHO = Who("op", "because")


def about_to_move(world: World) -> None:
    """A world whose stable tag stands on orange and is about to move to green."""
    world.push("15-alpine", ORANGE)
    world.settle()
    world.clock.forward(60)
    world.push("15-alpine", GREEN)
    while not world.candidate(GREEN).tags[0].locked_at:
        world.next_look()


def once_before(world: World, wanted: Callable[[object], bool], other: Callable[[], object]) -> None:
    """Let someone else act right before the first save of a record that is wanted."""

    def hook(record: object) -> None:
        if wanted(record):
            world.ledger.before_save = None
            other()

    world.ledger.before_save = hook


def test_a_worker_that_moves_for_the_same_candidate_is_not_put_back() -> None:
    world = World()
    about_to_move(world)
    seen: list[object] = []

    def second_worker_claims_and_points() -> None:
        stored = world.ledger.load(Track, "node", "15-alpine")
        assert stored
        seen.append(world.ledger.save(stored, stored.record))

    once_before(
        world, lambda record: isinstance(record, Track) and record.digest == GREEN, second_worker_claims_and_points
    )
    world.next_look()
    assert seen
    assert world.stable_tag() == GREEN, "the other one has pointed it there and reads it back"
    world.settle()
    assert world.stable_tag() == GREEN
    assert world.candidate(GREEN).state is CandidateState.PROMOTED


def test_two_workers_in_every_step_of_one_candidate_end_as_one() -> None:
    for save in range(1, 30):
        world, saves = World(), iter(range(1, 10_000))

        def second_worker(record: object, world: World = world, at: int = save, saves: object = saves) -> None:
            if isinstance(record, Candidate | Track) and next(saves) == at:  # type: ignore[call-overload]
                hook, world.ledger.before_save = world.ledger.before_save, None
                world.advance.look(world.candidates()[0].look, redelivered=True)
                world.ledger.before_save = hook

        world.ledger.before_save = second_worker
        world.push("15-alpine", GREEN)
        world.settle()
        track = world.ledger.load(Track, "node", "15-alpine")
        assert world.candidate(GREEN).state is CandidateState.PROMOTED
        assert world.stable_tag() == GREEN
        assert track
        assert (track.record.digest, track.record.moving) == (GREEN, "")
        assert len(world.unique_tags(GREEN)) == 1
        assert world.rollouts()[-1].state is RolloutState.LIVE


def test_what_someone_puts_on_the_tag_behind_the_movers_back_is_noticed() -> None:
    world = World()
    about_to_move(world)

    def a_late_put_arrives() -> None:
        world.registry.tags[("base", "node:15-alpine")] = ORANGE

    once_before(world, lambda record: isinstance(record, Track) and record.digest == GREEN, a_late_put_arrives)
    world.settle()
    assert world.stable_tag() == GREEN
    assert world.candidate(GREEN).state is CandidateState.PROMOTED


def test_a_hold_that_is_lifted_while_a_candidate_begins_to_wait_for_it_lets_it_go_on() -> None:
    world = World()
    about_to_move(world)
    world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, WHO).act()
    once_before(
        world,
        lambda record: isinstance(record, Candidate) and record.tags[0].held,
        lambda: world.operate.gates.lift("node", "15-alpine", WHO).act(),
    )
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED
    assert world.stable_tag() == GREEN


def test_lifting_a_hold_again_frees_what_a_dead_worker_left_waiting() -> None:
    world = World()
    about_to_move(world)
    world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, WHO).act()
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.HELD

    def die() -> None:
        raise ProcessDied

    once_before(world, lambda record: isinstance(record, Candidate), die)
    with pytest.raises(ProcessDied):
        world.operate.gates.lift("node", "15-alpine", WHO).act()
    world.restart()
    world.operate.gates.lift("node", "15-alpine", WHO).act()
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_look_that_was_lost_with_its_worker_is_made_up_for() -> None:
    world = World()
    about_to_move(world)
    world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, WHO).act()
    world.settle()
    send = world.queue.send

    def die_at_the_last(look: object, wait_seconds: float) -> None:
        if wait_seconds == 0:
            raise ProcessDied
        send(look, wait_seconds)  # type: ignore[arg-type]

    world.queue.send = die_at_the_last  # type: ignore[method-assign]
    with pytest.raises(ProcessDied):
        world.operate.gates.lift("node", "15-alpine", WHO).act()
    world.queue.send = send  # type: ignore[method-assign]
    world.restart()
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_base_that_moved_by_a_clock_that_is_behind_is_rolled_out_all_the_same() -> None:
    world = World()
    world.push("15-alpine", ORANGE)
    world.clock.forward(90)
    world.settle()
    world.clock.forward(-85)
    world.push("15-alpine", GREEN)
    world.settle()
    base = world.app().base
    assert base is not None
    assert base.digest == GREEN
    assert [r.state for r in world.rollouts() if r.base and r.base.digest == GREEN] == [RolloutState.LIVE]


def test_a_rollback_that_died_after_the_move_can_be_called_again_and_rolls_out() -> None:
    world = World()
    about_to_move(world)
    world.settle()
    rollback = world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, WHO)

    def die(*_: object) -> None:
        raise ProcessDied

    send, world.queue.send = world.queue.send, die  # type: ignore[method-assign,assignment]
    insert, world.ledger.insert = world.ledger.insert, die  # type: ignore[method-assign,assignment]
    with pytest.raises(ProcessDied):
        rollback.act()
    world.queue.send, world.ledger.insert = send, insert  # type: ignore[method-assign]
    world.restart()
    assert world.stable_tag() == ORANGE
    world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, WHO).act()
    world.settle()
    base = world.app().base
    assert base is not None
    assert base.digest == ORANGE
    assert world.rollouts()[-1].state is RolloutState.LIVE


def test_a_move_that_fails_keeps_nobody_else_waiting() -> None:
    world = World()
    about_to_move(world)
    world.registry.fault = Retry("503")
    world.next_look()
    track = world.ledger.load(Track, "node", "15-alpine")
    assert track
    assert track.record.moving == ""


def cancel_green(world: World) -> Callable[[], object]:
    """An operator who has looked at green now, and will cancel it; a conflict is theirs to see."""
    plan = world.operate.candidates.cancel(candidate_id(world.candidate(GREEN)), WHO)

    def act() -> None:
        with suppress(Conflict):
            plan.act()

    return act


def test_what_is_canceled_while_its_track_is_being_claimed_moves_no_tag() -> None:
    world = World()
    about_to_move(world)
    once_before(world, lambda record: isinstance(record, Candidate), cancel_green(world))
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.CANCELED
    assert world.stable_tag() == ORANGE
    track = world.ledger.load(Track, "node", "15-alpine")
    assert track
    assert track.record.moving == ""


def test_whose_stable_tag_is_claimed_cannot_be_canceled_any_more() -> None:
    world = World()
    about_to_move(world)
    refusals: list[str] = []

    def try_to_cancel() -> None:
        try:
            world.operate.candidates.cancel(candidate_id(world.candidate(GREEN)), WHO)
        except Refused as error:
            refusals.append(str(error))

    once_before(world, lambda record: isinstance(record, Track) and record.digest == GREEN, try_to_cancel)
    world.settle()
    assert len(refusals) == 1
    assert "moves to it: roll back instead" in refusals[0]
    assert world.candidate(GREEN).state is CandidateState.PROMOTED
    assert world.stable_tag() == GREEN


def test_what_a_failed_move_has_moved_all_the_same_cannot_be_canceled() -> None:
    world = World()
    about_to_move(world)
    point = world.registry.point

    def answer_lost(*given: object) -> None:
        point(*given)  # type: ignore[arg-type]
        raise Retry("the answer was lost")

    world.registry.point = answer_lost  # type: ignore[method-assign,assignment]
    world.next_look()
    assert world.stable_tag() == GREEN
    with pytest.raises(Refused, match="roll back instead"):
        world.operate.candidates.cancel(candidate_id(world.candidate(GREEN)), WHO)
    world.registry.point = point  # type: ignore[method-assign]
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED


def test_a_second_attempt_at_what_is_promoted_can_be_canceled() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    world.operate.candidates.rerun(candidate_id(world.candidate(GREEN)), WHO).act()
    world.next_look()
    second = world.candidates()[-1]
    world.operate.candidates.cancel(candidate_id(second), WHO).act()
    assert [candidate.state for candidate in world.candidates()] == [CandidateState.PROMOTED, CandidateState.CANCELED]


@pytest.mark.parametrize("looked_before", [True, False])
@pytest.mark.parametrize("save", range(1, 12))
def test_a_cancel_at_any_save_of_a_move_leaves_no_tag_on_a_canceled_candidate(
    save: int, *, looked_before: bool
) -> None:
    world, saves = World(), iter(range(1, 10_000))
    about_to_move(world)
    seen_before = cancel_green(world) if looked_before else None

    def cancel_in_between(record: object) -> None:
        if next(saves) == save:
            hook, world.ledger.before_save = world.ledger.before_save, None
            with suppress(Refused):
                (seen_before or cancel_green(world))()
            world.ledger.before_save = hook

    world.ledger.before_save = cancel_in_between
    world.settle()
    canceled = world.candidate(GREEN).state is CandidateState.CANCELED
    assert world.stable_tag() == (ORANGE if canceled else GREEN)
