"""The board's pages, rendered from a world on fakes."""

from __future__ import annotations

import re
from collections.abc import Callable

import azure.functions as func
import pytest
from azure.functions.decorators.http import HttpTrigger

from functions import board
from functions.web.pages import CONTENT_SECURITY_POLICY
from shared import bootstrap
from shared.domain.standing import HoldUntil
from shared.workflow.operate import Who
from shared.workflow.report import Report
from tests.fakes import World, digest

GREEN, RED = digest("green"), digest("red")
SCRIPT = "<script>alert('x')</script>"


class App:
    """What the board asks bootstrap for, on fakes."""

    def __init__(self, world: World) -> None:
        self.services, self.report = world.services, Report(world.services)


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
        func.HttpRequest(method="GET", url="/api/board", params=params or {}, route_params=route, headers={}, body=b"")
    )


def text(answer: func.HttpResponse) -> str:
    assert answer.status_code == 200, answer.get_body()
    return answer.get_body().decode()


def candidate_id(world: World) -> str:
    return str(Report(world.services).candidates("node", 1, "").items[0].id)


def rollout_id(world: World) -> str:
    return str(Report(world.services).rollouts("hello-world", 1, "").items[0].id)


def test_the_overview_shows_every_station_from_the_push_to_the_container(world: World) -> None:
    page = text(get(board.fragment_overview))
    stations = re.findall(r'class="where">([^<]+)<', page)
    assert stations == ["Upstream", "Candidate", "Unique tag", "Stable tag", "App image", "Container"]
    assert "15-alpine-cb1" in page
    assert "3 min" in page


def test_a_candidate_is_shown_with_its_verdict_its_evidence_and_its_log(world: World) -> None:
    page = text(get(board.fragment_candidate, candidate=candidate_id(world)))
    assert "Run ID: cb1 was successful" in page
    assert f'href="/api/v1/candidates/{candidate_id(world)}/log"' in page
    assert 'data-running="no"' in page


def test_a_rollout_is_shown_with_its_steps(world: World) -> None:
    page = text(get(board.fragment_rollout, rollout=rollout_id(world)))
    assert re.findall(r"<h3>(\w+) ", page) == ["build", "deploy"]


def test_what_is_under_way_asks_to_be_refreshed(world: World) -> None:
    world.push("15-alpine", RED)
    assert 'data-running="yes"' in text(get(board.fragment_overview))
    assert 'data-running="yes"' in text(get(board.fragment_candidate, candidate=candidate_id(world)))
    assert 'data-running="yes"' in text(get(board.fragment_gate, gate="node"))


def test_history_is_filtered_by_state_and_leads_to_the_next_page(world: World) -> None:
    shown = text(get(board.fragment_gate, gate="node"))
    assert "promoted" in shown
    assert 'class="mark' not in text(get(board.fragment_gate, {"state": "failed"}, gate="node"))
    assert get(board.fragment_gate, {"state": "odd"}, gate="node").status_code == 400
    for number in range(26):
        world.clock.forward(60)
        world.push("15-alpine", digest(f"push {number}"))
    token = re.search(r'rel="next" href="\?state=&amp;token=([^"]+)"', text(get(board.fragment_gate, gate="node")))
    assert token
    assert 'rel="next"' not in text(get(board.fragment_gate, {"token": token[1].replace("%7E", "~")}, gate="node"))


def test_nothing_that_people_or_machines_wrote_is_taken_for_html(world: World) -> None:
    who = Who.of(SCRIPT, f"because {SCRIPT}")
    world.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, who).act()
    world.operate.vetoes.veto("node", RED, who).act()
    world.tasks.failing["node@"] = f"log {SCRIPT}"
    world.clock.forward(60)
    world.push("15-alpine", digest("blue"))
    world.settle()
    pages = [
        text(get(board.fragment_overview)),
        text(get(board.fragment_gate, gate="node")),
        text(get(board.fragment_candidate, candidate=candidate_id(world))),
    ]
    assert [page for page in pages if "<script" in page] == []
    assert all("&lt;script&gt;" in page for page in pages)


@pytest.mark.parametrize("shell", [board.board, board.board_candidate, board.board_rollout, board.board_gate])
def test_a_shell_holds_no_data_and_nothing_inline(
    shell: Callable[[func.HttpRequest], func.HttpResponse], monkeypatch: pytest.MonkeyPatch
) -> None:
    def untouched() -> None:
        raise AssertionError("a shell looks at nothing")

    monkeypatch.setattr(bootstrap, "basegate", untouched)
    answer = get(shell, candidate=SCRIPT, rollout=SCRIPT, gate=SCRIPT)
    page = text(answer)
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert re.findall(r"<script(?! src=)|<style|\sstyle=|\son\w+=|javascript:", page) == []
    assert "https://" not in page
    assert 'data-keyed="yes"' in page


def test_with_sign_in_no_key_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASEGATE_SIGN_IN", "easy-auth")
    assert 'data-keyed="no"' in text(get(board.board))
    assert get(board.fragment_overview).status_code == 403


def test_fragments_are_kept_nowhere_and_framed_by_nobody(world: World) -> None:
    headers = get(board.fragment_overview).headers
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(("name", "kind"), [("board.css", "text/css"), ("board.js", "text/javascript")])
def test_assets_come_with_their_type(name: str, kind: str) -> None:
    answer = get(board.board_asset, name=name)
    assert (answer.status_code, answer.mimetype) == (200, kind)


@pytest.mark.parametrize("name", ["../board.py", "..%2fboard.py", "shell.html", ""])
def test_only_assets_are_served_as_assets(name: str) -> None:
    assert get(board.board_asset, name=name).status_code == 404


def test_what_is_not_there_is_a_problem(world: World) -> None:
    assert get(board.fragment_gate, gate="nodes").status_code == 404
    assert get(board.fragment_candidate, candidate="node.000000000000").status_code == 404
    assert get(board.fragment_rollout, rollout="hello-world.none").status_code == 404


def test_whatever_shows_data_needs_a_key() -> None:
    levels: dict[str, object] = {}
    for builder in board.blueprint._function_builders:
        trigger = builder._function.get_trigger()
        assert isinstance(trigger, HttpTrigger)
        levels[str(trigger.route)] = trigger.auth_level
    keyed = {route for route, level in levels.items() if level is func.AuthLevel.FUNCTION}
    assert keyed == {route for route in levels if route.startswith("board/fragments/")}
