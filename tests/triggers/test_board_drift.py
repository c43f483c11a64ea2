"""The drift page, and what the other pages say of drift."""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec
import pytest

from shared.board.drift import DriftPage, drift_page
from shared.board.parts import Item, Severity, age
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.errors import Retry
from shared.domain.stable_tag import HoldUntil
from shared.operations import Who
from shared.ports import Allowance
from shared.queries.drift import DriftQuery
from tests.fakes import World, digest
from tests.triggers.asking import operated
from tests.triggers.test_board import SCRIPT, fragment, get, overview_of, text

FOREIGN = digest("foreign")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Orange, then green was promoted and went live; drift is reported only, so what is wrong stays so."""
    world = operated(monkeypatch)
    policy = world.policy
    node, hello = policy.gates["node"], policy.apps["hello-world"]
    source = msgspec.structs.replace(node.source, tags=("15-alpine",))
    world.policy = msgspec.structs.replace(
        policy,
        gates={"node": msgspec.structs.replace(node, source=source, drift="report")},
        apps={"hello-world": msgspec.structs.replace(hello, drift="report")},
    )
    world.restart()
    return world


def drift_of(world: World) -> DriftPage:
    return drift_page(world.services, world.clock.now())


def tamper(world: World) -> None:
    """Move the stable tag and replace the container by hand, and let a sweep see it."""
    world.registry.tags["base", "node:15-alpine"] = FOREIGN
    world.containers.groups["hello-world-aci"] = ("foreign:1", world.clock.now())
    world.sweep_now()


def test_before_any_sweep_the_page_says_so_and_offers_one(world: World) -> None:
    page = text(get(fragment("drift")))
    assert "No sweep has run yet" in page
    assert "Sweep now" in page
    assert 'data-headline="No sweep yet"' in page
    assert "sequence 2" in page  # what events brought is known all the same


def test_a_tag_is_shown_side_by_side_upstream_candidate_and_stable(world: World) -> None:
    world.sweep_now()
    world.clock.forward(200)
    page = drift_of(world)
    (row,) = page.gates[0].rows
    upstream, candidate, stable = row.cells
    assert (row.name, row.status, page.headline) == ("15-alpine", "same", "No drift")
    assert upstream.subject == stable.subject == digest("green").removeprefix("sha256:")[:12]
    assert (upstream.state, age(upstream.since, world.clock.now()), candidate.state) == (
        "sequence 2",
        "4 min",
        "promoted",
    )
    assert get(fragment("candidate"), candidate=candidate.link.partition("/")[2]).status_code == 200
    assert [cell.title for cell in page.apps[0].cells] == ["Base tag", "Built on", "Running"]
    assert page.apps[0].status == "same"


def test_a_gate_says_when_it_was_read_and_how_changes_became_known(world: World) -> None:
    world.sweep_now()
    world.clock.forward(300)
    world.registry.tags["public", "node:15-alpine"] = digest("unheard of")
    world.sweep_now()
    world.clock.forward(120)
    facts = drift_of(world).gates[0].facts
    assert facts.pop("Slowest recovery") == "5 min"
    assert facts == {
        "Last read": "2 min ago",
        "Next read": "with the next sweep",
        "Tags": "1",
        "Reported by events": "1",
        "Found by the sweep": "1",
        "Drift": "reported only",
    }


def test_a_push_that_was_not_examined_is_told_beside_its_tag(world: World) -> None:
    lost = digest("left before it was read")
    world.deliver(world.event("15-alpine", lost))
    world.settle(within_seconds=3600)
    world.sweep_now()
    (row,) = drift_of(world).gates[0].rows
    assert row.status == "same"
    assert row.note.startswith(f"1 digest of an event was never observed, last {lost[7:19]}, ")
    assert row.note.endswith("event event-3")
    page = text(get(fragment("drift")))
    assert row.note in page


def test_a_tag_that_is_gone_or_in_doubt_says_so(world: World) -> None:
    world.sweep_now()
    world.registry.tags["public", "node:15-alpine"] = digest("orange")
    world.clock.forward(60)
    world.sweep_now()
    (row,) = drift_of(world).gates[0].rows
    assert (row.cells[0].state, row.cells[0].severity) == ("in doubt", Severity.WAITING)
    del world.registry.tags["public", "node:15-alpine"]
    for _ in range(2):
        world.clock.forward(300)
        world.sweep_now()
    (tag,) = DriftQuery(world.services).drift().gates[0].tags
    assert (tag.absent, tag.upstream) == (True, digest("green"))


def test_a_registry_that_is_left_alone_is_named_with_the_reason(world: World) -> None:
    world.sweep_now()
    world.tags.faults["public"] = Retry("publicregistry.azurecr.io answered 503")
    world.clock.forward(300)
    world.sweep_now()
    assert drift_of(world).gates[0].trouble == (
        "Backing off from publicregistry.azurecr.io for 1 min 0 s: publicregistry.azurecr.io answered 503"
    )


def test_a_gate_says_when_it_is_read_next_and_what_its_upstream_still_allows(world: World) -> None:
    hub = msgspec.structs.replace(world.policy.registries["public"], interval="900s")
    world.policy = msgspec.structs.replace(world.policy, registries={**world.policy.registries, "public": hub})
    world.restart()
    world.tags.said = Allowance(limit=200, remaining=176, window_seconds=21600)
    world.sweep_now()
    world.clock.forward(180)
    facts = drift_of(world).gates[0].facts
    assert (facts["Next read"], facts["Pulls left"]) == ("in 12 min", "176")


def test_a_held_tag_is_held_and_does_not_differ(world: World) -> None:
    world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, Who.of("mara", "a quiet weekend")).act()
    world.registry.tags["public", "node:15-alpine"] = digest("red")
    world.sweep_now()
    world.settle()
    (row,) = drift_of(world).gates[0].rows
    assert (row.status, row.cells[1].state, row.cells[2].state) == ("held", "held", "held")


def test_a_tag_whose_candidate_failed_differs_with_the_reason_and_a_link(world: World) -> None:
    world.tasks.failing["node@"] = "ERROR: Invalid Color: Red"
    world.registry.tags["public", "node:15-alpine"] = digest("red")
    world.sweep_now()
    world.settle()
    page = drift_of(world)
    (row,) = page.gates[0].rows
    assert (row.status, row.cells[0].state, row.cells[1].state) == ("differs", "sequence 3", "failed")
    assert "Invalid Color" in row.cells[1].reason
    assert page.headline == "1 tag differs"


def test_what_was_done_around_the_gate_stands_on_top_and_in_its_row(world: World) -> None:
    world.sweep_now()
    world.clock.forward(60)
    tamper(world)
    world.clock.forward(240)
    page = drift_of(world)
    assert [(alarm.subject, age(alarm.since, world.clock.now()), alarm.severity) for alarm in page.alarms] == [
        ("gate node", "4 min", Severity.BAD),
        ("app hello-world", "4 min", Severity.BAD),
    ]
    assert page.alarms[0].advice == "reported only: the gate's rule says `drift: report`"
    (tag,), (app,) = page.gates[0].rows, page.apps
    assert (tag.status, tag.cells[2].state) == ("differs", "moved around the gate")
    assert (app.status, app.cells[2].state) == ("differs", "not the last good image")
    assert page.headline == "2 alarms, 1 tag differs, 1 app differs"


def test_the_flow_says_where_the_sweep_saw_something_else(world: World) -> None:
    tamper(world)
    world.clock.forward(180)
    (row,) = overview_of(world).gates[0].rows
    stable, container = cell(row.cells, "Stable tag"), cell(row.apps[0].cells, "Container")
    assert (stable.state, stable.severity, age(stable.since, world.clock.now())) == (
        "moved around the gate",
        Severity.BAD,
        "3 min",
    )
    assert "which was promoted" in stable.reason
    assert (container.state, container.severity) == ("not the last good image", Severity.BAD)
    assert "it shows foreign:1" in container.reason


def test_a_container_that_is_redeployed_is_busy_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    world = operated(monkeypatch)
    world.containers.groups["hello-world-aci"] = ("foreign:1", world.clock.now())
    world.sweep_now()
    container = cell(overview_of(world).gates[0].rows[0].apps[0].cells, "Container")
    assert (container.state, container.severity) == ("deploying", Severity.BUSY)
    assert "it shows foreign:1" in container.reason
    assert drift_of(world).alarms[0].advice.startswith("redeployed by rollout drift-")


def cell(cells: tuple[Item, ...], title: str) -> Item:
    return next(item for item in cells if item.title == title)


def test_the_overview_tells_the_newest_alarms_and_counts_the_others(world: World) -> None:
    for number in range(8):
        world.ledger.insert(alarm(world, f"15.{number}", minutes=number))
    world.ledger.insert(msgspec.structs.replace(alarm(world, "15.9", 0), ended_at=world.clock.now()))
    view = overview_of(world)
    assert [one.reason for one in view.alarms] == [f"15.{number} is odd" for number in range(5)]
    assert (view.more_alarms, view.headline, view.severity) == (3, "8 alarms", Severity.BAD)
    page = text(get(fragment("overview")))
    assert re.search(r'<a href="/api/board/drift">3 more alarms</a>', page)
    assert "Needs attention" in page


def test_a_secret_that_runs_out_warns_and_a_registry_has_no_page(world: World) -> None:
    warning = msgspec.structs.replace(alarm(world, "hub", 1), scope="registries/base", kind=AlarmKind.SECRET_EXPIRES)
    world.ledger.insert(warning)
    view = overview_of(world)
    assert (view.headline, view.severity) == ("1 alarm", Severity.WAITING)
    (one,) = drift_of(world).alarms
    assert (one.subject, one.link) == ("registry base", "")


def alarm(world: World, tag: str, minutes: int) -> Alarm:
    return Alarm(
        scope="gates/node",
        kind=AlarmKind.TAG_AWAY,
        subject=tag,
        words=f"{tag} is odd",
        plan="every sweep looks again",
        since=world.clock.now() - timedelta(minutes=minutes),
    )


def test_an_earlier_image_that_was_live_is_offered_once_and_the_one_that_runs_is_not(world: World) -> None:
    page = text(get(fragment("app"), app="hello-world"))
    offers = re.findall(r'data-label="Deploy" data-subject="([^"]+)".*?data-fields="([^"]+)"', page)
    assert offers == [("hello-world:ct1", "{&#34;image&#34;:&#34;ct1&#34;}")]


def test_nothing_that_machines_wrote_is_taken_for_html(world: World) -> None:
    world.tasks.failing["node@"] = f"log {SCRIPT}"
    world.registry.tags["public", "node:15-alpine"] = digest("red")
    world.containers.groups["hello-world-aci"] = (f"foreign:{SCRIPT}", world.clock.now())
    world.sweep_now()
    world.settle()
    world.tags.faults["public"] = Retry(f"answered {SCRIPT}")
    world.sweep_now()
    pages = [text(get(fragment("drift"))), text(get(fragment("overview")))]
    assert [page for page in pages if "<script" in page] == []
    assert [page.count("&lt;script&gt;") >= 3 for page in pages] == [True, True]
