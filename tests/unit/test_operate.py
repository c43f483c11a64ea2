"""What operators do, and that it stays until they lift it."""

from __future__ import annotations

import msgspec
import pytest

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.errors import Malformed, NotThere, Refused, Retry
from shared.domain.rollout import RolloutState
from shared.domain.standing import HoldUntil
from shared.workflow.find import candidate_id, rollout_id
from shared.workflow.operate import Plan, Retreat, Who
from tests.fakes import World, digest, sample_policy

ORANGE, RED, GREEN, BLUE = digest("orange"), digest("red"), digest("green"), digest("blue")
NIGHT = Who("op@example.com", "it is three in the morning")


def told(*contents: str) -> World:
    """A world into which these were pushed, one a minute."""
    world = World()
    for content in contents:
        world.push("15-alpine", digest(content))
        world.settle()
        world.clock.forward(60)
    return world


def do(world: World, plan: Plan) -> str:
    path = plan.act()
    world.settle()
    world.clock.forward(60)
    return path


def latest(world: World, content: str) -> Candidate:
    return [candidate for candidate in world.candidates() if candidate.digest == digest(content)][-1]


def test_a_plan_says_what_it_would_do_and_does_nothing() -> None:
    world = told("orange", "green")
    before = dict(world.ledger.rows)
    plan = world.operate.gates.roll_back("node", "15-alpine", "15-alpine-cb1", HoldUntil.LIFTED, NIGHT)
    assert [effect.what for effect in plan.effects] == ["move the stable tag", "hold", "rebuild and redeploy"]
    assert dict(world.ledger.rows) == before
    assert world.stable_tag() == GREEN


def test_a_rerun_is_a_second_attempt_with_a_verdict_of_its_own() -> None:
    world = World()
    world.tasks.failing[RED] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", RED)
    world.settle()
    path = do(world, world.operate.candidates.rerun(candidate_id(world.candidate(RED)), NIGHT))
    assert path.endswith("-002")
    assert [c.attempt for c in world.candidates()] == [1, 2]
    assert latest(world, "red").state is CandidateState.FAILED
    assert latest(world, "red").requested_by == NIGHT.actor


def test_a_rerun_that_passes_now_promotes() -> None:
    world = World()
    world.tasks.failing[GREEN] = "Error: the test had a bad day"
    world.push("15-alpine", GREEN)
    world.settle()
    world.tasks.failing.clear()
    do(world, world.operate.candidates.rerun(candidate_id(world.candidate(GREEN)), NIGHT))
    assert world.stable_tag() == GREEN


def test_a_rerun_of_an_older_image_does_not_overwrite_a_newer_one() -> None:
    world = told("orange", "green")
    do(world, world.operate.candidates.rerun(candidate_id(world.candidate(ORANGE)), NIGHT))
    assert world.stable_tag() == GREEN
    assert latest(world, "orange").state is CandidateState.SUPERSEDED


def test_a_rerun_of_what_goes_on_is_refused() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    with pytest.raises(Refused, match="is examining"):
        world.operate.candidates.rerun(candidate_id(world.candidate(GREEN)), NIGHT)


def test_a_tag_is_examined_by_hand() -> None:
    world = World()
    world.registry.tags[("public", "node:15-alpine")] = GREEN
    do(world, world.operate.candidates.examine("node", "15-alpine", NIGHT))
    assert world.stable_tag() == GREEN


@pytest.mark.parametrize(("tag", "error"), [("latest", Malformed), ("15.9", NotThere), ("no tag!", Malformed)])
def test_a_tag_that_cannot_be_examined_is_said(tag: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        World().operate.candidates.examine("node", tag, NIGHT)


def test_a_canceled_candidate_stops_its_run_and_goes_nowhere() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.next_look()
    do(world, world.operate.candidates.cancel(candidate_id(world.candidate(GREEN)), NIGHT))
    assert world.tasks.runs["cb1"].cancelled
    assert world.candidate(GREEN).state is CandidateState.CANCELED
    assert world.stable_tag() is None
    assert world.announcer.names == ["CandidateCanceled"]


def test_what_is_promoted_cannot_be_canceled() -> None:
    world = told("green")
    with pytest.raises(Refused):
        world.operate.candidates.cancel(candidate_id(world.candidate(GREEN)), NIGHT)


def test_a_rollback_moves_the_stable_tag_at_once_and_rolls_out() -> None:
    world = told("orange", "green")
    plan = world.operate.gates.roll_back("node", "15-alpine", "15-alpine-cb1", HoldUntil.LIFTED, NIGHT)
    plan.act()
    assert world.stable_tag() == ORANGE
    world.settle()
    live = [r for r in world.rollouts() if r.state is RolloutState.LIVE][-1]
    assert live.base
    assert live.base.digest == ORANGE
    assert [run.task for run in world.tasks.runs.values()].count("base-import-node") == 2


def test_a_hold_keeps_the_tag_under_events_reruns_restarts_and_repeated_pushes() -> None:
    world = told("orange", "green")
    do(world, world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, NIGHT))
    world.push("15-alpine", BLUE)
    world.restart()
    world.settle()
    assert world.candidate(BLUE).state is CandidateState.HELD
    do(world, world.operate.candidates.rerun(candidate_id(world.candidate(GREEN)), NIGHT))
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.stable_tag() == ORANGE
    assert "CandidateHeld" in world.announcer.names


def test_lifting_a_hold_lets_the_newest_go_through() -> None:
    world = told("orange", "green")
    do(world, world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, NIGHT))
    world.push("15-alpine", BLUE)
    world.settle()
    do(world, world.operate.gates.lift("node", "15-alpine", NIGHT))
    assert world.stable_tag() == BLUE
    assert world.candidate(BLUE).state is CandidateState.PROMOTED


def test_a_hold_until_something_newer_ends_by_itself() -> None:
    world = told("orange", "green")
    do(world, world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.NEWER, NIGHT))
    world.tasks.failing[RED] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", RED)
    world.settle()
    assert world.stable_tag() == ORANGE
    world.clock.forward(60)
    world.push("15-alpine", BLUE)
    world.settle()
    assert world.stable_tag() == BLUE


def test_a_rollback_to_what_never_passed_is_refused() -> None:
    world = told("green")
    world.registry.tags[("base", "node:foreign")] = RED
    with pytest.raises(NotThere, match="no passed verdict"):
        world.operate.gates.roll_back("node", "15-alpine", "foreign", HoldUntil.LIFTED, NIGHT)
    with pytest.raises(NotThere):
        world.operate.gates.roll_back("node", "15-alpine", "no-such-tag", HoldUntil.LIFTED, NIGHT)


def test_a_rollback_to_a_verdict_under_other_checks_is_refused() -> None:
    world = told("orange", "green")
    gate = world.policy.gates["node"]
    stricter = msgspec.structs.replace(gate, checks=(msgspec.structs.replace(gate.checks[0], task="stricter"),))
    world.policy = sample_policy(gates={"node": stricter})
    world.restart()
    with pytest.raises(NotThere, match="current checks"):
        world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, NIGHT)


def test_a_veto_survives_events_and_reruns_and_says_who_and_why() -> None:
    world = World()
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT))
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert NIGHT.reason in world.candidate(GREEN).reason
    assert world.tasks.runs == {}
    with pytest.raises(Refused, match="vetoed"):
        world.operate.candidates.rerun(candidate_id(world.candidate(GREEN)), NIGHT)


def test_a_veto_reaches_a_candidate_that_is_under_way() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.next_look()
    world.operate.vetoes.veto("node", GREEN, NIGHT).act()
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert world.stable_tag() is None


def effects(plan: Plan) -> list[tuple[str, str]]:
    return [(effect.what, effect.subject) for effect in plan.effects]


def test_a_veto_of_what_is_promoted_says_which_tag_stands_on_it_and_where_to_roll_back_to() -> None:
    world = told("orange", "green")
    plan = world.operate.vetoes.veto("node", GREEN, NIGHT)
    assert effects(plan) == [("ban", GREEN), ("still promoted, roll it back", f"15-alpine to {ORANGE}")]
    do(world, plan)
    assert world.stable_tag() == GREEN


def test_a_veto_of_the_only_thing_that_was_ever_promoted_says_so() -> None:
    world = told("green")
    (_, promoted) = effects(world.operate.vetoes.veto("node", GREEN, NIGHT))
    assert promoted[1] == "15-alpine, and it stood on nothing before that passes now"
    with pytest.raises(NotThere, match="veto without rolling back"):
        world.operate.vetoes.veto("node", GREEN, NIGHT, Retreat(wanted=True))


def test_a_veto_may_roll_back_at_once_and_hold() -> None:
    world = told("orange", "blue", "green")
    plan = world.operate.vetoes.veto("node", GREEN, NIGHT, Retreat(wanted=True))
    assert [what for what, _ in effects(plan)] == ["ban", "move the stable tag", "hold", "rebuild and redeploy"]
    assert world.stable_tag() == GREEN
    do(world, plan)
    assert world.stable_tag() == BLUE
    hold = world.operate.gates.lift("node", "15-alpine", NIGHT)
    assert effects(hold)[0] == ("lift the hold", "15-alpine")
    base = world.app().base
    assert base is not None
    assert base.digest == BLUE


def test_a_veto_rolls_back_past_what_is_vetoed_or_passed_under_other_checks() -> None:
    world = told("orange", "blue", "green")
    do(world, world.operate.vetoes.veto("node", BLUE, NIGHT))
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT, Retreat(wanted=True)))
    assert world.stable_tag() == ORANGE


def test_a_veto_rolls_back_to_what_is_named_and_never_to_itself() -> None:
    world = told("orange", "blue", "green")
    with pytest.raises(Refused, match="to be vetoed"):
        world.operate.vetoes.veto("node", GREEN, NIGHT, Retreat(wanted=True, to="15-alpine-cb5"))
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT, Retreat(wanted=True, to="15-alpine-cb1")))
    assert world.stable_tag() == ORANGE


def test_a_veto_with_nothing_to_roll_back_is_only_a_veto() -> None:
    world = told("orange", "green")
    assert effects(world.operate.vetoes.veto("node", ORANGE, NIGHT, Retreat(wanted=True))) == [("ban", ORANGE)]


def test_a_veto_that_could_not_roll_back_can_be_called_again() -> None:
    world = told("orange", "green")
    asked = Retreat(wanted=True)
    plan = world.operate.vetoes.veto("node", GREEN, NIGHT, asked)
    world.registry.fault = Retry("503")
    with pytest.raises(Retry):
        plan.act()
    world.registry.fault = None
    again = world.operate.vetoes.veto("node", GREEN, NIGHT, asked)
    assert [what for what, _ in effects(again)] == ["move the stable tag", "hold", "rebuild and redeploy"]
    do(world, again)
    assert world.stable_tag() == ORANGE
    with pytest.raises(Refused, match="vetoed already"):
        world.operate.vetoes.veto("node", GREEN, NIGHT, asked)


def test_an_image_that_was_built_before_is_deployed_again_by_its_tag_or_its_digest() -> None:
    for by_digest in (False, True):
        world = told("orange", "green", "blue")
        first = world.rollouts()[0].image
        assert first is not None
        builds = len(world.tasks.runs)
        plan = world.operate.apps.redeploy("hello-world", first.digest if by_digest else first.tag, NIGHT)
        assert effects(plan)[0] == ("deploy", f"{first} in place of {world.app().live}")
        do(world, plan)
        assert world.containers.puts[-1] == str(first)
        assert world.app().live == first
        assert world.rollouts()[-1].state is RolloutState.LIVE
        assert len(world.tasks.runs) == builds


@pytest.mark.parametrize(
    ("image", "error", "match"),
    [
        ("", Malformed, "not a tag"),
        ("no tag!", Malformed, "not a tag"),
        ("sha256:1", Malformed, "not a digest"),
        (7, Malformed, "not a tag"),
        ("ct99", NotThere, "no rollout of app hello-world ever had the image ct99"),
        (digest("foreign"), NotThere, "ever had"),
    ],
)
def test_an_image_that_was_never_built_is_not_deployed(image: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        told("green").operate.apps.redeploy("hello-world", image, NIGHT)


def test_an_image_that_is_gone_or_is_not_what_was_built_any_more_is_not_deployed() -> None:
    world = told("green")
    image = world.rollouts()[0].image
    assert image is not None
    place = ("team", f"hello-world:{image.tag}")
    world.registry.tags[place] = digest("another")
    with pytest.raises(NotThere, match=r"was sha256:.* when it was built and is sha256:"):
        world.operate.apps.redeploy("hello-world", image.tag, NIGHT)
    del world.registry.tags[place]
    with pytest.raises(NotThere, match="not there now"):
        world.operate.apps.redeploy("hello-world", image.tag, NIGHT)


def test_an_image_on_a_vetoed_base_is_not_deployed() -> None:
    world = told("orange", "green")
    image = world.rollouts()[0].image
    assert image is not None
    do(world, world.operate.vetoes.veto("node", ORANGE, NIGHT))
    with pytest.raises(Refused, match=r"stands on .* vetoed by"):
        world.operate.apps.redeploy("hello-world", image.tag, NIGHT)


def test_a_rollback_of_an_app_passes_over_what_stands_on_a_vetoed_base() -> None:
    world = told("orange", "green", "blue")
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT))
    do(world, world.operate.apps.roll_back("hello-world", NIGHT))
    live = world.app().live
    orange = next(rollout for rollout in world.rollouts() if rollout.base and rollout.base.digest == ORANGE)
    assert live == orange.image


def test_an_app_that_is_built_and_not_deployed_has_nothing_to_deploy() -> None:
    world = told("green")
    app = msgspec.structs.replace(world.policy.apps["hello-world"], deploy=None)
    world.policy = sample_policy(apps={"hello-world": app})
    world.restart()
    with pytest.raises(Refused, match="not deployed"):
        world.operate.apps.redeploy("hello-world", "ct2", NIGHT)


def test_a_lifted_veto_lets_a_rerun_through_and_can_be_spoken_again() -> None:
    world = World()
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT))
    world.push("15-alpine", GREEN)
    world.settle()
    do(world, world.operate.vetoes.lift("node", GREEN, NIGHT))
    do(world, world.operate.candidates.rerun(candidate_id(world.candidate(GREEN)), NIGHT))
    assert world.stable_tag() == GREEN
    do(world, world.operate.vetoes.veto("node", GREEN, NIGHT))
    with pytest.raises(Refused):
        world.operate.vetoes.veto("node", GREEN, NIGHT)


def test_an_app_is_rolled_back_to_the_image_before() -> None:
    world = told("orange", "green")
    before = world.containers.puts[0]
    do(world, world.operate.apps.roll_back("hello-world", NIGHT))
    assert world.containers.puts[-1] == before
    assert world.rollouts()[-1].state is RolloutState.LIVE


def test_an_app_is_rebuilt_on_the_current_base() -> None:
    world = told("green")
    path = do(world, world.operate.apps.rebuild("hello-world", NIGHT))
    assert path == f"rollouts/{rollout_id(world.rollouts()[-1])}"
    assert world.rollouts()[-1].state is RolloutState.LIVE
    assert world.containers.puts[-1].endswith("ct3")


def test_a_rollout_that_is_being_built_can_be_canceled_and_a_live_one_cannot() -> None:
    world = told("green")
    world.operate.apps.rebuild("hello-world", NIGHT).act()
    world.next_look()
    rollout = world.rollouts()[-1]
    do(world, world.operate.apps.cancel(rollout_id(rollout), NIGHT))
    assert world.rollouts()[-1].state is RolloutState.CANCELED
    with pytest.raises(Refused):
        world.operate.apps.cancel(rollout_id(world.rollouts()[0]), NIGHT)


@pytest.mark.parametrize("identifier", ["", "node", "node.xyz", "node.7d8c", "../../etc", "node.7d8cc9181145' or '1"])
def test_what_is_no_id_is_said_to_be_none(identifier: str) -> None:
    with pytest.raises(Malformed):
        World().operate.candidates.rerun(identifier, NIGHT)


def test_an_id_may_be_cut_to_twelve_digits() -> None:
    world = told("green")
    short_id = f"node.{GREEN.removeprefix('sha256:')[:12]}"
    assert world.operate.candidates.rerun(short_id, NIGHT).effects[0].what == "examine"


@pytest.mark.parametrize("reason", [None, "", "   ", "x" * 401, 3])
def test_whoever_acts_must_say_why(reason: object) -> None:
    with pytest.raises(Malformed, match="say why"):
        Who.of("op", reason)


def test_what_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(NotThere, match="there is node"):
        World().operate.gates.lift("nodes", "15-alpine", NIGHT)
    with pytest.raises(NotThere, match="hello-world"):
        World().operate.apps.rebuild("hello", NIGHT)


def test_a_tag_that_is_another_name_of_a_known_digest_is_promoted_when_it_is_examined() -> None:
    world = World()
    world.push("15-alpine", digest("green"))
    world.settle()
    world.registry.tags[("public", "node:15.14")] = digest("green")
    world.operate.candidates.examine("node", "15.14", Who("op", "no event ever told of it")).act()
    world.settle()
    assert world.stable_tag("15.14") == digest("green")
