"""A signature that comes after the push: the check waits for it, and nothing looks as if it were wrong."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from shared.board.overview import overview_page
from shared.board.parts import Severity
from shared.board.records import candidate_page
from shared.checks.signature import SignatureCheck
from shared.domain.alarm import STALLS
from shared.domain.candidate import Candidate, CandidateState, CheckRecord
from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.errors import Malformed, Retry
from shared.queries.records import Queries
from shared.records.alarms import Alarms
from shared.rules import InvalidGates, parse_gates
from shared.signatures.trust import CosignTrust, Keyless, NotationTrust, Trust, signers
from tests.fakes import ProcessDied, World, sample_policy
from tests.fakes.notary import IDENTITY
from tests.fakes.sigstore import ISSUER, key_bundle, pem, statement
from tests.unit.test_signature_check import COSIGN, IMAGE, KEY, OTHER, STRANGER, TAG, old, rules, world_with

RULE = SignatureCheck(cosign=CosignTrust(key=pem(KEY)))
WAITS = "not signed yet by the key of the rule; read again until 2026-03-01 12:15:00 UTC"


@pytest.fixture
def world() -> World:
    """A world with an image that nobody has signed, half a minute after its push."""
    world = world_with(RULE)
    world.push("15-alpine", IMAGE)
    world.pass_time(30)
    return world


def check(world: World) -> CheckRecord:
    return world.candidate(IMAGE).checks[-1]


def imports(world: World) -> int:
    """How many runs of the gate's task there are."""
    return sum(run.task == "base-import-node" for run in world.tasks.runs.values())


def last(world: World) -> tuple[str, str]:
    """The last entry of the candidate's history."""
    entry = world.candidate(IMAGE).history[-1]
    return entry.what, entry.why


def test_a_signature_that_comes_after_the_push_counts(world: World) -> None:
    assert (world.tasks.runs, world.stable_tag()) == ({}, None)
    world.referrers.attach(IMAGE, [old()], tag=TAG)
    world.pass_time(120)
    assert (check(world).verdict, check(world).runs, world.stable_tag()) == ("passed", 1, IMAGE)


def test_until_its_timeout_it_is_neither_stalled_nor_an_alarm_and_says_what_it_waits_for(world: World) -> None:
    world.pass_time(840)
    world.sweep_now()
    candidate = world.candidate(IMAGE)
    assert (candidate.state, candidate.stall, candidate.failures) == (CandidateState.EXAMINING, None, 0)
    assert (check(world).claimed_at, check(world).runs, check(world).reason) == (None, 0, WAITS)
    assert [entry.what for entry in candidate.history] == ["admitted", "waiting"]
    assert last(world) == ("waiting", WAITS)
    assert Alarms(world.services).active(STALLS) == []
    assert world.announcer.names == []


def test_after_its_timeout_it_fails_as_what_is_unsigned(world: World) -> None:
    world.pass_time(868)
    assert check(world).verdict is None
    world.pass_time(4)
    assert (check(world).verdict, check(world).runs) == ("failed", 1)
    assert check(world).reason == "the image has no signature of a kind that the rule trusts"
    assert (world.candidate(IMAGE).state, world.tasks.runs) == (CandidateState.FAILED, {})


def test_the_last_reading_is_at_its_timeout_and_not_half_a_minute_later() -> None:
    world = world_with(replace(RULE, timeout="50s"))
    world.push("15-alpine", IMAGE)
    world.pass_time(49)
    assert check(world).verdict is None
    world.pass_time(3)
    assert check(world).verdict == "failed"


def test_lists_and_the_board_show_what_it_waits_for(world: World) -> None:
    (listed,) = Queries(world.services).candidates("node", 10, "").items
    assert (listed.state, listed.last) == ("examining", f"waiting: {WAITS}")
    page = candidate_page(world.services, world.candidate(IMAGE).id, world.clock.now())
    assert (page.state, page.reason) == ("examining", f"waiting: {WAITS}")
    assert [(step.kind, step.state, step.reason) for step in page.steps] == [
        ("task", "not started", ""),
        ("signature", "waiting", WAITS),
    ]
    overview = overview_page(world.services, world.clock.now())
    assert (overview.action_items, overview.alarms, overview.severity) == ((), (), Severity.BUSY)


def test_what_does_not_count_ends_no_wait_and_is_told(world: World) -> None:
    place = world.referrers.attach(IMAGE, [key_bundle(STRANGER, statement(IMAGE))], BUNDLE_TYPE)
    world.referrers.attach(IMAGE, [old(subject=OTHER)], tag=TAG)
    world.pass_time(60)
    assert last(world) == ("waiting", f"{WAITS}; 2 were refused, {TAG}: it is for {OTHER}")
    world.referrers.attach(IMAGE, [key_bundle(KEY, statement(IMAGE))], BUNDLE_TYPE)
    world.pass_time(120)
    assert (check(world).verdict, check(world).evidence.log_tail[1].partition(":")[2]) == (
        "passed",
        f"{place.partition(':')[2]}: it is not by the key of the rule",
    )


def test_a_source_that_was_away_does_not_stay_stalled_while_it_waits(world: World) -> None:
    world.referrers.fault = Retry("registry: 503")
    world.pass_time(120)
    assert world.candidate(IMAGE).stall is not None
    world.referrers.fault = None
    world.pass_time(120)
    assert (world.candidate(IMAGE).stall, last(world)) == (None, ("waiting", WAITS))


def test_a_list_that_could_not_be_read_does_not_stay_stalled_while_it_waits(world: World) -> None:
    world.referrers.list_fault = Malformed("referrers", "the response is not an index")
    world.pass_time(50)
    assert (world.candidate(IMAGE).stall is None, check(world).runs) == (False, 1)
    world.referrers.list_fault = None
    world.pass_time(60)
    assert (world.candidate(IMAGE).stall, last(world)) == (None, ("waiting", WAITS))
    assert (check(world).retry_at, check(world).reason) == (None, WAITS)


def test_two_signatures_are_waited_for(world: World) -> None:
    gate, by_stranger = world.policy.gates["node"], SignatureCheck(cosign=CosignTrust(key=pem(STRANGER)))
    world = World(sample_policy(gates={"node": replace(gate, checks=(*gate.checks, by_stranger))}))
    world.referrers.attach(IMAGE, [old()], tag=TAG)
    world.push("15-alpine", IMAGE)
    world.pass_time(300)
    assert [one.verdict for one in world.candidate(IMAGE).checks] == [None, "passed", None]
    world.referrers.attach(IMAGE, [key_bundle(STRANGER, statement(IMAGE))], BUNDLE_TYPE)
    world.pass_time(120)
    assert world.stable_tag() == IMAGE


def test_a_newer_push_ends_the_wait(world: World) -> None:
    world.push("15-alpine", OTHER)
    world.pass_time(60)
    assert (world.candidate(IMAGE).state, world.candidate(OTHER).state) == (
        CandidateState.SUPERSEDED,
        CandidateState.EXAMINING,
    )


def test_a_worker_that_dies_while_it_waits_leaves_nothing_to_release(world: World) -> None:
    def die(record: object) -> None:
        if isinstance(record, Candidate):
            world.ledger.before_save = None
            raise ProcessDied

    world.ledger.before_save = die
    world.referrers.attach(IMAGE, [old()], tag=TAG)
    world.settle_while_crashing(within_seconds=120)
    assert (check(world).runs, imports(world), world.stable_tag()) == (1, 1, IMAGE)


def test_two_workers_that_read_at_once_start_one_run(world: World) -> None:
    def second_worker(record: object) -> None:
        if isinstance(record, Candidate):
            world.ledger.before_save = None
            world.reconciler.work(record.work_item, redelivered=True)

    world.ledger.before_save = second_worker
    world.referrers.attach(IMAGE, [old()], tag=TAG)
    world.settle(within_seconds=120)
    assert (check(world).runs, imports(world), world.stable_tag()) == (1, 1, IMAGE)


# The rule.


def test_how_long_it_waits_is_no_part_of_what_a_verdict_means() -> None:
    gates = [parse_gates(rules({"cosign": COSIGN, "timeout": timeout})).gates["node"] for timeout in ("1s", "1d")]
    assert gates[0].fingerprint == gates[1].fingerprint


def test_a_wait_of_more_than_a_day_is_refused() -> None:
    with pytest.raises(InvalidGates, match=r"signature\.timeout: a signature is waited for a day at most"):
        parse_gates(rules({"cosign": COSIGN, "timeout": "25h"}))


@pytest.mark.parametrize(
    ("trust", "named"),
    [
        (Trust(cosign=CosignTrust(key="secret:release-key")), "the key in the secret release-key"),
        (
            Trust(cosign=CosignTrust(keyless=tuple(Keyless(identity=one * 200, issuer=ISSUER) for one in "abcde"))),
            f"{'a' * 80}… or {'b' * 80}… or {'c' * 80}… or 2 others",
        ),
        (
            Trust(cosign=CosignTrust(key=pem(KEY)), notation=NotationTrust(certificates="", identities=(IDENTITY,))),
            f"the key of the rule or {IDENTITY}",
        ),
        (
            Trust(notation=NotationTrust(certificates="", identities=("*",))),
            "anybody with a certificate under the roots of the rule",
        ),
    ],
)
def test_those_who_may_sign_are_named_in_brief(trust: Trust, named: str) -> None:
    assert signers(trust) == named
