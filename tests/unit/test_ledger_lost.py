"""A ledger that was lost, or restored to what it was yesterday, beside registries and containers that were not."""

from __future__ import annotations

import copy
from collections.abc import Callable

import msgspec
import pytest

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import Candidate, CandidateState
from shared.domain.errors import Refused
from shared.domain.image import Digest, Tag
from shared.domain.policy import Policy
from shared.domain.promotion import PromotionState
from shared.domain.rollout import RolloutState
from shared.domain.stable_tag import HoldUntil
from shared.operations import Who
from shared.reconcile.begin import Effect
from tests.fakes import FakeLedger, World, digest, sample_policy

ORANGE, GREEN, BLUE, FOREIGN = digest("orange"), digest("green"), digest("blue"), digest("foreign")
WHO = Who.of("ada", "the table is gone")
STABLE, GROUP = ("base", "node:15-alpine"), "hello-world-aci"


def story(policy: Policy | None = None) -> World:
    """Orange, then green, promoted and live."""
    world = World(policy or sample_policy())
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
        world.clock.forward(300)
    return world


def rolled_back() -> World:
    """Green was rolled back to orange, and is kept out by a hold."""
    world = story()
    world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, WHO).act()
    world.settle()
    return world


def lose(world: World, backup: FakeLedger | None = None) -> World:
    """The ledger as a backup has it, or empty; the queues went with it."""
    world.ledger = backup or FakeLedger()
    world.queue.waiting.clear()
    world.registry.moves.clear()
    world.containers.puts.clear()
    world.restart()
    world.clock.forward(300)
    return world


def restored(begin: Callable[[World], None], policy: Policy | None = None) -> World:
    """Orange was promoted when the backup was made; what `begin` does came after it."""
    world = World(policy or sample_policy())
    world.push("15-alpine", ORANGE)
    world.settle()
    world.clock.forward(300)
    backup = copy.deepcopy(world.ledger)
    backup._version += 1_000_000
    begin(world)
    world.settle()
    return lose(world, backup)


def to_green(world: World) -> None:
    world.push("15-alpine", GREEN)


def live_by(world: World, rounds: int = 6) -> None:
    """Time goes by, with its sweeps."""
    for _ in range(rounds):
        world.sweep_now()
        world.pass_time(300)


def rebuild(world: World) -> tuple[Effect, ...]:
    plan = world.operate.ledger.rebuild(WHO)
    plan.act()
    world.settle()
    return plan.effects


def alarms(world: World, partition: str = "gates.node") -> dict[AlarmKind, Alarm]:
    records = (stored.record for stored in world.ledger.list(Alarm, partition))
    return {alarm.kind: alarm for alarm in records if alarm.is_active}


def shown(world: World) -> str:
    return world.containers.groups[GROUP][0]


# an empty table


def test_a_rollback_that_the_ledger_has_forgotten_is_not_undone() -> None:
    world = lose(rolled_back())
    before = shown(world)
    live_by(world)
    assert world.stable_tag() == ORANGE
    assert (world.registry.moves, world.containers.puts, shown(world)) == ([], [], before)
    alarm = alarms(world)[AlarmKind.UNRECORDED]
    assert "basegate rebuild-ledger" in alarm.plan
    stall = world.promotion().stall
    assert stall is not None
    assert "rebuild-ledger" in stall.remedy


def test_what_stands_where_its_source_is_passes_again_and_the_app_keeps_what_it_runs_until_somebody_decides() -> None:
    world = lose(story())
    before = shown(world)
    live_by(world)
    assert (world.stable().digest, world.promotion().state) == (GREEN, PromotionState.PROMOTED)
    assert (world.registry.moves, world.containers.puts, shown(world)) == ([], [], before)
    assert [rollout.state_name for rollout in world.rollouts()] == ["stalled"]
    rebuild(world)
    live_by(world)
    assert (world.containers.puts, shown(world)) == ([], before)
    assert [rollout.state for rollout in world.rollouts()] == [RolloutState.SUPERSEDED, RolloutState.LIVE]


def test_a_digest_is_never_put_under_a_unique_tag_that_is_another() -> None:
    world = lose(story())
    unique = {name: content for name, content in world.registry.tags.items() if name in world.registry.locked}
    live_by(world)
    assert {name: world.registry.tags[name] for name in unique} == unique
    assert len(set(unique.values())) == 2


def test_what_was_pushed_around_the_gate_is_replaced_by_the_first_promotion_and_an_alarm_until_then() -> None:
    world = World()
    world.registry.tags[STABLE] = FOREIGN
    world.tasks.seconds = 400.0
    world.push("15-alpine", GREEN)
    world.pass_time(30)
    world.sweep_now()
    assert AlarmKind.UNRECORDED in alarms(world)
    world.settle(2000)
    assert world.stable_tag() == GREEN
    world.sweep_now()
    assert alarms(world) == {}


def test_a_stable_tag_without_a_record_is_an_alarm_though_nothing_is_promoted() -> None:
    world = lose(story())
    world.tasks.failing["node@"] = "CVE-2026-1"
    live_by(world, 2)
    assert world.promotion().state is PromotionState.REFUSED
    assert "has no record" in alarms(world)[AlarmKind.UNRECORDED].words


def test_rebuilding_takes_down_what_stands_and_says_what_is_not_known() -> None:
    world = lose(rolled_back())
    before = shown(world)
    effects = rebuild(world)
    stable = world.stable()
    assert (stable.digest, stable.unique, stable.moved_by) == (ORANGE, "15-alpine-cb1", f"rebuilt by {WHO}")
    assert stable.hold is not None
    assert stable.hold.until is HoldUntil.LIFTED
    assert (world.app().live or world.app()).reference == before  # type: ignore[union-attr]
    assert world.app().base is not None
    assert {effect.what for effect in effects} == {"record and hold", "record", "lost"}
    assert any("holds and vetoes" in effect.subject for effect in effects)
    live_by(world)
    assert (world.stable_tag(), world.registry.moves, world.containers.puts) == (ORANGE, [], [])
    assert alarms(world) == {}
    assert world.promotion().state is PromotionState.HELD
    assert world.operate.ledger.rebuild(WHO).effects[0].what == "nothing"


def test_a_hold_that_rebuilding_sets_is_lifted_as_any_other() -> None:
    world = lose(rolled_back())
    rebuild(world)
    live_by(world)
    world.operate.gates.lift("node", "15-alpine", WHO).act()
    world.settle()
    assert (world.stable_tag(), world.stable().digest) == (GREEN, GREEN)
    assert world.rollouts()[-1].state is RolloutState.LIVE


def test_no_verdict_is_made_up_what_stands_is_examined_where_it_stands() -> None:
    world = lose(rolled_back())
    world.operate.ledger.rebuild(WHO).act()
    candidate = world.candidate(ORANGE)
    assert (candidate.state, candidate.login_server) == (CandidateState.EXAMINING, "contosobaseartifacts.azurecr.io")
    world.registry.tags[STABLE] = FOREIGN
    world.sweep_now()
    assert world.stable_tag() == FOREIGN
    assert "no attempt was completed" in alarms(world)[AlarmKind.STABLE_MOVED].plan
    world.settle()
    assert world.candidate(ORANGE).state is CandidateState.PASSED
    world.sweep_now()
    assert world.stable_tag() == ORANGE


def test_nothing_is_offered_to_roll_back_to_that_has_no_verdict() -> None:
    world = lose(story())
    rebuild(world)
    with pytest.raises(Exception, match="no attempt was completed"):
        world.operate.gates.roll_back("node", "15-alpine", "15-alpine-cb1", HoldUntil.LIFTED, WHO)
    with pytest.raises(Refused, match="points to"):
        world.operate.gates.roll_back("node", "15-alpine", "15-alpine-cb2", HoldUntil.LIFTED, WHO)


def test_an_app_that_gets_sick_after_a_rebuilding_is_put_back_to_what_it_ran() -> None:
    world = lose(story())
    before = shown(world)
    rebuild(world)
    world.operate.gates.lift("node", "15-alpine", WHO).act()
    world.probe.sick["hello-world:ct3"] = "it crashes"
    world.push("15-alpine", BLUE)
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.RESTORED
    assert shown(world) == before


def test_what_no_run_of_the_apps_task_has_built_is_not_taken_over() -> None:
    world = lose(story())
    world.containers.groups[GROUP] = (f"contoso.azurecr.io/hello-world@{FOREIGN}", world.clock.now())
    effects = rebuild(world)
    assert any("no run of hello-world" in effect.subject for effect in effects)
    assert world.rollouts() == []


def test_a_dry_run_of_rebuilding_writes_nothing() -> None:
    world = lose(story())
    world.operate.ledger.rebuild(WHO)
    world.sweep_now(dry_run=True)
    assert world.ledger.rows == {}


def test_a_gate_that_cannot_be_read_is_said_to_be_so_and_keeps_no_app_from_being_taken_over() -> None:
    policy = sample_policy()
    gate = policy.gates["node"]
    other = msgspec.structs.replace(
        gate, name="away", source=msgspec.structs.replace(gate.source, registry="team", tags=("x.*",))
    )
    world = lose(story(msgspec.structs.replace(policy, gates={"node": gate, "away": other})))
    world.tags.faults["team"] = Refused("it is away")
    effects = rebuild(world)
    assert Effect("not rebuilt", "gate away: it is away") in effects
    assert world.stable().digest == GREEN
    assert world.app().live is not None


# yesterday's table


def test_a_stable_tag_that_was_moved_after_the_backup_is_not_moved_back() -> None:
    world = restored(to_green)
    before = shown(world)
    world.tasks.failing["node@"] = "it fails today"
    live_by(world)
    assert (world.stable_tag(), shown(world)) == (GREEN, before)
    assert (world.registry.moves, world.containers.puts) == ([], [])
    assert "not put back" in alarms(world)[AlarmKind.UNRECORDED].plan
    assert "not redeployed" in alarms(world, "apps.hello-world")[AlarmKind.CONTAINER].plan


def test_rebuilding_an_old_ledger_lowers_no_number_and_moves_nothing() -> None:
    world = restored(to_green)
    before = world.stable()
    rebuild(world)
    stable = world.stable()
    assert (stable.digest, stable.sequence > before.sequence, stable.move > before.move) == (GREEN, True, True)
    assert world.app().live != world.app().earlier[-1]
    live_by(world)
    assert (world.stable_tag(), world.registry.moves, world.containers.puts) == (GREEN, [], [])
    assert alarms(world) == alarms(world, "apps.hello-world") == {}


def test_what_was_under_way_in_an_old_ledger_does_not_go_over_what_came_after_it() -> None:
    world = World()
    world.push("15-alpine", ORANGE)
    world.settle()
    world.push("15-alpine", GREEN)
    world.next_item()
    backup = copy.deepcopy(world.ledger)
    backup._version += 1_000_000
    world.settle()
    world.push("15-alpine", BLUE)
    world.settle()
    lose(world, backup)
    rebuild(world)
    live_by(world)
    assert (world.stable_tag(), world.registry.moves, world.containers.puts) == (BLUE, [], [])


def test_a_rollback_after_the_backup_stands_once_the_ledger_is_rebuilt() -> None:
    """Only a rebuilding before the first sweep can tell it from a tag that was moved around the gate."""
    world = story()
    backup = copy.deepcopy(world.ledger)
    backup._version += 1_000_000
    world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, WHO).act()
    world.settle()
    lose(world, backup)
    rebuild(world)
    live_by(world)
    assert (world.stable_tag(), world.registry.moves, world.containers.puts) == (ORANGE, [], [])
    attempts = [stored.record for stored in world.ledger.list(Candidate, "node")]
    assert {attempt.attempt for attempt in attempts} == {1}


def test_a_foreign_image_is_still_put_back_and_never_taken_over() -> None:
    world = story()
    world.registry.tags[STABLE] = FOREIGN
    effects = rebuild(world)
    assert effects[0].what == "leave to the sweep"
    assert world.stable().digest == GREEN
    world.sweep_now()
    assert world.stable_tag() == GREEN


def test_a_digest_under_two_stable_tags_is_examined_once() -> None:
    world = World()
    for tag in ("15-alpine", "15.14"):
        world.push(tag, GREEN)
        world.settle()
    lose(world)
    rebuild(world)
    assert (world.stable().digest, world.stable("15.14").digest) == (GREEN, GREEN)
    assert [(one.attempt, one.state) for one in world.candidates()] == [(1, CandidateState.PASSED)]


def deploying(content: Digest) -> World:
    """An app that is being deployed: its container does not run yet."""
    world = story()
    world.containers.seconds = 200.0
    world.push("15-alpine", content)
    world.settle(30)
    assert world.rollouts()[-1].state is RolloutState.VERIFYING
    return world


def test_rebuilding_leaves_a_deployment_that_is_under_way_to_itself() -> None:
    world = deploying(BLUE)
    assert [effect.what for effect in world.operate.ledger.rebuild(WHO).effects] == ["nothing"]


def test_a_deployment_that_an_old_ledger_has_under_way_does_not_undo_what_came_after_it() -> None:
    world = deploying(BLUE)
    backup = copy.deepcopy(world.ledger)
    backup._version += 1_000_000
    world.settle()
    world.push("15-alpine", digest("violet"))
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.LIVE
    lose(world, backup)
    before = shown(world)
    rebuild(world)
    live_by(world)
    assert (world.containers.puts, shown(world)) == ([], before)
    assert RolloutState.SUPERSEDED in [rollout.state for rollout in world.rollouts()]


def test_an_old_ledger_that_is_not_rebuilt_puts_nothing_back_over_what_came_after_it() -> None:
    world = deploying(BLUE)
    backup = copy.deepcopy(world.ledger)
    backup._version += 1_000_000
    world.settle()
    world.push("15-alpine", digest("violet"))
    world.settle()
    lose(world, backup)
    before = shown(world)
    live_by(world)
    assert (world.registry.moves, world.containers.puts, shown(world)) == ([], [], before)


def test_stable_tags_on_which_an_old_ledger_agrees_are_held_where_that_is_asked_for() -> None:
    world = restored(lambda world: None)
    assert [effect.what for effect in world.operate.ledger.rebuild(WHO).effects] == ["nothing"]
    world.operate.ledger.rebuild(WHO, hold_all=True).act()
    to_green(world)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.HELD)
    assert world.operate.ledger.rebuild(WHO, hold_all=True).effects[0].what == "nothing"


def test_an_app_that_was_rolled_back_after_the_backup_is_not_built_anew() -> None:
    def rolled_back(world: World) -> None:
        to_green(world)
        world.settle()
        world.operate.apps.roll_back("hello-world", WHO).act()

    world = restored(rolled_back)
    before = shown(world)
    rebuild(world)
    live_by(world)
    assert (world.containers.puts, shown(world)) == ([], before)
    world.operate.apps.rebuild("hello-world", WHO).act()
    world.settle()
    live = world.app().live
    assert live is not None
    assert live.base is not None
    assert live.base.digest == GREEN


def test_an_image_that_an_app_was_rolled_back_from_is_not_deployed_by_the_sweep() -> None:
    world = story()
    world.push("cq7", digest("by somebody else"), registry="team", repository="hello-world")
    world.settle()
    world.operate.apps.roll_back("hello-world", WHO).act()
    world.settle()
    lose(world)
    before = shown(world)
    rebuild(world)
    live_by(world)
    assert (world.containers.puts, shown(world)) == ([], before)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("15-alpine-cb4", True), ("15-alpine", False), ("15-alpine-", False), ("15-alpine3-cb4", False), ("x-cb4", False)],
)
def test_a_unique_tag_is_told_by_its_name(name: str, is_one: bool) -> None:
    assert sample_policy().gates["node"].promote.is_unique_tag(name, Tag("15-alpine")) is is_one


def test_the_first_promotion_of_a_gate_that_locks_nothing_replaces_what_is_there() -> None:
    policy = sample_policy()
    gate = policy.gates["node"]
    unlocked = msgspec.structs.replace(gate, promote=msgspec.structs.replace(gate.promote, lock=False))
    world = lose(story(msgspec.structs.replace(policy, gates={"node": unlocked})))
    world.push("15-alpine", BLUE)
    world.settle()
    assert world.stable_tag() == BLUE
