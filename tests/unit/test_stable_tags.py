"""The claim on a stable tag, moves by operators and by the sweep, and what is put back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.domain.errors import BasegateError, Busy, Gone, Rejected, Retry
from shared.domain.stable_tag import Claim, Hold, StableTag
from shared.ports import Stored
from shared.promotion.stable_tags import CLAIM_SECONDS, StableTags, target_of
from tests.fakes import World, digest, sample_policy
from tests.unit.operators import TAG, gate_of, hold, veto

ORANGE, RED, GREEN = digest("orange"), digest("red"), digest("green")


def standing() -> World:
    """A world without apps whose tag stood on orange and stands on green."""
    world = World(sample_policy(apps={}))
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
        world.clock.forward(60)
    return world


def stored(world: World) -> Stored[StableTag]:
    return StableTags(world.services).load(gate_of(world), TAG)


def claim(world: World, mover: str) -> Stored[StableTag]:
    before = stored(world)
    held = Claim(mover=mover, digest=RED, until=world.clock.now() + timedelta(minutes=1))
    return world.ledger.save(before, msgspec.structs.replace(before.record, claim=held))


def roll_back(world: World, at: Stored[StableTag] | None = None, **changes: object) -> StableTag:
    target = target_of(world.promotions()[0])
    return StableTags(world.services).move(gate_of(world), at or stored(world), target, "ada", **changes)


def test_a_record_is_made_when_it_is_first_asked_for_and_reading_makes_none() -> None:
    world, gate = World(), sample_policy().gates["node"]
    assert StableTags(world.services).read(gate, TAG) == StableTag(gate="node", tag=TAG)
    assert world.ledger.rows == {}
    assert StableTags(world.services).load(gate, TAG).record == StableTag(gate="node", tag=TAG)
    assert len(world.ledger.rows) == 1


def test_who_has_to_wait_learns_for_whom() -> None:
    world = standing()
    claim(world, "15-alpine~0000000009")
    with pytest.raises(Busy, match=f"is being moved to {RED[7:19]} by 15-alpine~0000000009"):
        roll_back(world)
    with pytest.raises(Busy):
        StableTags(world.services).put_back(gate_of(world), stored(world), "it was red")
    assert world.stable_tag() == GREEN


def test_nobody_waits_for_a_claim_past_its_time_or_of_their_own() -> None:
    world = standing()
    claim(world, "ada")
    roll_back(world)
    claim(world, "somebody")
    world.clock.forward(61)
    StableTags(world.services).put_back(gate_of(world), stored(world), "it was red")
    assert stored(world).record.claim is None


def test_a_claim_outlives_any_invocation() -> None:
    assert CLAIM_SECONDS > 300


def test_an_operator_s_move_is_counted_dated_and_signed_with_what_comes_along() -> None:
    world = standing()
    now = world.clock.now()
    held = Hold(actor="ada", reason="because", at=now)
    moved = roll_back(world, hold=held, moved_by="ada: because")
    assert world.stable_tag() == ORANGE
    assert (moved.digest, moved.sequence, moved.move, moved.moved_at) == (ORANGE, 1, 3, now)
    assert (moved.hold, moved.moved_by, moved.claim) == (held, "ada: because", None)
    assert stored(world).record == moved


def test_coming_to_the_digest_where_it_stands_is_no_move_and_never_lowers_its_number() -> None:
    world = standing()
    before = stored(world).record
    lower = msgspec.structs.replace(target_of(world.promotion()), sequence=1)
    after = StableTags(world.services).settled(before, lower)
    assert (after.move, after.moved_at, after.sequence) == (before.move, before.moved_at, before.sequence)


def test_an_operator_cannot_move_to_what_is_vetoed_or_gone_or_where_the_tag_is_locked() -> None:
    world = standing()
    world.registry.locked.add(("base", "node:15-alpine"))
    with pytest.raises(Rejected, match="is locked"):
        roll_back(world)
    world.registry.locked.clear()
    unique = ("base", f"node:{world.unique_tags(ORANGE)[0].partition(':')[2]}")
    content = world.registry.tags.pop(unique)
    with pytest.raises(Gone):
        roll_back(world)
    world.registry.tags[unique] = content
    veto(world, ORANGE)
    with pytest.raises(Rejected, match="a hole in it"):
        roll_back(world)
    assert (world.stable_tag(), stored(world).record.claim) == (GREEN, None)


def while_pointing(world: World, other: Callable[[], object], *, fault: Exception | None = None) -> None:
    """Let something happen once right before the tag is pointed, and the answer get lost if there is a fault."""
    real = world.registry.point

    def point(*given: Any) -> None:
        world.registry.point = real  # type: ignore[method-assign]
        other()
        real(*given)
        if fault:
            raise fault

    world.registry.point = point  # type: ignore[method-assign,assignment]


def test_a_veto_during_an_operator_s_move_has_it_put_back() -> None:
    world = standing()
    while_pointing(world, lambda: veto(world, ORANGE))
    with pytest.raises(Rejected, match="a hole in it"):
        roll_back(world)
    assert (world.stable_tag(), stored(world).record.digest, stored(world).record.claim) == (GREEN, GREEN, None)


def test_a_hold_during_an_operator_s_move_does_not_stop_it() -> None:
    world = standing()
    while_pointing(world, lambda: hold(world))
    assert roll_back(world).digest == ORANGE
    assert world.stable_tag() == ORANGE


def test_a_move_whose_answer_was_lost_is_taken_back() -> None:
    world = standing()
    while_pointing(world, lambda: None, fault=Retry("the answer was lost"))
    with pytest.raises(Retry):
        roll_back(world)
    assert (world.stable_tag(), stored(world).record.digest, stored(world).record.claim) == (GREEN, GREEN, None)


def test_a_mover_that_lost_its_claim_leaves_the_tag_to_who_has_it() -> None:
    world = standing()

    def another_takes_over() -> None:
        world.clock.forward(CLAIM_SECONDS + 1)
        other = stored(world)
        taken = Claim(mover="other", digest=ORANGE, until=world.clock.now() + timedelta(seconds=60))
        world.ledger.save(other, msgspec.structs.replace(other.record, claim=taken))

    while_pointing(world, another_takes_over)
    with pytest.raises(Busy, match="another mover has moved"):
        roll_back(world)
    assert stored(world).record.claim is not None


def test_a_tag_that_was_moved_around_the_gate_is_put_back_and_that_is_no_move() -> None:
    world = standing()
    before = stored(world).record
    world.registry.tags[("base", "node:15-alpine")] = RED
    StableTags(world.services).put_back(gate_of(world), stored(world), "it was red")
    assert world.stable_tag() == GREEN
    back = msgspec.structs.replace(before, put_back_at=world.clock.now(), put_back_from="it was red")
    assert stored(world).record == back


def test_what_is_vetoed_is_not_put_back() -> None:
    world = standing()
    world.registry.tags[("base", "node:15-alpine")] = RED
    veto(world, GREEN)
    with pytest.raises(BasegateError, match="a hole in it"):
        StableTags(world.services).put_back(gate_of(world), stored(world), "it was red")
    assert (world.stable_tag(), stored(world).record.claim) == (RED, None)


def test_a_foreign_move_is_none_of_an_undone_one_s_business() -> None:
    world = standing()
    world.registry.tags[("base", "node:15-alpine")] = RED
    StableTags(world.services).undo(gate_of(world), TAG, None, ORANGE)
    assert world.stable_tag() == RED


def test_what_a_tag_stood_on_by_promotions_is_the_newest_first_without_what_is_vetoed() -> None:
    world = standing()
    tags = StableTags(world.services)
    assert [one.digest for one in tags.promoted(gate_of(world), TAG)] == [GREEN, ORANGE]
    veto(world, GREEN)
    assert [one.digest for one in tags.promoted(gate_of(world), TAG)] == [ORANGE]


def test_a_tag_that_does_not_stay_where_it_was_pointed_is_said_to_do_so() -> None:
    world = standing()
    world.registry.point = lambda *given: None  # type: ignore[method-assign]
    with pytest.raises(Retry, match=f"was pointed to {ORANGE[7:19]}, and points to {GREEN[7:19]}"):
        roll_back(world)
