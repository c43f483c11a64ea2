"""A check that a person makes."""

from __future__ import annotations

import msgspec
import pytest

from shared.checks.approval import ApprovalCheck
from shared.domain.candidate import CandidateState
from shared.domain.errors import Refused, Retry
from shared.domain.promotion import PromotionState
from shared.operations import Who
from shared.rules import InvalidGates, parse_gates
from tests.fakes import World, digest, sample_policy

ORANGE, GREEN, BLUE = digest("orange"), digest("green"), digest("blue")
ADA, BOB = Who("ada", "I have read the change"), Who("bob", "I have read it too")


def asking(*, two_persons: bool = False) -> World:
    """A world without apps whose gate asks for approval after its task check."""
    gate = sample_policy().gates["node"]
    checks = (*gate.checks, ApprovalCheck(two_persons=two_persons))
    return World(sample_policy(gates={"node": msgspec.structs.replace(gate, checks=checks)}, apps={}))


def waiting(*, two_persons: bool = False) -> tuple[World, str]:
    world = asking(two_persons=two_persons)
    world.push("15-alpine", GREEN)
    world.settle()
    return world, world.candidate(GREEN).id


def test_a_candidate_waits_for_approval_with_nothing_planned_and_it_is_announced() -> None:
    world, _ = waiting()
    assert world.queue.waiting == []
    assert world.candidate(GREEN).state is CandidateState.AWAITING_APPROVAL
    assert world.stable_tag() is None
    assert world.announcer.names == ["ApprovalNeeded"]
    last = world.candidate(GREEN).history[-1]
    assert (last.what, last.why) == ("approval requested", "an operator must decide")


def test_an_approved_candidate_goes_on_even_after_a_long_weekend() -> None:
    world, identifier = waiting()
    world.clock.forward(4 * 86_400)
    world.operate.candidates.approve(identifier, ADA).act()
    world.settle()
    assert world.stable_tag() == GREEN
    assert any("ada: I have read the change" in entry.why for entry in world.candidate(GREEN).history)


def test_a_rejected_candidate_ends_with_the_reason() -> None:
    world, identifier = waiting()
    world.operate.candidates.reject(identifier, ADA).act()
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.REJECTED
    assert world.candidate(GREEN).reason == "rejected by ada: I have read the change"
    assert (world.stable_tag(), world.promotion().state) == (None, PromotionState.REFUSED)


def test_digest_after_digest_is_asked_for_and_approved_by_itself() -> None:
    world = asking()
    for content in (ORANGE, GREEN, BLUE):
        world.push("15-alpine", content)
        world.settle()
        world.operate.candidates.approve(world.candidate(content).id, ADA).act()
        world.settle()
        assert world.stable_tag() == content
    assert world.announcer.names.count("ApprovalNeeded") == 3


def test_an_approval_is_never_taken_over_by_another_attempt() -> None:
    world, identifier = waiting()
    world.operate.candidates.approve(identifier, ADA).act()
    world.settle()
    world.operate.candidates.rerun(identifier, ADA).act()
    world.settle()
    assert world.candidate(GREEN).attempt == 2
    assert world.candidate(GREEN).state is CandidateState.AWAITING_APPROVAL


def test_an_approval_is_not_taken_over_when_the_rules_change() -> None:
    world, _identifier = waiting()
    gate = world.policy.gates["node"]
    change = msgspec.structs.replace(gate, checks=(*gate.checks, ApprovalCheck()))
    world.use(msgspec.structs.replace(world.policy, gates={"node": change}))
    world.pass_time(3600)
    world.sweep_now()
    world.settle()
    world.operate.candidates.approve(world.candidate(GREEN).id, ADA).act()
    world.settle()
    world.use(msgspec.structs.replace(world.policy, gates={"node": gate}))
    world.pass_time(3600)
    world.sweep_now()
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.AWAITING_APPROVAL
    assert world.stable_tag() is None


@pytest.mark.parametrize("when", ["before the answer", "after the answer"])
def test_a_canceled_examination_can_be_approved_when_it_is_begun_again(when: str) -> None:
    gate = sample_policy().gates["node"]
    checks = (*gate.checks, ApprovalCheck(), ApprovalCheck())
    world = World(sample_policy(gates={"node": msgspec.structs.replace(gate, checks=checks)}, apps={}))
    world.push("15-alpine", GREEN)
    world.settle()
    if when == "after the answer":
        world.operate.candidates.approve(world.candidate(GREEN).id, ADA).act()
        world.pass_time(10)
    world.operate.candidates.cancel(world.candidate(GREEN).id, ADA).act()
    world.settle()
    world.operate.candidates.rerun(world.candidate(GREEN).id, ADA).act()
    world.settle()
    for who in (ADA, BOB):
        assert world.candidate(GREEN).state is CandidateState.AWAITING_APPROVAL
        world.operate.candidates.approve(world.candidate(GREEN).id, who).act()
        world.settle()
    assert (world.stable_tag(), world.candidate(GREEN).attempt) == (GREEN, 2)


def test_waiting_for_a_person_is_no_error_however_long() -> None:
    world, _ = waiting()
    for _ in range(100):
        world.clock.forward(86_400)
        world.sweep_now()
        world.settle()
    candidate = world.candidate(GREEN)
    assert (candidate.state_name, candidate.failures, candidate.stall) == ("awaiting approval", 0, None)
    assert world.announcer.names == ["ApprovalNeeded"]


def test_who_asked_for_a_run_may_not_approve_it_where_two_persons_are_wanted() -> None:
    world = asking(two_persons=True)
    world.registry.tags[("public", "node:15-alpine")] = GREEN
    world.operate.candidates.examine("node", "15-alpine", ADA).act()
    world.settle()
    identifier = world.candidate(GREEN).id
    for same in (ADA, Who("Ada", "another case of letters")):
        with pytest.raises(Refused, match="another person"):
            world.operate.candidates.approve(identifier, same)
    world.operate.candidates.approve(identifier, BOB).act()
    world.settle()
    assert world.stable_tag() == GREEN


def test_what_does_not_wait_for_approval_cannot_be_approved() -> None:
    world, identifier = waiting()
    world.operate.candidates.approve(identifier, ADA).act()
    with pytest.raises(Refused, match="does not await"):
        world.operate.candidates.approve(identifier, BOB)


def test_what_was_canceled_while_it_waited_stays_canceled_when_it_is_pushed_again() -> None:
    world, identifier = waiting()
    world.operate.candidates.cancel(identifier, ADA).act()
    world.settle()
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).settled
    assert world.candidate(GREEN).state is CandidateState.CANCELED
    assert world.promotion().state is PromotionState.CANCELED


def test_an_approval_that_cannot_be_announced_is_still_asked_for() -> None:
    world = asking()
    world.announcer.fault = Retry("the topic answers 503")
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.AWAITING_APPROVAL


RULES = """
registries:
  public: {id: /subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/public}
  base: {id: /subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/basereg}
gates:
  node:
    source: {registry: public, repository: node, tags: ["15-alpine"]}
    checks: [CHECK]
    promote: {registry: base, repository: node}
"""


def test_the_rules_take_an_approval() -> None:
    policy = parse_gates(RULES.replace("CHECK", "{approval: {two_persons: true}}"))
    assert policy.gates["node"].checks == (ApprovalCheck(two_persons=True),)


@pytest.mark.parametrize("check", ["{}", "{approval: {}, task: {registry: base, task: examine}}"])
def test_a_check_is_of_exactly_one_kind(check: str) -> None:
    with pytest.raises(InvalidGates, match="exactly one key"):
        parse_gates(RULES.replace("CHECK", check))
