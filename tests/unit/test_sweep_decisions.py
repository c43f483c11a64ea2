"""The sweep and what operators, rules and a gate's own task have decided: it never works against them."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from shared.checks.approval import ApprovalCheck
from shared.checks.task import TaskCheck
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import CandidateState
from shared.domain.errors import Malformed, Rejected
from shared.domain.image import Digest, short
from shared.domain.policy import Drift, Policy, RegistryRule
from shared.domain.promotion import PromotionState
from shared.domain.stable_tag import Claim, HoldUntil, StableTag
from shared.operations import Who
from shared.promotion.vetoes import Vetoes
from tests.fakes import World, digest, sample_policy

ORANGE, GREEN, FOREIGN = digest("orange"), digest("green"), digest("foreign")
WHO = Who.of("ada", "a quiet weekend")
STABLE, GROUP = ("base", "node:15-alpine"), "hello-world-aci"
PERIOD = 300.0


def with_gate(**changes: object) -> Policy:
    policy = sample_policy()
    return msgspec.structs.replace(policy, gates={"node": msgspec.structs.replace(policy.gates["node"], **changes)})


def by_task() -> Policy:
    promote = msgspec.structs.replace(sample_policy().gates["node"].promote, by="task")
    return with_gate(promote=promote)


def promoted(policy: Policy | None = None) -> World:
    """Green is promoted and live."""
    world = World(policy or sample_policy())
    world.push("15-alpine", GREEN)
    world.settle()
    world.clock.forward(PERIOD)
    world.sweep_now()
    world.announcer.announced.clear()
    return world


def alarms(world: World, scope: str = "gates.node") -> list[Alarm]:
    return [stored.record for stored in world.ledger.list(Alarm, scope) if stored.record.is_active]


def delete_promoted(world: World) -> None:
    for key in [key for key, content in world.registry.tags.items() if key[0] == "base" and content == GREEN]:
        del world.registry.tags[key]
        world.registry.locked.discard(key)


def test_a_vetoed_digest_is_not_put_back_under_a_stable_tag_that_was_moved_off_it() -> None:
    world = promoted()
    world.operate.vetoes.veto("node", GREEN, WHO).act()
    world.registry.tags[STABLE] = ORANGE
    for dry_run in (True, False):
        assert [effect.what for effect in world.sweep_now(dry_run=dry_run).effects] == ["alarm"]
    assert world.stable_tag() == ORANGE
    assert alarms(world)[0].plan.startswith(f"not put back: {GREEN} is vetoed by ada")


def test_a_unique_tag_of_a_vetoed_digest_is_not_made_again() -> None:
    world = promoted()
    unique = ("base", f"node:{world.stable().unique}")
    world.operate.vetoes.veto("node", GREEN, WHO).act()
    world.registry.locked.discard(unique)
    del world.registry.tags[unique]
    world.sweep_now()
    assert unique not in world.registry.tags


def test_a_vetoed_image_that_was_deleted_is_not_promoted_again() -> None:
    world = promoted()
    world.operate.vetoes.veto("node", GREEN, WHO).act()
    delete_promoted(world)
    for _ in range(3):
        world.sweep_now()
        world.settle()
        world.clock.forward(PERIOD)
    assert world.stable_tag() is None
    assert world.promotion().state is PromotionState.PROMOTED


def test_a_deleted_image_whose_source_is_gone_too_is_promoted_again_once_and_stalls() -> None:
    world = promoted()
    world.registry.copy_problem = "the source image is not there"
    delete_promoted(world)
    for _ in range(4):
        world.sweep_now()
        world.settle()
        world.clock.forward(PERIOD)
    promotion = world.promotion()
    assert promotion.state_name == "stalled"
    assert [entry.what for entry in promotion.history].count("promoted again") == 1
    assert f"promoted again from its source by {promotion.id}" in alarms(world)[0].plan
    world.registry.copy_problem = ""
    world.pass_time(PERIOD)
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)
    world.sweep_now()
    assert alarms(world) == alarms(world, "stalls") == []


def test_a_deleted_image_is_one_alarm_though_both_of_its_tags_are_gone() -> None:
    world = promoted()
    delete_promoted(world)
    world.sweep_now()
    assert world.announcer.names == ["DriftFound"]


def test_a_deleted_image_is_examined_again_where_the_checks_have_changed_since() -> None:
    world = promoted()
    task = world.policy.gates["node"].checks[0]
    assert isinstance(task, TaskCheck)
    world.policy = with_gate(checks=(msgspec.structs.replace(task, values={"STRICT": "1"}),))
    world.restart()
    delete_promoted(world)
    world.tasks.failing["node@"] = "CVE-2026-1"
    for _ in range(3):
        world.sweep_now()
        world.settle()
        world.clock.forward(PERIOD)
    assert world.stable_tag() is None
    assert world.candidate(GREEN).state is CandidateState.FAILED
    assert world.candidate(GREEN).attempt == 2
    assert "CVE-2026-1" in alarms(world)[0].plan


def test_a_deleted_image_that_the_gates_own_task_promotes_waits_for_a_person() -> None:
    world = World(by_task())
    push_by_task(world, GREEN)
    world.settle()
    delete_promoted(world)
    for _ in range(2):
        world.sweep_now()
        world.settle()
    assert "run candidate" in alarms(world)[0].plan
    assert world.promotion().state is PromotionState.PROMOTED


def push_by_task(world: World, content: Digest, *, approve: bool = False) -> None:
    """A push; the gate's own task has pushed both tags, and the ledger does not know it yet."""
    world.push("15-alpine", content)
    world.next_item()
    if approve:
        world.operate.candidates.approve(world.candidate(content).id, WHO).act()
        world.next_item()
    run_id = list(world.tasks.runs)[-1]
    world.registry.tags[("base", f"node:15-alpine-{run_id}")] = content
    world.registry.tags[STABLE] = content


@pytest.mark.parametrize("drift", ["report", "repair"])
def test_what_a_gates_own_task_has_just_pushed_is_not_put_back(drift: Drift) -> None:
    policy = by_task()
    world = World(
        msgspec.structs.replace(policy, gates={"node": msgspec.structs.replace(policy.gates["node"], drift=drift)})
    )
    push_by_task(world, ORANGE)
    world.settle()
    world.clock.forward(PERIOD)
    push_by_task(world, GREEN)
    assert world.sweep_now().effects == ()
    world.settle()
    assert (world.stable_tag(), world.promotion().state) == (GREEN, PromotionState.PROMOTED)
    world.registry.tags[STABLE] = FOREIGN
    world.sweep_now()
    assert world.stable_tag() == (GREEN if drift == "repair" else FOREIGN)


def test_a_tag_is_put_back_though_its_gates_own_task_waits_for_a_person() -> None:
    """The task has run, and what it should have pushed is something else: nothing is on its way any more."""
    world = World(by_task())
    push_by_task(world, ORANGE)
    world.settle()
    push_by_task(world, GREEN)
    world.registry.tags[("base", f"node:15-alpine-{list(world.tasks.runs)[-1]}")] = FOREIGN
    world.settle(within_seconds=PERIOD)
    assert world.promotions()[-1].stall
    world.sweep_now()
    assert world.stable_tag() == GREEN  # this is what its task has pushed
    del world.registry.tags[STABLE]
    world.sweep_now()
    assert world.stable_tag() == ORANGE


def test_an_alarm_does_not_end_because_somebody_is_moving_the_tag() -> None:
    world = promoted(with_gate(drift="report"))
    world.registry.tags[STABLE] = FOREIGN
    world.sweep_now()
    stored = world.ledger.load(StableTag, "node", "15-alpine")
    assert stored
    claim = Claim(mover="someone", digest=ORANGE, until=world.clock.now() + timedelta(days=1))
    world.ledger.save(stored, msgspec.structs.replace(stored.record, claim=claim))
    world.sweep_now()
    assert [alarm.kind for alarm in alarms(world)] == [AlarmKind.STABLE_MOVED]
    assert world.announcer.names == ["DriftFound"]


def test_a_tag_that_cannot_be_read_does_not_keep_the_others_of_its_gate_from_being_checked() -> None:
    world = promoted(with_gate(source=msgspec.structs.replace(sample_policy().gates["node"].source, tags=("15*",))))
    world.push("15.14", ORANGE)
    world.settle()
    real = world.tags.digest_of

    def odd(registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        if (registry.name, tag) == ("base", "15-alpine"):
            raise Malformed("Docker-Content-Digest", "sha512:… is no digest that Basegate knows")
        return real(registry, repository, tag)

    world.tags.digest_of = odd  # type: ignore[method-assign]
    world.registry.tags[("base", "node:15.14")] = FOREIGN
    world.sweep_now()
    assert world.stable_tag("15.14") == ORANGE
    assert "15-alpine cannot be read" in alarms(world)[0].words


def renamed(policy: Policy) -> Policy:
    """The same registries and gates, the source registry under another short name."""
    hub = msgspec.structs.replace(policy.registries["public"], name="hub")
    others = {name: rule for name, rule in policy.registries.items() if name != "public"}
    gate = policy.gates["node"]
    gates = {"node": msgspec.structs.replace(gate, source=msgspec.structs.replace(gate.source, registry="hub"))}
    return msgspec.structs.replace(policy, registries={**others, "hub": hub}, gates=gates)


def rename(world: World) -> None:
    world.policy = renamed(world.policy)
    world.restart()
    for registry, name in [key for key in world.registry.tags if key[0] == "public"]:
        world.registry.tags[("hub", name)] = world.registry.tags[(registry, name)]


def test_a_candidate_goes_on_though_its_registry_has_another_name_in_the_rules() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.next_item()
    rename(world)
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_tag_that_came_back_is_confirmed_at_the_registry_under_its_name_of_today() -> None:
    world = promoted()
    world.push("15-alpine", ORANGE)
    world.settle()
    rename(world)
    world.registry.tags[("hub", "node:15-alpine")] = GREEN
    for _ in range(2):
        world.clock.forward(PERIOD)
        world.sweep_now()
        world.settle()
    assert world.stable_tag() == GREEN


def test_a_tag_is_confirmed_where_the_gate_reads_today_and_not_where_it_read_once() -> None:
    world = promoted()
    gate = world.policy.gates["node"]
    mirror = msgspec.structs.replace(gate, source=msgspec.structs.replace(gate.source, repository="mirror/node"))
    world.policy = msgspec.structs.replace(world.policy, gates={"node": mirror})
    world.restart()
    world.registry.tags[("public", "mirror/node:15.14")] = GREEN
    for _ in range(2):
        world.clock.forward(PERIOD)
        world.sweep_now()
        world.settle()
    assert world.stable_tag("15.14") == GREEN


def test_a_promotion_whose_source_registry_left_the_rules_stalls_with_the_remedy() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.next_item()
    policy = renamed(world.policy)
    hub = msgspec.structs.replace(policy.registries["hub"], server="another.azurecr.io")
    world.policy = msgspec.structs.replace(policy, registries={**policy.registries, "hub": hub})
    world.restart()
    world.settle()
    stall = world.promotion().stall
    assert stall is not None
    assert "publicregistry.azurecr.io is not in the rules any more" in stall.reason
    assert "add that registry to the rules again" in stall.remedy


def test_a_digest_that_was_held_and_comes_back_when_the_hold_has_ended_is_promoted() -> None:
    blue = digest("blue")
    world = promoted()
    world.push("15-alpine", ORANGE)
    world.operate.gates.hold("node", "15-alpine", HoldUntil.NEWER, WHO).act()
    world.settle()
    world.clock.forward(60)
    world.push("15-alpine", blue)
    world.settle()
    assert (world.stable_tag(), world.stable().hold) == (blue, None)
    world.registry.tags[("public", "node:15-alpine")] = ORANGE
    for _ in range(2):
        world.clock.forward(PERIOD)
        world.sweep_now()
        world.settle()
    assert world.stable_tag() == ORANGE


@pytest.mark.parametrize(
    ("until", "expected", "state"),
    [
        (HoldUntil.LIFTED, GREEN, PromotionState.HELD),
        (HoldUntil.NEWER, ORANGE, PromotionState.PROMOTED),
    ],
)
def test_what_a_veto_kept_out_waits_for_the_hold_alone_once_the_veto_is_lifted(
    until: HoldUntil, expected: Digest, state: PromotionState
) -> None:
    """Whoever lifted it has died over it: the sweep lets the digest go on, as far as the hold does."""
    world = promoted()
    world.operate.gates.hold("node", "15-alpine", until, WHO).act()
    world.operate.vetoes.veto("node", ORANGE, WHO).act()
    world.push("15-alpine", ORANGE)
    world.settle()
    gate = world.policy.gates["node"]
    stored = Vetoes(world.services).load(gate, ORANGE)
    assert stored is not None
    world.ledger.save(stored, msgspec.structs.replace(stored.record, lifted_at=world.clock.now(), lifted_by="ada"))
    found = []
    for _ in range(4):  # its promotion reads the verdict of the attempt that the veto ended; then that is repeated
        found.append("resume" in [effect.what for effect in world.sweep_now().effects])
        world.settle()
        world.clock.forward(PERIOD)
    assert found == [True, True, False, False]
    assert world.stable_tag() == expected
    assert world.promotions()[-1].state is state


@pytest.mark.parametrize("mover", ["promotion", "sweep", "rollback"])
def test_a_veto_that_comes_while_a_tag_is_claimed_stops_the_move(mover: str) -> None:
    world = promoted()
    banned = ORANGE if mover == "promotion" else GREEN

    def veto(record: object) -> None:
        if isinstance(record, StableTag) and record.claim:
            world.ledger.before_save = None
            world.operate.vetoes.veto("node", banned, WHO).act()

    world.push("15-alpine", ORANGE)
    if mover != "promotion":
        world.settle()
        world.operate.gates.roll_back("node", "15-alpine", GREEN, HoldUntil.LIFTED, WHO).act()
    if mover == "rollback":
        world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.LIFTED, WHO).act()
        world.ledger.before_save = veto
        with pytest.raises(Rejected, match="is vetoed by ada"):
            world.operate.gates.roll_back("node", "15-alpine", GREEN, HoldUntil.LIFTED, WHO).act()
    elif mover == "sweep":
        world.registry.tags[STABLE] = ORANGE
        world.ledger.before_save = veto
        world.sweep_now()
    else:
        world.ledger.before_save = veto
        world.settle()
    assert world.stable_tag() != banned
    assert world.stable().claim is None


def test_a_stable_tag_on_a_vetoed_digest_is_an_alarm_until_it_is_rolled_back() -> None:
    world = World()
    for content in ("orange", "green"):
        world.push("15-alpine", digest(content))
        world.settle()
        world.clock.forward(60)
    who = Who.of("ada", "CVE-2026-1")
    world.operate.vetoes.veto("node", digest("green"), who).act()
    world.sweep_now()
    assert [alarm.kind for alarm in alarms(world)] == [AlarmKind.STABLE_VETOED]
    assert alarms(world)[0].words.endswith(f"points to {short(digest('green'))}, vetoed by ada: CVE-2026-1")
    world.operate.gates.roll_back("node", "15-alpine", digest("orange"), HoldUntil.LIFTED, who).act()
    world.settle()
    world.sweep_now()
    assert alarms(world) == []


def test_a_stable_tag_that_stands_on_something_before_its_first_promotion_is_an_alarm() -> None:
    world = World()
    world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, WHO).act()
    world.registry.tags[STABLE] = FOREIGN
    world.sweep_now()
    name = "contosobaseartifacts.azurecr.io/node:15-alpine"
    words = [alarm.words for alarm in alarms(world) if alarm.kind is AlarmKind.UNRECORDED]
    assert words == [f"{name} is {short(FOREIGN)}, and the ledger has no record of that"]
    assert world.stable_tag() == FOREIGN


def test_a_first_promotion_that_is_under_way_is_left_to_itself() -> None:
    world = World()
    world.push("15-alpine", GREEN)
    while not world.promotions() or world.promotion().state is not PromotionState.PROMOTING:
        world.next_item()
    world.registry.tags[STABLE] = GREEN
    assert world.sweep_now().effects == ()
    world.settle()
    assert world.stable().digest == GREEN


def test_a_digest_that_failed_when_it_was_examined_again_is_not_put_back() -> None:
    world = promoted()
    world.tasks.failing["node@"] = "CVE-2026-1"
    world.operate.candidates.rerun(world.candidate(GREEN).id, WHO).act()
    world.settle()
    world.registry.tags[STABLE] = ORANGE
    world.sweep_now()
    assert world.stable_tag() == ORANGE
    assert "not put back" in alarms(world)[0].plan
    assert "CVE-2026-1" in alarms(world)[0].plan


@pytest.mark.parametrize("decision", ["veto", "hold"])
def test_what_a_gates_own_task_pushed_against_a_decision_is_put_back_within_one_sweep(decision: str) -> None:
    world = World(by_task())
    push_by_task(world, ORANGE)
    world.settle()
    push_by_task(world, GREEN)
    if decision == "veto":
        world.operate.vetoes.veto("node", GREEN, WHO).act()
    else:
        world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, WHO).act()
    world.settle()
    world.sweep_now()
    assert (world.stable_tag(), world.stable().digest) == (ORANGE, ORANGE)


def test_what_a_gates_own_task_pushed_before_a_person_approved_is_put_back() -> None:
    gate = by_task().gates["node"]
    world = World(with_gate(promote=gate.promote, checks=(ApprovalCheck(), *gate.checks)))
    push_by_task(world, ORANGE, approve=True)
    world.settle()
    assert world.stable().digest == ORANGE
    world.push("15-alpine", GREEN)
    world.settle()
    world.registry.tags[STABLE] = GREEN
    world.sweep_now()
    assert world.stable_tag() == ORANGE


def test_a_tag_that_a_gates_own_task_pushed_again_for_an_older_digest_is_put_back() -> None:
    world = World(by_task())
    for content in (ORANGE, GREEN):
        push_by_task(world, content)
        world.settle()
    world.operate.candidates.rerun(world.candidate(ORANGE).id, WHO).act()
    world.settle()
    world.registry.tags[STABLE] = ORANGE
    world.sweep_now()
    assert world.stable_tag() == GREEN
