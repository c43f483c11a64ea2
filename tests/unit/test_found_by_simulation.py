"""What the simulation has found, each as the small story that shows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.checks.task import TaskCheck
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import new_attempt
from shared.domain.errors import Throttled
from shared.domain.image import Digest
from shared.domain.policy import RegistryRule
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.record import WorkItem
from shared.domain.rollout import AppRecord, RolloutState
from shared.domain.stable_tag import HoldUntil, StableTag, Veto
from shared.intake.upstreams import Upstreams
from shared.operations import Who
from shared.promotion.vetoes import Vetoes
from tests.fakes import ProcessDied, World, digest, sample_policy
from tests.unit.operators import gate_of, hold, veto

ORANGE, GREEN = digest("orange"), digest("green")


def by_task() -> World:
    """A world whose gate's own task pushes what passed."""
    gate = sample_policy().gates["node"]
    promote = msgspec.structs.replace(gate.promote, by="task")
    gate = msgspec.structs.replace(gate, promote=promote)
    return World(sample_policy(gates={"node": gate}, apps={}))


def task_pushes(world: World, content: Digest, *tags: str) -> None:
    for tag in tags:
        world.registry.tags[("base", f"node:{tag}")] = content


def sweeps(world: World, number: int = 3) -> None:
    for _ in range(number):
        world.pass_time(300)
        world.sweep_now()
    world.settle()


def test_what_a_hold_kept_out_goes_on_although_whoever_lifted_it_came_no_further() -> None:
    world = World()
    hold(world)
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.promotion().state is PromotionState.HELD
    stored = world.ledger.load(StableTag, "node", "15-alpine")
    assert stored
    world.ledger.save(stored, msgspec.structs.replace(stored.record, hold=None))
    sweeps(world)
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)


@pytest.mark.parametrize("examined", [True, False])
def test_what_a_veto_kept_out_goes_on_although_whoever_lifted_it_came_no_further(examined: bool) -> None:
    world = World()
    if examined:
        hold(world)
        world.push("15-alpine", GREEN)
        world.settle()
    veto(world, GREEN)
    if not examined:
        world.push("15-alpine", GREEN)
    stable = world.ledger.load(StableTag, "node", "15-alpine")
    if stable:
        world.ledger.save(stable, msgspec.structs.replace(stable.record, hold=None))
    sweeps(world)
    stored = Vetoes(world.services).load(gate_of(world), GREEN)
    assert stored
    assert isinstance(stored.record, Veto)
    assert world.stable_tag() is None
    lifted = msgspec.structs.replace(stored.record, lifted_at=world.clock.now(), lifted_by="ada")
    world.ledger.save(stored, lifted)
    sweeps(world)
    assert world.stable_tag() == GREEN


def test_what_is_still_vetoed_or_held_is_not_let_go_on_by_a_sweep() -> None:
    world = World()
    hold(world)
    world.push("15-alpine", GREEN)
    sweeps(world)
    assert (world.stable_tag(), world.promotion().state) == (None, PromotionState.HELD)


def test_a_further_tag_of_a_digest_that_the_gate_s_task_pushed_under_the_first_is_promoted() -> None:
    world = by_task()
    world.push("15-alpine", GREEN)
    task_pushes(world, GREEN, "15-alpine", "15-alpine-cb1")
    world.settle()
    world.push("15.14", GREEN)
    world.settle()
    assert (world.stable_tag("15.14"), world.promotion("15.14").state) == (GREEN, PromotionState.PROMOTED)


def test_a_tag_that_returns_to_what_the_gate_s_task_pushed_before_is_promoted() -> None:
    world = by_task()
    for number, content in enumerate((GREEN, ORANGE), 1):
        world.push("15-alpine", content)
        task_pushes(world, content, "15-alpine", f"15-alpine-cb{number}")
        world.settle()
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.promotion().state is PromotionState.PROMOTED
    assert world.stable_tag() == world.stable().digest == GREEN


def test_an_app_whose_rule_went_and_came_back_is_rolled_out_on_its_base() -> None:
    world = World()
    rules = world.policy
    world.use(msgspec.structs.replace(rules, apps={}))
    world.push("15-alpine", ORANGE)
    world.settle()
    world.use(rules)
    sweeps(world)
    world.use(msgspec.structs.replace(rules, apps={}))
    world.use(rules)
    world.push("15-alpine", GREEN)
    while not world.rollouts() or world.rollouts()[-1].base_move < 2:
        world.next_item()
    world.use(msgspec.structs.replace(rules, apps={}))
    world.settle()
    assert world.rollouts()[-1].state is RolloutState.RULE_REMOVED
    world.use(rules)
    sweeps(world)
    live = world.app().live
    assert live
    assert live.base
    assert live.base.digest == GREEN


def test_a_run_that_ended_three_times_without_a_verdict_is_not_run_again_because_others_succeed() -> None:
    world = World()
    world.tasks.broken.add(ORANGE)
    world.push("15-alpine", ORANGE)
    world.pass_time(1800)
    runs = [run for run in world.tasks.runs.values() if ORANGE in run.values.get("IMAGE", "")]
    candidate = world.candidate(ORANGE)
    assert (len(runs), candidate.state_name) == (3, "stalled")
    world.reconciler.work(candidate.work_item)
    assert candidate.next_step_at
    late = WorkItem(candidate.work_item.kind, "node", candidate.row, candidate.created_at)
    world.reconciler.work(late, redelivered=True)
    again = [run for run in world.tasks.runs.values() if ORANGE in run.values.get("IMAGE", "")]
    assert len(again) == 3


def test_an_image_that_is_gone_leaves_an_alarm_about_the_ban_that_its_tag_stands_on() -> None:
    world = World()
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
    veto(world, ORANGE)
    for place in [place for place, content in world.registry.tags.items() if content == GREEN and place[0] == "base"]:
        del world.registry.tags[place]
    del world.registry.tags[("public", "node:15-alpine")]
    world.registry.tags[("base", "node:15-alpine")] = ORANGE
    world.registry.copy_problem = "the source is gone"
    sweeps(world)
    kinds = {one.record.kind for one in world.ledger.list(Alarm, "gates.node") if one.record.is_active}
    assert {AlarmKind.PROMOTED_GONE, AlarmKind.STABLE_VETOED} <= kinds


def test_what_is_held_and_vetoed_ends_as_vetoed_when_the_hold_is_gone() -> None:
    world = World()
    hold(world)
    world.push("15-alpine", GREEN)
    world.settle()
    veto(world, GREEN)
    stored = world.ledger.load(StableTag, "node", "15-alpine")
    assert stored
    world.ledger.save(stored, msgspec.structs.replace(stored.record, hold=None))
    sweeps(world)
    assert (world.stable_tag(), world.promotion().state) == (None, PromotionState.VETOED)


def test_a_tag_whose_digest_was_refused_is_promoted_when_a_later_attempt_passed() -> None:
    world = World()
    world.tasks.failing[GREEN] = "ERROR: not today"
    world.push("15-alpine", GREEN)
    world.settle()
    assert world.promotion().state is PromotionState.REFUSED
    world.tasks.failing.clear()
    gate = gate_of(world)
    checks = (TaskCheck(registry="base", task="another-check"),)
    world.use(msgspec.structs.replace(world.policy, gates={"node": msgspec.structs.replace(gate, checks=checks)}))
    world.push("15.14", GREEN)
    world.settle()
    assert world.stable_tag("15.14") == GREEN
    sweeps(world)
    assert world.stable_tag() == GREEN


def test_a_move_that_another_worker_is_making_is_left_to_it() -> None:
    world = World()
    world.push("15-alpine", ORANGE)
    world.settle()
    real, moves = world.registry.point, list[Digest]()

    def point(registry: RegistryRule, repository: str, tag: str, content: Digest) -> None:
        world.registry.point = real  # type: ignore[method-assign]
        before = world.promotion()
        world.reconciler.work(before.work_item, redelivered=True)
        assert world.promotion() == before
        assert world.stable_tag() == ORANGE
        real(registry, repository, tag, content)
        moves.append(content)

    world.registry.point = point  # type: ignore[method-assign,assignment]
    world.push("15-alpine", GREEN)
    world.settle()
    assert (moves, world.stable_tag(), world.promotion().state) == ([GREEN], GREEN, PromotionState.PROMOTED)


def test_a_move_whose_worker_died_is_made_by_another_within_two_minutes() -> None:
    world = World()
    real = world.registry.point

    def die(*_: object) -> None:
        world.registry.point = real  # type: ignore[method-assign]
        raise ProcessDied

    world.registry.point = die  # type: ignore[method-assign,assignment]
    world.push("15-alpine", GREEN)
    world.settle_while_crashing(within_seconds=120)
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)
    assert world.promotion().moved_at
    assert (world.clock.now() - world.promotion().created_at).total_seconds() < 120


def test_a_promotion_that_a_veto_ended_goes_on_although_only_the_new_attempt_was_begun_when_it_was_lifted() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    veto(world, GREEN)
    world.settle()
    stored = Vetoes(world.services).load(gate_of(world), GREEN)
    assert stored
    world.ledger.save(stored, msgspec.structs.replace(stored.record, lifted_at=world.clock.now(), lifted_by="ada"))
    last = world.candidate(GREEN)
    source = world.policy.registries["public"]
    again = new_attempt(gate_of(world), source, GREEN, last.tag, world.clock.now(), last.attempt + 1)
    world.ledger.insert(again)
    world.queue.send(again.work_item, 0)
    sweeps(world, 4)
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)


def test_a_promotion_that_an_operator_canceled_is_not_let_go_on_by_a_sweep() -> None:
    world = World()
    hold(world)
    world.push("15-alpine", GREEN)
    world.settle()
    stored = world.ledger.load(Promotion, "node", world.promotion().row)
    stable = world.ledger.load(StableTag, "node", "15-alpine")
    assert stored
    assert stable
    ended = msgspec.structs.replace(stored.record, state=PromotionState.CANCELED, reason="canceled by ada: no")
    world.ledger.save(stored, ended)
    world.ledger.save(stable, msgspec.structs.replace(stable.record, hold=None))
    sweeps(world)
    assert (world.stable_tag(), world.promotion().state) == (None, PromotionState.CANCELED)


def test_a_tag_that_stood_on_its_digest_when_that_was_observed_again_goes_back_to_it_when_a_rollback_is_lifted() -> (
    None
):
    world = World()
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
    gates, who = world.operate.gates, Who.of("ada", "because")
    gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, who).act()
    world.push("15-alpine", ORANGE)
    world.settle()
    gates.roll_back("node", "15-alpine", GREEN, HoldUntil.LIFTED, who).act()
    world.settle()
    assert (world.stable_tag(), world.observation().digest) == (GREEN, ORANGE)
    stable = world.ledger.load(StableTag, "node", "15-alpine")
    assert stable
    world.ledger.save(stable, msgspec.structs.replace(stable.record, hold=None))
    sweeps(world)
    assert world.stable_tag() == ORANGE


def test_of_two_rollbacks_of_an_app_the_second_does_not_go_forward_to_what_the_first_went_back_from() -> None:
    world = World()
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
    orange, green = (rollout.image for rollout in world.rollouts())
    world.operate.apps.roll_back("hello-world", Who.of("ada", "green is wrong")).act()
    first, world.queue.waiting = world.queue.waiting, []
    world.push("15-alpine", digest("blue"))
    world.settle()
    world.operate.apps.roll_back("hello-world", Who.of("bob", "blue is wrong")).act()
    second, world.queue.waiting = world.queue.waiting, first
    assert [rollout.image for rollout in world.rollouts() if rollout.goes_back] == [orange, green]
    world.settle()
    world.queue.waiting = second
    world.settle()
    assert world.app().live == orange
    assert sorted(one.state for one in world.rollouts() if one.goes_back) == ["live", "superseded"]


def test_a_veto_that_comes_while_the_rollouts_of_a_move_are_begun_stops_their_builds() -> None:
    world = World()

    def veto(record: object) -> None:
        if isinstance(record, AppRecord):
            world.ledger.before_save = None
            world.operate.vetoes.veto("node", GREEN, Who.of("ada", "CVE-2026-1")).act()

    world.ledger.before_save = veto
    world.push("15-alpine", GREEN)
    world.settle()
    (rollout,) = world.rollouts()
    assert rollout.state is RolloutState.CANCELED
    assert "is vetoed by ada" in rollout.reason
    assert [run for run in world.tasks.runs.values() if run.task == "hello-world"] == []


def test_the_number_of_a_stable_tag_is_not_renewed_while_another_digest_is_claimed_for_it() -> None:
    world = World()
    world.push("15-alpine", ORANGE)
    world.settle()
    real, seen = world.registry.point, list[Digest | None]()

    def point(registry: RegistryRule, repository: str, tag: str, content: Digest) -> None:
        world.registry.point = real  # type: ignore[method-assign]
        world.push("15-alpine", ORANGE)
        world.settle(1)
        assert world.observation().digest == ORANGE
        real(registry, repository, tag, content)
        seen.append(world.stable_tag())

    world.registry.point = point  # type: ignore[method-assign,assignment]
    world.push("15-alpine", GREEN)
    world.settle()
    assert seen == [GREEN]
    assert world.promotion().state is PromotionState.PROMOTED
    assert (world.stable_tag(), world.observation().digest) == (ORANGE, ORANGE)


def test_a_slow_service_is_not_asked_for_a_second_run() -> None:
    world = World()
    real, started = world.tasks.start, list[str]()

    def slowly(*arguments: Any) -> str:
        world.tasks.start = real  # type: ignore[method-assign]
        world.clock.forward(20)
        world.reconciler.work(world.candidate(GREEN).work_item, redelivered=True)
        started.append(real(*arguments))
        return started[-1]

    world.tasks.start = slowly  # type: ignore[method-assign,assignment]
    world.push("15-alpine", GREEN)
    world.settle()
    assert (world.stable_tag(), [check.runs for check in world.candidate(GREEN).checks]) == (GREEN, [1])
    assert started == [world.candidate(GREEN).checks[0].run_id]


def test_a_copy_that_was_canceled_while_it_was_started_is_known_when_its_promotion_is_purged() -> None:
    world = World(sample_policy(apps={}), keep=timedelta(days=30))
    world.push("15-alpine", ORANGE)
    world.settle()
    real = world.registry.start_copy

    def meanwhile(*arguments: Any) -> str:
        operation = real(*arguments)
        world.operate.candidates.cancel(world.candidate(GREEN).id, Who.of("ada", "not this one")).act()
        world.registry.tags[("base", arguments[3])] = GREEN
        return operation

    world.registry.start_copy = meanwhile  # type: ignore[method-assign,assignment]
    world.push("15-alpine", GREEN)
    world.settle()
    world.registry.start_copy = real  # type: ignore[method-assign]
    (unique,) = world.unique_tags(GREEN)
    world.registry.locked.add(("base", unique))
    world.clock.forward(60 * 86_400)
    world.push("15-alpine", digest("blue"))
    world.settle()
    world.sweep_now(at_once=True)
    assert [one.digest for one in world.promotions() if one.digest == GREEN] == []
    world.registry.tags[("base", "node:15-alpine")] = GREEN
    world.push("15-alpine", digest("white"))
    world.settle()
    assert world.stable_tag() == digest("white"), "what somebody moved to it is no promotion of a lost ledger"


def test_a_promotion_does_not_wait_for_ever_for_a_doubted_tag_that_was_deleted() -> None:
    gate = sample_policy().gates["node"]
    source = msgspec.structs.replace(gate.source, tags=("15*",))
    world = World(sample_policy(gates={"node": msgspec.structs.replace(gate, source=source)}, apps={}))
    world.push("15-alpine", ORANGE)
    world.settle()
    real = world.registry.lock

    def meanwhile(*arguments: Any) -> None:
        world.registry.lock = real  # type: ignore[method-assign]
        real(*arguments)
        world.registry.tags[("public", "node:15-alpine")] = ORANGE
        world.clock.forward(300)
        world.sweep_now()
        assert world.observation().doubted == ORANGE
        del world.registry.tags[("public", "node:15-alpine")]
        Upstreams(world.services).failed(gate_of(world), Throttled("public: 429", 3600.0))

    world.registry.lock = meanwhile  # type: ignore[method-assign,assignment]
    world.push("15-alpine", GREEN)
    sweeps(world, 8)
    assert world.observation().doubted == ORANGE, "while its registry throttles, nothing is read"
    world.clock.forward(3600)
    sweeps(world, 8)
    assert (world.stable_tag(), world.promotion().state) == (ORANGE, PromotionState.WITHDRAWN)


def test_the_copy_of_a_promotion_that_was_reset_is_known_when_that_is_purged() -> None:
    world = World(sample_policy(apps={}), keep=timedelta(days=30))
    world.push("15-alpine", ORANGE)
    world.settle()
    real = world.registry.lock

    def meanwhile(*arguments: Any) -> None:
        world.registry.lock = real  # type: ignore[method-assign]
        real(*arguments)
        hold(world, until=HoldUntil.NEWER)
        world.clock.forward(60)

    world.registry.lock = meanwhile  # type: ignore[method-assign,assignment]
    world.push("15-alpine", GREEN)
    world.settle()
    world.push("15-alpine", digest("blue"))
    world.settle()
    assert [one.unique for one in world.promotions() if one.digest == GREEN] == [""]
    world.clock.forward(60 * 86_400)
    world.push("15-alpine", digest("white"))
    world.settle()
    world.sweep_now(at_once=True)
    world.registry.tags[("base", "node:15-alpine")] = GREEN
    world.push("15-alpine", digest("black"))
    world.settle()
    assert world.stable_tag() == digest("black"), "what somebody moved to it is no promotion of a lost ledger"
