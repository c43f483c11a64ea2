"""The sweep and lists of tags: registries that do not answer them, tags that come and go, rules that change."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.errors import BasegateError, Malformed, Misconfigured, Throttled
from shared.domain.image import Tag
from shared.domain.observation import Observation
from shared.domain.policy import Policy, RegistryRule, Source
from shared.domain.sweep import SweepRecord
from shared.intake.upstreams import UpstreamRecord
from shared.queries.drift import DriftQuery
from shared.sweep.jobs.upstream import NEW_DIGESTS_A_ROUND
from shared.sweep.sweep import JobState
from tests.fakes import World, digest, sample_policy

PERIOD = 300.0


def tracking(*tags: str) -> Policy:
    policy = sample_policy()
    source = Source(registry="public", repository="node", tags=tags)
    gate = msgspec.structs.replace(policy.gates["node"], source=source)
    return msgspec.structs.replace(policy, gates={"node": gate}, apps={})


def upstream(world: World, *tags: str, content: str = "green") -> None:
    for tag in tags:
        world.registry.tags[("public", f"node:{tag}")] = digest(content)


def alarms(world: World) -> list[Alarm]:
    return [stored.record for stored in world.ledger.list(Alarm, "gates.node") if stored.record.is_active]


def listing_fails(world: World, error: BasegateError) -> list[str]:
    """Lists are refused; returns what is asked for, which grows."""
    asked: list[str] = []

    def tags(registry: RegistryRule, repository: str) -> Iterator[Tag]:
        asked.append(repository)
        raise error

    world.tags.tags = tags  # type: ignore[method-assign]
    return asked


def test_a_registry_that_fails_to_list_is_left_alone_as_long_as_it_asks() -> None:
    world = World(tracking("15.*"))
    asked = listing_fails(world, Throttled("too many requests", 900))
    assert world.sweep_now().jobs[0].state is JobState.FAILED
    stored = world.ledger.load(UpstreamRecord, "upstream", "publicregistry.azurecr.io")
    assert stored
    assert stored.record.seconds_left(world.clock.now()) == 900
    world.clock.forward(PERIOD)
    assert world.sweep_now().jobs[0].state is JobState.WAITS
    assert "backing off for 600 s more" in world.sweep_now(dry_run=True).jobs[0].problem
    assert asked == ["node"]


@pytest.mark.parametrize("error", [Misconfigured("access is refused"), Malformed("tags", "is no list")])
def test_a_registry_that_will_not_list_is_an_alarm_that_ends_when_it_does(error: BasegateError) -> None:
    world = World(tracking("15.*"))
    real = world.tags.tags
    listing_fails(world, error)
    world.sweep_now()
    assert [(alarm.kind, alarm.words) for alarm in alarms(world)] == [(AlarmKind.UPSTREAM_AWAY, str(error))]
    world.tags.tags = real  # type: ignore[method-assign]
    upstream(world, "15.1")
    world.clock.forward(PERIOD)
    world.sweep_now()
    assert alarms(world) == []


def test_a_repository_without_any_tracked_tag_is_an_alarm_and_no_silence() -> None:
    world = World(tracking("15.*", "16.*"))
    for _ in range(2):
        world.sweep_now()
    assert "has no tracked tag" in alarms(world)[0].words
    assert world.announcer.names == ["DriftFound"]
    upstream(world, "16.0")
    world.sweep_now()
    assert alarms(world) == []


def test_a_name_is_looked_at_even_if_the_list_of_tags_lacks_it() -> None:
    world = World(tracking("15-alpine", "16.*"))
    upstream(world, "16.0")
    world.sweep_now()
    assert [alarm.subject for alarm in alarms(world)] == ["15-alpine"]


def test_the_alarm_of_a_tag_ends_when_it_is_listed_no_more() -> None:
    world = World(tracking("15.*"))
    upstream(world, "15.0", "15.1")
    real = world.tags.tags
    world.tags.tags = lambda registry, repository: iter([*real(registry, repository), Tag("15.2")])  # type: ignore[method-assign]
    world.sweep_now()
    assert [alarm.subject for alarm in alarms(world)] == ["15.2"]
    world.tags.tags = real  # type: ignore[method-assign]
    world.sweep_now()
    assert alarms(world) == []
    assert world.announcer.names[-1] == "DriftResolved"


def test_the_alarm_of_a_tag_ends_when_the_rule_tracks_it_no_more() -> None:
    world = World(tracking("15-alpine", "16-alpine"))
    upstream(world, "16-alpine")
    world.sweep_now()
    assert [alarm.subject for alarm in alarms(world)] == ["15-alpine"]
    world.policy = tracking("16-alpine")
    world.restart()
    world.sweep_now()
    assert alarms(world) == []


def test_a_round_whose_time_was_up_with_its_last_batch_comes_to_its_end() -> None:
    world = World(tracking("15.*"))
    upstream(world, "15.0", "15.1")
    world.sweep.run(world.clock.now())  # no time at all: one batch, which is the whole of it
    world.sweep.run(world.clock.now())
    stored = world.ledger.load(SweepRecord, "sweep", "upstream.node")
    assert stored
    assert stored.record.last_round == 1


def test_a_round_whose_last_tag_was_deleted_meanwhile_begins_anew() -> None:
    world = World(tracking("15.*"))
    upstream(world, "15.0", "15.1")
    world.sweep.run(world.clock.now())
    del world.registry.tags[("public", "node:15.1")]
    world.tags.asked.clear()
    world.sweep_now()
    assert "public/node:15.0" in world.tags.asked


def test_a_widened_rule_admits_no_more_than_it_may_and_all_in_the_end() -> None:
    names = [f"15.{number:04}" for number in range(2 * NEW_DIGESTS_A_ROUND + 20)]
    world = World(tracking("15.*"))
    for name in names:
        upstream(world, name, content=name)
    for expected in (NEW_DIGESTS_A_ROUND, 2 * NEW_DIGESTS_A_ROUND, len(names)):
        world.sweep_now()
        assert len(world.candidates()) == expected


def test_a_repository_that_has_none_of_many_names_is_one_alarm_and_not_one_a_tag() -> None:
    names = [f"15.{number}" for number in range(150)]
    world = World(tracking(*names))
    for _ in range(2):
        world.sweep_now()
    assert [(alarm.kind, alarm.subject) for alarm in alarms(world)] == [(AlarmKind.UPSTREAM_AWAY, "node")]
    assert "has none of the 150 tracked tags" in alarms(world)[0].words
    assert world.announcer.names == ["DriftFound"]
    upstream(world, *names[1:])
    world.sweep_now()
    assert [alarm.subject for alarm in alarms(world)] == ["15.0"]


def test_the_alarm_of_a_repository_ends_when_the_gate_reads_another() -> None:
    world = World(tracking("15.1", "15.2"))
    world.sweep_now()
    policy = tracking("15.1", "15.2")
    moved = msgspec.structs.replace(
        policy.gates["node"], source=msgspec.structs.replace(policy.gates["node"].source, repository="mirror/node")
    )
    world.policy = msgspec.structs.replace(policy, gates={"node": moved})
    world.restart()
    for tag in ("15.1", "15.2"):
        world.registry.tags[("public", f"mirror/node:{tag}")] = digest("green")
    world.sweep_now()
    assert alarms(world) == []


def test_names_that_are_no_tags_are_left_out_counted_and_shown() -> None:
    world = World(tracking("15.*", "*beta"))
    upstream(world, "15.1", "15.2")
    real = world.tags.tags

    def tags(registry: RegistryRule, repository: str) -> Iterator[str]:
        yield "-ot-beta"
        yield from real(registry, repository)
        yield "\x1b[31mbeta"

    world.tags.tags = tags  # type: ignore[method-assign]
    assert world.sweep_now().jobs[0].state is JobState.DONE
    assert sorted(stored.record.tag for stored in world.ledger.list(Observation, "node")) == ["15.1", "15.2"]
    (gate,) = DriftQuery(world.services).drift().gates
    assert (gate.completeness.left_out, gate.completeness.left_out_name) == (2, "\\x1b[31mbeta")
