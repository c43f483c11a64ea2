"""From an event to a hint, and what following a hint costs and leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from shared.domain.candidate import CandidateState
from shared.domain.errors import Misconfigured, Retry, Throttled
from shared.domain.event import Hint, HintKind
from shared.domain.image import Digest, Tag
from shared.domain.observation import Observation
from shared.domain.policy import Policy, PromotionRule
from shared.domain.promotion import PromotionState
from shared.domain.record import WorkItem
from shared.intake.hints import SPACING_SECONDS, Hints, recognize
from tests.events import event
from tests.fakes import ProcessDied, World, digest, sample_policy
from tests.unit.operators import TAG, cancel, sweep

ORANGE, RED, GREEN, OLD = digest("orange"), digest("red"), digest("green"), digest("old")
TEAM = {"registry": "team", "repository": "hello-world"}


def gate_world(**changes: Any) -> World:
    """A world without apps, whose source registry's rule is changed."""
    policy = sample_policy(apps={})
    public = msgspec.structs.replace(policy.registries["public"], **changes)
    return World(msgspec.structs.replace(policy, registries={**policy.registries, "public": public}))


def upstream(world: World, content: Digest, tag: str = TAG) -> None:
    world.registry.tags[("public", f"node:{tag}")] = content


def hint(expected: Digest = GREEN, **changes: Any) -> Hint:
    return Hint(hint=HintKind.SOURCE_TAG, subject="node", tag=TAG, expected=expected, event="event-1", **changes)


# what an event means


def test_a_push_to_a_tracked_tag_is_a_hint_and_needs_nothing_but_the_rules() -> None:
    world = World()
    recognized = recognize(world.event("15-alpine", GREEN), world.policy)
    assert [one.hint for one in recognized] == [hint()]
    assert recognized[0].outcome == "source tag"
    assert world.ledger.rows == {}
    assert world.queue.waiting == []


def two_gates() -> Policy:
    gate = sample_policy().gates["node"]
    promote = PromotionRule(registry="base", repository="node-strict")
    strict = msgspec.structs.replace(gate, name="strict", promote=promote)
    return sample_policy(gates={"node": gate, "strict": strict}, apps={})


def test_two_gates_on_one_source_get_a_hint_each() -> None:
    world = World(two_gates())
    found = recognize(world.event("15-alpine", GREEN), world.policy)
    assert [one.hint.subject for one in found if one.hint] == ["node", "strict"]


def test_an_image_of_an_app_is_a_hint_too() -> None:
    world = World()
    recognized = recognize(world.event("ct9", GREEN, **TEAM), world.policy)
    assert [(one.hint.hint, one.hint.subject, one.hint.tag) for one in recognized if one.hint] == [
        (HintKind.APP_IMAGE, "hello-world", "ct9")
    ]


def test_a_deletion_is_a_hint_to_every_gate_that_promotes_there() -> None:
    world = World()
    deleted = event("image_deleted") | {"topic": world.policy.registries["base"].id}
    deleted["data"]["target"]["repository"] = "node"
    hints = [one.hint for one in recognize(deleted, world.policy) if one.hint]
    assert [(one.hint, one.subject) for one in hints] == [(HintKind.STABLE_TAGS, "node")]


@pytest.mark.parametrize("tag", ["latest", "1.2.3", "v1", "main-2", "1234", "stable-x", "CA4", "c1a", "nightly"])
def test_a_tag_that_can_be_no_run_is_no_image_of_an_app(tag: str) -> None:
    world = World()
    assert recognize(world.event(tag, GREEN, **TEAM), world.policy)[0].outcome == "no rule"


@pytest.mark.parametrize("tag", ["ca4", "cab", "cf2a", "cgjj", "yd14", "dau", "ca9zzz"])
def test_a_tag_of_the_shape_of_a_run_may_be_one(tag: str) -> None:
    world = World()
    assert recognize(world.event(tag, GREEN, **TEAM), world.policy)[0].outcome == "app image"


@pytest.mark.parametrize(
    ("tag", "registry", "repository"),
    [
        ("16-alpine", "public", "node"),
        ("15-alpine", "public", "python"),
        ("ct9", "team", "other"),
        (None, "public", "node"),
        (None, "team", "hello-world"),
    ],
)
def test_a_push_that_no_rule_is_about_is_counted_and_dropped(tag: str | None, registry: str, repository: str) -> None:
    world = World()
    recognized = recognize(world.event(tag, GREEN, registry=registry, repository=repository), world.policy)
    assert [(one.outcome, one.hint) for one in recognized] == [("no rule", None)]


def test_a_registry_nobody_configured_is_unknown_however_well_the_event_is_made() -> None:
    world = World()
    forged = world.event("15-alpine", GREEN) | {"topic": "/subscriptions/x/registries/attacker"}
    recognized = recognize(forged, world.policy)
    assert [(one.outcome, one.hint) for one in recognized] == [("unknown registry", None)]
    assert "/registries/attacker" in recognized[0].reason


def test_a_registry_s_id_is_the_same_in_any_case() -> None:
    world = World()
    shouted = world.event("15-alpine", GREEN)
    shouted["topic"] = shouted["topic"].upper()
    assert recognize(shouted, world.policy)[0].hint


@pytest.mark.parametrize("payload", [None, {}, [], "text", {"eventType": "ImagePushed"}])
def test_malformed_events_are_acknowledged_with_the_field_s_name(payload: object) -> None:
    recognized = recognize(payload, sample_policy())[0]
    assert (recognized.outcome, recognized.hint) == ("malformed", None)
    assert ": " in recognized.reason


def test_other_events_are_none_of_this_app_s_business() -> None:
    assert recognize(event("chart_pushed"), sample_policy())[0].outcome == "not an image event"


# what following a hint leads to


def test_a_hint_leads_to_the_digest_that_is_read_and_works_on_it_at_once() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.next_item()
    assert world.candidate(GREEN).checks[0].run_id, "the check was begun in the same invocation"
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_forged_event_examines_and_moves_nothing() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.settle()
    upstream(world, OLD, "12-old")  # another tag of the same repository
    world.clock.forward(60)
    world.deliver(world.event("15-alpine", OLD))
    world.settle()
    assert world.stable_tag() == GREEN
    assert [one.digest for one in world.candidates()] == [GREEN]


def test_an_event_that_names_another_tag_s_digest_gives_it_no_second_tag() -> None:
    world = gate_world()
    world.push("15.14", ORANGE)
    world.settle()
    world.push("15-alpine", GREEN)
    world.deliver(world.event("15.14", GREEN))
    world.settle()
    assert (world.stable_tag("15.14"), world.stable_tag("15-alpine")) == (ORANGE, GREEN)


def test_events_twice_late_and_shuffled_have_one_effect() -> None:
    world = gate_world()
    upstream(world, GREEN)
    twice = world.event("15-alpine", GREEN)
    for _ in range(3):
        world.deliver(twice)
    world.settle()
    world.deliver(twice)
    world.settle()
    assert len(world.candidates()) == len(world.promotions()) == len(world.tasks.runs) == 1
    assert world.registry.copies == ["node:15-alpine-cb1"]
    assert len(world.registry.moves) == 1


def test_an_event_stamped_in_the_future_orders_nothing() -> None:
    world = gate_world()
    upstream(world, GREEN)
    future = world.event("15-alpine", GREEN)
    future["data"]["timestamp"] = future["eventTime"] = "2999-01-01T00:00:00Z"
    world.deliver(future)
    world.settle()
    world.push("15-alpine", RED)
    world.settle()
    assert world.stable_tag() == RED


def test_a_replica_s_copy_of_an_old_event_does_not_bring_the_old_image_back() -> None:
    world = gate_world()
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
    world.deliver(world.event("15-alpine", ORANGE))
    world.settle()
    assert world.stable_tag() == GREEN
    assert len(world.promotions()) == 2


def test_upstream_back_at_an_earlier_image_takes_the_stable_tag_with_it_where_the_event_says_so() -> None:
    world = gate_world()
    for content in (ORANGE, GREEN, ORANGE):
        world.push("15-alpine", content)
        world.settle()
    assert world.stable_tag() == ORANGE
    assert len(world.candidates()) == 2
    assert len(world.promotions()) == 3


def test_upstream_back_at_an_earlier_image_is_found_by_the_sweep_where_events_are_lost() -> None:
    world = gate_world()
    for content in (ORANGE, GREEN, ORANGE):
        upstream(world, content)
        for _ in range(2):
            sweep(world)
            world.settle()
            world.clock.forward(300)
        assert world.stable_tag() == content


def test_a_hint_about_what_the_rules_do_not_track_any_more_is_dropped() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.use(sample_policy(gates={}, apps={}))
    world.settle()
    assert world.ledger.rows == {}


def test_a_canceled_examination_stays_canceled_after_a_repeated_event() -> None:
    world = gate_world()
    world.tasks.seconds = 30
    world.push("15-alpine", GREEN)
    world.next_item()
    cancel(world, GREEN)
    world.settle()
    world.clock.forward(60)
    world.deliver(world.event("15-alpine", GREEN))
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.CANCELED
    assert world.promotion().state is PromotionState.CANCELED
    assert world.stable_tag() is None


# faults


def test_an_upstream_that_is_throttled_for_an_hour_is_read_after_it_with_nobody_touching_it() -> None:
    world = gate_world()
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
    world.tags.faults["public"] = Throttled("429", 3600.0)
    world.push("15-alpine", ORANGE)
    world.pass_time(3000)
    assert len(world.tags.asked) == 3, "it is left alone for as long as it asked for"
    world.tags.faults.clear()
    world.pass_time(1800)
    assert world.stable_tag() == ORANGE


def test_a_source_that_refuses_is_left_to_the_sweep_and_ends_nothing() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.settle()
    world.tags.faults["public"] = Misconfigured("401")
    world.deliver(world.event("15-alpine", GREEN))
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)
    assert world.queue.waiting == []


def test_hints_that_meet_a_fault_wait_as_one() -> None:
    world = gate_world()
    world.tags.faults["public"] = Retry("503", 20.0)
    for _ in range(50):
        world.push("15-alpine", GREEN)
        world.clock.forward(2)
    world.pass_time(5)
    assert len(world.queue.waiting) == 1
    assert len(world.tags.asked) == 1
    world.tags.faults.clear()
    world.pass_time(300)
    assert world.stable_tag() == GREEN


# readings that meet


def during_the_read(world: World, other: Callable[[], object]) -> None:
    """Let something happen once while the registry is asked, after it has answered."""
    real = world.tags.digest_of

    def read(*given: Any) -> Digest | None:
        answer = real(*given)
        world.tags.digest_of = real  # type: ignore[method-assign]
        other()
        return answer

    world.tags.digest_of = read  # type: ignore[method-assign,assignment]


def test_of_two_hints_that_meet_the_one_with_the_older_answer_reads_again() -> None:
    world = gate_world()
    upstream(world, ORANGE)

    def a_real_push_comes() -> None:
        upstream(world, GREEN)
        world.hints.handle(hint(GREEN))
        assert world.observation().digest == GREEN

    during_the_read(world, a_real_push_comes)
    world.hints.handle(hint(ORANGE))
    assert world.observation().digest == GREEN, "an older answer is never saved over a newer one"
    world.settle()
    assert world.stable_tag() == GREEN
    assert len(world.tags.asked) >= 3, "it keeps its distance, and reads once more"


def test_a_second_reading_of_a_tag_keeps_its_distance_and_is_planned_once() -> None:
    world = gate_world()
    world.push("15-alpine", ORANGE)
    world.next_item()
    asked = len(world.tags.asked)
    for _ in range(10):
        world.hints.handle(hint(ORANGE))
    assert len(world.tags.asked) == asked
    assert [item.again for _, _, item in world.queue.waiting if isinstance(item, Hint)] == [True]
    upstream(world, GREEN)
    world.pass_time(SPACING_SECONDS + 1)
    assert world.observation().digest == GREEN


def test_a_flood_of_hints_costs_a_handful_of_requests_and_the_real_one_behind_it_is_followed() -> None:
    world = gate_world()
    upstream(world, ORANGE)
    for number in range(1000):
        world.deliver(world.event("15-alpine", digest(f"forged {number}")))
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.stable_tag() == GREEN
    assert len(world.tags.asked) <= 25
    assert len(world.candidates()) <= 2


def test_a_flood_takes_no_more_than_a_share_of_the_pace_and_starves_no_other_tag_for_long() -> None:
    world = gate_world(requests_per_minute=40)
    for number in range(300):
        world.deliver(world.event("15-alpine", digest(f"forged {number}")))
    world.push("15.14", GREEN)
    before = world.clock.now()
    world.pass_time(59)
    assert len(world.tags.asked) <= 10
    world.settle()
    assert world.stable_tag("15.14") == GREEN
    assert (world.clock.now() - before).total_seconds() < 900


# deaths


@pytest.mark.parametrize("dies_at", range(1, 16))
def test_a_redelivered_hint_goes_on_wherever_its_worker_died(dies_at: int) -> None:
    world, writes = gate_world(), iter(range(1, 10_000))

    def die(record: object) -> None:
        if next(writes) == dies_at:
            raise ProcessDied

    world.ledger.before_save = die
    world.push("15-alpine", GREEN)
    world.settle_while_crashing()
    assert world.stable_tag() == GREEN
    assert len(world.candidates()) == len(world.promotions()) == len(world.tasks.runs) == 1


def test_a_redelivered_hint_goes_on_with_what_was_observed_and_never_begun() -> None:
    world = gate_world()
    upstream(world, GREEN)

    def die(item: WorkItem, stored: object) -> None:
        raise ProcessDied

    with pytest.raises(ProcessDied):
        Hints(world.services, die, {}).handle(hint())
    assert not world.candidate(GREEN).checks[0].run_id
    world.hints.handle(hint(), redelivered=True)
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_redelivered_hint_reads_the_tag_whose_reader_died() -> None:
    world = gate_world()
    upstream(world, GREEN)
    during_the_read(world, _die)
    with pytest.raises(ProcessDied):
        world.hints.handle(hint())
    world.hints.handle(hint(), redelivered=True)
    world.settle()
    assert world.stable_tag() == GREEN


def _die() -> None:
    raise ProcessDied


# expectations


def test_a_named_digest_that_is_never_read_is_looked_for_three_times_and_then_recorded() -> None:
    world = gate_world()
    upstream(world, ORANGE)
    sweep(world)
    world.settle()
    asked = len(world.tags.asked)
    world.deliver(world.event("15-alpine", GREEN))
    world.settle()
    assert len(world.tags.asked) == asked + 4
    observation = world.observation()
    assert (observation.unread, observation.expectations[0].digest) == (1, GREEN)
    assert observation.expectations[0].event == "event-1"
    assert world.announcer.names.count("PushNotExamined") == 1


def test_an_event_whose_digest_was_never_read_is_announced_once_however_often_its_last_hint_comes() -> None:
    world = gate_world()
    upstream(world, ORANGE)
    sweep(world)
    world.settle()
    world.deliver(world.event("15-alpine", GREEN))
    while not world.observation().unread:
        _, _, last = world.queue.waiting[0]
        world.next_item()
    assert isinstance(last, Hint)
    world.hints.handle(last, redelivered=True)
    world.settle()
    assert (world.observation().unread, world.announcer.names.count("PushNotExamined")) == (1, 1)


def test_a_push_that_was_not_examined_is_announced_although_its_tag_is_read_at_the_same_time() -> None:
    world = gate_world()
    upstream(world, ORANGE)
    sweep(world)
    world.settle()
    world.deliver(world.event("15-alpine", GREEN))

    def meanwhile(record: object) -> None:
        if isinstance(record, Observation) and record.unread:
            world.ledger.before_save = None
            stored = world.ledger.load(Observation, "node", "15-alpine")
            assert stored
            world.ledger.save(stored, msgspec.structs.replace(stored.record, by_sweep=7))

    world.ledger.before_save = meanwhile
    world.settle()
    assert (world.observation().unread, world.observation().by_sweep) == (1, 7)
    assert world.announcer.names.count("PushNotExamined") == 1


def test_a_replica_that_lags_is_waited_for() -> None:
    world = gate_world()
    upstream(world, ORANGE)
    sweep(world)
    world.settle()
    world.deliver(world.event("15-alpine", GREEN))
    world.pass_time(5)
    upstream(world, GREEN)
    world.settle()
    assert world.stable_tag() == GREEN
    assert world.observation().unread == 0


def test_any_change_ends_the_wait_for_a_named_digest() -> None:
    world = gate_world()
    upstream(world, ORANGE)
    world.deliver(world.event("15-alpine", GREEN))
    world.settle()
    assert world.stable_tag() == ORANGE
    assert world.observation().unread == 0
    assert len(world.tags.asked) == 1


def test_a_digest_that_was_there_before_is_not_missing() -> None:
    world = gate_world()
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
    world.deliver(world.event("15-alpine", ORANGE))
    world.settle()
    assert world.observation().unread == 0


def test_an_expectation_of_a_tag_that_was_never_there_is_kept_too() -> None:
    world = gate_world()
    world.deliver(world.event("15-alpine", GREEN))
    world.settle()
    stored = world.ledger.load(Observation, "node", Tag("15-alpine"))
    assert stored
    assert (stored.record.digest, stored.record.unread) == (None, 1)
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.stable_tag() == GREEN
