"""A kind of check, or a sweep job, is one file and its place in the list of its package: toys of both are used."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import jsonschema
import msgspec
import pytest
import yaml

from scripts.schema import gates_schema
from shared import checks
from shared.board.records import candidate_page
from shared.checks.kind import CheckKind
from shared.domain.candidate import Candidate, CandidateState
from shared.domain.policy import Policy
from shared.domain.sweep import SweepRecord
from shared.health import HealthChecks
from shared.operations import Who
from shared.ports import Services
from shared.queries.records import Queries, RunLogs
from shared.rules import InvalidGates, parse_gates
from shared.sweep import jobs
from shared.sweep.job import SweepJob, one_by_one
from shared.sweep.jobs.silence import GateSilenceJob
from shared.sweep.sweep import Sweep
from tests.architecture.toy_check import CELLAR, LieCheck, LieCheckKind
from tests.architecture.toy_sweep_job import CountJob
from tests.fakes import ProcessDied, World, digest

GREEN = digest("green")
SCOPE = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries"
RULES = f"""
registries:
  public: {{id: {SCOPE}/publicregistry}}
  base: {{id: {SCOPE}/contosobase}}
gates:
  node:
    source: {{registry: public, repository: node, tags: ["15-alpine"]}}
    checks:
      - lie: {{time: 5m, key: oak}}
      - task: {{registry: base, task: base-import-node}}
    promote: {{registry: base, repository: node}}
"""


@pytest.fixture
def lie(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[LieCheckKind]]:
    """The toy kind of check, registered."""
    with monkeypatch.context() as registered:
        registered.setitem(checks.KINDS, "lie", LieCheckKind)
        yield LieCheckKind
    LieCheckKind.runs.clear()


@pytest.fixture
def policy(lie: type[LieCheckKind]) -> Policy:
    return parse_gates(RULES)


@pytest.fixture
def examining(policy: Policy) -> World:
    """A world whose newest image lies in the cellar."""
    world = World(policy)
    world.push("15-alpine", GREEN)
    world.pass_time(30)
    return world


def test_a_kind_of_check_that_is_not_registered_is_an_unknown_key() -> None:
    with pytest.raises(InvalidGates, match=r"checks\.0\.lie: unknown key; known keys: signature, task, scan, approval"):
        parse_gates(RULES)


def test_a_toy_check_is_written_and_described_in_gates_yaml(policy: Policy) -> None:
    assert policy.gates["node"].checks[0] == LieCheck(time="5m", key="oak")
    jsonschema.validate(yaml.safe_load(RULES), gates_schema())
    with pytest.raises(jsonschema.ValidationError, match="'soon'"):
        jsonschema.validate(yaml.safe_load(RULES.replace("5m", "soon")), gates_schema())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("time: 5m, ", "", "line 9, column 9: gates.node.checks.0.lie: the key 'time' is missing"),
        ("5m", "soon", "line 9, column 15: gates.node.checks.0.lie.time: 'soon' is not a number and s, m, h or d"),
        ("5m", "2d", "line 9, column 15: gates.node.checks.0.lie.time: nothing lies for more than a day"),
        ("- lie: {time: 5m, key: oak}", "- {}", "gates.node.checks.0: exactly one key is needed here: signature or"),
    ],
)
def test_an_error_in_a_toy_check_has_its_place(lie: type[LieCheckKind], old: str, new: str, expected: str) -> None:
    with pytest.raises(InvalidGates) as caught:
        parse_gates(RULES.replace(old, new))
    assert expected in str(caught.value)


def test_a_toy_check_is_part_of_what_a_verdict_means(policy: Policy) -> None:
    other = parse_gates(RULES.replace("oak", "ash"))
    assert other.gates["node"].fingerprint != policy.gates["node"].fingerprint


def test_a_toy_check_examines_and_its_image_is_promoted(examining: World) -> None:
    assert examining.candidate(GREEN).open_check == "lie"
    examining.settle()
    lain, imported = examining.candidate(GREEN).checks
    assert (lain.kind, lain.registry, lain.run_id, lain.verdict) == ("lie", CELLAR, "barrel-1", "passed")
    assert (lain.reason, imported.verdict) == ("it has lain in barrel-1 for 5m", "passed")
    assert examining.stable_tag() == GREEN


def test_the_run_of_a_toy_check_survives_its_worker(policy: Policy, lie: type[LieCheckKind]) -> None:
    world = World(policy)
    world.push("15-alpine", GREEN)

    def die_on_run_id(record: object) -> None:
        if isinstance(record, Candidate) and record.checks[0].run_id:
            world.ledger.before_save = None
            raise ProcessDied

    world.ledger.before_save = die_on_run_id
    world.settle_while_crashing()
    assert (len(lie.runs), world.stable_tag()) == (1, GREEN)


def test_a_toy_run_without_a_verdict_is_begun_again(examining: World, lie: type[LieCheckKind]) -> None:
    lie.runs.clear()
    examining.pass_time(3600)
    assert examining.candidate(GREEN).checks[0].runs == 2
    assert examining.stable_tag() == GREEN


def test_a_toy_run_is_canceled_with_its_candidate(examining: World, lie: type[LieCheckKind]) -> None:
    examining.operate.candidates.cancel(examining.candidate(GREEN).id, Who("ada", "no")).act()
    assert examining.candidate(GREEN).state is CandidateState.CANCELED
    assert lie.runs == {}


def test_a_toy_check_is_seen_in_lists_rules_logs_and_on_the_board(examining: World) -> None:
    queries, candidate = Queries(examining.services), examining.candidate(GREEN).id
    (listed,) = queries.candidates("node", 10, "").items
    assert listed.check == "lie"
    shown = msgspec.to_builtins(queries.gate("node").rule.checks)
    assert [one["lie"] for one in shown] == [{"time": "5m", "key": ""}, None]
    log = RunLogs(examining.services).of_candidate(candidate)
    assert (log.text, log.of) == ("barrel-1 lies still", f"lie check, run barrel-1 of {CELLAR}")
    step, _ = candidate_page(examining.services, candidate, examining.clock.now()).steps
    assert (step.kind, step.state, step.run, step.runs_now) == ("lie", "running", "barrel-1", True)


def test_an_orphan_of_a_toy_check_is_named(examining: World, lie: type[LieCheckKind]) -> None:
    lie.runs["barrel-0"] = next(iter(lie.runs.values()))
    effects = [(effect.what, effect.subject.partition(":")[0]) for effect in examining.sweep_now().effects]
    assert ("ignore a run", "barrel-0 in the cellar") in effects


def test_readyz_asks_what_a_toy_check_asks(policy: Policy) -> None:
    found = {result.dependency: result.state for result in HealthChecks(World(policy).services).run()}
    assert found[f"cellar {CELLAR}"] == "ok"


def jobs_with_toy(services: Services) -> Iterator[SweepJob]:
    """The jobs of a sweep, and the toy as the last one of its gate."""
    for job in jobs.jobs_of(services):
        yield job
        if isinstance(job, GateSilenceJob):
            yield CountJob(services, services.policy.gates["node"])


def test_a_toy_sweep_job_runs_in_its_place_reports_and_has_its_row() -> None:
    world = World()
    world.sweep = Sweep(world.services, one_by_one, jobs_with_toy)
    world.push("15-alpine", GREEN)
    world.settle()
    outcome = world.sweep_now()
    jobs = [done.job for done in outcome.jobs]
    place = jobs.index("count.node")
    assert jobs[place - 1 : place + 2] == ["silence.node", "count.node", "app.hello-world"]
    (counted,) = (done for done in outcome.jobs if done.job == "count.node")
    assert (counted.state, [str(one.subject) for one in counted.effects]) == ("done", ["1 tags of gate node"])
    stored = world.ledger.load(SweepRecord, "sweep", "count.node")
    assert stored is not None
    assert stored.record.last_round == 1


def concrete(package: ModuleType, base: type) -> set[type]:
    """The classes of a kind that can be used, in the modules of a package."""
    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)
    ]
    classes = {value for module in modules for value in vars(module).values() if inspect.isclass(value)}
    return {one for one in classes if issubclass(one, base) and not one.__subclasses__()}


def test_what_is_in_the_packages_is_registered() -> None:
    assert concrete(checks, CheckKind) == set(checks.KINDS.values())
    assert concrete(jobs, SweepJob) == {type(job) for job in jobs.jobs_of(World().services)}
