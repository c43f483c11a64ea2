"""Exceptions that operators ask for and grant: from the request to the promotion, and to their end."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from basegate_cli import show
from shared.attestation.envelope import load_keys
from shared.attestation.proof import proof
from shared.domain.alarm import AlarmKind
from shared.domain.candidate import CandidateState
from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.errors import Malformed, NotFound, Refused, Retry
from shared.domain.exception import ExceptionGrant
from shared.operations import Plan, Who
from shared.queries.models import StandingException
from shared.queries.records import Queries
from shared.records.alarms import Alarms
from shared.rules import InvalidGates, parse_gates
from tests.fakes import World
from tests.fakes.registries import FakeSigner
from tests.unit.test_scan_check import GREEN, OPENSSL, RED, SCAN, accepted, push, scan_world, swept, will_report

ADA, BOB = Who("ada", "TLS ends before it"), Who("bob", "agreed")


def refused() -> World:
    world = scan_world()
    will_report(world, OPENSSL)
    push(world)
    assert world.candidate(GREEN).state is CandidateState.FAILED
    return world


def listed(world: World, *, ended: bool = False) -> tuple[StandingException, ...]:
    return Queries(world.services).exceptions(all=ended).items


def ask(world: World, until: str = "2026-06-30", **fields: str) -> Plan:
    given = {"vulnerability": "CVE-2026-1", "package": "openssl"} | fields
    return world.operate.exceptions.ask("node", until=until, who=ADA, **given)


def granted(world: World, until: str = "2026-06-30", **fields: str) -> str:
    """Ask for an exception and grant it; its id."""
    ask(world, until, **fields).act()
    (asked,) = listed(world)
    world.operate.exceptions.grant("node", asked.id, BOB).act()
    world.settle()
    return asked.id


def test_what_was_refused_passes_once_its_exception_is_granted_and_nothing_runs_again() -> None:
    world = refused()
    granted(world)
    candidate = world.candidate(GREEN)
    assert (candidate.attempt, candidate.state, world.stable_tag()) == (2, CandidateState.PASSED, GREEN)
    assert len(world.tasks.runs) == 1


def test_a_grant_is_made_also_while_reports_cannot_be_read_and_the_sweep_does_the_rest() -> None:
    world = refused()
    ask(world).act()
    (asked,) = listed(world)
    read = world.archive.read
    world.archive.read = unavailable  # type: ignore[method-assign]
    world.operate.exceptions.grant("node", asked.id, BOB).act()
    world.archive.read = read  # type: ignore[method-assign]
    assert [one.state for one in listed(world)] == ["granted"]
    swept(world)
    assert world.stable_tag() == GREEN


def unavailable(place: str) -> str:
    raise Retry("503")


def test_a_request_counts_for_nothing_until_it_is_granted() -> None:
    world = refused()
    ask(world).act()
    swept(world)
    assert world.stable_tag() is None
    assert [one.state for one in listed(world)] == ["requested"]


def test_an_exception_for_another_package_lets_nothing_pass() -> None:
    world = refused()
    granted(world, package="zlib")
    assert world.stable_tag() is None


def test_a_grant_that_another_version_wrote_is_readable_and_counts() -> None:
    world = refused()
    granted(world)
    (stored,) = world.ledger.list(ExceptionGrant, "node")
    written = msgspec.to_builtins(stored.record)
    written["exception"] |= {"gates": ["node"], "tags": [], "priority": "a field of a later version"}
    read = msgspec.json.decode(msgspec.json.encode(written), type=ExceptionGrant)
    assert (read.rule, read.is_granted) == (stored.record.rule, True)


def test_a_dry_run_asks_for_nothing() -> None:
    world = refused()
    assert "CVE-2026-1" in ask(world).effects[0].subject
    assert listed(world, ended=True) == ()


def test_it_names_who_asked_and_who_granted_it_and_why() -> None:
    world = refused()
    granted(world)
    (shown,) = listed(world)
    assert (shown.state, shown.author, shown.justification) == ("granted", "ada, granted by bob", ADA.reason)
    assert (shown.granted_by, shown.ended_by) == ("bob: agreed", "")


def test_an_ended_one_names_who_ended_it_and_why() -> None:
    world = refused()
    name = granted(world)
    world.operate.exceptions.end("node", name, Who("cyd", "TLS is off")).act()
    (shown,) = listed(world, ended=True)
    assert (shown.state, shown.granted_by, shown.ended_by) == ("ended", "bob: agreed", "cyd: TLS is off")
    printed, answer = io.StringIO(), msgspec.to_builtins(Queries(world.services).exceptions(all=True))
    Console(file=printed, width=200).print(show.exceptions(answer))
    assert "TLS ends before it; bob: agreed; ended by cyd: TLS is off" in printed.getvalue()


def test_once_it_is_ended_the_next_image_fails_and_the_promoted_one_stays() -> None:
    world = refused()
    name = granted(world)
    world.operate.exceptions.end("node", name, BOB).act()
    push(world, RED)
    assert (world.candidate(RED).state, world.stable_tag()) == (CandidateState.FAILED, GREEN)
    assert listed(world) == ()
    assert [one.state for one in listed(world, ended=True)] == ["ended"]


def test_seven_days_before_its_end_and_after_it_there_is_an_alarm() -> None:
    world = refused()
    granted(world, until="2026-03-20")

    def alarms() -> list[str]:
        swept(world)
        active = Alarms(world.services).active("gates/node")
        return [one.words for one in active if one.kind is AlarmKind.EXCEPTION_ENDS]

    assert alarms() == []
    world.pass_time(14 * 86_400)
    assert "ends within 7 days" in alarms()[0]
    world.pass_time(7 * 86_400)
    assert any("has ended" in words for words in alarms())


@pytest.mark.parametrize(
    ("package", "until", "ends"),
    [
        ("openssl", "2026-06-30", []),
        ("OpenSSL", "2026-06-30", []),
        ("zlib", "2026-06-30", ["2026-03-20 has ended"]),
        ("openssl", "2026-03-21", ["2026-03-21 ends within 7 days"]),
    ],
)
def test_one_that_was_renewed_has_no_alarm(package: str, until: str, ends: list[str]) -> None:
    world = refused()
    granted(world, until="2026-03-20")
    ask(world, until, package=package).act()
    (asked,) = (one for one in listed(world) if one.state == "requested")
    world.operate.exceptions.grant("node", asked.id, BOB).act()
    world.pass_time(20 * 86_400)
    swept(world)
    found = [one.words for one in Alarms(world.services).active("gates/node") if one.kind is AlarmKind.EXCEPTION_ENDS]
    assert [words.partition("until ")[2].partition(":")[0] for words in found] == ends
    assert [bool(one.warning) for one in listed(world, ended=True) if one.id == asked.id] == [until == "2026-03-21"]


def test_one_of_the_rules_that_a_grant_renews_has_no_alarm() -> None:
    world = scan_world(exceptions=(accepted(until="2026-02-01"),))
    will_report(world, OPENSSL)
    push(world)
    granted(world)
    swept(world)
    assert [one.kind for one in Alarms(world.services).active("gates/node")] == []


def test_asked_for_again_after_it_was_ended_it_is_a_new_one_and_the_history_stays() -> None:
    world = refused()
    names = []
    for _ in range(3):
        names.append(granted(world))
        world.operate.exceptions.end("node", names[-1], BOB).act()
    ask(world).act()
    with pytest.raises(Refused, match="requested already"):
        ask(world)
    assert len(set(names)) == 3
    assert {one.id for one in listed(world, ended=True) if one.state == "ended"} == set(names)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"until": "someday"}, "until"),
        ({"until": "2026-02-30"}, "until"),
        ({"until": "2026-02-01"}, "until"),
        ({"until": "2029-01-01"}, "until"),
        ({"vulnerability": "?"}, "vulnerability"),
        ({"package": "pkg:"}, "package"),
    ],
)
def test_an_invalid_field_is_named(fields: dict[str, str], field: str) -> None:
    with pytest.raises(Malformed) as error:
        ask(refused(), **fields)
    assert error.value.field == field


def test_the_same_is_asked_for_once() -> None:
    world = refused()
    ask(world).act()
    with pytest.raises(Refused, match="requested already"):
        ask(world)


def test_what_was_not_asked_for_cannot_be_granted_and_nothing_is_granted_or_ended_twice() -> None:
    world = refused()
    with pytest.raises(NotFound, match="has no exception"):
        world.operate.exceptions.grant("node", "0" * 12, BOB)
    name = granted(world)
    with pytest.raises(Refused, match="is granted already"):
        world.operate.exceptions.grant("node", name, BOB)
    world.operate.exceptions.end("node", name, BOB).act()
    with pytest.raises(Refused, match="was ended already"):
        world.operate.exceptions.end("node", name, BOB)


def test_a_gate_that_scans_nothing_has_no_exceptions() -> None:
    with pytest.raises(Refused, match="has no scan"):
        ask(World())


def test_who_asked_may_not_grant_it_where_two_persons_are_wanted() -> None:
    world = scan_world(msgspec.structs.replace(SCAN, two_persons=True))
    will_report(world, OPENSSL)
    push(world)
    ask(world).act()
    (asked,) = listed(world)
    with pytest.raises(Refused, match="another person"):
        world.operate.exceptions.grant("node", asked.id, Who(" Ada", "in other letters"))
    world.operate.exceptions.grant("node", asked.id, BOB).act()
    world.settle()
    assert world.stable_tag() == GREEN


def test_two_persons_need_a_sign_in() -> None:
    rules = """
registries:
  base: {id: /subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/base1}
gates:
  node:
    source: {registry: base, repository: node, tags: ["15"]}
    checks: [{scan: {registry: base, task: scan-node, fail_on: [{severity: high}], two_persons: true}}]
    promote: {registry: base, repository: mirror/node}
"""
    assert parse_gates(rules)
    with pytest.raises(InvalidGates, match=r"two_persons: a function key does not identify a person"):
        parse_gates(rules, signs_in=False)


def test_an_ended_exception_is_purged_when_it_is_older_than_what_is_kept() -> None:
    world = refused()
    granted(world, until="2026-03-10")
    for days, left in ((20, 1), (420, 0)):
        world.pass_time(days * 86_400)
        swept(world)
        assert len(listed(world, ended=True)) == left


def test_the_decision_record_names_the_scanner_and_who_accepted_what_until_when() -> None:
    world = refused()
    world.signer = signer = FakeSigner()
    world.restart()
    granted(world)
    keys, attached = load_keys(signer.public_key), world.registry.attached[GREEN]
    bundles = [found.content for found in attached if found.media_type == BUNDLE_TYPE]
    (decision,) = (one.decision for one in (proof(content, keys, GREEN) for content in bundles) if one.decision)
    (check,) = decision.checks
    (used,) = check.exceptions
    assert (used.vulnerability, used.author, used.until) == ("CVE-2026-1", "ada, granted by bob", "2026-06-30")
    assert [one.name for one in check.evidence] == ["log", "report", "sarif", "cyclonedx"]
    assert all(one.digest for one in check.evidence)
    assert check.scanner is not None
