"""The HTTP interface, with the request objects that the worker passes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import azure.functions as func
import msgspec
import pytest

from functions import operator_api, operator_views
from shared import bootstrap
from shared.domain.errors import Misconfigured, Rejected, Retry
from shared.workflow.find import rollout_id
from shared.workflow.report import Report
from tests.described import hold_to_the_document
from tests.fakes import World, digest, sample_policy
from tests.served import App

GREEN, ORANGE = digest("green"), digest("orange")
WHY = {"reason": "it is three in the morning"}


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


def test_lists_may_be_of_one_state_and_of_a_span_of_time(world: World) -> None:
    world.tasks.failing[digest("red")] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", digest("red"))
    world.settle()

    def digests(**params: str) -> list[str]:
        status, page = ask(operator_views.candidates, method="GET", params=params, gate="node")
        assert status == 200
        return [item["digest"] for item in page["items"]]

    _, page = ask(operator_views.candidates, method="GET", gate="node")
    times = {item["digest"]: item["createdAt"] for item in page["items"]}
    assert digests(state="promoted") == [GREEN, ORANGE]
    assert digests(state="failed") == [digest("red")]
    assert digests(since=times[GREEN]) == [digest("red"), GREEN]
    assert digests(until=times[GREEN]) == [ORANGE]
    assert digests(since=times[ORANGE], until=times[digest("red")], state="promoted") == [GREEN, ORANGE]
    assert digests(state="held") == []
    _, rollouts = ask(operator_views.rollouts, method="GET", params={"state": "live"}, app="hello-world")
    assert [item["state"] for item in rollouts["items"]] == ["live", "live"]


def test_a_page_may_be_empty_and_lead_on(world: World) -> None:
    world.ledger.page_scan = 1
    world.tasks.failing[digest("red")] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", digest("red"))
    world.settle()
    params, pages = {"state": "promoted"}, []
    while True:
        _, page = ask(operator_views.candidates, method="GET", params=params, gate="node")
        pages.append([item["digest"] for item in page["items"]])
        if not page["next"]:
            break
        params["token"] = page["next"]
    assert pages == [[], [GREEN], [ORANGE]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "odd"),
        ("state", ""),
        ("state", "promoted' or state ne '"),
        ("since", "yesterday"),
        ("since", "2026-03-01"),
        ("until", "2026-03-01T12:00:00"),
        ("until", "2026-03-01T12:00:00 01:00"),
        ("limit", "101"),
        ("limit", "1e2"),
        ("limit", "\u0661"),
        ("token", "no token"),
    ],
)
def test_a_list_that_is_asked_for_wrongly_says_where(world: World, name: str, value: str) -> None:
    status, problem = ask(operator_views.candidates, method="GET", params={name: value}, gate="node")
    assert (status, problem["field"]) == (400, name)


def test_every_move_of_a_stable_tag_is_listed_with_who_moved_it(world: World) -> None:
    ask(operator_api.roll_back, WHY | {"tag": "15-alpine", "to": "15-alpine-cb1"}, gate="node")
    _, page = ask(operator_views.promotions, method="GET", gate="node")
    moves = [(move["digest"], move["unique"], move["movedBy"]) for move in page["items"]]
    operator = f"a holder of the key: {WHY['reason']}"
    assert moves == [(ORANGE, "15-alpine-cb1", operator), (GREEN, "15-alpine-cb3", ""), (ORANGE, "15-alpine-cb1", "")]
    assert page["items"][1]["candidate"].startswith(f"node.{GREEN.removeprefix('sha256:')}")
    _, first = ask(operator_views.promotions, method="GET", params={"limit": "1"}, gate="node")
    _, rest = ask(operator_views.promotions, method="GET", params={"token": first["next"]}, gate="node")
    assert first["items"] + rest["items"] == page["items"]
    _, later = ask(operator_views.promotions, method="GET", params={"since": moves_at(page, 0)}, gate="node")
    assert later["items"] == page["items"][:1]


def moves_at(page: Any, index: int) -> str:
    return str(page["items"][index]["movedAt"])


def test_holds_and_vetoes_are_listed_over_all_gates(world: World) -> None:
    ask(operator_api.hold, WHY | {"tag": "15-alpine"}, gate="node", headers={"X-Basegate-Actor": "ada"})
    ask(operator_api.veto, WHY | {"digest": digest("red")}, gate="node")
    ask(operator_api.veto, WHY | {"digest": digest("blue")}, gate="node")
    ask(operator_api.lift_veto, WHY, method="DELETE", gate="node", digest=digest("blue"))
    _, holds = ask(operator_views.holds, method="GET")
    assert [(hold["gate"], hold["tag"], hold["digest"], hold["actor"]) for hold in holds["items"]] == [
        ("node", "15-alpine", GREEN, "ada (by key)")
    ]
    _, standing = ask(operator_views.vetoes, method="GET")
    assert [veto["digest"] for veto in standing["items"]] == [digest("red")]
    _, every = ask(operator_views.vetoes, method="GET", params={"all": "true"})
    assert {veto["digest"]: bool(veto["lifted_at"]) for veto in every["items"]} == {
        digest("red"): False,
        digest("blue"): True,
    }
    assert ask(operator_views.vetoes, method="GET", params={"all": "1"})[0] == 400


def test_gates_and_apps_are_listed_and_their_rules_told_without_values(world: World) -> None:
    app = world.policy.apps["hello-world"]
    assert app.deploy is not None
    deploy = msgspec.structs.replace(app.deploy, environment={"TOKEN": "s3cr3t"})
    build = msgspec.structs.replace(app.build, values={"KEY": "s3cr3t"})
    world.policy = sample_policy(apps={"hello-world": msgspec.structs.replace(app, deploy=deploy, build=build)})
    world.restart()
    bootstrap.basegate().report = Report(world.services)
    assert [gate["name"] for gate in ask(operator_views.gates, method="GET")[1]["items"]] == ["node"]
    assert [one["name"] for one in ask(operator_views.apps, method="GET")[1]["items"]] == ["hello-world"]
    _, told = ask(operator_views.app, method="GET", app="hello-world")
    assert told["rule"]["deploy"]["environment"] == {"TOKEN": ""}
    assert told["rule"]["build"]["values"] == {"KEY": ""}
    assert "s3cr3t" not in json.dumps(told)
    assert ask(operator_views.app, method="GET", app="another")[0] == 404


def log_of(handler: Any, **route: str) -> tuple[int, str, str]:
    request = func.HttpRequest(method="GET", url="/api/v1/x", params={}, headers={}, route_params=route, body=b"")
    answer = handler(request)
    hold_to_the_document(handler, answer)
    source = answer.headers.get("X-Basegate-Log", "")
    if answer.status_code == 200:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.mimetype == "text/plain"
    return answer.status_code, source, answer.get_body().decode()


def test_the_log_of_a_check_is_told_so_far_and_then_as_it_was_kept(world: World) -> None:
    blue = digest("blue")
    world.push("15-alpine", blue)
    identifier = f"node.{blue.removeprefix('sha256:')}"
    assert log_of(operator_views.candidate_log, candidate=identifier)[0] == 404
    while not world.candidate(blue).checks[0].run_id:
        world.next_look()
    world.tasks.runs[world.candidate(blue).checks[0].run_id].log = "\x1b[31mStep 1/4\x1b[0m"
    assert log_of(operator_views.candidate_log, candidate=identifier) == (200, "running", "Step 1/4")
    world.tasks.log_fault = Rejected("404")
    assert log_of(operator_views.candidate_log, candidate=identifier)[0] == 404
    world.tasks.log_fault = Retry("503")
    assert log_of(operator_views.candidate_log, candidate=identifier)[0] == 503
    world.tasks.log_fault = None
    world.settle()
    assert log_of(operator_views.candidate_log, candidate=identifier) == (200, "stored", "Step 1/4")
    world.archive.texts.clear()
    assert log_of(operator_views.candidate_log, candidate=identifier)[0] == 404


def test_the_log_of_a_build_is_told_so_far_and_then_as_it_was_kept(world: World) -> None:
    ask(operator_api.roll_out, WHY, app="hello-world")
    rollout = rollout_id(world.rollouts()[-1])
    assert log_of(operator_views.rollout_log, rollout=rollout)[0] == 404
    while not world.rollouts()[-1].build.run_id:
        world.next_look()
    world.tasks.runs[world.rollouts()[-1].build.run_id].log = "Step 1/4"
    assert log_of(operator_views.rollout_log, rollout=rollout) == (200, "running", "Step 1/4")
    world.settle()
    assert log_of(operator_views.rollout_log, rollout=rollout) == (200, "stored", "Step 1/4")


def test_of_a_long_log_the_end_is_told(world: World) -> None:
    green = world.candidate(GREEN)
    world.archive.texts[green.checks[0].evidence.log_blob] = "ü" * 1024 * 1024 + "the end"
    _, _, text = log_of(operator_views.candidate_log, candidate=f"node.{green.row}")
    assert len(text.encode()) <= 1024 * 1024
    assert text.endswith("ü" + "the end")


def test_an_image_that_was_built_is_deployed_again_on_demand(world: World) -> None:
    first = world.rollouts()[0].image
    assert first is not None
    body = WHY | {"image": first.tag}
    _, plan = ask(operator_api.roll_out, body, params={"dry_run": "true"}, app="hello-world")
    assert plan["effects"][0]["what"] == "deploy"
    assert ask(operator_api.roll_out, body, app="hello-world")[0] == 202
    world.settle()
    assert world.containers.puts[-1] == str(first)
    assert ask(operator_api.roll_out, WHY | {"image": "ct99"}, app="hello-world")[0] == 404


def test_a_veto_says_what_to_roll_back_to_and_does_it_when_asked(world: World) -> None:
    body = WHY | {"digest": GREEN}
    _, plan = ask(operator_api.veto, body, params={"dry_run": "true"}, gate="node")
    told = {"what": "still promoted, roll it back", "subject": f"15-alpine to {ORANGE}"}
    assert plan["effects"][1] == told
    _, plan = ask(operator_api.veto, body | {"rollback": True}, params={"dry_run": "true"}, gate="node")
    assert [effect["what"] for effect in plan["effects"]][1:3] == ["move the stable tag", "hold"]
    assert world.stable_tag() == GREEN
    assert ask(operator_api.veto, body | {"to": "15-alpine-cb1", "until": "newer"}, gate="node")[0] == 202
    assert world.stable_tag() == ORANGE
    _, holds = ask(operator_views.holds, method="GET")
    assert [hold["until"] for hold in holds["items"]] == ["newer"]


@pytest.mark.parametrize("text", ["True", "1", "yes", ""])
def test_what_is_neither_a_dry_run_nor_none_does_nothing(world: World, text: str) -> None:
    rollouts = len(world.rollouts())
    status, problem = ask(operator_api.roll_out, WHY, params={"dry_run": text}, app="hello-world")
    assert (status, problem["field"]) == (400, "dry_run")
    assert len(world.rollouts()) == rollouts


def test_a_field_that_is_not_known_is_no_field_that_is_left_out(world: World) -> None:
    rollouts = len(world.rollouts())
    status, problem = ask(operator_api.roll_out, WHY | {"imgae": "ct2"}, app="hello-world")
    assert (status, problem["field"]) == (400, "imgae")
    status, problem = ask(operator_api.roll_out, None, params=WHY | {"imgae": "ct2"}, app="hello-world")
    assert (status, problem["field"]) == (400, "imgae")
    assert len(world.rollouts()) == rollouts


def test_a_call_may_be_told_by_its_query_alone(world: World) -> None:
    params = WHY | {"digest": GREEN, "rollback": "true", "code": "a key", "dry_run": "true"}
    status, plan = ask(operator_api.veto, None, params=params, gate="node")
    assert (status, len(plan["effects"])) == (200, 4)


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
