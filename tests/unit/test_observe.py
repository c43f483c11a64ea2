"""The observer: what a reading of a source tag writes, and what it leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from shared.domain.candidate import Candidate, CandidateState, FoundBy
from shared.domain.errors import Busy, Misconfigured, Throttled
from shared.domain.event import Hint, HintKind
from shared.domain.image import Digest, Tag
from shared.domain.observation import Change, Observation
from shared.domain.policy import PromotionRule
from shared.domain.promotion import Promotion, PromotionState, new_promotion
from shared.domain.stable_tag import StableTag
from shared.intake.observe import Observed, Observer, Trigger
from shared.ports import Change as Written
from shared.ports import Removal, Stored
from tests.fakes import World, digest, sample_policy
from tests.unit.operators import TAG, gate_of, hold, lift_hold, promote_again, rerun, stored_observation, sweep

ORANGE, RED, GREEN = digest("orange"), digest("red"), digest("green")
INTERVAL = 300.0


def world_at(*contents: Digest) -> World:
    """A world without apps whose tag was each of these, the last first seen a minute ago, and all is settled."""
    world = World(sample_policy(apps={}))
    for content in contents:
        upstream(world, content)
        sweep(world)
        world.settle()
        world.clock.forward(60)
    return world


def upstream(world: World, content: Digest | None, tag: str = TAG) -> None:
    if content is None:
        world.registry.tags.pop(("public", f"node:{tag}"))
    else:
        world.registry.tags[("public", f"node:{tag}")] = content


def observe(world: World, expected: str = "", by: FoundBy = FoundBy.SWEEP, who: str = "") -> Observed:
    return Observer(world.services).observe(gate_of(world), TAG, Trigger(by, expected, who))


def test_a_new_digest_makes_a_candidate_and_a_promotion_in_one_transaction() -> None:
    world = world_at()
    upstream(world, GREEN)
    observed = observe(world, by=FoundBy.EVENT)
    assert (observed.meaning, observed.digest, observed.sequence) == (Change.NEW, GREEN, 1)
    candidate, promotion = world.candidate(GREEN), world.promotion()
    assert observed.items == (candidate.work_item,), "the promotion is brought up by the verdict"
    assert (candidate.attempt, candidate.tag, candidate.found_by) == (1, TAG, FoundBy.EVENT)
    assert (promotion.state, promotion.sequence, promotion.digest) == (PromotionState.WAITING, 1, GREEN)
    assert candidate.history[0].why == promotion.history[0].why


def test_what_has_not_changed_costs_one_request_and_writes_nothing() -> None:
    world = world_at(GREEN)
    rows, asked = dict(world.ledger.rows), len(world.tags.asked)
    observed = observe(world)
    assert (observed.meaning, observed.items) == (Change.NONE, ())
    assert world.ledger.rows == rows
    assert len(world.tags.asked) == asked + 1


def test_a_transaction_that_fails_leaves_nothing_of_it() -> None:
    world = world_at(ORANGE)
    source = world.policy.registries["public"]
    world.ledger.insert(new_promotion(gate_of(world), source, TAG, RED, 2, world.clock.now()))
    rows = dict(world.ledger.rows)
    upstream(world, GREEN)
    with pytest.raises(Busy):
        observe(world)
    assert world.ledger.rows == rows


def test_a_known_digest_under_a_further_tag_is_a_promotion_and_no_attempt() -> None:
    world = world_at(GREEN)
    upstream(world, GREEN, "15.14")
    observed = sweep(world, Tag("15.14"))
    assert observed.items == (world.promotion("15.14").work_item,)
    world.settle()
    assert world.stable_tag("15.14") == GREEN
    assert len(world.candidates()) == 1


def test_one_digest_under_fifty_tags_is_examined_once() -> None:
    world = world_at()
    for number in range(50):
        upstream(world, GREEN, f"15.{number}")
        sweep(world, Tag(f"15.{number}"))
    world.settle()
    assert {world.stable_tag(f"15.{number}") for number in range(50)} == {GREEN}
    assert len(world.tasks.runs) == len(world.candidates()) == 1


def test_a_digest_that_comes_back_is_believed_when_read_again_after_an_interval() -> None:
    world = world_at(ORANGE, GREEN)
    upstream(world, ORANGE)
    assert observe(world).meaning is Change.DOUBTED
    world.clock.forward(INTERVAL - 1)
    assert observe(world).meaning is Change.NONE
    world.clock.forward(1)
    observed = sweep(world)
    assert (observed.meaning, observed.sequence) == (Change.RETURNED, 3)
    world.settle()
    assert world.stable_tag() == ORANGE
    assert len(world.candidates()) == 2, "a promotion more, and no attempt"
    assert world.promotion().returning


def test_a_digest_that_comes_back_is_believed_at_once_where_an_event_named_it() -> None:
    world = world_at(ORANGE, GREEN)
    upstream(world, ORANGE)
    assert observe(world, expected=GREEN).meaning is Change.DOUBTED
    assert observe(world, expected=ORANGE).meaning is Change.RETURNED


def test_a_replica_that_lags_for_a_moment_changes_nothing_for_good() -> None:
    world = world_at(ORANGE, GREEN)
    upstream(world, ORANGE)
    observe(world)
    upstream(world, GREEN)
    world.clock.forward(10)
    assert observe(world).meaning is Change.SETTLED
    world.settle()
    assert (world.stable_tag(), world.observation().sequence) == (GREEN, 2)


def test_of_a_tag_that_flaps_the_digest_that_was_first_seen_last_stays() -> None:
    world = world_at(ORANGE, GREEN)
    for content in (ORANGE, GREEN, ORANGE):
        upstream(world, content)
        assert observe(world, expected=content).meaning is Change.RETURNED
    upstream(world, GREEN)
    assert observe(world, expected=GREEN).meaning is Change.DOUBTED
    assert world.observation().is_flapping(world.clock.now())
    world.settle()
    assert world.stable_tag() != RED


def test_while_a_return_is_doubted_no_lower_sequence_is_promoted() -> None:
    world = world_at(ORANGE)
    upstream(world, GREEN)
    sweep(world)
    upstream(world, ORANGE)
    observe(world)
    world.settle(within_seconds=100)
    assert world.stable_tag() == ORANGE
    assert "to be confirmed" in world.promotion().history[-1].why
    assert world.promotion().stall is None, "waiting is not failing"
    upstream(world, GREEN)
    observe(world)
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_digest_that_the_stable_tag_has_only_raises_its_number() -> None:
    world = world_at(ORANGE)
    world.registry.copy_seconds = 50
    upstream(world, GREEN)
    sweep(world)
    world.settle(within_seconds=10)
    upstream(world, ORANGE)
    observed = observe(world, expected=ORANGE)
    assert (observed.meaning, observed.sequence, observed.items) == (Change.RETURNED, 3, ())
    assert (world.stable().digest, world.stable().sequence, world.stable().move) == (ORANGE, 3, 1)
    world.settle()
    assert world.stable_tag() == ORANGE
    assert world.promotion().state is PromotionState.SUPERSEDED


def test_a_number_is_above_that_of_the_stable_tag_whatever_the_tag_s_own_history_says() -> None:
    world = world_at(ORANGE)
    del world.ledger.rows[("Observation", "node", TAG)]
    stored = world.ledger.load(StableTag, "node", TAG)
    assert stored
    world.ledger.save(stored, msgspec.structs.replace(stored.record, sequence=41))
    upstream(world, None)
    world.hints.handle(Hint(hint=HintKind.SOURCE_TAG, subject="node", tag=TAG, expected=GREEN, event="event"))
    assert world.observation().sequence == 0, "it was asked for and is not there"
    upstream(world, GREEN)
    assert observe(world).sequence == 42


def test_a_tag_that_is_gone_at_two_readings_is_absent_and_goes_on_when_it_is_there_again() -> None:
    world = world_at(ORANGE)
    world.tasks.seconds = 100
    upstream(world, GREEN)
    sweep(world)
    upstream(world, None)
    assert observe(world).meaning is Change.MISSED
    world.clock.forward(1)
    assert observe(world).meaning is Change.ABSENT
    assert observe(world).meaning is Change.NONE
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.WITHDRAWN)
    upstream(world, GREEN)
    observed = sweep(world)
    assert (observed.meaning, observed.items) == (Change.BACK, (world.promotion().work_item,))
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)
    assert len(world.candidates()) == 2


def test_a_tag_that_is_created_again_with_another_digest_is_news() -> None:
    world = world_at(ORANGE)
    upstream(world, None)
    for _ in range(2):
        observe(world)
        world.clock.forward(60)
    upstream(world, GREEN)
    assert sweep(world).meaning is Change.NEW
    world.settle()
    assert world.stable_tag() == GREEN


def test_what_the_registry_says_instead_of_a_digest_writes_nothing() -> None:
    world = world_at(ORANGE)
    rows = dict(world.ledger.rows)
    for fault in (Throttled("429", 3600.0), Misconfigured("401")):
        world.tags.faults["public"] = fault
        with pytest.raises(type(fault)):
            observe(world)
    assert world.ledger.rows == rows
    assert world.promotion().state is PromotionState.PROMOTED


def test_changes_are_counted_by_how_they_became_known_and_the_first_reading_is_none() -> None:
    world = world_at()
    for content, by in ((ORANGE, FoundBy.SWEEP), (GREEN, FoundBy.EVENT), (RED, FoundBy.SWEEP)):
        upstream(world, content)
        observe(world, by=by)
    assert (world.observation().by_event, world.observation().by_sweep) == (1, 1)


def test_an_operator_who_asks_is_named_by_the_attempt() -> None:
    world = world_at()
    upstream(world, GREEN)
    observe(world, by=FoundBy.OPERATOR, who="ada: please")
    candidate = world.candidate(GREEN)
    assert (candidate.requested_by, candidate.found_by) == ("ada", FoundBy.OPERATOR)
    assert candidate.history[0].why.endswith("by ada: please")


def between(world: World, other: Callable[[], object]) -> None:
    """Let somebody else act between the reading of the ledger and the registry's answer."""
    real = world.tags.digest_of

    def read(*given: object) -> Digest | None:
        answer = real(*given)  # type: ignore[arg-type]
        other()
        return answer

    world.tags.digest_of = read  # type: ignore[method-assign,assignment]


def test_an_answer_that_was_overtaken_by_another_observation_is_asked_for_again() -> None:
    world = world_at(ORANGE)
    once = iter([True])

    def other() -> None:
        if next(once, False):
            upstream(world, GREEN)
            observe(world)

    upstream(world, RED)
    between(world, other)
    observed = observe(world)
    assert (observed.meaning, observed.digest) == (Change.NONE, GREEN), "RED was answered before GREEN was saved"
    assert [one.digest for one in world.promotions()] == [ORANGE, GREEN]


def test_a_tag_that_others_observe_all_the_time_is_left_to_them() -> None:
    world = world_at(ORANGE)

    def touch() -> None:
        stored = stored_observation(world)
        world.ledger.save(stored, stored.record)

    upstream(world, GREEN)
    between(world, touch)
    with pytest.raises(Busy, match="too many conflicts"):
        observe(world)


def test_two_gates_on_one_source_have_an_observation_and_a_candidate_each() -> None:
    gate = sample_policy().gates["node"]
    promote = PromotionRule(registry="base", repository="node-strict")
    strict = msgspec.structs.replace(gate, name="strict", promote=promote)
    world = World(sample_policy(gates={"node": gate, "strict": strict}, apps={}))
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.registry.tags[("base", "node-strict:15-alpine")] == GREEN == world.stable_tag()
    assert len([key for key in world.ledger.rows if key[0] == "Candidate"]) == 2


def test_what_was_held_goes_on_when_the_hold_is_lifted() -> None:
    world = world_at(ORANGE)
    hold(world)
    upstream(world, GREEN)
    sweep(world)
    world.settle()
    assert world.promotion().state is PromotionState.HELD
    lift_hold(world)
    world.settle()
    assert (world.stable_tag(), world.promotion().sequence) == (GREEN, 2)


def test_a_digest_that_was_promoted_before_gets_a_new_number_when_it_is_to_be_promoted_again() -> None:
    world = world_at(ORANGE, GREEN)
    stored = world.ledger.load(StableTag, "node", TAG)
    assert stored
    first = world.promotions()[0]
    world.ledger.save(stored, msgspec.structs.replace(stored.record, digest=ORANGE, sequence=first.sequence, move=3))
    world.registry.tags[("base", f"node:{TAG}")] = ORANGE  # an operator has rolled back, and lifts that
    promote_again(world)
    world.settle()
    assert (world.stable_tag(), world.promotion().sequence) == (GREEN, 3)
    assert len(world.candidates()) == 2


def test_nothing_is_promoted_again_where_the_tag_stands_on_it_or_is_gone() -> None:
    world = world_at(ORANGE)
    promote_again(world)
    assert world.queue.waiting == []
    upstream(world, None)
    for _ in range(2):
        observe(world)
        world.clock.forward(1)
    promote_again(world)
    assert world.queue.waiting == []


def test_another_attempt_that_passes_promotes_what_was_refused() -> None:
    world = world_at()
    world.tasks.failing[GREEN] = "ERROR: flaky"
    upstream(world, GREEN)
    sweep(world)
    world.settle()
    assert world.promotion().state is PromotionState.REFUSED
    world.tasks.failing.clear()
    attempt = rerun(world, GREEN)
    world.settle()
    assert (attempt.attempt, attempt.requested_by) == (2, "ada")
    assert [one.state for one in world.candidates()] == [CandidateState.FAILED, CandidateState.PASSED]
    assert (world.stable_tag(), world.promotion().candidate) == (GREEN, attempt.row)


def test_another_attempt_at_what_its_tags_have_left_promotes_nothing() -> None:
    world = world_at()
    world.tasks.failing[RED] = "ERROR: flaky"
    for content in (RED, GREEN):
        upstream(world, content)
        sweep(world)
        world.settle()
    world.tasks.failing.clear()
    rerun(world, RED)
    world.settle()
    assert world.candidate(RED).state is CandidateState.PASSED
    assert world.stable_tag() == GREEN


def test_observations_are_of_the_kinds_that_one_transaction_may_hold() -> None:
    world = world_at()
    upstream(world, GREEN)
    committed: list[Any] = []
    real = world.ledger.commit

    def commit(*changes: Written | Removal) -> list[Stored[Any]]:
        committed.extend(change.record for change in changes)
        return real(*changes)

    world.ledger.commit = commit  # type: ignore[method-assign]
    observe(world)
    assert [type(record) for record in committed] == [Observation, Promotion, Candidate]
    assert {record.partition for record in committed} == {"node"}
