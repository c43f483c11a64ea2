"""Drift on one screen: over HTTP and on the command line."""

from __future__ import annotations

import msgspec
import pytest

from shared.board.drift import drift_page
from shared.board.overview import overview_page
from shared.board.parts import short_image
from shared.checks.approval import ApprovalCheck
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.image import Digest, Tag
from shared.domain.observation import Observation
from shared.domain.rollout import RolloutState
from shared.domain.sweep import SweepRecord
from shared.operations import Who
from shared.queries.drift import TAGS_READ, Drift, DriftQuery
from shared.queries.records import Queries
from tests.fakes import World, digest

ORANGE, GREEN, FOREIGN = digest("orange"), digest("green"), digest("foreign")
STABLE = ("base", "node:15-alpine")
WHO = Who.of("ada", "a quiet weekend")


@pytest.fixture
def world() -> World:
    """Green is promoted and live, and one sweep has come by."""
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    world.sweep_now()
    return world


def drift_of(world: World) -> Drift:
    return DriftQuery(world.services).drift()


def test_what_is_as_it_should_be_reads_the_same_all_along(world: World) -> None:
    screen = drift_of(world)
    gate, app = screen.gates[0], screen.apps[0]
    tag = gate.tags[0]
    assert (tag.tag, tag.upstream, tag.stable, tag.same, tag.sequence) == ("15-alpine", GREEN, GREEN, True, 1)
    assert (app.stable, app.same, app.live) == (GREEN, True, "contoso.azurecr.io/hello-world:ct1")
    assert screen.alarms == 0
    assert gate.sweep.last_at is not None


def test_a_tag_that_differs_stands_first_with_the_reason(world: World) -> None:
    world.tasks.failing["node@"] = "not this one"
    for tag in ("15.1", "15.2"):
        world.registry.tags[("public", f"node:{tag}")] = digest(tag)
    world.sweep_now()
    world.settle()
    world.sweep_now()
    tags = drift_of(world).gates[0].tags
    assert [tag.same for tag in tags] == [False, False, True]
    assert tags[0].state == "failed"
    assert "not this one" in tags[0].reason


def test_alarms_are_shown_with_what_is_done_about_them(world: World) -> None:
    world.subscriptions.reaching = False
    world.containers.groups["hello-world-aci"] = ("foreign:1", world.clock.now())
    world.clock.forward(3600)
    world.sweep_now()
    screen = drift_of(world)
    assert screen.alarms == 2
    assert screen.apps[0].alarms[0].plan.startswith("redeployed by rollout drift-")
    assert "the sweep finds every push" in screen.registries[0].alarms[0].plan


def test_alarms_of_a_kind_that_only_a_newer_version_knows_are_left_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    rows, ended = world.ledger.rows, world.clock.now()
    known = [(AlarmKind.UNRECORDED, ended), (AlarmKind.UNLOCKED, ended), (AlarmKind.STABLE_MOVED, None)]
    for kind, end in known:
        about = {"scope": "gates/node", "kind": kind, "subject": "15-alpine", "words": "an odd tag", "plan": "wait"}
        world.ledger.insert(msgspec.convert(about | {"since": ended, "ended_at": end}, Alarm))
    foreign = [("Alarm", "gates.node", f"{kind.name.lower()}.15-alpine") for kind, _ in known[1:]]
    for key, (kind, _) in zip(foreign, known[1:], strict=True):
        rows[key] = (rows[key][0].replace(kind.encode(), b"known to a newer version"), rows[key][1])
    world.clock.forward(500 * 86_400)
    with caplog.at_level("INFO"):
        result = world.sweep_now(at_once=True)
    assert [job.problem for job in result.jobs if job.problem] == []
    assert "does not know: gates/node, 15-alpine: an odd tag" in caplog.text
    assert [alarm.kind for alarm in drift_of(world).gates[0].alarms] == []
    assert "an odd tag" not in str(drift_page(world.services, world.clock.now()))
    assert ("Alarm", "gates.node", "unrecorded.15-alpine") not in rows, "it is known, has ended, and is purged"
    assert all(b"known to a newer version" in rows[key][0] for key in foreign)


def test_a_screen_of_an_app_that_never_swept_is_empty_and_no_error() -> None:
    screen = drift_of(World())
    assert (screen.gates[0].tags, screen.gates[0].sweep.last_at, screen.apps[0].live) == ((), None, None)
    assert msgspec.json.decode(msgspec.json.encode(screen))["gates"][0]["sweep"]["lastAt"] is None


def test_a_sweep_on_demand_first_says_what_it_would_do(world: World) -> None:
    world.registry.tags[STABLE] = FOREIGN
    plan = world.operate.sweeps.sweep(Who.of("ada", "something is odd"))
    assert [effect.what for effect in plan.effects] == ["put back"]
    assert world.stable_tag() == FOREIGN
    assert plan.act().location == "drift"
    assert world.stable_tag() == GREEN


def test_a_sweep_that_finds_nothing_says_so(world: World) -> None:
    plan = world.operate.sweeps.sweep(Who.of("ada", "just asking"))
    assert [(effect.what, effect.subject) for effect in plan.effects] == [("nothing", "everything matches the ledger")]


def test_the_run_of_another_gate_that_shares_the_task_is_not_named_as_nobodys(world: World) -> None:
    node = world.policy.gates["node"]
    source = msgspec.structs.replace(node.source, repository="python", tags=("3.13-slim",))
    promote = msgspec.structs.replace(node.promote, repository="python")
    asking = (*node.checks, ApprovalCheck())
    python = msgspec.structs.replace(node, name="python", source=source, promote=promote, checks=asking)
    world.policy = msgspec.structs.replace(world.policy, gates={"node": node, "python": python})
    world.restart()
    world.push("3.13-slim", digest("python"), repository="python")
    world.settle()
    world.push("15-alpine", ORANGE)
    world.settle()
    assert world.sweep_now(dry_run=True).effects == ()


def test_a_tag_that_the_rule_tracks_no_more_is_not_shown_as_drift(world: World) -> None:
    world.registry.tags[("public", "node:15.14")] = FOREIGN
    world.sweep_now()
    assert [tag.tag for tag in drift_of(world).gates[0].tags] == ["15.14", "15-alpine"]
    gate = world.policy.gates["node"]
    narrowed = msgspec.structs.replace(gate, source=msgspec.structs.replace(gate.source, tags=("15-alpine",)))
    world.policy = msgspec.structs.replace(world.policy, gates={"node": narrowed})
    world.restart()
    assert [tag.tag for tag in drift_of(world).gates[0].tags] == ["15-alpine"]


def test_tags_beyond_those_that_are_read_are_counted(world: World) -> None:
    for number in range(TAGS_READ + 500):
        world.ledger.insert(Observation(gate="node", tag=Tag(f"15.{number:05}"), digest=FOREIGN, sequence=1))
    stored = world.ledger.load(SweepRecord, "sweep", "upstream.node")
    assert stored
    world.ledger.save(stored, msgspec.structs.replace(stored.record, checked=TAGS_READ + 501))
    gate = drift_of(world).gates[0]
    assert len(gate.tags) + gate.more == TAGS_READ + 501


def bases(world: World) -> set[str | None]:
    """The base of the app's image, as every view names it."""
    queries, now = Queries(world.services), world.clock.now()
    drift = DriftQuery(world.services).drift().apps[0].base
    named = {queries.status().apps[0].base, queries.apps().items[0].base, queries.app("hello-world").base, drift}
    (row,) = (app for gate in overview_page(world.services, now).gates for row in gate.rows for app in row.apps)
    assert drift is not None
    assert f"on {short_image(drift)}" in [cell.reason for cell in row.cells]
    assert short_image(drift) in str(drift_page(world.services, now))
    return named


def test_the_base_of_an_app_is_that_of_its_live_image_in_every_view(world: World) -> None:
    def on(content: Digest) -> set[str | None]:
        return {f"contosobaseartifacts.azurecr.io/node@{content}"}

    world.push("15-alpine", ORANGE)
    world.settle()
    assert bases(world) == on(ORANGE)
    first = world.app().live
    world.tasks.seconds = 60
    world.push("15-alpine", GREEN)
    world.pass_time(30)  # promoted, and the app is being built
    assert (world.stable_tag(), bases(world)) == (GREEN, on(ORANGE))
    world.probe.sick["hello-world:"] = "http://10.0.0.4:80/ responds with HTTP 500"
    world.settle()
    assert world.rollouts()[-1].state in (RolloutState.RESTORED, RolloutState.FAILED)
    assert bases(world) == on(ORANGE)  # put back
    world.probe.sick.clear()
    world.operate.apps.rebuild("hello-world", WHO).act()
    world.settle()
    assert bases(world) == on(GREEN)
    assert first is not None
    world.operate.apps.redeploy("hello-world", first.tag, WHO).act()
    world.settle()
    assert bases(world) == on(ORANGE)
