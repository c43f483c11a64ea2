"""Purging: what nothing stands on goes when it is old, and nothing that is current answers otherwise than before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
import pytest

from shared.checks.task import TaskCheck
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import Candidate, CandidateState, Evidence
from shared.domain.errors import BasegateError, Conflict, Malformed, Misconfigured, NotFound, Retry
from shared.domain.image import Digest, Tag
from shared.domain.observation import Observation
from shared.domain.policy import Policy, RegistryRule, Source
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.record import Record
from shared.domain.retention import IdempotentCall, LeftOver, Numbers
from shared.domain.rollout import AppRecord, Rollout
from shared.domain.stable_tag import HoldUntil, StableTag, Veto
from shared.operations import Who
from shared.operations.operate import Operate
from shared.ports import Stored, TagPush, newest_promotions, read, removal
from shared.queries.drift import DriftQuery
from shared.queries.records import Queries
from shared.sweep.jobs import jobs_of
from shared.sweep.jobs.purge import PurgeJob
from shared.sweep.sweep import SweepResult
from tests.fakes import ProcessDied, World, digest, sample_policy

TAG, KEEP, DAY = "15-alpine", timedelta(days=30), 86_400.0
WHO = Who.of("ada", "because")


def with_gate(*, source: Source | None = None, apps: bool = False, **promote: object) -> Policy:
    """Rules of one gate, without apps: what they can go back to keeps its bases."""
    policy = sample_policy() if apps else sample_policy(apps={})
    gate = policy.gates["node"]
    rule = msgspec.structs.replace(gate.promote, **promote)
    gate = msgspec.structs.replace(gate, promote=rule, source=source or gate.source)
    return msgspec.structs.replace(policy, gates={"node": gate})


def with_history(count: int, policy: Policy | None = None, *, days: float = 10) -> World:
    """A tag that was so many digests, one every few days: all passed, all promoted and deployed."""
    world = World(policy or with_gate(at_least=2), keep=KEEP)
    for number in range(count):
        world.push(TAG, digest(f"image {number}"))
        world.settle()
        world.clock.forward(days * DAY)
    return world


def purge(world: World) -> SweepResult:
    """A sweep whose purge jobs are due."""
    result: SweepResult = world.sweep_now(at_once=True)
    assert [job.problem for job in result.jobs if job.problem and job.job.startswith("purge")] == []
    return result


def numbers(world: World) -> list[int]:
    return [one.sequence for one in world.promotions()]


def image(number: int) -> Digest:
    return digest(f"image {number}")


def test_old_promotions_go_to_the_archive_where_why_still_reads_them() -> None:
    world = with_history(8)
    story = Queries(world.services).candidate(f"node.{image(0)[7:]}")[0]
    before = story.promotions
    assert len(before) == 1
    purge(world)
    assert numbers(world) == [6, 7, 8], "the last 20 days, and two digests to go back to"
    after = Queries(world.services).candidate(f"node.{image(0)[7:]}")[0]
    assert after == story
    assert [name for name in world.archive.texts if name.startswith("promotions/")] != []


def test_any_number_is_archived_in_one_round_some_at_a_time() -> None:
    world = with_history(70, with_gate(at_least=2), days=1)
    world.clock.forward(100 * DAY)
    purge(world)
    assert numbers(world) == [68, 69, 70]
    by_batch = with_history(70, with_gate(at_least=2), days=1)
    by_batch.clock.forward(100 * DAY)
    for _ in range(40):
        by_batch.sweep.run(by_batch.clock.now())
    assert end_of(by_batch) == end_of(world)


def test_an_archive_that_is_away_is_said_and_not_passed_over() -> None:
    world = with_history(8)
    purge(world)

    def away(prefix: str) -> list[str]:
        raise Retry(f"listing {prefix}: 503")

    world.archive.find = away  # type: ignore[method-assign]
    assert Queries(world.services).candidate(f"node.{image(7)[7:]}")[0].promotions, "it is younger than the archive"
    with pytest.raises(Retry):
        Queries(world.services).candidate(f"node.{image(0)[7:]}")


def test_what_is_young_or_stood_on_never_goes() -> None:
    world = with_history(1)
    world.clock.forward(1000 * DAY)
    before = dict(world.ledger.rows)
    purge(world)
    gone = [key for key in before if key not in world.ledger.rows and key[0] != "SweepRecord"]
    assert gone == []


def test_lines_of_lists_go_with_their_records_and_the_last_move_stays() -> None:
    world = with_history(8)
    purge(world)
    lines = world.ledger.page(Promotion, "node", 100).items
    assert sorted(line.sequence for line in lines) == numbers(world)
    moves = Queries(world.services).promotions("node", 100, "").items
    assert [move.sequence for move in moves] == [8, 7]
    world.clock.forward(1000 * DAY)
    purge(world)
    assert [move.sequence for move in Queries(world.services).promotions("node", 100, "").items] == [8]


def test_numbers_go_on_where_they_were() -> None:
    world = with_history(8)
    purge(world)
    for content, expected in ((image(0), 9), (digest("new"), 10)):
        world.push(TAG, content)
        world.settle()
        assert world.observation().sequence == world.promotion().sequence == world.stable().sequence == expected


def test_a_tag_that_is_tracked_again_gets_a_number_that_none_had() -> None:
    world = with_history(4, with_gate(source=Source(registry="public", repository="node", tags=("15-alpine", "15.*"))))
    for content in ("a", "b", "c"):
        world.push("15.14", digest(content))
        world.settle()
        world.clock.forward(DAY)
    stopped = with_gate(source=Source(registry="public", repository="node", tags=("15-alpine",)))
    world.use(stopped)
    purge(world)
    assert world.observation("15.14").sequence == 3, "it is young"
    world.clock.forward(31 * DAY)
    purge(world)
    assert world.ledger.load(Observation, "node", "15.14") is None
    assert world.stable("15.14").sequence == 3, "stable tags stay"
    assert world.ledger.load(Numbers, "node", "node").record.sequence == 3  # type: ignore[union-attr]
    world.use(with_gate())
    world.push("15.14", digest("d"))
    world.settle()
    assert world.observation("15.14").sequence == 4
    world.push("15.15", digest("e"))
    world.settle()
    assert world.observation("15.15").sequence == 4, "higher than need be, and never lower"


def test_an_observation_whose_number_was_never_promoted_does_not_give_it_again() -> None:
    world = World(with_gate(), keep=KEEP)
    world.push("15.14", image(0))
    world.settle()
    for number in (1, 2):
        world.tasks.failing[image(number)] = "ERROR: no"
        world.push("15.14", image(number))
        world.settle()
    assert (world.stable("15.14").sequence, world.observation("15.14").sequence) == (1, 3)
    world.use(with_gate(source=Source(registry="public", repository="node", tags=("15-alpine",))))
    for _ in range(2):
        world.clock.forward(31 * DAY)
        purge(world)
    assert world.ledger.load(Observation, "node", "15.14") is None
    world.use(with_gate())
    world.push("15.14", image(4))
    world.settle()
    assert world.promotion("15.14").sequence == 4


def test_a_tag_that_is_held_or_is_gone_for_a_short_time_stays_observed() -> None:
    world = with_history(1)
    del world.registry.tags["public", f"node:{TAG}"]
    for _ in range(3):
        world.clock.forward(600)
        world.sweep_now()
    assert world.observation().absent
    world.operate.gates.hold("node", TAG, HoldUntil.LIFTED, WHO).act()
    world.clock.forward(100 * DAY)
    purge(world)
    assert world.observation().absent, "it is held"
    world.operate.gates.lift("node", TAG, WHO).act()
    purge(world)
    assert world.ledger.load(Observation, "node", TAG) is None
    world.push(TAG, image(0))
    world.settle()
    assert world.observation().sequence == 2


def test_superseded_attempts_go_with_their_logs_and_the_next_one_is_numbered_on() -> None:
    world = with_history(1)
    for _ in range(3):
        world.clock.forward(DAY)
        world.operate.candidates.rerun(world.candidate(image(0)).id, WHO).act()
        world.settle()
    assert [one.attempt for one in world.candidates()] == [1, 2, 3, 4]
    logs = [check.evidence.log_blob for one in world.candidates() for check in one.checks]
    world.clock.forward(100 * DAY)
    purge(world)
    stood = int(world.stable().candidate[-3:])
    assert [one.attempt for one in world.candidates()] == sorted({1, stood, 4})
    assert [blob in world.archive.texts for blob in logs] == [number in (1, stood, 4) for number in range(1, 5)]
    world.operate.candidates.rerun(world.candidate(image(0)).id, WHO).act()
    world.settle()
    assert world.candidate(image(0)).attempt == 5


def test_a_digest_that_returns_after_its_attempts_were_purged_is_not_examined_anew() -> None:
    world = World(with_gate(), keep=KEEP)
    world.push(TAG, image(0))
    world.next_item()
    gate = world.policy.gates["node"]
    check = TaskCheck(registry="base", task="base-import-node", values={"STRICT": "yes"})
    world.use(msgspec.structs.replace(world.policy, gates={"node": msgspec.structs.replace(gate, checks=(check,))}))
    world.settle()
    assert [one.state for one in world.candidates()] == [CandidateState.SUPERSEDED, CandidateState.PASSED]
    world.push(TAG, image(1))
    world.settle()
    world.clock.forward(100 * DAY)
    purge(world)
    runs = len(world.tasks.runs)
    world.push(TAG, image(0))
    world.settle()
    assert (world.candidate(image(0)).attempt, len(world.tasks.runs)) == (2, runs)
    assert world.stable_tag() == image(0)


def test_the_last_verdict_stays_though_later_attempts_came_to_none() -> None:
    world = with_history(2)
    world.operate.candidates.rerun(world.candidate(image(0)).id, WHO).act()
    world.operate.candidates.cancel(world.candidate(image(0)).id, WHO).act()
    world.settle()
    world.clock.forward(100 * DAY)
    purge(world)
    assert [one.state for one in world.candidates() if one.digest == image(0)] == [
        CandidateState.PASSED,
        CandidateState.CANCELED,
    ]
    assert world.operate.gates.roll_back("node", TAG, image(0), HoldUntil.LIFTED, WHO).effects


def test_rollouts_go_but_those_of_what_is_live_or_can_be_gone_back_to() -> None:
    world = with_history(30, with_gate(at_least=2, apps=True))
    assert len(world.rollouts()) == 30
    purge(world)
    kept = {rollout.image.digest for rollout in world.rollouts() if rollout.image}
    assert kept == {good.digest for good in world.app().good}
    oldest = list(world.app().good)[-1]
    assert world.operate.apps.redeploy("hello-world", oldest.tag, WHO).effects
    with pytest.raises(NotFound):
        world.operate.apps.redeploy("hello-world", "ct1", WHO)


def test_an_old_image_that_somebody_else_pushed_and_failed_is_not_deployed_again() -> None:
    world = with_history(1, with_gate(at_least=2, apps=True))
    world.containers.crashing.add("contoso.azurecr.io/hello-world:zz9")
    world.push("zz9", digest("foreign app"), registry="team", repository="hello-world")
    world.settle()
    before = world.rollouts()
    assert len(before) == 2
    world.clock.forward(100 * DAY)
    purge(world)
    world.settle()
    assert world.rollouts() == before


def test_ended_alarms_lifted_vetoes_and_answers_go_and_those_that_stand_stay() -> None:
    world = with_history(1, with_gate(apps=True))
    now = world.clock.now()
    for name, ended in (("over", now), ("stands", None)):
        for scope in ("gates/node", "apps/hello-world", "registries/public", "stalls"):
            alarm = Alarm(scope=scope, kind=AlarmKind.SECRET_EXPIRES, subject=name, words="w", plan="p", since=now)
            world.ledger.insert(msgspec.structs.replace(alarm, ended_at=ended))
    for name in ("banned", "lifted"):
        world.operate.vetoes.veto("node", digest(name), WHO).act()
    world.operate.vetoes.lift("node", digest("lifted"), WHO).act()
    for key in ("0a", "ff"):
        world.ledger.insert(IdempotentCall(key=key, call="c", actor="a", at=now, answer="{}"))
    world.clock.forward(8 * DAY)
    purge(world)
    assert [world.ledger.load(IdempotentCall, key[0], key) for key in ("0a", "ff")] == [None, None], "for a week"
    kept = [key for key in world.ledger.rows if key[0] in ("Alarm", "Veto")]
    world.clock.forward(30 * DAY)
    purge(world)
    gone = [key for key in kept if key not in world.ledger.rows]
    assert sorted({key[1] for key in gone if key[0] == "Alarm"}) == [
        "apps.hello-world", "gates.node", "registries.public", "stalls",
    ]  # fmt: skip
    assert all(key[2].endswith("over") for key in gone if key[0] == "Alarm")
    assert [key[2] for key in gone if key[0] == "Veto"] == [digest("lifted")[7:]]


def test_a_promotion_that_is_held_is_never_archived() -> None:
    world = with_history(1)
    world.operate.gates.hold("node", TAG, HoldUntil.LIFTED, WHO).act()
    for number in range(1, 4):
        world.push(TAG, image(number))
        world.settle()
    world.clock.forward(100 * DAY)
    purge(world)
    assert [one.state for one in world.promotions()[1:]] == [PromotionState.HELD] * 3
    world.operate.gates.lift("node", TAG, WHO).act()
    world.settle()
    assert world.stable_tag() == image(3)


# unique tags --------------------------------------------------------------------------------------------------------


def left_overs(world: World) -> list[str]:
    return [stored.record.unique for stored in world.ledger.list(LeftOver, "node")]


def uniques(world: World) -> list[str]:
    return [world.unique_tags(image(number))[0] for number in range(8) if world.unique_tags(image(number))]


def test_without_a_rule_left_over_unique_tags_are_listed_and_stay() -> None:
    world = with_history(8)
    before = dict(world.registry.tags)
    purge(world)
    assert left_overs(world) == [name.removeprefix("node:") for name in uniques(world)[:5]]
    assert world.registry.tags == before
    (gate,) = DriftQuery(world.services).drift().gates
    assert [one.unique for one in gate.left_over] == left_overs(world)
    purge(world)
    assert len(left_overs(world)) == 5
    world.push(TAG, image(0))
    world.settle()
    purge(world)
    assert "15-alpine-cb1" not in left_overs(world), "it is stood on again"


def test_by_the_rule_they_are_unlocked_and_then_deleted_but_for_what_can_be_gone_back_to() -> None:
    world = with_history(8, with_gate(keep="15d", at_least=2))
    names = uniques(world)
    result = purge(world)
    removed = [effect.subject for effect in result.effects if effect.what == "remove a unique tag"]
    assert removed == [f"contosobaseartifacts.azurecr.io/{name}" for name in names[:5]]
    assert uniques(world) == names[5:]
    assert world.registry.locked == {("base", name) for name in names[5:]}
    assert world.registry.unlocked == [image(number) for number in range(5)], "their manifests too"
    assert left_overs(world) == []
    assert purge(world).effects == ()


def removals_and_readings(days: int) -> tuple[int, int]:
    """How many unique tags a purge removes, and how often it lists promotions for that."""
    world, readings = with_history(days, with_gate(keep="15d", at_least=2)), list[type]()
    real = world.ledger.list

    def counted(kind: type[Any], partition: str, row_prefix: str = "") -> Iterator[Stored[Any]]:
        readings.append(kind)
        return real(kind, partition, row_prefix)

    world.ledger.list = counted  # type: ignore[method-assign]
    effects = purge(world).effects
    return [effect.what for effect in effects].count("remove a unique tag"), readings.count(Promotion)


def test_what_is_in_use_is_read_no_more_often_for_many_unique_tags_than_for_a_few() -> None:
    (few, readings), (many, readings_of_many) = removals_and_readings(5), removals_and_readings(12)
    assert (many > few > 0, readings_of_many) == (True, readings)


def test_the_tags_of_what_is_attached_to_a_digest_go_with_its_last_unique_tag() -> None:
    world = with_history(8, with_gate(keep="15d", at_least=2))
    named = {number: f"node:{image(number).replace(':', '-')}" for number in (0, 7)}
    for name in named.values():
        for suffix in ("", ".sig", ".att", ".sbom"):
            world.registry.tags["base", f"{name}{suffix}"] = digest(f"{name}{suffix}")
    purge(world)
    left = {name.partition(".")[0] for _, name in world.registry.tags if "sha256-" in name}
    assert left == {named[7]}


def attachments(world: World, number: int) -> list[str]:
    """Put tags of what is attached to an image, and return those."""
    names = [f"node:{image(number).replace(':', '-')}{suffix}" for suffix in ("", ".sig", ".att", ".sbom")]
    for name in names:
        world.registry.tags["base", name] = digest(name)
    return names


def test_what_is_attached_to_an_image_stays_if_its_unique_tag_cannot_be_unlocked() -> None:
    world = with_history(8, with_gate(keep="15d", at_least=2))
    names = attachments(world, 0)
    world.registry.lock_fault = Misconfigured("unlocking it: 403")
    purge(world)
    assert all(("base", name) in world.registry.tags for name in [*names, *world.unique_tags(image(0))])


def test_what_is_attached_to_a_digest_stays_if_another_tag_is_promoted_to_it_meanwhile() -> None:
    world = with_history(8)
    purge(world)
    names, (unique,) = attachments(world, 0), world.unique_tags(image(0))
    world.use(with_gate(keep="15d", at_least=2))

    def meanwhile(record: object) -> None:
        if isinstance(record, LeftOver) and record.removing and record.digest == image(0):
            world.ledger.before_save = None
            world.push("15.14", image(0))
            world.settle()

    world.ledger.before_save = meanwhile
    purge(world)
    assert world.stable_tag("15.14") == image(0)
    assert ("base", unique) not in world.registry.tags, "this one is not used"
    assert all(("base", name) in world.registry.tags for name in names)
    assert image(0) not in world.registry.unlocked


def test_what_is_left_to_go_back_to_still_is_when_the_tag_was_rolled_back() -> None:
    world = with_history(8, with_gate(keep="15d", at_least=2))
    world.operate.gates.roll_back("node", TAG, image(3), HoldUntil.LIFTED, WHO).act()
    world.settle()
    names = uniques(world)
    purge(world)
    assert uniques(world) == names[1:4] + names[6:]
    (warning,) = world.operate.vetoes.veto("node", image(3), WHO).warnings
    assert str(image(2)) in warning


def test_a_digest_that_may_not_stand_again_does_not_count_as_one_to_go_back_to() -> None:
    world = with_history(8, with_gate(keep="15d", at_least=1))
    for number in (5, 6):
        world.operate.vetoes.veto("node", image(number), WHO).act()
    names = uniques(world)
    purge(world)
    assert names[4] in uniques(world)
    assert str(image(4)) in world.operate.vetoes.veto("node", image(7), WHO).warnings[0]


def test_a_base_that_is_live_keeps_its_unique_tag() -> None:
    world = with_history(2, with_gate(keep="15d", at_least=1, apps=True))
    world.containers.faults = [Misconfigured("no role")] * 500
    for number in range(2, 8):
        world.push(TAG, image(number))
        world.settle()
        world.clock.forward(10 * DAY)
    live = world.app().live
    assert live
    assert live.base
    assert live.base.digest == image(1)
    purge(world)
    assert world.unique_tags(image(1))
    assert not world.unique_tags(image(3))


def test_a_unique_tag_that_is_stood_on_again_or_is_another_digest_is_only_forgotten() -> None:
    world = with_history(8)
    purge(world)
    names = uniques(world)
    world.use(with_gate(at_least=3))
    world.push(TAG, image(0))
    world.settle()
    world.registry.tags["base", names[1]] = digest("foreign")
    del world.registry.tags["base", names[2]]
    before = dict(world.registry.tags)
    world.use(with_gate(keep="15d", at_least=3))
    purge(world)
    gone = {("base", name) for name in names[3:5]}
    assert world.registry.tags == {name: content for name, content in before.items() if name not in gone}
    assert left_overs(world) == []


def test_promotions_whose_unique_tags_were_released_are_archived_with_one_list_of_tags() -> None:
    world = with_history(12, with_gate(keep="1d", at_least=2), days=2)
    purge(world)
    assert len([one for one in world.promotions() if not one.unique]) > 5
    real, lists = world.registry.newest_tags, list[str]()

    def counted(registry: RegistryRule, repository: str, limit: int) -> list[TagPush]:
        lists.append(repository)
        return real(registry, repository, limit)

    world.clock.forward(2 * KEEP.total_seconds())
    world.registry.newest_tags = counted  # type: ignore[method-assign]
    purge(world)
    assert len(numbers(world)) < 5
    assert lists == ["node"]


@pytest.mark.parametrize("save", range(1, 41))
@pytest.mark.parametrize("first", ["sweep", "promotion"])
def test_a_left_over_unique_tag_is_used_again_or_removed_and_never_both(first: str, save: int) -> None:
    world, saves = with_history(8), iter(range(1, 10_000))
    purge(world)
    world.push(TAG, image(0))
    world.use(with_gate(keep="15d", at_least=2))

    def other(record: object) -> None:
        if next(saves) == save:
            world.ledger.before_save = None
            world.settle() if first == "sweep" else purge(world)

    world.ledger.before_save = other
    purge(world) if first == "sweep" else world.settle()
    world.ledger.before_save = None
    world.settle()
    purge(world)
    world.settle()
    (name,) = world.unique_tags(image(0))
    assert world.stable_tag(TAG) == image(0)
    assert ("base", name) in world.registry.locked
    assert world.promotion().unique == name.partition(":")[2]
    assert name.partition(":")[2] not in left_overs(world)


def test_a_left_over_unique_tag_whose_removal_died_half_way_is_not_used_again() -> None:
    world = with_history(8)
    purge(world)
    (name,) = world.unique_tags(image(0))
    (stored,) = [one for one in world.ledger.list(LeftOver, "node") if one.record.digest == image(0)]
    world.ledger.save(stored, msgspec.structs.replace(stored.record, removing=True))
    world.push(TAG, image(0))
    world.settle()
    assert world.stable_tag(TAG) == image(0)
    assert world.promotion().unique != name.partition(":")[2]
    world.use(with_gate(keep="15d", at_least=2))
    purge(world)
    assert world.unique_tags(image(0)) == [f"node:{world.promotion().unique}"]


def test_a_unique_tag_that_is_copied_again_while_its_removal_is_repeated_is_not_removed() -> None:
    world = with_history(8)
    purge(world)
    (name,) = world.unique_tags(image(0))
    (stored,) = [one for one in world.ledger.list(LeftOver, "node") if one.record.digest == image(0)]
    world.ledger.save(stored, msgspec.structs.replace(stored.record, removing=True))  # by one that died after the rest:
    del world.registry.tags["base", name]
    world.registry.locked.discard(("base", name))
    world.use(with_gate(keep="15d", at_least=2))
    real = world.registry.digest_of

    def meanwhile(registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        if f"{repository}:{tag}" == name:
            world.registry.digest_of = real  # type: ignore[method-assign]
            world.push(TAG, image(0))
            world.settle()
        return real(registry, repository, tag)

    world.registry.digest_of = meanwhile  # type: ignore[method-assign]
    purge(world)
    assert (world.stable_tag(TAG), world.promotion().unique) == (image(0), name.partition(":")[2])
    assert world.unique_tags(image(0)) == [name]


@pytest.mark.parametrize("ends", ["the role is missing", "the rule has gone"])
def test_a_left_over_unique_tag_that_is_not_removed_after_all_can_be_used_again(ends: str) -> None:
    world = with_history(8)
    purge(world)
    (name,) = world.unique_tags(image(0))
    if ends == "the role is missing":
        world.use(with_gate(keep="15d", at_least=2))
        world.registry.remove_fault = Misconfigured("AcrDelete is missing")
    else:
        (stored,) = [one for one in world.ledger.list(LeftOver, "node") if one.record.digest == image(0)]
        world.ledger.save(stored, msgspec.structs.replace(stored.record, removing=True))
    world.sweep_now(at_once=True)
    assert not any(stored.record.removing for stored in world.ledger.list(LeftOver, "node"))
    world.push(TAG, image(0))
    world.settle()
    assert (world.stable_tag(TAG), world.promotion().unique) == (image(0), name.partition(":")[2])
    assert ("base", name) in world.registry.locked


def test_a_rule_that_keeps_longer_than_the_ledger_is_kept_to() -> None:
    world = with_history(8, with_gate(keep="60d", at_least=1))
    purge(world)
    assert numbers(world) == [7, 8]
    assert (len(left_overs(world)), len(uniques(world))) == (3, 5)


def test_a_refused_deletion_is_one_alarm_with_its_remedy_and_over_when_the_role_is_there() -> None:
    world = with_history(8, with_gate(keep="15d", at_least=2))
    world.registry.remove_fault = Misconfigured("removing it: 403", remedy="give the app AcrDelete")
    before = len(uniques(world))
    for _ in range(2):
        purge(world)
    standing = [one.record for one in world.ledger.list(Alarm, "gates.node") if one.record.is_active]
    assert [alarm.kind for alarm in standing] == [AlarmKind.NOT_REMOVED]
    assert "give the app AcrDelete" in standing[0].plan
    assert len(uniques(world)) == before
    world.registry.remove_fault = None
    purge(world)
    assert len(uniques(world)) == before - 5
    assert [one for one in world.ledger.list(Alarm, "gates.node") if one.record.is_active] == []


# dying half-way, resuming, dry runs ---------------------------------------------------------------------------------


class Dying:
    """Kills the process at the n-th outside call that changes something."""

    def __init__(self, world: World, at: int) -> None:
        self.left = at
        for port, methods in (
            (world.ledger, ("_commit", "purge")),
            (world.archive, ("store", "remove")),
            (world.registry, ("unlock", "remove_tag")),
        ):
            for name in methods:
                setattr(port, name, self._counted(getattr(port, name)))

    def _counted(self, method: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise ProcessDied
            answer = method(*arguments)
            self.left -= 1
            if self.left == 0:
                raise ProcessDied
            return answer

        return call


def end_of(world: World) -> tuple[Any, ...]:
    rows = sorted(key for key in world.ledger.rows if key[0] not in ("Alarm", "SweepRecord", "UpstreamRecord"))
    return rows, sorted(world.ledger.lines), sorted(world.registry.tags), sorted(world.archive.texts)


def test_a_purge_that_dies_at_any_call_ends_as_one_that_does_not() -> None:
    def world_with_all() -> World:
        world = with_history(8, with_gate(keep="15d", at_least=2))
        world.operate.candidates.rerun(world.candidate(image(7)).id, WHO).act()
        world.settle()
        world.clock.forward(40 * DAY)
        return world

    whole = world_with_all()
    purge(whole)
    whole.clock.forward(2 * DAY)
    purge(whole)
    died = 0
    for at in range(1, 200, 3):
        world = world_with_all()
        dying = Dying(world, at)
        try:
            world.sweep_now(at_once=True)
        except ProcessDied:
            died += 1
        dying.left = 10**9
        world.restart()
        world.clock.forward(2 * DAY)
        for _ in range(2):
            purge(world)
        assert end_of(world) == end_of(whole), f"died at call {at}"
    assert died > 20


def test_a_round_goes_on_where_it_was() -> None:
    world, whole = with_history(8), with_history(8)
    purge(whole)
    for _ in range(40):
        world.sweep.run(world.clock.now())
    assert end_of(world) == end_of(whole)


def test_a_dry_run_writes_nothing_and_says_what_would_go() -> None:
    world = with_history(8, with_gate(keep="5d", at_least=1), days=5)
    before = end_of(world)
    removed = world.sweep_now(dry_run=True).effects
    assert end_of(world) == before
    assert {effect.what for effect in removed} >= {"archive", "release the unique tag"}


def test_what_was_changed_meanwhile_stays() -> None:
    world = with_history(8)

    def rolled_back(record: Any) -> None:
        if isinstance(record, Promotion):
            world.ledger.before_save = None
            world.operate.gates.roll_back("node", TAG, image(0), HoldUntil.LIFTED, WHO).act()

    world.ledger.before_save = rolled_back
    purge(world)
    assert numbers(world) == list(range(1, 9)), "the stable tag has moved to one of them"
    purge(world)
    assert 1 in numbers(world)
    assert world.stable().digest == image(0)


# one answer before and after ----------------------------------------------------------------------------------------


def responses(world: World) -> Iterator[object]:
    """What is answered about everything that is current, and planned by every operation."""
    queries, do = Queries(world.services), Operate(world.services)
    yield queries.status()
    stables = [stored.record for stored in world.ledger.list(StableTag, "node")]
    observed = [stored.record for stored in world.ledger.list(Observation, "node")]
    for content in sorted({d for d in (*(one.digest for one in stables), *(one.digest for one in observed)) if d}):
        yield queries.candidate(f"node.{content[7:]}")
        yield plan(do.candidates.rerun, f"node.{content[7:]}", WHO)
        canceled = plan(do.candidates.cancel, f"node.{content[7:]}", WHO)
        yield "refused" if isinstance(canceled, str) else canceled  # the words may be about a move of long ago
        yield plan(do.vetoes.veto, "node", content, WHO)
    for stable in stables:
        yield plan(do.gates.hold, "node", stable.tag, HoldUntil.LIFTED, WHO)
        yield plan(do.gates.lift, "node", stable.tag, WHO)
    yield plan(do.apps.roll_back, "hello-world", WHO)
    for good in read(world.ledger, AppRecord(app="hello-world")).good:
        yield plan(do.apps.redeploy, "hello-world", good.digest, WHO)
    yield [effect for effect in world.sweep_now(dry_run=True).effects if effect.what != "purge"]
    yield DriftQuery(world.services).drift()


def plan(operation: Any, *arguments: Any) -> object:
    try:
        return operation(*arguments).effects
    except BasegateError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(40))
def test_after_a_purge_everything_that_is_current_answers_as_before(seed: int) -> None:
    random = Random(seed)
    world = World(with_gate(at_least=random.choice((1, 2, 5)), apps=random.random() < 0.5), keep=KEEP)
    contents = [digest(f"content {number}") for number in range(6)]
    for content in contents[4:]:
        world.tasks.failing[content] = "ERROR: no"
    for _ in range(random.randint(10, 40)):
        something_happens(world, random, contents)
        world.settle()
        world.clock.forward(random.choice((0.1, 1, 5, 20)) * DAY)
    world.clock.forward(random.choice((0, 15, 100)) * DAY)
    for _ in range(3):
        run_jobs(world, purging=False)
        world.settle()
        world.clock.forward(600)
    before, attempts = list(responses(world)), {one.digest: one.attempt for one in world.candidates()}
    sequences = {one.record.tag: one.record.sequence for one in world.ledger.list(Observation, "node")}
    for _ in range(2):
        run_jobs(world, purging=True)
    after = list(responses(world))
    for one, other in zip(before, after, strict=True):
        assert without_left_over(other) == without_left_over(one)
    assert {one.digest: one.attempt for one in world.candidates()} == attempts
    for tag, sequence in sequences.items():
        world.push(tag, digest(f"new {tag}"))
        world.settle()
        assert world.promotion(tag).sequence == sequence + 1


def something_happens(world: World, random: Random, contents: list[Digest]) -> None:
    """A push, or an operator."""
    tag, content, do = random.choice((TAG, TAG, "15.14", "15.15")), random.choice(contents), world.operate
    match random.choices(("push", "rerun", "back", "veto", "lift veto", "lift"), (12, 2, 2, 1, 1, 2))[0]:
        case "push":
            world.push(tag, content)
        case "rerun":
            plan_and_act(lambda: do.candidates.rerun(random.choice(world.candidates()).id, WHO))
        case "back":
            plan_and_act(lambda: do.gates.roll_back("node", tag, content, HoldUntil.LIFTED, WHO))
        case "veto":
            plan_and_act(lambda: do.vetoes.veto("node", content, WHO))
        case "lift veto":
            plan_and_act(lambda: do.vetoes.lift("node", content, WHO))
        case _:
            plan_and_act(lambda: do.gates.lift("node", tag, WHO))


def run_jobs(world: World, *, purging: bool) -> None:
    """A sweep of the purge jobs alone, or of all others."""
    for job in jobs_of(world.services):
        if isinstance(job, PurgeJob) is purging:
            assert world.sweep.run_job(job, world.clock.now() + timedelta(hours=1), at_once=True).problem == ""


def plan_and_act(make: Any) -> None:
    try:
        make().act()
    except (BasegateError, IndexError):
        return


def without_left_over(answer: object) -> object:
    """Drift without what a purge is there to say, and effects without the purge's own."""
    if hasattr(answer, "gates") and hasattr(answer, "stalls"):
        gates = tuple(msgspec.structs.replace(gate, left_over=()) for gate in answer.gates)
        return msgspec.structs.replace(answer, gates=gates)  # type: ignore[type-var]
    if isinstance(answer, list):
        return [effect for effect in answer if effect.what != "archive"]
    return answer


# the ledger ---------------------------------------------------------------------------------------------------------


def test_a_record_is_removed_as_it_was_read_or_not_at_all() -> None:
    world = with_history(2)
    stored = world.ledger.load(Promotion, "node", world.promotions()[0].row)
    other = world.ledger.load(Promotion, "node", world.promotions()[1].row)
    assert stored
    assert other
    world.ledger.save(stored, stored.record)
    with pytest.raises(Conflict):
        world.ledger.commit(removal(stored), removal(other))
    assert len(world.promotions()) == 2
    with pytest.raises(Malformed):
        world.ledger.commit(removal(other), removal(other))


def test_open_records_of_any_age_stay() -> None:
    world = with_history(1, with_gate(at_least=2, apps=True))
    world.tasks.start_fault = Retry("no task starts")
    for number in range(1, 6):
        world.push(TAG, image(number))
        world.settle()
    world.clock.forward(500 * DAY)
    records = [stored.record for kind, at in ((Candidate, "node"), (Promotion, "node"), (Rollout, "hello-world"))
               for stored in world.ledger.list(kind, at)]  # fmt: skip
    is_open = [record for record in records if isinstance(record, Record) and not record.settled]
    assert is_open
    purge(world)
    for record in is_open:
        assert world.ledger.load(type(record), record.partition, record.row), record.id


def test_a_veto_that_stands_outlives_everything() -> None:
    world = with_history(1)
    world.operate.vetoes.veto("node", digest("banned"), WHO).act()
    world.clock.forward(5000 * DAY)
    purge(world)
    assert [one.record.digest for one in world.ledger.list(Veto, "contosobaseartifacts.azurecr.io|node")] == [
        digest("banned")
    ]


@pytest.mark.parametrize("letter", ["x", "ü", "😀"])
def test_the_longest_record_fits_in_a_row(letter: str) -> None:
    """A hundred lines of history at their longest, and ten checks that said as much as is kept of a run."""
    world, long = with_history(1), letter * 2000
    stored = world.ledger.load(Candidate, "node", world.candidates()[0].row)
    assert stored
    record = stored.record
    for number in range(300):
        record = record.noting(world.clock.now(), f"{number} {long}", long)
    lines = tuple(letter * 300 for _ in range(15))
    check = msgspec.structs.replace(record.checks[0], reason=letter * 300, evidence=Evidence(log_tail=lines))
    world.ledger.save(stored, msgspec.structs.replace(record, checks=(check,) * 10, reason=long))
    assert len(world.candidates()[0].history) == 100


def test_a_stable_tag_that_was_moved_to_what_is_archived_is_put_back() -> None:
    world = with_history(8)
    purge(world)
    assert 1 not in numbers(world)
    world.registry.tags["base", f"node:{TAG}"] = image(0)
    world.sweep_now()
    assert world.stable_tag() == image(7)


def test_promotions_of_a_tag_whose_observation_was_purged_are_still_found() -> None:
    """Also once a hint has asked for the tag in vain: then there is an observation again, without a number."""
    world = with_history(4)
    world.operate.gates.roll_back("node", TAG, image(0), HoldUntil.LIFTED, WHO).act()
    stored = world.ledger.load(Observation, "node", TAG)
    assert stored
    for blank in (None, Observation(gate="node", tag=Tag(TAG), hinted_at=world.clock.now())):
        present = world.ledger.load(Observation, "node", TAG)
        if present:
            world.ledger.commit(removal(present))
            world.ledger.insert(Numbers(gate="node", sequence=4))
        if blank:
            world.ledger.insert(blank)
        found = [one.record.sequence for one in newest_promotions(world.ledger, "node", TAG)]
        assert found == [4, 3, 2, 1]
        assert [one.record.sequence for one in newest_promotions(world.ledger, "node", TAG, 2)] == [4, 3]
