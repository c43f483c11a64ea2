"""What operators do over HTTP."""

from __future__ import annotations

import base64
import json
from typing import Any

import azure.functions as func
import pytest

from functions.operator_api import FUNCTIONS
from shared import bootstrap
from shared.interface import OPERATIONS, Operation
from shared.operations import Plan
from shared.operations.operate import SweepOperations
from shared.reconcile.begin import Done, Effect
from tests.fakes import World, digest
from tests.triggers.asking import GREEN, ORANGE, WHY, ask, operated


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return operated(monkeypatch)


def test_a_dry_run_shows_the_blast_radius_and_does_nothing(world: World) -> None:
    before = dict(world.ledger.rows)
    body = WHY | {"tag": "15-alpine", "to": "15-alpine-cb1"}
    status, answer = ask("roll_back", body, params={"dry_run": "true"}, gate="node")
    assert status == 200
    assert [effect["what"] for effect in answer["effects"]] == ["move the stable tag", "hold", "rebuild and redeploy"]
    assert dict(world.ledger.rows) == before


@pytest.mark.parametrize("act", [one for one in OPERATIONS.values() if one.body], ids=lambda act: act.name)
def test_no_dry_run_writes_starts_or_queues_anything(world: World, act: Operation) -> None:
    """Whatever it answers, and also where the ledger has not heard of a tag yet."""
    ids: Any = {"candidate": world.candidates()[-1].id, "rollout": world.rollouts()[-1].id, "digest": GREEN}
    ids["exception"] = "3f0d9a52c1b8"
    before = written(world)
    for example in act.examples.values():
        for tag in ("15-alpine", "15.14"):
            body = {**example} | {name: value for name, value in (("tag", tag), ("digest", GREEN)) if name in example}
            ask(act.name, body, params={"dry_run": "true"}, gate="node", app="hello-world", **ids)
    assert written(world) == before


def written(world: World) -> tuple[Any, ...]:
    return dict(world.ledger.rows), dict(world.ledger.lines), len(world.queue.waiting), len(world.tasks.runs)


def test_a_rollback_is_done_and_told_where_to_look(world: World) -> None:
    body = WHY | {"tag": "15-alpine", "to": "15-alpine-cb1"}
    status, answer = ask("roll_back", body, gate="node", headers={"X-Basegate-Actor": "ada"})
    assert (status, answer["see"]) == (202, "/api/v1/gates/node")
    assert world.stable_tag() == ORANGE
    _, gate = ask("gate", method="GET", gate="node")
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
    assert FUNCTIONS["roll_out"](request).status_code == 202
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
    assert FUNCTIONS["roll_out"](other_key).status_code == 202
    assert len([r for r in world.rollouts() if r.name.startswith("rebuild")]) == 1


def test_a_repeat_with_the_same_key_gets_the_first_answer(world: World) -> None:
    headers = {"Idempotency-Key": "one"}
    first = ask("roll_out", WHY, headers=headers, app="hello-world")
    rollouts = len(world.rollouts())
    assert ask("roll_out", WHY, headers=headers, app="hello-world") == first
    assert len(world.rollouts()) == rollouts
    status, problem = ask("roll_out", {"reason": "another"}, headers=headers, app="hello-world")
    assert (status, problem["field"]) == (400, "Idempotency-Key")


def test_a_call_that_was_refused_may_be_repeated_with_its_key(world: World) -> None:
    headers, body = {"Idempotency-Key": "two"}, WHY | {"tag": "15-alpine"}
    assert ask("lift_hold", body, method="DELETE", headers=headers, gate="node")[0] == 404
    ask("hold", body, gate="node")
    assert ask("lift_hold", body, method="DELETE", headers=headers, gate="node")[0] == 202


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
    status, problem = ask("hold", body, gate="node")
    assert status == 400
    assert problem["field"] == field
    assert problem["detail"]


def test_what_is_not_there_and_what_is_not_possible_are_told_apart(world: World) -> None:
    assert ask("hold", WHY | {"tag": "15-alpine"}, gate="nodes")[0] == 404
    body = WHY | {"tag": "15-alpine", "to": GREEN}
    assert ask("roll_back", body, gate="node")[0] == 409


def test_a_hold_names_what_was_in_flight_when_it_was_made(world: World) -> None:
    responses = []
    point = world.registry.point

    def pointed(*where: Any) -> None:
        world.registry.point = point  # type: ignore[method-assign]
        responses.append(ask("hold", WHY | {"tag": "15-alpine"}, gate="node"))
        point(*where)

    world.registry.point = pointed  # type: ignore[assignment, method-assign]
    world.push("15-alpine", digest("blue"))
    world.settle()
    ((status, answer),) = responses
    assert (status, [effect["what"] for effect in answer["inFlight"]]) == (202, ["move", "promotion"])
    assert world.stable_tag() == GREEN


def test_a_tag_that_the_gate_does_not_take_is_a_problem_of_that_field(world: World) -> None:
    status, problem = ask("hold", WHY | {"tag": "15-alpien"}, gate="node")
    assert (status, problem["field"]) == (400, "tag")
    assert "did you mean 15-alpine?" in problem["detail"]


def test_an_image_that_was_built_is_deployed_again_on_demand(world: World) -> None:
    first = world.rollouts()[0].image
    assert first is not None
    body = WHY | {"image": first.tag}
    _, plan = ask("roll_out", body, params={"dry_run": "true"}, app="hello-world")
    assert plan["effects"][0]["what"] == "deploy"
    assert ask("roll_out", body, app="hello-world")[0] == 202
    world.settle()
    assert world.containers.puts[-1] == str(first)
    assert ask("roll_out", WHY | {"image": "ct99"}, app="hello-world")[0] == 404


def test_a_veto_says_what_to_roll_back_to_and_does_it_when_asked(world: World) -> None:
    body = WHY | {"digest": GREEN}
    _, plan = ask("veto", body, params={"dry_run": "true"}, gate="node")
    warning = f"15-alpine of gate node still points to the banned digest: roll it back to {ORANGE}"
    assert (len(plan["effects"]), plan["warnings"]) == (1, [warning])
    _, plan = ask("veto", body | {"rollback": True}, params={"dry_run": "true"}, gate="node")
    assert [effect["what"] for effect in plan["effects"]][1:3] == ["move the stable tag", "hold"]
    assert plan["warnings"] == []
    assert world.stable_tag() == GREEN
    assert ask("veto", body | {"to": "15-alpine-cb1", "until": "newer"}, gate="node")[0] == 202
    assert world.stable_tag() == ORANGE
    _, holds = ask("holds", method="GET")
    assert [hold["until"] for hold in holds["items"]] == ["newer"]


@pytest.mark.parametrize("text", ["True", "1", "yes", ""])
def test_what_is_neither_a_dry_run_nor_none_does_nothing(world: World, text: str) -> None:
    rollouts = len(world.rollouts())
    status, problem = ask("roll_out", WHY, params={"dry_run": text}, app="hello-world")
    assert (status, problem["field"]) == (400, "dry_run")
    assert len(world.rollouts()) == rollouts


def test_a_field_that_is_not_known_is_no_field_that_is_left_out(world: World) -> None:
    rollouts = len(world.rollouts())
    status, problem = ask("roll_out", WHY | {"imgae": "ct2"}, app="hello-world")
    assert (status, problem["field"]) == (400, "imgae")
    status, problem = ask("roll_out", None, params=WHY | {"imgae": "ct2"}, app="hello-world")
    assert (status, problem["field"]) == (400, "imgae")
    assert len(world.rollouts()) == rollouts


def test_a_call_may_be_told_by_its_query_alone(world: World) -> None:
    params = WHY | {"digest": GREEN, "rollback": "true", "code": "a key", "dry_run": "true"}
    status, plan = ask("veto", None, params=params, gate="node")
    assert (status, len(plan["effects"])) == (200, 4)


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
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    headers = principal(*roles)
    assert ask("status", method="GET", headers=headers)[0] == reads
    assert ask("hold", WHY | {"tag": "15-alpine"}, headers=headers, gate="node")[0] == acts


def test_nobody_signed_in_is_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASEGATE_SIGN_IN", "easy-auth")
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    assert ask("status", method="GET")[0] == 403
    assert ask("status", method="GET", headers={"X-MS-CLIENT-PRINCIPAL": "bm9wZQ=="})[0] == 403


def test_sign_in_headers_mean_nothing_where_they_are_not_trusted(world: World) -> None:
    ask("hold", WHY | {"tag": "15-alpine"}, headers=principal("Basegate.Operator"), gate="node")
    _, gate = ask("gate", method="GET", gate="node")
    assert gate["stable"][0]["hold"]["actor"] == "a holder of the key"


def test_who_acts_on_a_stale_view_is_told_what_it_is_now(world: World) -> None:
    _, page = ask("candidates", method="GET", gate="node")
    identifier = page["items"][0]["id"]
    stale, fresh = {"If-Match": "another ETag"}, {"If-Match": bootstrap.basegate().queries.candidate(identifier)[1]}
    status, problem = ask("rerun", WHY, headers=stale, candidate=identifier)
    assert status == 412
    assert "is passed now" in problem["detail"]
    assert len(world.candidates()) == 2
    assert ask("rerun", WHY, headers=fresh, candidate=identifier)[0] == 202


@pytest.mark.parametrize(
    "body",
    [
        b'{"reason": ' + b"[" * 8000 + b"]" * 8000 + b"}",
        b'{"reason": ' + b'{"a":' * 3000,
        b'{"reason": "\\ud800"}',
        b'{"reason": "because", "tag": "\\u0000"}',
        b'\xff\xfe{"reason": 1}',
        b'{"reason": ' + b"9" * 8000 + b"}",
        b'{"reason": NaN}',
        b"null",
    ],
    ids=range(8),
)
def test_a_body_that_means_no_good_is_only_not_right(world: World, body: bytes) -> None:
    assert ask("hold", body, gate="node")[0] == 400


@pytest.mark.parametrize(
    "principal",
    [
        "[1]",
        '{"claims": null}',
        '{"claims": [1, null]}',
        '{"claims": [{"typ": "roles", "val": ["Basegate.Operator"]}]}',
        '{"claims": [{"typ": {}, "val": {}}], "role_typ": []}',
        "[" * 50_000,
        '{"claims": ' + "[" * 50_000,
        "é",
    ],
    ids=range(8),
)
def test_a_principal_that_is_none_is_nobody(world: World, monkeypatch: pytest.MonkeyPatch, principal: str) -> None:
    monkeypatch.setenv("BASEGATE_SIGN_IN", "easy-auth")
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    headers = {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(principal.encode()).decode()}
    assert ask("hold", WHY | {"tag": "15-alpine"}, headers=headers, gate="node")[0] == 403


def test_an_answer_that_would_not_fit_in_a_row_says_how_much_more_was_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    effects = tuple(Effect("put back", f"{number} {'ü' * 20_000}") for number in range(3000))
    monkeypatch.setattr(SweepOperations, "sweep", lambda self, who: Plan(effects, lambda: Done("drift", effects)))
    headers = {"Idempotency-Key": "large"}
    assert len(ask("sweep", WHY, params={"dry_run": "true"})[1]["effects"]) == 3000
    status, answer = ask("sweep", WHY, headers=headers)
    assert status == 202
    for part in (answer["effects"], answer["inFlight"]):
        assert part[-1] == {"what": "and more", "subject": "2800 that are not listed here"}
    assert ask("sweep", WHY, headers=headers) == (status, answer)
