"""The sweep behind the gate: stable and unique tags, apps, containers, overdue records, silence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from shared.checks.approval import ApprovalCheck
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.errors import BasegateError, Misconfigured, Rejected
from shared.domain.event import Hint, HintKind
from shared.domain.image import Tag, short
from shared.domain.policy import Policy
from shared.domain.promotion import PromotionState
from shared.domain.rollout import Cause, RolloutState
from shared.domain.stable_tag import Claim, HoldUntil, StableTag
from shared.operations import Who
from tests.fakes import World, digest, sample_policy

ORANGE, GREEN, FOREIGN = digest("orange"), digest("green"), digest("foreign")
WHO = Who.of("ada", "a quiet weekend")
STABLE, GROUP = ("base", "node:15-alpine"), "hello-world-aci"
PERIOD = 300.0


def reporting() -> Policy:
    """The sample rules, where the sweep only reports."""
    policy = sample_policy()
    return msgspec.structs.replace(
        policy,
        gates={n: msgspec.structs.replace(gate, drift="report") for n, gate in policy.gates.items()},
        apps={n: msgspec.structs.replace(app, drift="report") for n, app in policy.apps.items()},
    )


@pytest.fixture(params=[sample_policy], ids=["repair"])
def world(request: pytest.FixtureRequest) -> World:
    """Green is promoted and live."""
    return promoted(request.param())


def promoted(policy: Policy) -> World:
    world = World(policy)
    world.push("15-alpine", GREEN)
    world.settle()
    world.clock.forward(PERIOD)
    world.sweep_now()
    world.announcer.announced.clear()
    return world


def alarms(world: World, scope: str) -> list[Alarm]:
    records = (stored.record for stored in world.ledger.list(Alarm, scope.replace("/", ".")))
    return [alarm for alarm in records if alarm.is_active]


def delete_promoted(world: World) -> None:
    for key in [key for key, content in world.registry.tags.items() if key[0] == "base" and content == GREEN]:
        del world.registry.tags[key]
        world.registry.locked.discard(key)


def test_nothing_that_is_as_it_should_be_is_touched(world: World) -> None:
    moves, puts, rows = len(world.registry.moves), len(world.containers.puts), dict(world.ledger.rows)
    result = world.sweep_now()
    assert result.effects == ()
    assert (len(world.registry.moves), len(world.containers.puts)) == (moves, puts)
    changed = {key for key in world.ledger.rows if world.ledger.rows[key] != rows.get(key)}
    assert {kind for kind, _, _ in changed} == {"SweepRecord"}


def test_a_foreign_image_over_the_stable_tag_is_put_back_and_announced(world: World) -> None:
    moved_at = world.stable().moved_at
    world.registry.tags[STABLE] = FOREIGN
    result = world.sweep_now()
    assert world.stable_tag() == GREEN
    assert [effect.what for effect in result.effects] == ["put back"]
    assert f"is {short(FOREIGN)}, not {short(GREEN)}, which was promoted" in result.effects[0].subject
    assert world.announcer.names == ["DriftRepaired"]
    assert world.stable().moved_at == moved_at
    world.settle()
    assert len(world.rollouts()) == 1


def test_an_alarm_that_stands_is_saved_and_announced_once() -> None:
    world = promoted(reporting())
    world.registry.tags[STABLE] = FOREIGN
    world.sweep_now()
    (alarm,), rows = alarms(world, "gates/node"), dict(world.ledger.rows)
    world.clock.forward(PERIOD)
    world.sweep_now()
    assert alarms(world, "gates/node") == [alarm]
    assert [key for key in rows if key[0] == "Alarm" and world.ledger.rows[key] != rows[key]] == []
    assert world.announcer.names == ["DriftFound"]


def test_of_many_stable_tags_the_last_is_checked_like_the_first(world: World) -> None:
    tags = [Tag(f"15-alpine-{number:03}") for number in range(150)]
    for tag in tags:
        world.ledger.insert(msgspec.structs.replace(world.stable(), tag=tag))
        world.registry.tags["base", f"node:{tag}"] = GREEN
    world.registry.tags["base", f"node:{tags[-1]}"] = FOREIGN
    world.sweep_now()
    assert world.registry.tags["base", f"node:{tags[-1]}"] == GREEN


def test_a_deleted_stable_tag_is_put_back(world: World) -> None:
    del world.registry.tags[STABLE]
    world.sweep_now()
    assert world.stable_tag() == GREEN


def test_a_stable_tag_is_put_back_to_where_an_operator_rolled_it(world: World) -> None:
    world.push("15-alpine", ORANGE)
    world.settle()
    world.operate.gates.roll_back("node", "15-alpine", GREEN, HoldUntil.LIFTED, WHO).act()
    world.settle()
    world.registry.tags[STABLE] = ORANGE
    world.sweep_now()
    assert world.stable_tag() == GREEN


def test_where_the_rule_says_report_nothing_is_put_back() -> None:
    world = promoted(reporting())
    world.registry.tags[STABLE] = FOREIGN
    world.containers.groups.pop(GROUP)
    world.sweep_now()
    assert world.stable_tag() == FOREIGN
    assert {alarm.kind for alarm in [*alarms(world, "gates/node"), *alarms(world, "apps/hello-world")]} == {
        AlarmKind.STABLE_MOVED,
        AlarmKind.CONTAINER,
    }
    assert world.announcer.names == ["DriftFound", "DriftFound"]
    world.sweep_now()
    assert len(world.announcer.announced) == 2
    world.registry.tags[STABLE] = GREEN
    world.sweep_now()
    assert [alarm.kind for alarm in alarms(world, "gates/node")] == []
    assert world.announcer.names[-1] == "DriftResolved"


def test_a_tag_that_is_being_moved_is_left_to_its_mover(world: World) -> None:
    stored = world.ledger.load(StableTag, "node", "15-alpine")
    assert stored
    until = world.clock.now() + timedelta(seconds=100)
    world.ledger.save(
        stored, msgspec.structs.replace(stored.record, claim=Claim(mover="someone", digest=ORANGE, until=until))
    )
    world.registry.tags[STABLE] = ORANGE
    assert world.sweep_now().effects == ()
    assert world.stable_tag() == ORANGE


def test_a_tag_that_stays_where_it_was_put_by_others_is_an_alarm(world: World) -> None:
    world.registry.tags[STABLE] = FOREIGN
    world.registry.refusing = Rejected("the tag is locked")
    world.sweep_now()
    assert "fix the cause, and the next sweep repairs it: the tag is locked" in alarms(world, "gates/node")[0].plan


@pytest.mark.parametrize("lost", ["deleted", "moved", "unlocked"])
def test_a_unique_tag_is_made_again_what_it_was(world: World, lost: str) -> None:
    unique = ("base", f"node:{world.stable().unique}")
    world.registry.locked.discard(unique)
    if lost == "deleted":
        del world.registry.tags[unique]
    if lost == "moved":
        world.registry.tags[unique] = FOREIGN
    world.sweep_now()
    assert world.registry.tags[unique] == GREEN
    assert unique in world.registry.locked
    assert world.announcer.names == ["DriftRepaired"]


def test_a_promoted_image_that_was_deleted_is_promoted_again_from_its_source(world: World) -> None:
    delete_promoted(world)
    result = world.sweep_now()
    assert "promote again" in [effect.what for effect in result.effects]
    assert alarms(world, "gates/node")[0].kind is AlarmKind.PROMOTED_GONE
    world.settle()
    assert world.stable_tag() == GREEN
    assert world.promotion().state is PromotionState.PROMOTED
    world.clock.forward(PERIOD)
    world.sweep_now()
    assert alarms(world, "gates/node") == []


def test_an_app_that_a_promotion_never_reached_is_rolled_out(world: World) -> None:
    for key in [key for key in world.ledger.rows if key[0] in ("Rollout", "AppRecord")]:
        del world.ledger.rows[key]
    world.containers.groups.clear()
    world.sweep_now()
    world.settle()
    assert [rollout.state for rollout in world.rollouts()] == [RolloutState.LIVE]


def test_an_app_whose_rollout_failed_is_an_alarm_and_not_begun_again() -> None:
    world = World()
    world.tasks.failing["hello-world"] = "no space left"
    world.push("15-alpine", GREEN)
    world.settle()
    world.sweep_now()
    alarm = alarms(world, "apps/hello-world")[0]
    assert alarm.kind is AlarmKind.NOT_ON_BASE
    assert "its rollout failed" in alarm.words
    assert len(world.rollouts()) == 1


def test_an_app_whose_base_build_was_canceled_is_an_alarm_until_it_is_rebuilt(world: World) -> None:
    world.tasks.seconds = 30
    world.push("15-alpine", ORANGE)
    while not any(rollout.base and rollout.base.digest == ORANGE for rollout in world.rollouts()):
        world.next_item()
    world.operate.apps.cancel(world.rollouts()[-1].id, WHO).act()
    world.settle()
    world.sweep_now()
    (alarm,) = alarms(world, "apps/hello-world")
    assert alarm.kind is AlarmKind.NOT_ON_BASE
    assert f"its rollout canceled: canceled by {WHO}" in alarm.words
    world.operate.apps.rebuild("hello-world", WHO).act()
    world.settle()
    world.sweep_now()
    assert alarms(world, "apps/hello-world") == []


@pytest.mark.parametrize("harm", ["gone", "another image", "failed", "in a loop"])
def test_a_container_that_is_not_the_last_good_deployment_is_redeployed(world: World, harm: str) -> None:
    live, image = world.app().live, world.containers.groups[GROUP][0]
    if harm == "gone":
        world.containers.groups.pop(GROUP)
    elif harm == "another image":
        world.containers.groups[GROUP] = ("evil:1", world.clock.now())
    elif harm == "failed":
        world.containers.failed.add(image)
    else:
        world.containers.crashing.add(image)
    result = world.sweep_now()
    assert [effect.what for effect in result.effects] == ["redeploy", "alarm"]
    world.containers.failed.clear()
    world.containers.crashing.clear()
    world.settle()
    rollout = world.rollouts()[-1]
    assert (rollout.cause, rollout.state, rollout.image) == (Cause.DRIFT, RolloutState.LIVE, live)
    world.clock.forward(PERIOD)
    assert world.sweep_now().effects == ()
    assert alarms(world, "apps/hello-world") == []


def test_a_container_that_does_not_run_yet_gets_a_period_to_come_up(world: World) -> None:
    image, _ = world.containers.groups[GROUP]
    world.containers.groups[GROUP] = (image, world.clock.now() + timedelta(days=1))
    world.sweep_now()
    assert len(world.rollouts()) == 1
    world.clock.forward(PERIOD)
    world.sweep_now()
    assert world.rollouts()[-1].cause is Cause.DRIFT


def test_a_redeployment_that_does_not_help_is_not_repeated_by_every_sweep(world: World) -> None:
    world.containers.crashing.add(world.containers.groups[GROUP][0])
    for _ in range(4):
        world.sweep_now()
        world.settle()
        world.clock.forward(PERIOD)
    drifts = [rollout for rollout in world.rollouts() if rollout.cause is Cause.DRIFT]
    assert [rollout.state for rollout in drifts] == [RolloutState.FAILED]
    assert "did not help" in alarms(world, "apps/hello-world")[0].plan


def test_while_a_rollout_is_under_way_the_container_is_its_business(world: World) -> None:
    world.push("15-alpine", ORANGE)
    while not any(rollout.state is RolloutState.VERIFYING for rollout in world.rollouts()):
        world.next_item()
    world.containers.groups.pop(GROUP)
    assert [effect.what for effect in world.sweep_now().effects] == []


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_record_whose_work_item_was_lost_is_brought_up(world: World, taken: int) -> None:
    world.push("15-alpine", ORANGE)
    for _ in range(1 + taken):
        world.next_item()
    world.queue.waiting.clear()
    world.clock.forward(PERIOD)
    result = world.sweep_now()
    assert {effect.what for effect in result.effects} == {"enqueue"}
    world.settle()
    assert world.stable_tag() == ORANGE


def test_a_candidate_that_waits_for_a_person_is_left_in_peace() -> None:
    policy = sample_policy()
    gate = msgspec.structs.replace(policy.gates["node"], checks=(ApprovalCheck(),))
    world = World(msgspec.structs.replace(policy, gates={"node": gate}))
    world.push("15-alpine", GREEN)
    world.settle()
    world.clock.forward(PERIOD)
    assert world.sweep_now().effects == ()


def test_a_second_run_that_nobody_waits_for_is_named(world: World) -> None:
    world.push("15-alpine", ORANGE)
    world.next_item()
    run = next(run for run in world.tasks.runs.values() if ORANGE in run.values.get("IMAGE", ""))
    world.tasks.runs["czz"] = replace(run, run_id="czz")
    result = world.sweep_now()
    assert [(effect.what, effect.subject.split(":")[0]) for effect in result.effects] == [
        ("ignore a run", "czz of base-import-node")
    ]


def test_a_secret_that_runs_out_soon_is_an_alarm() -> None:
    policy = sample_policy()
    public = msgspec.structs.replace(policy.registries["public"], credentials="registry-public")
    world = World(msgspec.structs.replace(policy, registries={**policy.registries, "public": public}))
    world.secrets.expires_at = world.clock.now() + timedelta(days=20)
    world.sweep_now()
    alarm = alarms(world, "registries/public")[0]
    assert alarm.words.startswith("publicregistry.azurecr.io: the secret registry-public-user or")
    world.secrets.expires_at = world.clock.now() + timedelta(days=400)
    world.clock.forward(3600)
    world.sweep_now()
    assert alarms(world, "registries/public") == []


def test_a_token_whose_password_runs_out_soon_is_an_alarm() -> None:
    policy = sample_policy()
    public = msgspec.structs.replace(policy.registries["public"], credentials="registry-public")
    world = World(msgspec.structs.replace(policy, registries={**policy.registries, "public": public}))
    world.registry.token_expires_at = world.clock.now() + timedelta(days=3)
    world.sweep_now()
    assert "a password of its token public-user expires" in alarms(world, "registries/public")[0].words


@pytest.mark.parametrize(("reaching", "expected"), [(False, 1), (None, 0), (True, 0)])
def test_a_source_whose_events_reach_nobody_is_an_alarm(reaching: bool | None, expected: int) -> None:
    world = World()
    world.subscriptions.reaching = reaching
    world.sweep_now()
    assert len(alarms(world, "registries/public")) == expected
    assert alarms(world, "registries/base") == []


def test_an_upstream_that_nobody_could_read_for_long_is_an_alarm(world: World) -> None:
    from shared.domain.errors import Retry

    world.tags.faults["public"] = Retry("publicregistry.azurecr.io is away")
    world.sweep_now()
    assert alarms(world, "gates/node") == []
    world.clock.forward(3600)
    world.sweep_now()
    assert "publicregistry.azurecr.io is away" in alarms(world, "gates/node")[0].words


def test_an_upstream_that_has_not_changed_for_longer_than_expected_is_an_alarm() -> None:
    policy = sample_policy()
    gate = msgspec.structs.replace(policy.gates["node"], stale_after="1d")
    world = promoted(msgspec.structs.replace(policy, gates={"node": gate}))
    assert alarms(world, "gates/node") == []
    world.clock.forward(90_000)
    world.sweep_now()
    assert [alarm.kind for alarm in alarms(world, "gates/node")] == [AlarmKind.UPSTREAM_QUIET]


def push_an_app_image(world: World, run_id: str) -> None:
    """A commit-triggered build of the app, whose event never comes."""
    place = ("team", f"hello-world:{run_id}")
    world.registry.tags[place], world.registry.pushed[place] = digest(f"app {run_id}"), world.clock.now()
    world.tasks.others[run_id] = world.clock.now()


def test_an_app_image_that_no_event_reported_is_deployed(world: World) -> None:
    push_an_app_image(world, "cx9")
    result = world.sweep_now()
    assert [effect.what for effect in result.effects] == ["deploy an image that no event reported"]
    world.settle()
    live = world.app().live
    assert live is not None
    assert live.tag == "cx9"
    world.clock.forward(PERIOD)
    assert world.sweep_now().effects == ()


def test_an_app_image_that_was_put_back_is_not_deployed_again_by_every_sweep(world: World) -> None:
    world.probe.sick["cx9"] = "http://10.0.0.4:80/ responds with HTTP 500"
    push_an_app_image(world, "cx9")
    for _ in range(3):
        world.sweep_now()
        world.settle()
        world.clock.forward(PERIOD)
    assert [r.state for r in world.rollouts() if r.cause is Cause.IMAGE] == [RolloutState.RESTORED]


def test_of_several_app_images_that_no_event_reported_only_the_newest_is_deployed(world: World) -> None:
    for run_id in ("cx8", "cx9"):
        world.clock.forward(10)
        push_an_app_image(world, run_id)
    world.sweep_now()
    world.settle()
    assert [r.image.tag for r in world.rollouts() if r.cause is Cause.IMAGE and r.image] == ["cx9"]


def test_a_tag_of_an_app_that_names_no_run_is_left_alone(world: World) -> None:
    place = ("team", "hello-world:latest")
    world.registry.tags[place], world.registry.pushed[place] = FOREIGN, world.clock.now()
    assert world.sweep_now().effects == ()


def test_locks_of_many_tags_are_checked_every_twelfth_round() -> None:
    world = promoted(sample_policy())
    stored = world.ledger.load(StableTag, "node", "15-alpine")
    assert stored
    for number in range(30):
        tag, unique = f"15.{number}", f"15.{number}-cb9"
        world.registry.tags["base", f"node:{tag}"] = world.registry.tags["base", f"node:{unique}"] = GREEN
        world.ledger.insert(msgspec.structs.replace(stored.record, tag=Tag(tag), unique=unique))
    rounds = [len(world.registry.locked)]
    for _ in range(12):
        world.clock.forward(PERIOD)
        world.sweep_now()
        rounds.append(len(world.registry.locked))
    assert rounds[0] + 30 == rounds[-1], "all were locked again"
    assert len(set(rounds)) == 2, "in one round"
    world.registry.locked.discard(("base", "node:15.3-cb9"))
    world.registry.tags["base", "node:15.3-cb9"] = FOREIGN
    world.sweep_now()
    assert world.registry.tags["base", "node:15.3-cb9"] == GREEN, "where a unique tag is, every round checks"


@pytest.mark.parametrize("fault", [Rejected("locks are refused"), Misconfigured("no role", remedy="grant AcrPush")])
def test_a_refused_lock_is_an_alarm_with_the_remedy_until_the_sweep_has_locked_the_tag(fault: BasegateError) -> None:
    world = World()
    world.registry.lock_fault = fault
    world.push("15-alpine", GREEN)
    world.settle()
    assert (world.stable_tag(), world.promotion().lock_problem) == (GREEN, str(fault))
    for _ in range(2):
        world.sweep_now()
        assert [alarm.kind for alarm in alarms(world, "gates/node")] == [AlarmKind.UNLOCKED]
        assert str(fault) in alarms(world, "gates/node")[0].plan
        world.clock.forward(PERIOD)
    world.registry.lock_fault = None
    world.sweep_now()
    assert alarms(world, "gates/node") == []
    assert ("base", f"node:{world.stable().unique}") in world.registry.locked
    assert (world.promotion().lock_problem, world.announcer.names[-1]) == ("", "DriftRepaired")


def deletion(gate: str = "node") -> Hint:
    return Hint(hint=HintKind.STABLE_TAGS, subject=gate)


def test_a_hint_about_a_deletion_has_the_stable_tags_of_its_gate_checked_at_once(world: World) -> None:
    world.clock.forward(PERIOD)
    del world.registry.tags[STABLE]
    assert world.sweep.check_stable_tags(deletion()) == ()
    assert world.stable_tag() == GREEN
    assert world.sweep.check_stable_tags(deletion("gone")) == ()


def test_a_flood_of_hints_about_deletions_is_one_round_in_half_a_minute(world: World) -> None:
    world.clock.forward(PERIOD)
    for seconds, expected in ((0, True), (29, False), (2, True)):
        world.clock.forward(seconds)
        world.tags.asked.clear()
        world.sweep.check_stable_tags(deletion())
        assert bool(world.tags.asked) is expected
