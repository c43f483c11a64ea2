"""What becomes of an event: every outcome, and what the event path may touch."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.domain.candidate import Candidate
from shared.domain.errors import Retry
from shared.domain.policy import Policy, PromotionRule
from shared.ports import R, Stored
from shared.workflow.admit import TAGS_LIMIT, Admit, Outcome
from tests.events import event
from tests.fakes import FakeClock, FakeLedger, World, digest, sample_policy

GREEN, RED, APP = digest("green"), digest("red"), digest("app by commit")
TEAM = {"registry": "team", "repository": "hello-world"}


def test_a_push_that_a_gate_takes_is_a_candidate_with_a_look() -> None:
    world = World()
    admission = world.push("15-alpine", GREEN)
    assert admission.outcome is Outcome.CANDIDATE
    candidate = world.candidate(GREEN)
    assert admission.looks == (candidate.look,)
    assert [check.kind for check in candidate.checks] == ["task"]
    assert candidate.tags[0].pushed_at == world.clock.now()
    assert "event-1" in candidate.history[0].why


def test_the_same_push_once_more_is_a_duplicate_and_asks_for_a_look_again() -> None:
    world = World()
    first = world.push("15-alpine", GREEN)
    again = world.deliver(world.events[0])[0]
    assert again.outcome is Outcome.DUPLICATE
    assert again.looks == first.looks
    assert len(world.candidates()) == 1


def test_an_earlier_push_that_is_told_late_is_a_duplicate() -> None:
    world = World()
    earlier = world.event("15-alpine", GREEN)
    world.clock.forward(5)
    world.push("15-alpine", GREEN)
    assert world.deliver(earlier)[0].outcome is Outcome.DUPLICATE


def test_a_later_push_of_the_digest_is_noted_and_looked_at() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.clock.forward(5)
    admission = world.push("15-alpine", GREEN)
    assert admission.outcome is Outcome.PUSHED_AGAIN
    assert world.candidate(GREEN).tags[0].resighted_at == world.clock.now()


@pytest.mark.parametrize("finished", [False, True])
def test_a_second_tag_joins_the_candidate(finished: bool) -> None:
    world = World()
    world.push("15-alpine", GREEN)
    if finished:
        world.settle()
    admission = world.push("15.14", GREEN)
    assert admission.outcome is Outcome.TAG_ADDED
    assert [tag.tag for tag in world.candidate(GREEN).tags] == ["15-alpine", "15.14"]
    assert (world.candidate(GREEN).tags[1].resighted_at is not None) is finished


def test_an_image_of_an_app_is_a_rollout() -> None:
    world = World()
    admission = world.push("ct9", APP, **TEAM)
    assert admission.outcome is Outcome.ROLLOUT
    assert [rollout.look for rollout in world.rollouts()] == list(admission.looks)


def test_the_same_image_of_an_app_once_more_is_a_duplicate() -> None:
    world = World()
    world.push("ct9", APP, **TEAM)
    assert world.deliver(world.events[0])[0].outcome is Outcome.DUPLICATE
    assert len(world.rollouts()) == 1


def test_its_own_builds_and_what_is_pushed_where_a_gate_promotes_to_begin_nothing() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.push("ct2", digest("app ct2"), **TEAM).outcome is Outcome.ECHO
    assert world.push("15-alpine-cb1", GREEN, registry="base").outcome is Outcome.TARGET
    assert world.push("15-alpine", GREEN, registry="base").outcome is Outcome.TARGET


@pytest.mark.parametrize(("registry", "repository"), [("public", "node"), ("team", "hello-world"), ("base", "node")])
def test_a_push_without_a_tag_is_nobody_s_business(registry: str, repository: str) -> None:
    world = World()
    admission = world.push(None, GREEN, registry=registry, repository=repository)
    assert (admission.outcome, admission.looks) == (Outcome.UNTAGGED, ())
    assert world.ledger.rows == {}


@pytest.mark.parametrize(
    ("tag", "registry", "repository"),
    [("16-alpine", "public", "node"), ("15-alpine", "public", "python"), ("ct9", "team", "other")],
)
def test_a_push_that_no_rule_speaks_of_is_said_to_be_so(tag: str, registry: str, repository: str) -> None:
    assert World().push(tag, GREEN, registry=registry, repository=repository).outcome is Outcome.NO_RULE


def test_a_tag_off_the_pattern_of_an_app_s_image_is_no_rollout() -> None:
    app = sample_policy().apps["hello-world"]
    build = msgspec.structs.replace(app.build, image="hello-world:build-{run}")
    world = World(sample_policy(apps={"hello-world": msgspec.structs.replace(app, build=build)}))
    admission = world.push("latest", APP, **TEAM)
    assert admission.outcome is Outcome.NO_RULE
    assert "hello-world:build-{run}" in admission.reason


@pytest.mark.parametrize("tag", ["latest", "1.2.3", "v1", "main-2", "1234", "stable-x", "CA4", "c1a", "nightly"])
def test_a_tag_that_can_be_no_run_is_no_rollout_although_the_pattern_is_the_run_alone(tag: str) -> None:
    assert World().push(tag, APP, **TEAM).outcome is Outcome.NO_RULE


@pytest.mark.parametrize("tag", ["ca4", "cab", "cf2a", "cgjj", "yd14", "dau", "ca9zzz"])
def test_a_tag_of_the_shape_of_a_run_may_be_one(tag: str) -> None:
    assert World().push(tag, APP, **TEAM).outcome is Outcome.ROLLOUT


def test_an_app_that_is_not_deployed_has_no_rollout_of_an_image() -> None:
    app = msgspec.structs.replace(sample_policy().apps["hello-world"], deploy=None)
    admission = World(sample_policy(apps={"hello-world": app})).push("ct9", APP, **TEAM)
    assert (admission.outcome, admission.reason) == (Outcome.NO_RULE, "app hello-world is not deployed")


def test_a_deletion_is_noted_and_changes_nothing() -> None:
    world = World()
    admission = world.deliver(event("image_deleted"))[0]
    assert (admission.outcome, admission.looks) == (Outcome.DELETED, ())
    assert world.ledger.rows == {}


def test_a_registry_nobody_configured_is_foreign_however_well_the_event_is_made() -> None:
    world = World()
    forged = world.event("15-alpine", GREEN) | {"topic": "/subscriptions/x/registries/attacker"}
    admission = world.deliver(forged)[0]
    assert (admission.outcome, admission.looks) == (Outcome.FOREIGN, ())
    assert "/registries/attacker" in admission.reason
    assert world.ledger.rows == {}


def test_a_registry_s_id_is_the_same_in_any_case() -> None:
    world = World()
    shouted = world.event("15-alpine", GREEN)
    shouted["topic"] = shouted["topic"].upper()
    assert world.deliver(shouted)[0].outcome is Outcome.CANDIDATE


def test_other_events_are_unwanted() -> None:
    assert World().deliver(event("chart_pushed"))[0].outcome is Outcome.UNWANTED


@pytest.mark.parametrize("payload", [None, {}, [], "text", {"eventType": "ImagePushed"}])
def test_malformed_events_are_acknowledged_with_the_field_s_name(payload: object) -> None:
    admission = World().deliver(payload)[0]
    assert admission.outcome is Outcome.MALFORMED
    assert ": " in admission.reason


def test_a_push_that_is_yet_to_come_would_stay_the_newest_for_ever_and_is_refused() -> None:
    world = World()
    forged = world.event("15-alpine", RED)
    forged["data"]["timestamp"] = (world.clock.now() + timedelta(days=365)).isoformat()
    admission = world.deliver(forged)[0]
    assert admission.outcome is Outcome.MALFORMED
    assert admission.reason.startswith("data.timestamp: ")
    a_little = world.event("15-alpine", GREEN)
    a_little["data"]["timestamp"] = (world.clock.now() + timedelta(minutes=1)).isoformat()
    assert world.deliver(a_little)[0].outcome is Outcome.CANDIDATE


def two_gates() -> Policy:
    gate = sample_policy().gates["node"]
    promote = PromotionRule(registry="base", repository="node-strict")
    strict = msgspec.structs.replace(gate, name="strict", promote=promote)
    return sample_policy(gates={"node": gate, "strict": strict})


def test_two_gates_on_one_source_admit_a_candidate_each() -> None:
    world = World(two_gates())
    admissions = world.deliver(world.event("15-alpine", GREEN))
    assert [admission.outcome for admission in admissions] == [Outcome.CANDIDATE] * 2
    assert {look.partition for admission in admissions for look in admission.looks} == {"node", "strict"}
    world.registry.tags[("public", "node:15-alpine")] = GREEN
    world.settle()
    assert world.registry.tags[("base", "node-strict:15-alpine")] == GREEN
    assert world.stable_tag() == GREEN


class RacingLedger(FakeLedger):
    """Another worker does its part between this one's reading and its writing."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Any] = []

    def insert(self, record: R) -> Stored[R] | None:
        self._other()
        return super().insert(record)

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        self._other()
        return super().save(stored, record)

    def _other(self) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()


def racing_world() -> tuple[World, RacingLedger]:
    world, ledger = World(), RacingLedger()
    world.ledger = ledger
    world.restart()
    return world, ledger


def test_of_two_workers_that_insert_at_once_one_admits_and_the_other_sees_a_duplicate() -> None:
    world, ledger = racing_world()
    outcomes: list[Outcome] = []
    told = world.event("15-alpine", GREEN)
    ledger.meanwhile = [lambda: outcomes.append(world.deliver(told)[0].outcome)]
    outcomes.append(world.deliver(told)[0].outcome)
    assert outcomes == [Outcome.CANDIDATE, Outcome.DUPLICATE]
    assert len(world.candidates()) == 1


def test_of_two_workers_that_insert_different_tags_at_once_none_is_lost() -> None:
    world, ledger = racing_world()
    first, second = world.event("15-alpine", GREEN), world.event("15.14", GREEN)
    ledger.meanwhile = [lambda: world.deliver(first)]
    assert world.deliver(second)[0].outcome is Outcome.TAG_ADDED
    assert [tag.tag for tag in world.candidate(GREEN).tags] == ["15-alpine", "15.14"]


def test_of_two_workers_that_add_a_tag_at_once_none_is_lost() -> None:
    world, ledger = racing_world()
    world.deliver(world.event("15-alpine", GREEN))
    first, second = world.event("15.14", GREEN), world.event("15.15", GREEN)
    ledger.meanwhile = [lambda: world.deliver(first)]
    world.deliver(second)
    assert [tag.tag for tag in world.candidate(GREEN).tags] == ["15-alpine", "15.14", "15.15"]


def test_a_record_that_others_change_all_the_time_is_tried_later() -> None:
    world, ledger = racing_world()
    world.deliver(world.event("15-alpine", GREEN))

    def touch() -> None:
        stored = ledger.load(Candidate, "node", world.candidate(GREEN).row)
        assert stored
        FakeLedger.save(ledger, stored, stored.record)

    ledger.meanwhile = [touch] * 10
    with pytest.raises(Retry, match="changed by others"):
        world.deliver(world.event("15.14", GREEN))


class Untouchable:
    """A port that the event path must leave alone."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the event path called {name}")


def test_the_event_path_touches_the_ledger_and_the_rules_and_nothing_else() -> None:
    ledger, nothing = FakeLedger(), Untouchable()
    world = World()
    services = replace(
        world.services,
        ledger=ledger,
        clock=FakeClock(),
        queue=nothing,
        registry=nothing,
        tasks=nothing,
        containers=nothing,
        probe=nothing,
        archive=nothing,
        announcer=nothing,
    )
    admit = Admit(services)
    told = [
        world.event("15-alpine", GREEN),
        world.event("15-alpine", GREEN),
        world.event("15.14", GREEN),
        world.event("ct9", APP, registry="team", repository="hello-world"),
        world.event("15-alpine", GREEN, registry="base"),
        event("image_deleted"),
        event("chart_pushed"),
    ]
    outcomes = [admission.outcome for payload in told for admission in admit.event(payload)]
    assert len(outcomes) == len(told)
    assert ledger.rows


def test_a_digest_under_very_many_tags_keeps_to_what_a_record_can_hold() -> None:
    world = World(every_tag())
    for number in range(TAGS_LIMIT + 20):
        admission = world.push(f"15-{number}", digest("green"))
    assert admission.outcome is Outcome.TOO_MANY_TAGS
    assert len(world.candidates()[0].tags) == TAGS_LIMIT


def every_tag() -> Policy:
    policy = sample_policy()
    gate = policy.gates["node"]
    source = msgspec.structs.replace(gate.source, tags=("*",))
    return msgspec.structs.replace(policy, gates={"node": msgspec.structs.replace(gate, source=source)})
