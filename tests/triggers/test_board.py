"""The board's pages, rendered from a world on fakes."""

from __future__ import annotations

import dataclasses
import html
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func
import msgspec
import pytest
from azure.functions.decorators.http import HttpTrigger

from functions import board
from functions.board import CONTENT_SECURITY_POLICY
from shared import bootstrap
from shared.board.overview import RECENT, Overview, overview_page
from shared.board.parts import Severity
from shared.board.records import RecordPage, candidate_page
from shared.checks.approval import ApprovalCheck
from shared.domain.candidate import Candidate
from shared.domain.errors import Cause, Misconfigured
from shared.domain.record import Stall
from shared.domain.rollout import Rollout
from shared.domain.stable_tag import HoldUntil
from shared.health import HealthChecks, HealthResult
from shared.operations import Who
from shared.records.alarms import Alarms
from tests.fakes import FakeLedger, World, digest

GREEN, RED = digest("green"), digest("red")
SCRIPT = "<script>alert('x')</script>"


class App:
    """What the board asks bootstrap for, on fakes."""

    def __init__(self, world: World) -> None:
        self.services, self.health = world.services, self
        self.recent: Callable[[], object] = tuple


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    world.clock.forward(180)
    app = App(world)
    monkeypatch.setattr(bootstrap, "basegate", lambda: app)
    return world


def get(
    handler: Callable[[func.HttpRequest], func.HttpResponse],
    params: dict[str, str] | None = None,
    **route: str,
) -> func.HttpResponse:
    return handler(
        func.HttpRequest(
            method="GET",
            url="http://127.0.0.1/api/board",
            params=params or {},
            route_params=route,
            headers={},
            body=b"",
        )
    )


def fragment(name: str) -> Callable[[func.HttpRequest], func.HttpResponse]:
    """The function that answers what a page shows."""
    functions = [builder._function for builder in board.blueprint._function_builders]
    handler: Callable[[func.HttpRequest], func.HttpResponse] = next(
        one.get_user_function() for one in functions if one.get_function_name() == f"fragment_{name}"
    )
    return handler


def text(answer: func.HttpResponse) -> str:
    assert answer.status_code == 200, answer.get_body()
    return answer.get_body().decode()


def candidate_id(world: World) -> str:
    return world.ledger.page(Candidate, "node", 1).items[0].id


def rollout_id(world: World) -> str:
    return world.ledger.page(Rollout, "hello-world", 1).items[0].id


def overview_of(world: World) -> Overview:
    return overview_page(world.services, world.clock.now())


def candidate_of(world: World) -> RecordPage:
    return candidate_page(world.services, candidate_id(world), world.clock.now())


def test_the_overview_shows_every_station_from_the_push_to_the_container(world: World) -> None:
    page = text(get(fragment("overview")))
    stations = re.findall(r'class="where">([^<]+)<', page)
    assert stations == ["Upstream", "Candidate", "Unique tag", "Stable tag", "App image", "Container"]
    assert "15-alpine-cb1" in page
    assert "3 min" in page


def test_a_candidate_is_shown_with_its_verdict_its_evidence_and_its_log(world: World) -> None:
    page = text(get(fragment("candidate"), candidate=candidate_id(world)))
    assert "Run ID: cb1 was successful" in page
    assert f'href="/api/v1/candidates/{candidate_id(world)}/log"' in page
    assert 'data-running="no"' in page


def test_a_rollout_is_shown_with_its_steps(world: World) -> None:
    page = text(get(fragment("rollout"), rollout=rollout_id(world)))
    assert re.findall(r"<h3>(\w+) ", page) == ["build", "deploy"]


def test_what_failed_is_told_first_with_its_reason_and_what_to_do(world: World) -> None:
    world.tasks.failing["node@"] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", RED)
    world.settle()
    world.clock.forward(2400)
    page = text(get(fragment("overview")))
    item = page[page.index('class="action-item bad"') : page.index('class="panel gate"')]
    for expected in ("failed", "ERROR: Invalid Color: Red", "40 min", "stays on 15-alpine-cb1", "Rerun"):
        assert expected in item
    assert 'data-headline="1 failed"' in page


def test_what_failed_under_two_tags_is_told_once(world: World) -> None:
    world.tasks.failing["node@"] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", RED)
    world.push("15.14", RED)
    world.settle()
    (item,) = overview_of(world).action_items
    assert (item.state, item.subject) == ("failed", f"node 15-alpine, {RED[7:19]}")


def test_what_waits_for_a_person_offers_yes_and_no(world: World) -> None:
    gate = world.policy.gates["node"]
    asking = msgspec.structs.replace(gate, checks=(*gate.checks, ApprovalCheck()))
    world.policy = msgspec.structs.replace(world.policy, gates={"node": asking})
    world.restart()
    world.push("15-alpine", RED)
    world.settle()
    assert overview_of(world).headline == "1 awaiting approval"
    assert [action.label for action in overview_of(world).action_items[0].actions] == ["Approve", "Reject"]
    row = overview_of(world).gates[0].rows[0]
    assert row.cells[3].reason == "the newest push is awaiting approval; the tag is unchanged"
    story = candidate_of(world)
    assert (story.state, [step.state for step in story.steps]) == ("awaiting approval", ["passed", "awaiting approval"])


def test_what_is_stalled_says_on_what_what_to_do_and_when_it_is_tried_next(world: World) -> None:
    world.registry.copy_fault = Misconfigured("copying: 403", cause=Cause.ROLE, remedy="give the app AcrPush")
    world.push("15-alpine", RED)
    world.settle()
    overview = overview_of(world)
    (item,) = overview.action_items
    assert (item.state, item.severity, item.reason) == ("stalled", Severity.WAITING, "copying: 403")
    assert item.advice.startswith("Give the app AcrPush. It resumes automatically once the cause is gone; next try in ")
    assert item.link == f"candidates/{candidate_id(world)}"
    assert overview.gates[0].rows[0].cells[3].reason == "the newest push is stalled; the tag is unchanged"
    facts = candidate_of(world).facts
    assert facts["Tag 15-alpine, sequence 2"] == "stalled: copying: 403"
    world.registry.copy_fault = None
    world.pass_time(600)
    assert overview_of(world).action_items == ()


def test_an_examination_that_stalls_says_so_on_its_page_too(world: World) -> None:
    world.tasks.start_fault = Misconfigured("no task", cause=Cause.TASK, remedy="create it")
    world.push("15-alpine", RED)
    world.settle()
    story, (item,) = candidate_of(world), overview_of(world).action_items
    facts = story.facts
    assert (story.state, story.reason, item.state, item.reason) == ("stalled", "no task", "stalled", "no task")
    assert (facts["Stalled on"], facts["What to do"]) == ("task base/base-import-node", "create it")


def test_a_tag_that_is_gone_upstream_keeps_its_promotion_waiting_visibly(world: World) -> None:
    world.tasks.seconds = 500
    world.push("15-alpine", RED)
    world.pass_time(60)
    del world.registry.tags["public", "node:15-alpine"]
    for _ in range(2):
        world.sweep_now()
        world.pass_time(100)
    world.settle()
    (item,) = overview_of(world).action_items
    assert (item.state, item.severity) == ("withdrawn", Severity.WAITING)
    row = overview_of(world).gates[0].rows[0]
    assert [cell.state for cell in row.cells][::3] == ["withdrawn", "behind"]


def test_a_story_shows_every_tag_that_its_digest_is_promoted_to(world: World) -> None:
    world.push("15.14", GREEN)
    world.settle()
    story = candidate_of(world)
    facts = story.facts
    assert facts["Tag 15-alpine, sequence 1"] == "promoted, unique tag 15-alpine-cb1 locked"
    assert facts["Tag 15.14, sequence 1"] == "promoted, unique tag 15.14-cb1 locked"
    assert {"15-alpine: copied", "15.14: copied", "admitted"} <= {event.what for event in story.events}
    assert [action.subject for action in story.actions if action.label == "Roll back"] == [
        "15-alpine to this",
        "15.14 to this",
    ]


def test_a_tag_that_comes_back_to_what_the_stable_tag_stands_on_is_current(world: World) -> None:
    world.tasks.failing[RED] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", RED)
    world.settle()
    world.push("15-alpine", GREEN)
    world.settle()
    view = overview_of(world)
    cells = view.gates[0].rows[0].cells
    assert (cells[0].subject, [cell.state for cell in cells[1::2]]) == (GREEN[7:19], ["passed", "current"])
    assert view.action_items == ()


def test_a_hold_says_who_holds_why_and_what_waits_behind_it(world: World) -> None:
    world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, Who.of("mara", "a quiet weekend")).act()
    world.push("15-alpine", RED)
    world.settle()
    view = overview_of(world)
    (item,) = view.action_items
    assert (item.state, item.reason) == ("held", "mara: a quiet weekend")
    assert item.advice.startswith("Promotions that wait for it: 1.")
    assert view.gates[0].rows[0].cells[3].state == "held"


def test_a_stable_tag_whose_promotions_are_further_back_than_the_overview_goes_is_shown(world: World) -> None:
    for number in range(RECENT):
        world.push("15.14", digest(f"push {number}"))
        world.pass_time(2)
    rows = overview_of(world).gates[0].rows
    row = next(row for row in rows if row.name == "15-alpine")
    assert [cell.state for cell in row.cells] == ["pushed", "passed", "none", "current"]


def test_many_quiet_tags_stand_behind_those_that_something_happens_to(world: World) -> None:
    for number in range(8):
        world.push(f"15.{number}", digest(f"version {number}"))
        world.settle()
    world.push("15.99", RED)
    world.pass_time(1)
    (gate,) = overview_of(world).gates
    assert {"15-alpine", "15.99"} < {row.name for row in gate.rows}
    assert (len(gate.rows), len(gate.quiet)) == (5, 5)
    assert "5 more tags without problems" in text(get(fragment("overview")))


def test_it_is_never_quiet_while_readyz_is_false_nor_before_that_is_known(world: World) -> None:
    health, now = HealthChecks(world.services), world.clock.now()
    world.registry.fault = Misconfigured("reading node: 403", remedy="give the app AcrPull on the registry")
    assert overview_page(world.services, now, health.recent()).headline == "Health checks are running"
    wait(health._requested.values())
    page = overview_page(world.services, now, health.recent())
    assert page.headline != "No problems"
    assert {alarm.title for alarm in page.alarms} == {"not ready"}
    said = "registry publicregistry.azurecr.io/node: reading node: 403: give the app AcrPull on the registry"
    assert said in {alarm.reason for alarm in page.alarms}


def test_the_board_begins_the_checks_once_a_minute_and_shows_what_they_said(world: World) -> None:
    world.registry.fault = Misconfigured("reading node: 403", remedy="give the app AcrPull on the registry")
    health = HealthChecks(world.services)
    bootstrap.basegate().recent = health.recent  # type: ignore[attr-defined]
    assert "Health checks are running" in text(get(fragment("overview")))
    asked = dict(health._requested)
    wait(asked.values())
    assert "give the app AcrPull on the registry" in text(get(fragment("overview")))
    assert health._requested == asked


def test_what_the_checks_said_when_somebody_looked_long_ago_counts_no_more(world: World) -> None:
    health = HealthChecks(world.services)
    health.recent()
    wait(health._requested.values())
    assert health.recent() == []
    health._started_at -= 3600
    assert health.recent() is None, "all was well an hour ago"
    wait(health._requested.values())
    assert health.recent() == []


def test_what_stops_the_app_is_shown_without_a_colon_for_what_it_does_not_say(world: World) -> None:
    slow = HealthResult("registry base", "unavailable", "it does not answer")
    (alarm,) = overview_page(world.services, world.clock.now(), [slow]).alarms
    assert alarm.reason == "registry base: it does not answer"


def test_it_is_never_quiet_while_a_record_stalls_that_is_further_back_than_the_overview_goes(world: World) -> None:
    assert overview_of(world).headline == "No problems"
    stall = Stall(since=world.clock.now(), step="copy", dependency="registry base", reason="403 DENIED")
    Alarms(world.services).raise_stall(stall)
    overview = overview_of(world)
    assert (overview.headline, overview.alarms[0].subject) == ("1 alarm", "stalled records")
    assert "registry base" in overview.alarms[0].reason


def test_the_overview_costs_four_queries_a_gate_three_an_app_and_one_a_registry_however_long_the_ledger_is(
    world: World,
) -> None:
    for number in range(20):
        world.push("15-alpine", digest(f"push {number}"))
        world.pass_time(60)
    ledger = CountingLedger(world.ledger)
    overview_page(dataclasses.replace(world.services, ledger=ledger), world.clock.now())
    gates, apps, registries = (len(part) for part in (world.policy.gates, world.policy.apps, world.policy.registries))
    alarms = gates + apps + registries + 1  # those of what stalls
    assert ledger.asked == {"list": gates + alarms, "page": 2 * gates + apps, "load": apps}


class CountingLedger:
    """Counts what is asked of a ledger."""

    def __init__(self, ledger: FakeLedger) -> None:
        self._ledger, self.asked = ledger, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self._ledger, name)


def test_what_is_under_way_asks_to_be_refreshed(world: World) -> None:
    world.push("15-alpine", RED)
    world.pass_time(1)
    assert 'data-running="yes"' in text(get(fragment("overview")))
    assert 'data-running="yes"' in text(get(fragment("candidate"), candidate=candidate_id(world)))
    assert 'data-running="yes"' in text(get(fragment("gate"), gate="node"))


def test_a_history_is_filtered_by_state(world: World) -> None:
    assert "passed" in rows(text(get(fragment("gate"), gate="node")))
    assert "None." in rows(text(get(fragment("gate"), {"state": "failed"}, gate="node")))
    assert "live" in rows(text(get(fragment("app"), {"state": "live"}, app="hello-world")))
    assert get(fragment("gate"), {"state": "live"}, gate="node").status_code == 400


def test_a_history_is_filtered_by_time_and_a_day_includes_its_evening(world: World) -> None:
    today = {"since": "2026-03-01", "until": "2026-03-01"}
    assert "passed" in rows(text(get(fragment("gate"), today, gate="node")))
    assert "None." in rows(text(get(fragment("gate"), {"until": "2026-02-28"}, gate="node")))
    assert "None." in rows(text(get(fragment("gate"), {"since": "2026-03-01T12:03Z"}, gate="node")))
    refused = get(fragment("gate"), {"since": "yesterday"}, gate="node")
    assert (refused.status_code, b'"field":"since"' in refused.get_body()) == (400, True)


@pytest.mark.parametrize("moment", ["9999-12-31", "0001-01-01", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00+23:59"])
def test_a_history_is_shown_from_and_to_any_moment_there_is(world: World, moment: str) -> None:
    for name in ("since", "until"):
        assert get(fragment("gate"), gate="node", params={name: moment}).status_code == 200


def test_a_history_leads_to_its_next_page_under_the_same_filter(world: World) -> None:
    world.tasks.seconds = 500
    for number in range(30):
        world.push("15-alpine", digest(f"push {number}"))
        world.pass_time(10)
    page = text(get(fragment("gate"), {"state": "examining"}, gate="node"))
    query = re.search(r'rel="next" href="\?([^"]+)"', page)
    assert query
    asked = dict(parse_qsl(html.unescape(query[1])))
    assert asked["state"] == "examining"
    older = text(get(fragment("gate"), asked, gate="node"))
    assert (rows(page).count("<li"), rows(older).count("<li")) == (25, 5)
    assert 'rel="next"' not in older


def rows(page: str) -> str:
    """The list of a history, without the form that names all states."""
    return page.partition('class="rows"')[2]


def test_nothing_that_people_or_machines_wrote_is_taken_for_html(world: World) -> None:
    who = Who.of(SCRIPT, f"because {SCRIPT}")
    world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, who).act()
    world.operate.vetoes.veto("node", RED, who).act()
    world.tasks.failing["node@"] = f"log {SCRIPT}"
    world.clock.forward(60)
    world.push("15-alpine", digest("blue"))
    world.settle()
    pages = [
        text(get(fragment("overview"))),
        text(get(fragment("gate"), gate="node")),
        text(get(fragment("candidate"), candidate=candidate_id(world))),
    ]
    assert [page for page in pages if "<script" in page] == []
    assert all("&lt;script&gt;" in page for page in pages)


def test_nothing_that_people_wrote_turns_the_direction_of_a_page_or_hides_in_it(world: World) -> None:
    who = Who.of("ada\u202e", "it is \u202edoog\u202c, really\u200b\ufeff")
    world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, who).act()
    page = text(get(fragment("overview")))
    assert "it is doog, really" in page
    assert not set("\u202e\u202c\u200b\ufeff") & set(page)


def test_every_page_is_a_shell_that_holds_no_data_and_nothing_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    def untouched() -> None:
        raise AssertionError("a shell reads nothing")

    monkeypatch.setattr(bootstrap, "basegate", untouched)
    answer = get(board.shell, candidate=SCRIPT, rollout=SCRIPT, gate=SCRIPT, app=SCRIPT)
    page = text(answer)
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert re.findall(r"<script(?! src=\"/api/board/assets/)|<style|\sstyle=|\son\w+=|javascript:", page) == []
    assert "https://" not in page
    assert 'data-keyed="yes"' in page


def test_with_sign_in_no_key_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASEGATE_SIGN_IN", "easy-auth")
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    assert 'data-keyed="no"' in text(get(board.shell))
    assert get(fragment("overview")).status_code == 403


def test_fragments_are_kept_nowhere_and_framed_by_nobody(world: World) -> None:
    headers = get(fragment("overview")).headers
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(("name", "kind"), [("board.css", "text/css"), ("morph.js", "text/javascript")])
def test_assets_come_with_their_type(name: str, kind: str) -> None:
    answer = get(board.board_asset, name=name)
    assert (answer.status_code, answer.mimetype) == (200, kind)


@pytest.mark.parametrize("name", ["../board.py", "..%2fboard.py", "shell.html", ""])
def test_only_assets_are_served_as_assets(name: str) -> None:
    assert get(board.board_asset, name=name).status_code == 404


def test_what_is_not_there_is_a_problem(world: World) -> None:
    assert get(fragment("gate"), gate="nodes").status_code == 404
    assert get(fragment("candidate"), candidate="node.000000000000").status_code == 404
    assert get(fragment("rollout"), rollout="hello-world.none").status_code == 404


def test_whatever_shows_data_needs_a_key() -> None:
    levels: dict[str, object] = {}
    for builder in board.blueprint._function_builders:
        trigger = builder._function.get_trigger()
        assert isinstance(trigger, HttpTrigger)
        levels[str(trigger.route)] = trigger.auth_level
    keyed = {route for route, level in levels.items() if level is func.AuthLevel.FUNCTION}
    assert keyed == {route for route in levels if route.startswith("board/fragments/")}
    pages = {route.removeprefix("board/fragments/").removeprefix("overview") for route in keyed}
    assert set(levels) - keyed == {f"board/{page}".rstrip("/") for page in pages} | {"board/assets/{name}"}
