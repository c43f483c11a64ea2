"""The sweep and the upstream: what no event reported is observed once, and what is known is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import msgspec
import pytest

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import CandidateState, FoundBy
from shared.domain.errors import BasegateError, Conflict, Malformed, Misconfigured, Retry, Throttled, Unreachable
from shared.domain.image import Digest, short
from shared.domain.observation import Observation
from shared.domain.policy import Policy, RegistryRule, Source
from shared.domain.promotion import PromotionState
from shared.domain.stable_tag import HoldUntil
from shared.domain.sweep import SweepRecord
from shared.intake.upstreams import UpstreamRecord
from shared.operations import Who
from shared.queries.drift import DriftQuery
from shared.sweep.job import JobRun, SweepJob, one_by_one
from shared.sweep.jobs.upstream import NEW_DIGESTS_A_ROUND
from shared.sweep.sweep import JobState, Sweep, SweepResult
from tests.fakes import World, digest, sample_policy

ORANGE, GREEN, BLUE = digest("orange"), digest("green"), digest("blue")
WHO = Who.of("ada", "a quiet weekend")
PERIOD = 300.0


def tracking(*tags: str, watch: int = 0, per_minute: int = 0) -> Policy:
    """The sample rules, with other tags of the source."""
    policy = sample_policy()
    gate = policy.gates["node"]
    source = Source(registry="public", repository="node", tags=tags)
    public = msgspec.structs.replace(policy.registries["public"], interval=f"{watch}s", requests_per_minute=per_minute)
    return msgspec.structs.replace(
        policy,
        gates={"node": msgspec.structs.replace(gate, source=source)},
        registries={**policy.registries, "public": public},
    )


@pytest.fixture
def world() -> World:
    return World(tracking("15-alpine"))


def upstream(world: World, tag: str, content: str) -> None:
    """A push whose event never comes."""
    world.registry.tags[("public", f"node:{tag}")] = digest(content)


def swept(world: World) -> SweepRecord:
    stored = world.ledger.load(SweepRecord, "sweep", "upstream.node")
    assert stored
    return stored.record


def alarms(world: World) -> list[Alarm]:
    return [stored.record for stored in world.ledger.list(Alarm, "gates.node") if stored.record.is_active]


def test_a_push_that_no_event_reported_goes_all_the_way(world: World) -> None:
    upstream(world, "15-alpine", "green")
    world.sweep_now()
    world.settle()
    candidate = world.candidate(GREEN)
    assert (candidate.state, candidate.found_by) == (CandidateState.PASSED, FoundBy.SWEEP)
    assert "by sweep" in candidate.history[0].why
    assert world.promotion().state is PromotionState.PROMOTED
    assert world.stable_tag() == GREEN


def test_what_an_event_reported_is_not_found_again(world: World) -> None:
    world.push("15-alpine", GREEN)
    world.settle()
    result = world.sweep_now()
    assert [effect.what for effect in result.effects] == []
    assert len(world.candidates()) == 1


def test_the_event_of_a_push_that_the_sweep_found_first_changes_nothing(world: World) -> None:
    event = world.event("15-alpine", GREEN)
    upstream(world, "15-alpine", "green")
    world.clock.forward(5)
    world.sweep_now()
    world.deliver(event)
    world.settle()
    assert (len(world.candidates()), len(world.promotions())) == (1, 1)


def test_a_late_event_of_an_older_push_does_not_overtake_what_the_sweep_found(world: World) -> None:
    late = world.event("15-alpine", ORANGE)
    upstream(world, "15-alpine", "green")
    world.clock.forward(60)
    world.sweep_now()
    world.settle()
    world.deliver(late)
    world.settle()
    assert world.stable_tag() == GREEN


def came_back(world: World) -> World:
    """Orange, then green, are promoted; then upstream is orange again, and no event says so."""
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
        world.clock.forward(60)
    upstream(world, "15-alpine", "orange")
    return world


def test_a_return_to_an_earlier_digest_is_believed_when_it_is_read_again_after_an_interval(world: World) -> None:
    came_back(world).sweep_now()
    assert world.observation().doubted == ORANGE
    world.settle()
    assert world.stable_tag() == GREEN
    world.clock.forward(PERIOD)
    world.sweep_now()
    world.settle()
    assert world.stable_tag() == ORANGE
    assert [candidate.attempt for candidate in world.candidates()] == [1, 1]


def test_an_earlier_digest_that_a_lagging_replica_answers_once_is_forgotten(world: World) -> None:
    came_back(world).sweep_now()
    upstream(world, "15-alpine", "green")
    world.clock.forward(PERIOD)
    world.sweep_now()
    assert (world.observation().doubted, len(world.promotions())) == (None, 2)


def test_a_tag_that_flaps_is_an_alarm_until_it_stays(world: World) -> None:
    came_back(world)
    for content in ("orange", "green", "orange"):
        world.push("15-alpine", digest(content))
        world.settle()
    upstream(world, "15-alpine", "green")
    for _ in range(2):
        world.clock.forward(PERIOD)
        world.sweep_now()
    flaps = [one for one in alarms(world) if one.kind is AlarmKind.TAG_FLAPS]
    assert [alarm.words for alarm in flaps] == [
        f"publicregistry.azurecr.io/node:15-alpine keeps returning to earlier digests:"
        f" {short(ORANGE)} stays, {short(GREEN)} is not believed"
    ]
    assert world.observation().digest == ORANGE
    world.clock.forward(3600)
    world.sweep_now()
    assert world.observation().digest == GREEN
    assert not [one for one in alarms(world) if one.kind is AlarmKind.TAG_FLAPS]


def test_a_tag_that_is_gone_is_believed_gone_by_the_second_sweep_and_goes_on_when_it_is_back(world: World) -> None:
    upstream(world, "15-alpine", "green")
    world.sweep_now()
    del world.registry.tags[("public", "node:15-alpine")]
    for absent in (False, True):
        world.clock.forward(PERIOD)
        world.sweep_now()
        assert world.observation().absent is absent
    world.settle()
    assert (world.promotion().state, world.stable_tag()) == (PromotionState.WITHDRAWN, None)
    upstream(world, "15-alpine", "green")
    world.clock.forward(PERIOD)
    world.sweep_now()
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_digest_that_failed_is_not_examined_again_by_every_sweep(world: World) -> None:
    world.tasks.failing["node@"] = "not this one"
    world.push("15-alpine", GREEN)
    world.settle()
    for _ in range(3):
        world.clock.forward(PERIOD)
        assert world.sweep_now().effects == ()
    assert len(world.tasks.runs) == 1


def test_a_rollback_is_not_undone_by_a_sweep(world: World) -> None:
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
        world.clock.forward(60)
    world.operate.gates.roll_back("node", "15-alpine", ORANGE, HoldUntil.NEWER, WHO).act()
    world.settle()
    for _ in range(3):
        world.clock.forward(PERIOD)
        world.sweep_now()
        world.settle()
    assert world.stable_tag() == ORANGE
    upstream(world, "15-alpine", "blue")
    world.sweep_now()
    world.settle()
    assert world.stable_tag() == BLUE


def test_a_vetoed_digest_that_a_sweep_finds_is_not_promoted(world: World) -> None:
    world.operate.vetoes.veto("node", GREEN, WHO).act()
    upstream(world, "15-alpine", "green")
    world.sweep_now()
    world.settle()
    assert world.promotion().state is PromotionState.VETOED
    assert world.stable_tag() is None


def test_a_new_tag_of_a_known_digest_is_promoted_too() -> None:
    world = World(tracking("15-alpine", "15.14"))
    world.push("15-alpine", GREEN)
    world.settle()
    upstream(world, "15.14", "green")
    world.clock.forward(60)
    world.sweep_now()
    world.settle()
    assert world.stable_tag("15.14") == GREEN


def test_a_sweep_with_nothing_new_asks_once_a_tag_and_writes_no_observation() -> None:
    names = [f"15.{number}" for number in range(450)]
    world = World(tracking(*names))
    for name in names:
        upstream(world, name, "green")
    world.sweep_now()
    world.settle(limit=20_000)
    world.sweep_now()
    before = {key: row for key, row in world.ledger.rows.items() if key[0] == "Observation"}
    world.tags.asked.clear()
    result = world.sweep_now()
    assert sorted(asked for asked in world.tags.asked if asked.startswith("public/")) == sorted(
        f"public/node:{name}" for name in names
    )
    assert {key: row for key, row in world.ledger.rows.items() if key[0] == "Observation"} == before
    assert result.effects == ()


def test_patterns_are_looked_for_among_all_tags_of_the_repository() -> None:
    world = World(tracking("15.*"))
    for name in ("15.1", "15.2", "16.0"):
        upstream(world, name, name)
    world.sweep_now()
    assert sorted(promotion.tag for promotion in world.promotions()) == ["15.1", "15.2"]


def test_a_widened_rule_does_not_start_a_thousand_runs_at_once() -> None:
    names = [f"15.{number:04}" for number in range(600)]
    world = World(tracking(*names))
    for name in names:
        upstream(world, name, name)
    result = world.sweep_now()
    assert result.jobs[0].state is JobState.WAITS
    admitted = len(world.candidates())
    assert NEW_DIGESTS_A_ROUND <= admitted < 600
    world.sweep_now()
    assert len(world.candidates()) > admitted


def test_a_sweep_that_is_killed_goes_on_where_it_was() -> None:
    names = [f"15.{number:04}" for number in range(600)]
    world = World(tracking(*names))
    for name in names:
        upstream(world, name, "green")
    world.sweep.run(world.clock.now())  # no time at all: one batch
    assert swept(world).after == names[199]
    world.tags.asked.clear()
    world.restart()
    world.clock.forward(PERIOD)
    world.sweep_now()
    assert world.tags.asked[0] == f"public/node:{names[200]}"
    assert swept(world).under_way is False


def test_two_sweeps_at_once_do_not_sweep_the_same(world: World) -> None:
    upstream(world, "15-alpine", "green")
    record = SweepRecord(job="upstream.node").leased("another", world.clock.now())
    world.ledger.insert(record)
    assert world.sweep_now().jobs[0].state is JobState.TAKEN
    world.clock.forward(PERIOD)  # the other one has died
    assert world.sweep_now().jobs[0].state is JobState.DONE
    assert len(world.candidates()) == 1


class SlowJob(SweepJob):
    """Each batch takes some seconds; `meanwhile` is called before the next one."""

    def __init__(self, world: World, seconds: float, meanwhile: Callable[[], object]) -> None:
        super().__init__(world.services, "slow", "slow")
        self._world, self._seconds, self._meanwhile = world, seconds, meanwhile

    def batches(self, run: JobRun) -> Iterator[str]:
        for name in "abcd":
            self._world.clock.forward(self._seconds)
            yield name
            self._meanwhile()


def other_sweep(world: World) -> SweepResult:
    """What another worker does with the same job."""
    job = SlowJob(world, 0.0, lambda: None)
    return Sweep(world.services, one_by_one, lambda services: [job]).run(world.clock.now() + timedelta(minutes=4))


@pytest.mark.parametrize(("seconds", "writes"), [(1.0, 1), (10.0, 5)])
def test_a_job_writes_its_row_each_ten_seconds_and_at_its_end(world: World, seconds: float, writes: int) -> None:
    job = SlowJob(world, seconds, lambda: None)
    written = list[SweepRecord]()
    world.ledger.before_save = written.append
    assert world.sweep.run_job(job, world.clock.now() + timedelta(minutes=4)).state is JobState.DONE
    assert len(written) == writes


def test_a_job_that_takes_long_is_left_to_its_worker(world: World) -> None:
    others = list[JobState]()
    job = SlowJob(world, 11.0, lambda: others.append(other_sweep(world).jobs[0].state))
    assert world.sweep.run_job(job, world.clock.now() + timedelta(minutes=4)).state is JobState.DONE
    assert others == [JobState.TAKEN] * 4


def test_of_two_workers_in_the_same_seconds_the_second_to_write_gives_way(world: World) -> None:
    others = list[JobState]()
    job = SlowJob(world, 1.0, lambda: others.append(other_sweep(world).jobs[0].state))
    assert world.sweep.run_job(job, world.clock.now() + timedelta(minutes=4)).state is JobState.TAKEN
    assert others[0] is JobState.DONE
    stored = world.ledger.load(SweepRecord, "sweep", "slow")
    assert stored and not stored.record.under_way


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(world: World) -> None:
    upstream(world, "15-alpine", "green")
    rows = dict(world.ledger.rows)
    result = world.sweep_now(dry_run=True)
    assert [effect.what for effect in result.effects] == ["examine, new digest"]
    assert (world.ledger.rows, world.queue.waiting, world.announcer.announced) == (rows, [], [])


def test_one_upstream_that_is_down_is_left_alone_longer_each_time(world: World) -> None:
    world.tags.faults["public"] = Unreachable("publicregistry.azurecr.io is away")
    assert world.sweep_now().jobs[0].state is JobState.FAILED
    asked = len([name for name in world.tags.asked if name.startswith("public/")])
    assert world.sweep_now().jobs[0].state is JobState.WAITS
    assert len([name for name in world.tags.asked if name.startswith("public/")]) == asked
    world.clock.forward(61)
    assert world.sweep_now().jobs[0].state is JobState.FAILED
    world.clock.forward(61)
    assert world.sweep_now().jobs[0].state is JobState.WAITS
    world.tags.faults.clear()
    world.clock.forward(61)
    assert world.sweep_now().jobs[0].state is JobState.DONE
    stored = world.ledger.load(UpstreamRecord, "upstream", "publicregistry.azurecr.io")
    assert stored and (stored.record.failures, stored.record.paused_until) == (0, None)


def test_what_the_registry_asks_for_counts_where_it_is_longer(world: World) -> None:
    world.tags.faults["public"] = Throttled("too many requests", delay_seconds=900)
    world.sweep_now()
    stored = world.ledger.load(UpstreamRecord, "upstream", "publicregistry.azurecr.io")
    assert stored and stored.record.seconds_left(world.clock.now()) == 900


def test_no_more_requests_are_sent_in_a_minute_than_the_rule_allows() -> None:
    world = World(tracking(*[f"15.{number}" for number in range(30)], per_minute=10))
    for number in range(30):
        upstream(world, f"15.{number}", "green")
    for expected in (8, 8, 8, 6):  # a quarter of the pace is for hints
        world.tags.asked.clear()
        result = world.sweep_now()
        assert len([name for name in world.tags.asked if name.startswith("public/")]) == expected
        assert result.jobs[0].state in (JobState.WAITS, JobState.DONE)
        world.clock.forward(61)


def test_a_repository_is_left_alone_between_two_readings_as_the_rule_says() -> None:
    world = World(tracking("15-alpine", watch=900))
    upstream(world, "15-alpine", "green")
    world.sweep_now()
    world.clock.forward(600)
    assert world.sweep_now().jobs[0].state is JobState.NOT_DUE
    assert world.sweep_now(at_once=True).jobs[0].state is JobState.DONE


def test_a_tracked_tag_that_is_not_there_is_announced_once_and_again_when_it_is_back(world: World) -> None:
    world.sweep_now()
    world.sweep_now()
    assert world.announcer.names == ["DriftFound"]
    alarm = next(stored.record for stored in world.ledger.list(Alarm, "gates.node"))
    assert alarm.words == "there is no publicregistry.azurecr.io/node:15-alpine"
    upstream(world, "15-alpine", "green")
    world.sweep_now()
    assert world.announcer.names == ["DriftFound", "DriftResolved"]


def test_an_alarm_that_was_not_heard_is_announced_again(world: World) -> None:
    world.announcer.fault = Retry("the topic is away")
    world.sweep_now()
    world.announcer.fault = None
    world.settle()
    assert world.announcer.names == ["DriftFound"]


def test_a_registry_that_lets_nobody_in_is_one_alarm_however_many_tags_there_are() -> None:
    world = World(tracking("15.1", "15.2", "15.3"))
    world.tags.faults["public"] = Misconfigured("publicregistry.azurecr.io refuses access")
    world.sweep_now()
    assert [alarm.words for alarm in alarms(world)] == ["publicregistry.azurecr.io refuses access"]
    world.tags.faults.clear()
    world.clock.forward(61)
    for tag in ("15.1", "15.2", "15.3"):
        upstream(world, tag, tag)
    world.sweep_now()
    assert world.announcer.names == ["DriftFound", "DriftResolved"]


def test_how_changes_became_known_is_counted(world: World) -> None:
    world.push("15-alpine", ORANGE)
    world.settle()
    world.sweep_now()
    world.clock.forward(PERIOD)
    world.push("15-alpine", GREEN)
    world.settle()
    world.sweep_now()
    upstream(world, "15-alpine", "blue")
    world.clock.forward(PERIOD)
    world.sweep_now()
    assert (world.observation().by_event, world.observation().by_sweep) == (1, 1)
    assert PERIOD <= swept(world).recovery_seconds < PERIOD + 60


def test_one_digest_under_many_new_tags_is_one_new_digest() -> None:
    names = [f"15.{number:04}" for number in range(120)]
    world = World(tracking(*names))
    for name in names:
        upstream(world, name, "green")
    assert world.sweep_now().jobs[0].state is JobState.DONE
    assert (len(world.candidates()), len(world.promotions())) == (1, 120)


def test_a_tag_that_another_worker_observed_meanwhile_is_read_again(world: World) -> None:
    upstream(world, "15-alpine", "green")
    world.sweep_now()
    upstream(world, "15-alpine", "blue")

    def interfere(record: object) -> None:
        if isinstance(record, Observation):
            world.ledger.before_save = None
            raise Conflict("another worker was faster")

    world.ledger.before_save = interfere
    assert world.sweep_now().jobs[0].state is JobState.DONE
    world.settle()
    assert world.stable_tag() == BLUE


def test_a_tag_that_the_registry_cannot_serve_keeps_no_other_from_being_read() -> None:
    world = World(tracking("15.1", "15.2", "15.3"))
    for tag in ("15.1", "15.2", "15.3"):
        upstream(world, tag, tag)
    honest = world.tags.digest_of

    def odd(registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        if tag == "15.2":
            raise Retry(f"reading {tag}: the registry answers 500")
        return honest(registry, repository, tag)

    world.tags.digest_of = odd  # type: ignore[method-assign]
    result = world.sweep_now()
    assert result.jobs[0].state is JobState.DONE
    assert sorted(promotion.tag for promotion in world.promotions()) == ["15.1", "15.3"]
    assert [(alarm.subject, alarm.words) for alarm in alarms(world)] == [
        ("15.2", "reading 15.2: the registry answers 500")
    ]
    world.tags.digest_of = honest  # type: ignore[method-assign]
    world.sweep_now()
    assert world.announcer.names == ["DriftFound", "DriftResolved"]


def test_one_reading_that_fails_in_passing_is_made_again_and_is_no_alarm() -> None:
    world = World(tracking("15.1", "15.2"))
    for tag in ("15.1", "15.2"):
        upstream(world, tag, tag)
    honest, failed = world.tags.digest_of, list[str]()

    def shaky(registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        if tag == "15.2" and not failed:
            failed.append(tag)
            raise Retry("no answer in time")
        return honest(registry, repository, tag)

    world.tags.digest_of = shaky  # type: ignore[method-assign]
    world.sweep_now()
    assert len(world.candidates()) == 2
    assert world.announcer.announced == []


def neighbours(*names: str) -> tuple[World, dict[str, BasegateError]]:
    """Gate `node`, and others whose repositories are in the same registry; what reading a repository raises."""
    policy, faults = sample_policy(apps={}), dict[str, BasegateError]()
    node = policy.gates["node"]
    others = {
        name: msgspec.structs.replace(node, name=name, source=msgspec.structs.replace(node.source, repository=name))
        for name in names
    }
    world = World(msgspec.structs.replace(policy, gates=others | {"node": node}))
    read = world.tags.digest_of

    def digest_of(registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        if repository in faults:
            world.tags.asked.append(f"{registry.name}/{repository}:{tag}")
            raise faults[repository]
        return read(registry, repository, tag)

    world.tags.digest_of = digest_of  # type: ignore[method-assign]
    return world, faults


@pytest.mark.parametrize("by_event", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        Misconfigured("getting a token: 403 DENIED requested access to the resource is denied"),
        Retry("reading aaa:15-alpine: publicregistry.azurecr.io does not respond in time"),
        Retry("reading aaa:15-alpine: 503", delay_seconds=3600),
        Malformed("Docker-Content-Digest of aaa:15-alpine", "is none"),
    ],
    ids=["denied", "slow", "sick", "odd"],
)
def test_a_gate_whose_neighbours_repository_is_denied_slow_or_odd_promotes_as_if_alone(
    fault: BasegateError, by_event: bool
) -> None:
    world, faults = neighbours("aaa")
    faults["aaa"] = fault
    for content in ("green", "orange", "blue"):
        if by_event:
            world.push("15-alpine", digest("forged"), repository="aaa")
            world.push("15-alpine", digest(content))
        else:
            world.registry.tags[("public", "node:15-alpine")] = digest(content)
            world.sweep_now()
        world.settle()
        assert world.stable_tag() == digest(content)
        world.clock.forward(300)


def test_a_repository_that_is_denied_is_an_alarm_of_its_gate() -> None:
    world, faults = neighbours("aaa")
    faults["aaa"] = Misconfigured("403")
    world.sweep_now()
    alarms = [stored.record.kind for stored in world.ledger.list(Alarm, "gates.aaa") if stored.record.is_active]
    assert alarms == [AlarmKind.UPSTREAM_AWAY]


def test_a_sick_repository_pauses_itself_longer_each_time_and_never_its_registry() -> None:
    world, faults = neighbours("aaa")
    faults["aaa"] = Retry("reading aaa:15-alpine: publicregistry.azurecr.io does not respond in time")
    failed = list[bool]()
    for _ in range(20):
        world.tags.asked.clear()
        result = {job.job: job for job in world.sweep_now().jobs}
        failed.append("public/aaa:15-alpine" in world.tags.asked)
        assert result["upstream.node"].state is JobState.DONE
        world.clock.forward(61)
    assert failed == [place in (0, 1, 3, 7, 15) for place in range(20)]
    assert "publicregistry.azurecr.io/aaa is backing off" in result["upstream.aaa"].problem
    shown = {gate.name: gate.pause_reason for gate in DriftQuery(world.services).drift().gates}
    assert shown == {"aaa": str(faults["aaa"]), "node": ""}
    faults.clear()
    world.clock.forward(3600)
    world.sweep_now()
    stored = world.ledger.load(UpstreamRecord, "upstream", "publicregistry.azurecr.io")
    assert stored and stored.record.repositories == {}


@pytest.mark.parametrize("fault", [Throttled("429", delay_seconds=900), Unreachable("it is not reached")])
def test_what_concerns_the_host_pauses_every_repository_of_it(fault: BasegateError) -> None:
    world, faults = neighbours("aaa")
    faults["aaa"] = fault
    result = {job.job: job for job in world.sweep_now().jobs}
    assert result["upstream.node"].state is JobState.WAITS
    assert "publicregistry.azurecr.io is backing off" in result["upstream.node"].problem


def test_repositories_that_begin_to_fail_one_after_the_other_are_their_hosts_fault() -> None:
    names = ("aaa", "bbb", "ccc", "ddd")
    world, faults = neighbours(*names)
    faults.update({name: Retry(f"reading {name}: 503") for name in names})
    result = {job.job: job for job in world.sweep_now().jobs}
    assert result["upstream.ccc"].state is JobState.FAILED
    assert "publicregistry.azurecr.io is backing off" in result["upstream.ddd"].problem
    assert "publicregistry.azurecr.io is backing off" in result["upstream.node"].problem


def test_many_denied_repositories_pause_neither_their_registry_nor_themselves() -> None:
    names = ("aaa", "bbb", "ccc", "ddd")
    world, faults = neighbours(*names)
    faults.update({name: Misconfigured("403") for name in names})
    result = {job.job: job for job in world.sweep_now().jobs}
    assert result["upstream.node"].state is JobState.DONE
    faults.clear()
    result = {job.job: job for job in world.sweep_now().jobs}
    assert {result[f"upstream.{name}"].state for name in names} == {JobState.DONE}


def test_many_sick_repositories_do_not_keep_a_well_one_from_its_turn() -> None:
    names = ("aaa", "bbb", "ccc")
    world, faults = neighbours(*names)
    faults.update({name: Retry(f"reading {name}: 503") for name in names})
    world.sweep_now()
    for _ in range(3):
        world.clock.forward(PERIOD)
        assert {job.job: job for job in world.sweep_now().jobs}["upstream.node"].state is JobState.DONE
