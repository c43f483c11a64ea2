"""A candidate's whole life, and the invariants of the gate."""

from __future__ import annotations

from itertools import count

import msgspec
import pytest

from shared.domain.candidate import Candidate, CandidateState, Verdict
from shared.domain.errors import Misconfigured, Rejected, Retry
from shared.domain.policy import PromoteBy
from shared.domain.track import Track
from shared.workflow.admit import Outcome
from tests.fakes import ProcessDied, World, digest, sample_policy

ORANGE, RED, GREEN = digest("orange"), digest("red"), digest("green")


def test_a_good_push_is_examined_promoted_and_told() -> None:
    world = World()
    assert world.push("15-alpine", ORANGE).outcome is Outcome.CANDIDATE
    world.settle()
    candidate = world.candidate(ORANGE)
    assert candidate.state is CandidateState.PROMOTED
    assert world.stable_tag() == ORANGE
    assert world.unique_tags(ORANGE) == ["node:15-alpine-cb1"]
    assert ("base", "node:15-alpine-cb1") in world.registry.locked
    assert "CandidatePromoted" in world.announcer.names


def test_the_check_gets_the_image_by_digest() -> None:
    world = World()
    world.push("15-alpine", ORANGE)
    world.settle()
    assert world.tasks.runs["cb1"].values["IMAGE"] == f"publicregistry.azurecr.io/node@{ORANGE}"


def test_a_bad_push_is_stopped_with_its_reason_and_evidence() -> None:
    world = World()
    world.push("15-alpine", ORANGE)
    world.settle()
    world.tasks.failing[RED] = (
        "Validating Image\n\x1b[31mERROR: Invalid Color: Red\x1b[0m\n"
        "Container failed during run: validate-base-image. No retries remaining.\n"
        "failed to run step ID: validate-base-image: exit status 1"
    )
    world.push("15-alpine", RED)
    world.settle()
    candidate = world.candidate(RED)
    assert candidate.state is CandidateState.FAILED
    assert "ERROR: Invalid Color: Red" in candidate.reason
    assert "ERROR: Invalid Color: Red" in candidate.checks[0].evidence.log_tail
    assert "Invalid Color" in world.archive.texts[candidate.checks[0].evidence.log_blob]
    assert world.stable_tag() == ORANGE
    assert world.unique_tags(RED) == []
    assert world.announcer.names[-1] == "CandidateFailed"


def test_a_run_that_breaks_says_nothing_and_never_promotes() -> None:
    world = World()
    world.tasks.broken.add(GREEN)
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).checks[0].verdict is Verdict.UNKNOWN
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert world.stable_tag() is None


def test_a_run_past_its_time_is_canceled_and_unknown() -> None:
    world = World()
    world.tasks.seconds = 5000
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.tasks.runs["cb1"].cancelled
    assert world.candidate(GREEN).checks[0].verdict is Verdict.UNKNOWN
    assert "600 s" in world.candidate(GREEN).reason


def test_what_arrives_in_the_target_must_be_what_was_examined() -> None:
    world = World()
    world.registry.copy_result = digest("something else")
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert "not the digest that was examined" in world.candidate(GREEN).reason
    assert world.stable_tag() is None


def test_the_unique_tag_is_there_and_locked_before_the_stable_tag_moves() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    while world.stable_tag() is None:
        world.next_look()
        if world.stable_tag() == GREEN:
            assert ("base", "node:15-alpine-cb1") in world.registry.locked
    world.settle()


def test_an_older_push_that_passes_later_never_overwrites_a_newer_one() -> None:
    world = World()
    older = world.event("15-alpine", ORANGE)
    world.clock.forward(1)
    world.push("15-alpine", GREEN)
    world.settle()
    world.deliver(older)
    world.settle()
    assert world.stable_tag() == GREEN
    assert world.candidate(ORANGE).state is CandidateState.SUPERSEDED
    assert world.candidate(ORANGE).checks[0].verdict is Verdict.PASSED


def test_events_twice_late_and_shuffled_have_one_effect() -> None:
    world = World()
    event = world.event("15-alpine", GREEN)
    world.registry.tags[("public", "node:15-alpine")] = GREEN
    for _ in range(3):
        world.deliver(event)
    world.settle()
    world.deliver(event)
    world.settle()
    assert len(world.candidates()) == 1
    assert [run.task for run in world.tasks.runs.values()].count("base-import-node") == 1
    assert world.registry.copies == ["node:15-alpine-cb1"]
    assert len(world.rollouts()) == 1


def test_a_replica_s_copy_of_an_old_event_does_not_bring_the_old_image_back() -> None:
    world = World()
    world.push("15-alpine", ORANGE)
    world.settle()
    world.clock.forward(1)
    world.push("15-alpine", GREEN)
    world.settle()
    world.clock.forward(1)
    replica = world.event("15-alpine", ORANGE)
    assert world.deliver(replica)[0].outcome is Outcome.PUSHED_AGAIN
    world.settle()
    assert world.stable_tag() == GREEN


def test_an_upstream_that_goes_back_to_an_earlier_image_takes_the_stable_tag_with_it() -> None:
    world = World()
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
        world.clock.forward(60)
    world.push("15-alpine", ORANGE)
    world.settle()
    assert world.stable_tag() == ORANGE
    assert len(world.candidates()) == 2
    assert world.candidate(ORANGE).state is CandidateState.PROMOTED
    assert len(world.rollouts()) == 3


def test_a_second_tag_of_a_known_digest_is_promoted_without_a_second_examination() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.push("15.14", GREEN)
    world.settle()
    assert world.stable_tag("15-alpine") == world.stable_tag("15.14") == GREEN
    assert sorted(world.unique_tags(GREEN)) == ["node:15-alpine-cb1", "node:15.14-cb1"]
    assert [run.task for run in world.tasks.runs.values()].count("base-import-node") == 1


def test_a_tag_that_comes_after_the_end_is_promoted_too() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.push("15.14", GREEN).outcome is Outcome.TAG_ADDED
    world.settle()
    assert world.stable_tag("15.14") == GREEN


def test_a_failed_digest_that_is_pushed_again_stays_failed_and_is_told_once() -> None:
    world = World()
    world.tasks.failing[RED] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", RED)
    world.settle()
    world.clock.forward(5)
    world.push("15-alpine", RED)
    world.settle()
    assert world.candidate(RED).state is CandidateState.FAILED
    assert world.announcer.names == ["CandidateFailed"]


def test_changed_checks_count_only_after_they_ran() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    for _ in range(2):
        world.next_look()
    gate = world.policy.gates["node"]
    stricter = msgspec.structs.replace(gate, checks=(msgspec.structs.replace(gate.checks[0], task="stricter"),))
    world.policy = sample_policy(gates={"node": stricter})
    world.restart()
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED
    assert [run.task for run in world.tasks.runs.values() if run.registry == "base"][-1] == "stricter"


def test_a_copy_that_failed_under_old_checks_is_not_promoted_under_new_ones_unexamined() -> None:
    world = World()
    world.registry.copy_problem = "429 toomanyrequests"
    world.push("15-alpine", GREEN)
    world.settle()
    world.registry.copy_problem = ""
    world.tasks.failing["stricter"] = "ERROR: it has a hole"
    gate = world.policy.gates["node"]
    stricter = msgspec.structs.replace(gate, checks=(msgspec.structs.replace(gate.checks[0], task="stricter"),))
    world.policy = sample_policy(gates={"node": stricter})
    world.restart()
    world.clock.forward(60)
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert world.stable_tag() is None


def test_a_candidate_that_is_examined_again_is_not_called_finished_meanwhile() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    gate = world.policy.gates["node"]
    stricter = msgspec.structs.replace(gate, checks=(msgspec.structs.replace(gate.checks[0], task="stricter"),))
    world.policy = sample_policy(gates={"node": stricter})
    world.restart()
    world.clock.forward(60)
    world.push("15-alpine", GREEN)
    world.next_look()
    assert world.candidate(GREEN).state is CandidateState.EXAMINING
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED
    assert world.announcer.names.count("CandidatePromoted") == 2


def test_a_start_that_never_works_ends_visibly() -> None:
    world = World()
    world.tasks.start_fault = Retry("503 the service is busy")
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert "503" in world.candidate(GREEN).reason


def test_a_promotion_that_failed_after_the_move_is_taken_up_by_the_next_push() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    while world.stable_tag() is None:
        world.next_look()
    world.advance.give_up(world.candidate(GREEN).look, "the step crashed")
    world.settle()
    assert world.rollouts() == []
    world.clock.forward(60)
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED
    assert len(world.rollouts()) == 1


def test_a_copy_of_a_dead_worker_that_arrives_meanwhile_is_no_conflict() -> None:
    world = World()
    world.push("15-alpine", GREEN)

    def refuse(*arguments: object) -> str:
        world.registry.tags[("base", "node:15-alpine-cb1")] = GREEN
        raise Rejected("409 the tag exists")

    world.registry.start_copy = refuse  # type: ignore[method-assign,assignment]
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED
    assert "copied" in [entry.what for entry in world.candidate(GREEN).history]


def test_a_passing_fault_is_waited_out() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.registry.fault = Retry("the registry answers 503")
    for _ in range(5):
        world.next_look()
    world.registry.fault = None
    world.settle()
    assert world.stable_tag() == GREEN
    assert any("503" in entry.why for entry in world.candidate(GREEN).history)


def test_a_fault_that_does_not_pass_ends_visibly() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.registry.fault = Retry("the registry answers 503")
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert "8 times" in world.candidate(GREEN).reason
    assert "503" in world.candidate(GREEN).reason


def test_what_a_person_must_mend_fails_at_once_and_says_so() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.registry.fault = Misconfigured("grant AcrPull on contosobaseartifacts to the app's identity")
    world.settle()
    assert "grant AcrPull" in world.candidate(GREEN).reason


def test_a_copy_that_fails_is_tried_again_and_then_given_up() -> None:
    world = World()
    world.registry.copy_problem = "429 toomanyrequests"
    world.push("15-alpine", GREEN)
    world.settle()
    assert len(world.registry.copies) == 3
    assert "429" in world.candidate(GREEN).reason


def test_a_foreign_unique_tag_is_never_overwritten() -> None:
    world = World()
    world.registry.tags[("base", "node:15-alpine-cb1")] = RED
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert world.registry.tags[("base", "node:15-alpine-cb1")] == RED


def test_a_step_that_crashes_every_time_is_taken_out_of_the_poison_queue_and_recorded() -> None:
    world = World()
    admission = world.push("15-alpine", GREEN)
    assert world.advance.give_up(admission.looks[0], "ZeroDivisionError after 5 deliveries")
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert "ZeroDivisionError" in world.candidate(GREEN).reason
    assert "CandidateFailed" in world.announcer.names


def test_an_announcement_that_fails_never_blocks_the_gate_and_is_visible() -> None:
    world = World()
    world.announcer.fault = Retry("the topic answers 503")
    world.push("15-alpine", GREEN)
    world.settle()
    candidate = world.candidate(GREEN)
    assert candidate.state is CandidateState.PROMOTED
    assert world.stable_tag() == GREEN
    assert any(entry.what == "announcement failed" for entry in candidate.history)


def test_a_gate_that_left_the_rules_ends_its_candidates() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.policy = sample_policy(gates={}, apps={})
    world.restart()
    world.settle()
    assert "not in the rules any more" in world.candidate(GREEN).reason


def test_every_decision_can_be_explained_from_the_record() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    told = [entry.what for entry in world.candidate(GREEN).history]
    assert told == [
        "admitted",
        "task check started",
        "task check passed",
        "copy started",
        "copied",
        "locked",
        "stable tag moved",
        "rollouts started",
        "promoted",
    ]


def by_task() -> World:
    gate = sample_policy().gates["node"]
    promote = msgspec.structs.replace(gate.promote, by=PromoteBy.TASK)
    return World(sample_policy(gates={"node": msgspec.structs.replace(gate, promote=promote)}))


def test_a_task_that_promotes_by_itself_is_recorded_where_the_digests_agree() -> None:
    world = by_task()
    for tag in ("15-alpine", "15-alpine-cb1"):
        world.registry.tags[("base", f"node:{tag}")] = GREEN
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.PROMOTED
    assert world.registry.copies == []
    assert len(world.rollouts()) == 1


def test_a_task_that_promotes_other_bytes_is_reported() -> None:
    world = by_task()
    for tag in ("15-alpine", "15-alpine-cb1"):
        world.registry.tags[("base", f"node:{tag}")] = RED
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert RED in world.candidate(GREEN).reason


@pytest.mark.parametrize("dies_at", range(1, 26))
def test_wherever_the_process_dies_the_story_ends_the_same(dies_at: int) -> None:
    world = World()
    saves = count(1)

    def die(record: object) -> None:
        if next(saves) == dies_at:
            raise ProcessDied

    world.ledger.before_save = die
    world.push("15-alpine", GREEN)
    world.settle_while_crashing()
    assert world.stable_tag() == GREEN
    assert len(world.unique_tags(GREEN)) == 1
    assert world.candidate(GREEN).state is CandidateState.PROMOTED
    assert world.app().live is not None
    assert len(set(world.containers.puts)) == 1


def test_a_process_that_dies_right_after_it_started_a_run_adopts_that_run() -> None:
    world = World()
    world.push("15-alpine", GREEN)

    def die_on_run_id(record: object) -> None:
        if isinstance(record, Candidate) and record.checks[0].run_id:
            world.ledger.before_save = None
            raise ProcessDied

    world.ledger.before_save = die_on_run_id
    world.settle_while_crashing()
    examinations = [run for run in world.tasks.runs.values() if run.task == "base-import-node"]
    assert len(examinations) == 1
    assert any(entry.what == "run adopted" for entry in world.candidate(GREEN).history)


def test_a_track_that_another_candidate_changes_meanwhile_does_not_end_the_candidate() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    meddled: list[Track] = []

    def meddle(record: object) -> None:
        if isinstance(record, Track) and record.moving and not meddled:
            meddled.append(record)
            stored = world.ledger.load(Track, "node", "15-alpine")
            assert stored
            world.ledger.save(stored, stored.record)

    world.ledger.before_save = meddle
    world.settle()
    assert meddled
    assert world.candidate(GREEN).state is CandidateState.PROMOTED


def test_a_mover_that_lost_its_claim_puts_back_what_the_track_says() -> None:
    world = World()
    world.push("15-alpine", ORANGE)
    world.settle()
    world.clock.forward(60)
    world.push("15-alpine", RED)
    taken: list[Track] = []

    def take_over(record: object) -> None:
        if isinstance(record, Track) and record.digest == RED and not taken:
            taken.append(record)
            stored = world.ledger.load(Track, "node", "15-alpine")
            assert stored
            world.registry.tags[("base", "node:taken-over")] = GREEN
            newer = msgspec.structs.replace(stored.record, digest=GREEN, moving="", pushed_at=world.clock.now())
            world.ledger.save(stored, newer)

    world.ledger.before_save = take_over
    world.settle()
    assert taken
    assert world.stable_tag() == GREEN
    assert world.candidate(RED).state is CandidateState.SUPERSEDED
