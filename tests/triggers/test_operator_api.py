"""The HTTP interface, with the request objects that the worker passes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import azure.functions as func
import pytest

from functions import operator_api, operator_views
from shared import bootstrap
from shared.domain.errors import Misconfigured
from shared.workflow.acts import Acts
from shared.workflow.doctor import Doctor
from shared.workflow.operate import Operate
from shared.workflow.report import Report
from shared.workflow.run_logs import RunLogs
from tests.described import hold_to_the_document
from tests.fakes import World, digest

GREEN, ORANGE = digest("green"), digest("orange")
WHY = {"reason": "it is three in the morning"}


class App:
    """What the functions ask bootstrap for, on fakes."""

    def __init__(self, world: World) -> None:
        self.operate, self.acts, self.report = Operate(world.services), Acts(world.services), Report(world.services)
        self.doctor, self.logs = Doctor(world.services), RunLogs(world.services)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    for content in (ORANGE, GREEN):
        world.push("15-alpine", content)
        world.settle()
        world.clock.forward(60)
    app = App(world)
    monkeypatch.setattr(bootstrap, "basegate", lambda: app)
    return world


def ask(
    handler: Callable[[func.HttpRequest], func.HttpResponse],
    body: object = None,
    *,
    method: str = "POST",
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    **route: str,
) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    request = func.HttpRequest(
        method=method, url="/api/v1/x", params=params or {}, headers=headers or {}, route_params=route, body=raw
    )
    answer = handler(request)
    hold_to_the_document(handler, answer)
    text = answer.get_body().decode()
    return answer.status_code, json.loads(text) if "json" in (answer.mimetype or "") else text


def test_a_dry_run_shows_the_blast_radius_and_does_nothing(world: World) -> None:
    before = dict(world.ledger.rows)
    body = WHY | {"tag": "15-alpine", "to": "15-alpine-cb1"}
    status, answer = ask(operator_api.roll_back, body, params={"dry_run": "true"}, gate="node")
    assert status == 200
    assert [effect["what"] for effect in answer["effects"]] == ["move the stable tag", "hold", "rebuild and redeploy"]
    assert dict(world.ledger.rows) == before


def test_a_rollback_is_done_and_told_where_to_look(world: World) -> None:
    body = WHY | {"tag": "15-alpine", "to": "15-alpine-cb1"}
    status, answer = ask(operator_api.roll_back, body, gate="node", headers={"X-Basegate-Actor": "ada"})
    assert (status, answer["see"]) == (202, "/api/v1/gates/node")
    assert world.stable_tag() == ORANGE
    _, gate = ask(operator_views.gate, method="GET", gate="node")
    assert gate["stable"][0]["hold"]["actor"] == "ada (by key)"
    assert gate["stable"][0]["hold"]["reason"] == WHY["reason"]


def test_a_function_key_in_the_url_is_kept_nowhere(world: World) -> None:
    key, route = "s3cr3t-function-key", {"app": "hello-world"}
    request = func.HttpRequest(
        method="POST",
        url=f"https://basegate.azurewebsites.net/api/v1/apps/hello-world/rollouts?code={key}&reason=because",
        params={"code": key, "reason": "because"},
        headers={"Idempotency-Key": "three"},
        route_params=route,
        body=b"",
    )
    assert operator_api.roll_out(request).status_code == 202
    world.settle()
    assert not [row for row, (content, _) in world.ledger.rows.items() if key.encode() in content]
    other_key = func.HttpRequest(
        method="POST",
        url="https://basegate.azurewebsites.net/api/v1/apps/hello-world/rollouts?code=renewed&reason=because",
        params={"code": "renewed", "reason": "because"},
        headers={"Idempotency-Key": "three"},
        route_params=route,
        body=b"",
    )
    assert operator_api.roll_out(other_key).status_code == 202
    assert len([r for r in world.rollouts() if r.name.startswith("rebuild")]) == 1


def test_a_repeat_with_the_same_key_gets_the_first_answer(world: World) -> None:
    headers = {"Idempotency-Key": "one"}
    first = ask(operator_api.roll_out, WHY, headers=headers, app="hello-world")
    rollouts = len(world.rollouts())
    assert ask(operator_api.roll_out, WHY, headers=headers, app="hello-world") == first
    assert len(world.rollouts()) == rollouts
    status, problem = ask(operator_api.roll_out, {"reason": "another"}, headers=headers, app="hello-world")
    assert (status, problem["field"]) == (400, "Idempotency-Key")


def test_a_call_that_was_refused_may_be_repeated_with_its_key(world: World) -> None:
    headers, body = {"Idempotency-Key": "two"}, WHY | {"tag": "15-alpine"}
    assert ask(operator_api.lift_hold, body, method="DELETE", headers=headers, gate="node")[0] == 404
    ask(operator_api.hold, body, gate="node")
    assert ask(operator_api.lift_hold, body, method="DELETE", headers=headers, gate="node")[0] == 202


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"no JSON", "body"),
        (b"[]", "body"),
        (b"x" * 20_000, "body"),
        ({}, "reason"),
        (WHY | {"tag": "no tag!"}, "tag"),
        (WHY | {"tag": "15-alpine", "until": "never"}, "until"),
    ],
)
def test_a_request_that_is_not_right_gets_a_problem_that_names_the_field(
    world: World, body: object, field: str
) -> None:
    status, problem = ask(operator_api.hold, body, gate="node")
    assert status == 400
    assert problem["field"] == field
    assert problem["detail"]


def test_what_is_not_there_and_what_is_not_possible_are_told_apart(world: World) -> None:
    assert ask(operator_api.hold, WHY | {"tag": "15-alpine"}, gate="nodes")[0] == 404
    body = WHY | {"tag": "15-alpine", "to": GREEN}
    assert ask(operator_api.roll_back, body, gate="node")[0] == 409


def test_lists_come_by_time_a_page_at_a_time(world: World) -> None:
    _, page = ask(operator_views.candidates, method="GET", params={"limit": "1"}, gate="node")
    assert [item["digest"] for item in page["items"]] == [GREEN]
    _, rest = ask(operator_views.candidates, method="GET", params={"token": page["next"]}, gate="node")
    assert ([item["digest"] for item in rest["items"]], rest["next"]) == ([ORANGE], "")
    assert ask(operator_views.candidates, method="GET", params={"limit": "0"}, gate="node")[0] == 400


def test_the_whole_story_is_told_with_its_evidence(world: World) -> None:
    _, page = ask(operator_views.candidates, method="GET", gate="node")
    status, story = ask(operator_views.candidate, method="GET", candidate=page["items"][0]["id"])
    assert status == 200
    assert story["history"][0]["what"] == "admitted"
    status, log = ask(operator_views.candidate_log, method="GET", candidate=page["items"][0]["id"])
    assert (status, "successful" in log) == (200, True)


def test_status_shows_everything_at_a_glance(world: World) -> None:
    _, status = ask(operator_views.status, method="GET")
    assert status["gates"][0]["stable"][0]["digest"] == GREEN
    assert status["apps"][0]["live"].startswith("contoso.azurecr.io/hello-world:")


def principal(*roles: str) -> dict[str, str]:
    claims = [{"typ": "roles", "val": role} for role in roles]
    encoded = base64.b64encode(json.dumps({"role_typ": "roles", "claims": claims}).encode()).decode()
    return {"X-MS-CLIENT-PRINCIPAL": encoded, "X-MS-CLIENT-PRINCIPAL-NAME": "ada@example.com"}


@pytest.mark.parametrize(
    ("roles", "reads", "acts"),
    [((), 403, 403), (("Basegate.Reader",), 200, 403), (("Basegate.Operator",), 200, 202), (("Other",), 403, 403)],
)
def test_with_sign_in_trusted_the_roles_decide(
    world: World, monkeypatch: pytest.MonkeyPatch, roles: tuple[str, ...], reads: int, acts: int
) -> None:
    monkeypatch.setenv("BASEGATE_SIGN_IN", "easy-auth")
    headers = principal(*roles)
    assert ask(operator_views.status, method="GET", headers=headers)[0] == reads
    assert ask(operator_api.hold, WHY | {"tag": "15-alpine"}, headers=headers, gate="node")[0] == acts


def test_nobody_signed_in_is_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASEGATE_SIGN_IN", "easy-auth")
    assert ask(operator_views.status, method="GET")[0] == 403
    assert ask(operator_views.status, method="GET", headers={"X-MS-CLIENT-PRINCIPAL": "bm9wZQ=="})[0] == 403


def test_sign_in_headers_mean_nothing_where_they_are_not_trusted(world: World) -> None:
    ask(operator_api.hold, WHY | {"tag": "15-alpine"}, headers=principal("Basegate.Operator"), gate="node")
    _, gate = ask(operator_views.gate, method="GET", gate="node")
    assert gate["stable"][0]["hold"]["actor"] == "a holder of the key"


def test_readyz_says_of_each_dependency_what_to_mend(world: World) -> None:
    assert ask(operator_views.readyz, method="GET")[0] == 200
    world.registry.fault = Misconfigured("reading node: 403. To mend it: give the app AcrPull on the registry")
    status, answer = ask(operator_views.readyz, method="GET")
    assert (status, answer["ready"]) == (503, False)
    sick = [finding for finding in answer["findings"] if finding["state"] != "ok"]
    assert {finding["state"] for finding in sick} == {"misconfigured"}
    assert "AcrPull" in sick[0]["detail"]


def test_healthz_says_nothing_but_that_it_is_up() -> None:
    assert ask(operator_views.healthz, method="GET") == (200, {"status": "up"})


def test_who_acts_on_a_stale_view_is_told_what_it_is_now(world: World) -> None:
    _, page = ask(operator_views.candidates, method="GET", gate="node")
    identifier = page["items"][0]["id"]
    stale, fresh = {"If-Match": "another ETag"}, {"If-Match": bootstrap.basegate().report.candidate(identifier)[1]}
    status, problem = ask(operator_api.rerun, WHY, headers=stale, candidate=identifier)
    assert status == 412
    assert "is promoted now" in problem["detail"]
    assert len(world.candidates()) == 2
    assert ask(operator_api.rerun, WHY, headers=fresh, candidate=identifier)[0] == 202
