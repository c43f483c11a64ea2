"""Faults that were found by reading the security half of the gate: what keeps them from coming back."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from shared.checks.approval import ApprovalCheck
from shared.checks.task import TaskCheck
from shared.domain.candidate import CandidateState
from shared.domain.errors import Misconfigured, NotFound
from shared.domain.retention import purgeable_attempts
from shared.domain.stable_tag import HoldUntil
from shared.findings.model import Severity
from shared.findings.rules import Condition
from shared.operations import Who
from tests.fakes import World
from tests.fakes.registries import FakeSigner
from tests.unit.operators import cancel, rerun
from tests.unit.test_scan_check import (
    GREEN,
    OPENSSL,
    RED,
    SCAN,
    ZLIB,
    accepted,
    change,
    push,
    scan_world,
    swept,
    will_report,
)

ADA, BOB = Who("ada", "because"), Who("bob", "because")
SECOND = TaskCheck(registry="base", task="second")


def test_a_key_that_does_not_sign_keeps_no_promotion_from_being_made_again_after_a_hold() -> None:
    world = World()
    world.signer = signer = FakeSigner()
    signer.fault = Misconfigured("the key is disabled")
    world.restart()
    for content in (RED, GREEN):
        push(world, content)
    world.operate.gates.roll_back("node", "15-alpine", RED, HoldUntil.LIFTED, ADA).act()
    world.settle()
    world.operate.gates.lift("node", "15-alpine", ADA).act()
    world.pass_time(600)
    assert world.stable_tag() == GREEN


def test_who_asked_for_a_run_may_not_approve_it_after_an_exception_let_it_pass() -> None:
    world = scan_world(SCAN, ApprovalCheck(two_persons=True))
    will_report(world, OPENSSL)
    world.registry.tags[("public", "node:15-alpine")] = GREEN
    world.operate.candidates.examine("node", "15-alpine", ADA).act()
    world.settle()
    change(world, SCAN, ApprovalCheck(two_persons=True), exceptions=(accepted(),))
    swept(world)
    candidate = world.candidate(GREEN)
    assert (candidate.state, candidate.requested_by) == (CandidateState.AWAITING_APPROVAL, "ada")


def test_after_an_exception_has_ended_no_further_tag_is_promoted_by_it_and_what_was_stays() -> None:
    world = scan_world(exceptions=(accepted(until="2026-03-03"),))
    will_report(world, OPENSSL)
    push(world)
    assert world.stable_tag() == GREEN
    world.pass_time(4 * 86_400)
    world.push("15.14", GREEN)
    world.pass_time(60)
    assert (world.candidate(GREEN).state, world.stable_tag(), world.stable_tag("15.14")) == (
        CandidateState.FAILED,
        GREEN,
        None,
    )


def test_an_exception_that_ends_while_another_check_is_retried_counts_no_more() -> None:
    world = scan_world(SCAN, SECOND, exceptions=(accepted(until="2026-03-02"),))
    will_report(world, OPENSSL)
    world.tasks.broken.add("second")
    push(world)
    world.pass_time(2 * 86_400)
    world.tasks.broken.clear()
    world.pass_time(2 * 86_400)
    assert (world.candidate(GREEN).state, world.stable_tag()) == (CandidateState.FAILED, None)


def test_what_is_new_is_told_by_the_report_of_the_promoted_attempt_and_not_of_the_last_one() -> None:
    world = scan_world()
    will_report(world, ZLIB)
    push(world, RED)
    rerun(world, RED)
    cancel(world, RED)
    world.settle()
    low = Condition(severity=Severity.LOW)
    change(world, msgspec.structs.replace(SCAN, fail_on=(low,), new_only=True))
    push(world)
    assert (world.candidate(GREEN).state, world.stable_tag()) == (CandidateState.PASSED, GREEN)


def test_two_scans_of_one_task_do_not_make_an_attempt_in_every_sweep() -> None:
    world = scan_world(SCAN, msgspec.structs.replace(SCAN, fail_on=(Condition(severity=Severity.CRITICAL),)))
    will_report(world, OPENSSL)
    push(world)
    attempts = set()
    for _ in range(3):
        swept(world)
        attempts.add(world.candidate(GREEN).attempt)
    assert attempts == {1}


def test_a_check_that_cannot_start_does_not_hide_the_verdict_of_another() -> None:
    world = scan_world(TaskCheck(registry="base", task="stricter"), SECOND)
    world.tasks.failing["second"] = "ERROR: no"
    world.tasks.start_faults["stricter"] = Misconfigured("no role")
    push(world)
    world.pass_time(900)
    assert world.candidate(GREEN).state is CandidateState.FAILED


def test_a_scan_whose_log_is_gone_is_run_again() -> None:
    world = scan_world()
    world.tasks.log_fault = NotFound("the log is gone")
    push(world)
    world.tasks.log_fault = None
    will_report(world)
    world.pass_time(300)
    assert (len(world.tasks.runs), world.stable_tag()) == (2, GREEN)


@pytest.mark.parametrize("content", ["garbage", '{"a": 1}\n'])
def test_an_archived_record_that_is_damaged_is_signed_again(content: str) -> None:
    world = World()
    world.signer = FakeSigner()
    world.restart()
    world.registry.attach_fault = Misconfigured("no role")
    push(world)
    place = world.promotion().signed_record
    world.archive.texts[place] = content
    world.registry.attach_fault = None
    world.pass_time(900)
    assert (world.promotion().record_due, len(world.registry.attached[GREEN])) == (False, 2)


def test_a_digest_that_is_vetoed_before_its_record_is_signed_gets_none() -> None:
    world = World()
    world.signer = signer = FakeSigner()
    signer.fault = Misconfigured("the vault is away")
    world.restart()
    push(world)
    world.operate.vetoes.veto("node", GREEN, ADA).act()
    signer.fault = None
    world.pass_time(900)
    assert world.registry.attached.get(GREEN, []) == []
    assert world.promotion().record_due is False


def test_a_record_is_not_signed_for_a_repository_that_the_image_was_not_promoted_into() -> None:
    world = World()
    world.signer = signer = FakeSigner()
    signer.fault = Misconfigured("the vault is away")
    world.restart()
    push(world)
    gate = world.policy.gates["node"]
    elsewhere = msgspec.structs.replace(gate, promote=msgspec.structs.replace(gate.promote, repository="node2"))
    world.use(msgspec.structs.replace(world.policy, gates={"node": elsewhere}))
    signer.fault = None
    world.pass_time(900)
    assert (signer.signed, world.promotion().record_due) == (0, False)


def test_a_report_that_an_attempt_in_use_has_taken_over_is_not_purged_with_the_attempt_that_made_it() -> None:
    world = scan_world()
    will_report(world, OPENSSL)
    push(world)
    for _ in range(2):
        rerun(world, GREEN)
        world.settle()
    change(world, SCAN, exceptions=(accepted(),))
    swept(world)
    for _ in range(2):
        rerun(world, GREEN)
        world.settle()
    attempts = sorted(world.candidates(), key=lambda one: one.attempt)
    taken_over, in_use = attempts[2], attempts[3]
    assert taken_over.blobs == in_use.blobs
    later = world.clock.now() + timedelta(days=1)
    assert taken_over not in purgeable_attempts(attempts, later, {in_use.row})
    assert taken_over in purgeable_attempts(attempts, later)
