"""A candidate's whole life: every state of an attempt, and how it comes to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.checks.approval import ApprovalCheck
from shared.checks.task import TaskCheck
from shared.domain.candidate import Candidate, CandidateState, Verdict
from shared.domain.decide import RUNS_IN_A_ROW
from shared.domain.errors import Misconfigured, Retry
from shared.domain.policy import CheckRule, Gate, RegistryRule
from shared.domain.promotion import PromotionState
from shared.domain.record import WorkItem
from shared.domain.stable_tag import HoldUntil
from shared.ports import Change, Removal, Run, Stored
from tests.fakes import FakeRun, ProcessDied, World, digest, sample_policy
from tests.unit.operators import TAG, answer, cancel, gate_of, hold, lift_veto, rerun, sweep, veto

ORANGE, RED, GREEN = digest("orange"), digest("red"), digest("green")


def gate_world(*checks: CheckRule) -> World:
    """A world without apps, whose gate has these checks."""
    gate = sample_policy().gates["node"]
    return World(sample_policy(gates={"node": with_checks(gate, *checks) if checks else gate}, apps={}))


def with_checks(gate: Gate, *checks: CheckRule) -> Gate:
    return msgspec.structs.replace(gate, checks=checks)


def change_checks(world: World, *checks: CheckRule) -> None:
    world.use(msgspec.structs.replace(world.policy, gates={"node": with_checks(gate_of(world), *checks)}))


STRICTER = TaskCheck(registry="base", task="stricter")
SECOND = TaskCheck(registry="base", task="second")


def examining() -> World:
    """A world whose candidate's check has begun and takes a while."""
    world = gate_world()
    world.tasks.seconds = 60
    world.push("15-alpine", GREEN)
    world.next_item()
    return world


def wake(world: World) -> None:
    """What the sweep does for an open record that nothing is planned for."""
    world.reconciler.work(world.candidate(GREEN).work_item)
    world.settle()


# passed, failed


def test_what_every_check_passes_has_passed_and_says_how() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.settle()
    candidate = world.candidate(GREEN)
    assert (candidate.state, world.unheard()) == (CandidateState.PASSED, [])
    assert [entry.what for entry in candidate.history] == [
        "admitted",
        "task check started",
        "task check passed",
        "passed",
    ]
    assert "CandidatePassed" in world.announcer.names


def test_the_check_gets_the_image_by_digest_and_the_tag_that_led_to_it() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.settle()
    (run,) = world.tasks.runs.values()
    assert run.values["IMAGE"] == f"publicregistry.azurecr.io/node@{GREEN}"
    assert run.values["TAG"] == "15-alpine"


def test_a_run_is_named_by_where_it_ran() -> None:
    world = gate_world(STRICTER, TaskCheck(registry="team", task="second"))
    world.push("15-alpine", GREEN)
    world.settle()
    checks = world.candidate(GREEN).checks
    assert [check.registry for check in checks] == ["contosobaseartifacts.azurecr.io", "contoso.azurecr.io"]
    assert len({check.evidence.log_blob for check in checks}) == 2, "equal ids of two registries keep both logs"


def test_what_a_check_fails_has_failed_with_its_reason_and_evidence() -> None:
    world = gate_world()
    world.tasks.failing[RED] = (
        "Validating Image\nERROR: Invalid Color: Red\n"
        "Container failed during run: validate-base-image. No retries remaining.\n"
        "failed to run step ID: validate-base-image: exit status 1"
    )
    world.push("15-alpine", RED)
    world.settle()
    candidate = world.candidate(RED)
    assert (candidate.state, world.promotion().state) == (CandidateState.FAILED, PromotionState.REFUSED)
    assert "ERROR: Invalid Color: Red" in candidate.reason
    assert "ERROR: Invalid Color: Red" in candidate.checks[0].evidence.log_tail
    assert "Invalid Color" in world.archive.texts[candidate.checks[0].evidence.log_blob]
    assert (world.stable_tag(), world.unique_tags(RED)) == (None, [])
    assert world.announcer.names == ["CandidateFailed"], "the promotion has nothing to add"


def test_a_failed_digest_that_is_pushed_again_stays_failed_and_is_announced_once() -> None:
    world = gate_world()
    world.tasks.failing[RED] = "ERROR: Invalid Color: Red"
    for _ in range(2):
        world.push("15-alpine", RED)
        world.settle()
        world.clock.forward(60)
    assert world.candidate(RED).attempt == 1
    assert world.announcer.names == ["CandidateFailed"]


def test_the_first_check_that_fails_ends_the_attempt_and_the_runs_of_the_others_are_canceled() -> None:
    world = gate_world(STRICTER, SECOND)
    world.tasks.failing["stricter"] = "ERROR: no"
    world.push("15-alpine", GREEN)
    world.next_item()
    second = run_of(world, "second")
    second.ends_at += timedelta(hours=1)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert (second.cancelled, run_of(world, "stricter").cancelled) == (True, False)


# side by side


def run_of(world: World, task: str) -> FakeRun:
    """The last run of a task."""
    return [run for run in world.tasks.runs.values() if run.task == task][-1]


def test_checks_that_do_not_depend_on_each_other_run_side_by_side() -> None:
    world = gate_world(STRICTER, SECOND)
    world.tasks.seconds = 60
    world.push("15-alpine", GREEN)
    world.next_item()
    assert [run.task for run in world.tasks.runs.values()] == ["stricter", "second"]
    world.settle()
    assert (world.stable_tag(), len(world.tasks.runs)) == (GREEN, 2)


def test_a_check_without_a_verdict_is_run_again_while_the_verdict_of_the_other_is_kept() -> None:
    world = gate_world(STRICTER, SECOND)
    world.tasks.broken.add("second")
    world.push("15-alpine", GREEN)
    world.pass_time(600)
    assert (world.candidate(GREEN).checks[0].verdict, world.candidate(GREEN).state_name) == (Verdict.PASSED, "stalled")
    world.tasks.broken.clear()
    world.pass_time(86_500)
    tasks = [run.task for run in world.tasks.runs.values()]
    assert (world.stable_tag(), tasks.count("stricter"), tasks.count("second")) == (GREEN, 1, 4)


def test_a_check_without_a_verdict_stalls_the_candidate_as_soon_as_the_one_beside_it_has_passed() -> None:
    world = gate_world(STRICTER, SECOND)
    world.tasks.broken.add("second")
    world.push("15-alpine", GREEN)
    world.next_item()
    run_of(world, "stricter").ends_at += timedelta(seconds=10)
    world.pass_time(30)
    stalled = world.candidate(GREEN)
    assert stalled.stall is not None
    assert ("second" in stalled.stall.dependency, "second" in stalled.stall.reason) == (True, True)
    assert "DriftFound" in world.announcer.names
    world.tasks.broken.clear()
    world.pass_time(60)
    tasks = [run.task for run in world.tasks.runs.values()]
    assert (world.stable_tag(), tasks.count("stricter"), tasks.count("second")) == (GREEN, 1, 2)


def test_two_checks_without_a_verdict_are_stalled_and_each_is_run_again_when_it_is_due() -> None:
    world = gate_world(STRICTER, SECOND)
    world.tasks.broken |= {"stricter", "second"}
    world.push("15-alpine", GREEN)
    world.pass_time(150)
    assert world.candidate(GREEN).state_name == "stalled"
    assert [run.task for run in world.tasks.runs.values()] == ["stricter", "second"] * 2
    world.tasks.broken.clear()
    world.pass_time(86_500)
    assert world.stable_tag() == GREEN


def test_a_check_without_a_verdict_does_not_wait_for_a_slow_one_beside_it() -> None:
    world = gate_world(STRICTER, SECOND)
    world.tasks.broken.add("second")
    world.push("15-alpine", GREEN)
    world.next_item()
    run_of(world, "stricter").ends_at += timedelta(minutes=9)
    world.pass_time(300)
    tasks = [run.task for run in world.tasks.runs.values()]
    assert (tasks.count("second"), world.candidate(GREEN).state_name) == (3, "examining")


def test_a_run_that_cannot_be_read_does_not_hide_the_result_of_the_other() -> None:
    world = gate_world(STRICTER, SECOND)
    world.push("15-alpine", GREEN)
    world.next_item()
    world.tasks.get_faults["stricter"] = Retry("503")
    world.pass_time(60)
    assert [check.verdict for check in world.candidate(GREEN).checks] == [None, Verdict.PASSED]
    world.tasks.get_faults.clear()
    world.pass_time(600)
    assert world.stable_tag() == GREEN


def reads_fail(world: World, every: int) -> list[str]:
    """Let every nth reading of a run fail; what is returned fills with the ids of the runs that are read."""
    read, asked = world.tasks.get, list[str]()

    def get(registry: RegistryRule, run_id: str) -> Run | None:
        asked.append(run_id)
        if len(asked) % every == 0:
            raise Retry("503")
        return read(registry, run_id)

    world.tasks.get = get  # type: ignore[method-assign]
    return asked


@pytest.mark.parametrize("every", [1, 2], ids=["every reading fails", "every second reading fails"])
def test_a_run_that_cannot_be_read_is_not_started_again_for_the_check_beside_it(every: int) -> None:
    world = gate_world(STRICTER, SECOND)
    world.tasks.seconds = 3600
    world.tasks.start_faults["second"] = Retry("503")
    asked = reads_fail(world, every)
    world.push("15-alpine", GREEN)
    world.pass_time(600)
    assert [run.task for run in world.tasks.runs.values()] == ["stricter"]
    assert 2 <= len(asked) < 30
    stall = world.candidate(GREEN).stall
    assert stall is not None
    assert (stall.step, stall.dependency) == ("start check", "task base/second")


def test_a_person_is_asked_last_wherever_the_rules_say_so() -> None:
    world = gate_world(ApprovalCheck(), STRICTER)
    world.tasks.failing["stricter"] = "ERROR: no"
    world.push("15-alpine", GREEN)
    world.settle()
    assert (world.candidate(GREEN).state, "ApprovalNeeded" in world.announcer.names) == (CandidateState.FAILED, False)


def test_what_an_unchanged_check_said_is_kept_when_the_rules_get_another_one() -> None:
    world = gate_world(STRICTER)
    world.tasks.seconds = 60
    world.push("15-alpine", GREEN)
    world.next_item()
    change_checks(world, STRICTER, ApprovalCheck())
    world.settle()
    change_checks(world, SECOND, STRICTER)
    wake(world)
    tasks = [run.task for run in world.tasks.runs.values()]
    assert (world.stable_tag(), tasks) == (GREEN, ["stricter", "stricter", "second"]), (
        "the first run had no verdict yet"
    )


# no verdict


def test_a_run_that_breaks_says_nothing_and_is_run_three_times_and_then_once_a_day() -> None:
    world = gate_world()
    world.tasks.broken.add(GREEN)
    world.push("15-alpine", GREEN)
    world.pass_time(1200)
    candidate = world.candidate(GREEN)
    assert (candidate.state, candidate.state_name) == (CandidateState.EXAMINING, "stalled")
    assert (candidate.checks[0].verdict, candidate.checks[0].runs, len(world.tasks.runs)) == (None, 3, 3)
    world.pass_time(3 * 86_400)
    assert 5 <= len(world.tasks.runs) <= 6
    assert (world.stable_tag(), world.announcer.names.count("CandidateFailed")) == (None, 0)
    world.tasks.broken.clear()
    world.pass_time(86_500)
    assert world.stable_tag() == GREEN
    assert world.candidate(GREEN).attempt == 1


def test_a_run_that_is_gone_says_nothing_and_is_run_again() -> None:
    world = gate_world()
    world.tasks.seconds = 100
    world.push("15-alpine", GREEN)
    world.pass_time(20)
    world.tasks.runs.clear()
    world.pass_time(20)
    check = world.candidate(GREEN).checks[0]
    assert (check.verdict, "is gone" in check.reason, world.stable_tag()) == (None, True, None)
    world.pass_time(1200)
    assert (len(world.tasks.runs), world.stable_tag()) == (1, GREEN)


def test_a_run_past_its_time_is_canceled_and_run_again() -> None:
    world = gate_world()
    world.tasks.seconds = 5000
    world.push("15-alpine", GREEN)
    world.pass_time(650)
    (run,) = world.tasks.runs.values()
    assert run.cancelled
    assert "600 s" in world.candidate(GREEN).checks[0].reason
    world.tasks.seconds = 5
    world.pass_time(300)
    assert world.stable_tag() == GREEN


def test_a_check_that_cannot_be_started_stalls_and_is_started_when_it_can() -> None:
    world = gate_world()
    world.tasks.start_fault = Misconfigured("there is no such task", remedy="create it")
    world.push("15-alpine", GREEN)
    world.pass_time(3600)
    candidate = world.candidate(GREEN)
    assert candidate.stall
    assert (candidate.stall.step, candidate.stall.dependency) == ("start check", "task base/base-import-node")
    assert (candidate.stall.reason, candidate.stall.remedy) == ("there is no such task", "create it")
    assert candidate.checks[0].runs <= 1, "no run was started"
    world.tasks.start_fault = None
    world.pass_time(600)
    assert world.stable_tag() == GREEN


# superseded


def test_what_was_overtaken_before_its_first_check_is_not_examined() -> None:
    world = gate_world()
    world.tasks.start_fault = Retry("503")
    world.push("15-alpine", ORANGE)
    world.settle()
    world.clock.forward(60)
    world.push("15-alpine", GREEN)
    world.tasks.start_fault = None
    world.pass_time(600)
    assert world.stable_tag() == GREEN


def test_a_candidate_nobody_began_is_superseded_with_its_promotion() -> None:
    world = gate_world()
    world.registry.tags[("public", "node:15-alpine")] = ORANGE
    sweep(world)
    waiting, world.queue.waiting = world.queue.waiting, []
    world.clock.forward(5)
    world.registry.tags[("public", "node:15-alpine")] = GREEN
    sweep(world)
    world.queue.waiting += waiting
    world.settle()
    assert world.candidate(ORANGE).state is CandidateState.SUPERSEDED
    assert [promotion.state for promotion in world.promotions()] == [PromotionState.SUPERSEDED, PromotionState.PROMOTED]
    assert len(world.tasks.runs) == 1


def test_one_that_was_begun_is_carried_through() -> None:
    world = examining()
    world.push("15-alpine", RED)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PASSED
    assert world.stable_tag() == RED


def test_a_digest_that_was_superseded_and_comes_back_is_examined_then() -> None:
    world = gate_world()
    world.registry.tags[("public", "node:15-alpine")] = ORANGE
    sweep(world)
    world.queue.waiting.clear()
    world.clock.forward(5)
    world.push("15-alpine", GREEN)
    world.settle()
    world.reconciler.work(world.candidate(ORANGE).work_item)
    world.settle()
    world.push("15-alpine", ORANGE)
    world.settle()
    assert [one.state for one in world.candidates() if one.digest == ORANGE] == [
        CandidateState.SUPERSEDED,
        CandidateState.PASSED,
    ]
    assert world.stable_tag() == ORANGE


@pytest.mark.parametrize("state", ["examining", "awaiting approval"])
def test_under_changed_checks_the_next_attempt_takes_its_place(state: str) -> None:
    world = gate_world(*((ApprovalCheck(),) if state == "awaiting approval" else ()))
    world.tasks.seconds = 60
    world.push("15-alpine", GREEN)
    world.settle(within_seconds=30)
    assert world.candidate(GREEN).state == state
    world.clock.forward(2 * 86_400)
    change_checks(world, STRICTER)
    world.pass_time(30)
    wake(world)
    old, new = world.candidates()
    assert (old.state, new.state, new.attempt) == (CandidateState.SUPERSEDED, CandidateState.PASSED, 2)
    assert new.fingerprint == gate_of(world).fingerprint
    assert new.checks[0].kind == "task"
    assert world.stable_tag() == GREEN
    assert world.promotion().candidate == new.row


def test_how_long_a_check_may_take_does_not_change_what_it_means() -> None:
    world = examining()
    (check,) = gate_of(world).checks
    assert isinstance(check, TaskCheck)
    change_checks(world, msgspec.structs.replace(check, timeout="601s"))
    world.settle()
    assert len(world.candidates()) == 1
    assert world.stable_tag() == GREEN


# awaiting approval, rejected


def test_what_waits_for_a_person_is_approved_and_goes_on() -> None:
    world = gate_world(*sample_policy().gates["node"].checks, ApprovalCheck())
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.AWAITING_APPROVAL
    assert world.promotion().state is PromotionState.WAITING
    assert (world.queue.waiting, world.stable_tag()) == ([], None)
    world.clock.forward(30 * 86_400)
    answer(world, GREEN, approved=True)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PASSED
    assert world.stable_tag() == GREEN


def test_a_person_who_says_no_rejects_it() -> None:
    world = gate_world(ApprovalCheck())
    world.push("15-alpine", GREEN)
    world.settle()
    answer(world, GREEN, approved=False)
    world.settle()
    candidate = world.candidate(GREEN)
    assert (candidate.state, candidate.reason) == (CandidateState.REJECTED, "rejected by ada: because")
    assert world.promotion().state is PromotionState.REFUSED
    assert world.announcer.names == ["ApprovalNeeded", "CandidateRejected"]


# canceled


def test_a_canceled_attempt_cancels_its_promotion_and_says_nothing_of_the_image() -> None:
    world = examining()
    cancel(world, GREEN)
    world.settle()
    assert world.promotion().state is PromotionState.CANCELED
    assert world.stable_tag() is None
    assert world.announcer.names == ["CandidateCanceled"]
    rerun(world, GREEN)
    world.settle()
    assert [one.state for one in world.candidates()] == [CandidateState.CANCELED, CandidateState.PASSED]
    assert world.stable_tag() == GREEN


def test_what_is_vetoed_before_a_check_is_not_examined_and_goes_on_when_the_veto_is_lifted() -> None:
    world = gate_world()
    veto(world, GREEN)
    world.push("15-alpine", GREEN)
    world.settle()
    assert (world.candidate(GREEN).state, world.promotion().state) == (CandidateState.CANCELED, PromotionState.VETOED)
    assert world.tasks.runs == {}
    lift_veto(world, GREEN)
    world.settle()
    assert world.promotion().state is PromotionState.CANCELED, "the attempt was canceled: a person asks for another"
    rerun(world, GREEN)
    world.settle()
    assert world.stable_tag() == GREEN


# rule removed


@pytest.mark.parametrize("approval", [False, True])
def test_a_gate_that_left_the_rules_ends_its_candidates_and_that_is_announced(approval: bool) -> None:
    world = gate_world(*((ApprovalCheck(),) if approval else ()))
    world.tasks.seconds = 60
    world.push("15-alpine", GREEN)
    world.settle(within_seconds=10)
    world.use(sample_policy(gates={}, apps={}))
    world.pass_time(60)
    wake(world)
    assert world.candidate(GREEN).state is CandidateState.RULE_REMOVED
    assert "no longer in the rules" in world.candidate(GREEN).reason
    assert world.promotion().state is PromotionState.RULE_REMOVED
    assert set(world.announcer.names) >= {"CandidateRuleRemoved", "PromotionRuleRemoved"}
    assert world.unheard() == []


def test_a_gate_that_comes_back_finds_its_tag_to_be_news() -> None:
    world = examining()
    policy = world.policy
    world.use(sample_policy(gates={}, apps={}))
    world.settle()
    world.use(policy)
    sweep(world)
    world.settle()
    assert [one.state for one in world.candidates()] == [CandidateState.RULE_REMOVED, CandidateState.PASSED]
    assert (world.stable_tag(), world.promotion().sequence) == (GREEN, 2)


def test_an_attempt_that_is_asked_for_again_takes_its_promotions_up_in_the_same_write() -> None:
    world = gate_world()
    world.tasks.failing[GREEN] = "ERROR"
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.promotion().state is PromotionState.REFUSED
    world.tasks.failing.clear()
    commit = world.ledger.commit

    def die_after_it(*changes: Change | Removal) -> list[Stored[Any]]:
        commit(*changes)
        raise ProcessDied

    world.ledger.commit = die_after_it  # type: ignore[method-assign]
    with pytest.raises(ProcessDied):
        rerun(world, GREEN)
    world.ledger.commit = commit  # type: ignore[method-assign]
    assert (world.candidate(GREEN).attempt, world.promotion().state) == (2, PromotionState.WAITING)


def test_what_a_gate_that_comes_back_had_before_a_hold_is_not_newer_than_the_hold() -> None:
    world = examining()
    hold(world, until=HoldUntil.NEWER)
    policy = world.policy
    world.use(sample_policy(gates={}, apps={}))
    world.settle()
    world.use(policy)
    sweep(world)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (None, PromotionState.HELD)


# attempts


def test_a_settled_attempt_never_changes_again() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.settle()
    before = world.candidates()[0]
    world.tasks.broken.add(GREEN)
    rerun(world, GREEN)
    world.pass_time(1000)
    change_checks(world, STRICTER)
    world.pass_time(86_400)
    assert world.candidates()[0] == before
    assert world.promotions()[0].candidate == before.row, "what a promotion stands on stays"
    assert world.stable_tag() == GREEN


@pytest.mark.parametrize("dies_at", range(1, 18))
def test_wherever_the_process_dies_the_attempt_ends_the_same_by_one_run(dies_at: int) -> None:
    world, saves = gate_world(), iter(range(1, 10_000))

    def die(record: object) -> None:
        if next(saves) == dies_at:
            raise ProcessDied

    world.ledger.before_save = die
    world.push("15-alpine", GREEN)
    world.settle_while_crashing()
    assert world.candidate(GREEN).state is CandidateState.PASSED
    assert (world.stable_tag(), len(world.unique_tags(GREEN)), len(world.tasks.runs)) == (GREEN, 1, 1)


def test_a_process_that_dies_right_after_it_started_a_run_adopts_that_run() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)

    def die_on_run_id(record: object) -> None:
        if isinstance(record, Candidate) and record.checks[0].run_id:
            world.ledger.before_save = None
            raise ProcessDied

    world.ledger.before_save = die_on_run_id
    world.settle_while_crashing()
    assert len(world.tasks.runs) == 1
    assert "task check adopted" in [entry.what for entry in world.candidate(GREEN).history]


def test_a_process_that_dies_right_after_it_started_a_later_check_s_run_adopts_that_run() -> None:
    world = gate_world(*sample_policy().gates["node"].checks, STRICTER)
    world.push("15-alpine", GREEN)

    def die_on_run_id(record: object) -> None:
        if isinstance(record, Candidate) and record.checks[1].run_id:
            world.ledger.before_save = None
            raise ProcessDied

    world.ledger.before_save = die_on_run_id
    world.settle_while_crashing()
    assert [run.task for run in world.tasks.runs.values()] == ["base-import-node", "stricter"]
    assert world.candidate(GREEN).state is CandidateState.PASSED


def test_of_two_workers_that_claim_a_later_check_one_starts_its_run() -> None:
    world = gate_world(*sample_policy().gates["node"].checks, STRICTER)
    world.push("15-alpine", GREEN)

    def second_worker(record: object) -> None:
        if isinstance(record, Candidate) and record.checks[1].claimed_at:
            world.ledger.before_save = None
            world.reconciler.work(record.work_item, redelivered=True)

    world.ledger.before_save = second_worker
    world.settle()
    assert [run.task for run in world.tasks.runs.values()] == ["base-import-node", "stricter"]
    assert world.candidate(GREEN).state is CandidateState.PASSED


def test_a_run_of_an_earlier_attempt_is_never_adopted() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.settle()
    rerun(world, GREEN)
    world.settle()
    first, second = world.candidates()
    assert first.checks[0].run_id != second.checks[0].run_id
    assert first.checks[0].nonce != second.checks[0].nonce


def test_evidence_that_cannot_be_kept_does_not_change_the_verdict() -> None:
    world = gate_world()
    world.tasks.log_fault = Retry("503")
    world.push("15-alpine", GREEN)
    world.settle()
    check = world.candidate(GREEN).checks[0]
    assert (check.verdict, world.stable_tag()) == (Verdict.PASSED, GREEN)
    assert "could not be read" in check.evidence.log_tail[0]


def test_a_tag_s_name_is_where_its_candidate_came_from() -> None:
    world = gate_world()
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).tag == TAG


def test_who_dies_over_a_run_without_a_verdict_starts_no_further_one_that_day() -> None:
    """Otherwise the day's wait would be lost with the worker, and a redelivered message run the check once more."""
    world = World(sample_policy(apps={}))
    world.tasks.broken.add(GREEN)
    world.push("15-alpine", GREEN)
    while len(world.tasks.runs) < RUNS_IN_A_ROW:
        world.next_item()
    world.clock.forward(60)
    watching = world.queue.waiting.pop()[2]
    assert isinstance(watching, WorkItem)

    def dies(record: object) -> None:
        if isinstance(record, Candidate) and record.failures >= RUNS_IN_A_ROW:
            raise ProcessDied

    world.ledger.before_save = dies
    with pytest.raises(ProcessDied):
        world.reconciler.work(watching)
    world.ledger.before_save = None
    world.reconciler.work(watching, redelivered=True)
    world.settle(within_seconds=3600)
    assert len(world.tasks.runs) == RUNS_IN_A_ROW
