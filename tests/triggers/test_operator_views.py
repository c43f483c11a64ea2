"""What operators read over HTTP."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from shared import bootstrap
from shared.domain.errors import Cause, Misconfigured, Rejected, Retry
from shared.domain.image import short
from shared.domain.targets.aci import AciRule
from shared.queries.records import Queries
from tests.fakes import World, digest, sample_policy
from tests.triggers.asking import GREEN, ORANGE, WHY, ask, log_of, operated


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return operated(monkeypatch)


def test_lists_come_by_time_a_page_at_a_time(world: World) -> None:
    _, page = ask("candidates", method="GET", params={"limit": "1"}, gate="node")
    assert [item["digest"] for item in page["items"]] == [GREEN]
    _, rest = ask("candidates", method="GET", params={"token": page["next"]}, gate="node")
    assert ([item["digest"] for item in rest["items"]], rest["next"]) == ([ORANGE], "")
    assert ask("candidates", method="GET", params={"limit": "0"}, gate="node")[0] == 400


def test_lists_may_be_of_one_state_and_of_a_span_of_time(world: World) -> None:
    world.tasks.failing[digest("red")] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", digest("red"))
    world.settle()

    def digests(**params: str) -> list[str]:
        status, page = ask("candidates", method="GET", params=params, gate="node")
        assert status == 200
        return [item["digest"] for item in page["items"]]

    _, page = ask("candidates", method="GET", gate="node")
    times = {item["digest"]: item["createdAt"] for item in page["items"]}
    assert digests(state="passed") == [GREEN, ORANGE]
    assert digests(state="failed") == [digest("red")]
    assert digests(since=times[GREEN]) == [digest("red"), GREEN]
    assert digests(until=times[GREEN]) == [ORANGE]
    assert digests(since=times[ORANGE], until=times[digest("red")], state="passed") == [GREEN, ORANGE]
    assert digests(state="rejected") == []
    _, rollouts = ask("rollouts", method="GET", params={"state": "live"}, app="hello-world")
    assert [item["state"] for item in rollouts["items"]] == ["live", "live"]


def test_a_page_may_be_empty_and_lead_on(world: World) -> None:
    world.ledger.page_scan = 1
    world.tasks.failing[digest("red")] = "ERROR: Invalid Color: Red"
    world.push("15-alpine", digest("red"))
    world.settle()
    params, pages = {"state": "passed"}, []
    while True:
        _, page = ask("candidates", method="GET", params=params, gate="node")
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
        ("state", "passed' or state ne '"),
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
    status, problem = ask("candidates", method="GET", params={name: value}, gate="node")
    assert (status, problem["field"]) == (400, name)


def test_every_move_of_a_stable_tag_is_listed_with_who_moved_it(world: World) -> None:
    ask("roll_back", WHY | {"tag": "15-alpine", "to": "15-alpine-cb1"}, gate="node")
    _, page = ask("promotions", method="GET", gate="node")
    moves = [(move["digest"], move["unique"], move["movedBy"]) for move in page["items"]]
    operator = f"a holder of the key: {WHY['reason']}"
    assert moves == [(ORANGE, "15-alpine-cb1", operator), (GREEN, "15-alpine-cb2", ""), (ORANGE, "15-alpine-cb1", "")]
    assert [move["sequence"] for move in page["items"][1:]] == [2, 1]
    assert page["items"][1]["candidate"].startswith(f"node.{GREEN.removeprefix('sha256:')}")
    _, first = ask("promotions", method="GET", params={"limit": "1"}, gate="node")
    _, rest = ask("promotions", method="GET", params={"token": first["next"]}, gate="node")
    assert first["items"] + rest["items"] == page["items"]
    _, later = ask("promotions", method="GET", params={"since": moves_at(page, 0)}, gate="node")
    assert later["items"] == page["items"][:1]


def test_a_stable_tag_that_was_moved_around_the_gate_and_put_back_is_an_entry_in_the_list_of_its_moves(
    world: World,
) -> None:
    place, foreign = ("base", "node:15-alpine"), digest("foreign")
    for _ in range(2):
        world.registry.tags[("base", "node:tools")] = world.registry.tags[place] = foreign
        world.clock.forward(300)
        world.sweep_now()
    _, page = ask("promotions", method="GET", gate="node")
    moves = [(move["digest"], move["unique"], move["movedBy"]) for move in page["items"]]
    found = (
        f"contosobaseartifacts.azurecr.io/node:15-alpine is {short(foreign)}, not {short(GREEN)}, which was promoted"
    )
    back = (GREEN, "15-alpine-cb2", f"sweep: put back, {found}")
    assert moves == [back, back, (GREEN, "15-alpine-cb2", ""), (ORANGE, "15-alpine-cb1", "")]
    assert moves_at(page, 0) > moves_at(page, 1) > moves_at(page, 2)
    ask("roll_back", WHY | {"tag": "15-alpine", "to": "15-alpine-cb1"}, gate="node")
    _, page = ask("promotions", method="GET", gate="node")
    assert [move["movedBy"][:5] for move in page["items"]] == ["a hol", "sweep", "sweep", "", ""]


def moves_at(page: Any, index: int) -> str:
    return str(page["items"][index]["movedAt"])


def test_holds_and_vetoes_are_listed_over_all_gates(world: World) -> None:
    ask("hold", WHY | {"tag": "15-alpine"}, gate="node", headers={"X-Basegate-Actor": "ada"})
    ask("veto", WHY | {"digest": digest("red")}, gate="node")
    ask("veto", WHY | {"digest": digest("blue")}, gate="node")
    ask("lift_veto", WHY, method="DELETE", gate="node", digest=digest("blue"))
    _, holds = ask("holds", method="GET")
    assert [(hold["gate"], hold["tag"], hold["digest"], hold["actor"]) for hold in holds["items"]] == [
        ("node", "15-alpine", GREEN, "ada (by key)")
    ]
    _, standing = ask("vetoes", method="GET")
    assert [veto["digest"] for veto in standing["items"]] == [digest("red")]
    _, every = ask("vetoes", method="GET", params={"all": "true"})
    assert {veto["digest"]: bool(veto["lifted_at"]) for veto in every["items"]} == {
        digest("red"): False,
        digest("blue"): True,
    }
    assert ask("vetoes", method="GET", params={"all": "1"})[0] == 400


def test_gates_and_apps_are_listed_and_their_rules_told_without_values(world: World) -> None:
    app = world.policy.apps["hello-world"]
    assert isinstance(app.deploy, AciRule)
    deploy = msgspec.structs.replace(app.deploy, environment={"TOKEN": "s3cr3t"})
    build = msgspec.structs.replace(app.build, values={"KEY": "s3cr3t"})
    world.policy = sample_policy(apps={"hello-world": msgspec.structs.replace(app, deploy=deploy, build=build)})
    world.restart()
    bootstrap.basegate().queries = Queries(world.services)
    assert [gate["name"] for gate in ask("gates", method="GET")[1]["items"]] == ["node"]
    assert [one["name"] for one in ask("apps", method="GET")[1]["items"]] == ["hello-world"]
    _, shown = ask("app", method="GET", app="hello-world")
    assert shown["rule"]["deploy"]["aci"]["environment"] == {"TOKEN": ""}
    assert shown["rule"]["build"]["values"] == {"KEY": ""}
    assert (shown["rule"]["build"]["timeout"], shown["rule"]["deploy"]["aci"]["name"]) == ("30m", "hello-world-aci")
    assert "s3cr3t" not in json.dumps(shown)
    assert ask("app", method="GET", app="another")[0] == 404


def test_the_log_of_a_check_is_told_so_far_and_then_as_it_was_kept(world: World) -> None:
    blue = digest("blue")
    world.tasks.seconds = 30
    world.push("15-alpine", blue)
    identifier = f"node.{blue.removeprefix('sha256:')}"
    assert log_of("candidate_log", candidate=identifier)[0] == 404
    world.pass_time(5)
    world.tasks.runs[world.candidate(blue).checks[0].run_id].log = "Step 1/4"
    assert log_of("candidate_log", candidate=identifier) == (200, "running", "Step 1/4")
    world.tasks.log_fault = Rejected("404")
    assert log_of("candidate_log", candidate=identifier)[0] == 404
    world.tasks.log_fault = Retry("503")
    assert log_of("candidate_log", candidate=identifier)[0] == 503
    world.tasks.log_fault = None
    world.settle()
    assert log_of("candidate_log", candidate=identifier) == (200, "stored", "Step 1/4")
    world.archive.texts.clear()
    assert log_of("candidate_log", candidate=identifier)[0] == 404


def test_the_log_of_a_build_is_told_so_far_and_then_as_it_was_kept(world: World) -> None:
    world.tasks.seconds = 30
    ask("roll_out", WHY, app="hello-world")
    rollout = world.rollouts()[-1].id
    assert log_of("rollout_log", rollout=rollout)[0] == 404
    world.pass_time(5)
    world.tasks.runs[world.rollouts()[-1].build.run_id].log = "Step 1/4"
    assert log_of("rollout_log", rollout=rollout) == (200, "running", "Step 1/4")
    world.settle()
    assert log_of("rollout_log", rollout=rollout) == (200, "stored", "Step 1/4")


def test_of_a_long_log_the_end_is_told(world: World) -> None:
    green = world.candidate(GREEN)
    world.archive.texts[green.checks[0].evidence.log_blob] = "ü" * 1024 * 1024 + "the end"
    _, _, text = log_of("candidate_log", candidate=f"node.{green.row}")
    assert len(text.encode()) <= 1024 * 1024
    assert text.endswith("ü" + "the end")


def test_the_whole_story_is_told_with_its_evidence(world: World) -> None:
    _, page = ask("candidates", method="GET", gate="node")
    status, story = ask("candidate", method="GET", candidate=page["items"][0]["id"])
    assert status == 200
    assert story["history"][0]["what"] == "admitted"
    (promotion,) = story["promotions"]
    assert (promotion["tag"], promotion["state"], promotion["unique"]) == ("15-alpine", "promoted", "15-alpine-cb2")
    assert [entry["what"] for entry in promotion["history"]][:2] == ["observed", "passed"]
    status, log = ask("candidate_log", method="GET", candidate=page["items"][0]["id"])
    assert (status, "successful" in log) == (200, True)


def test_a_digest_under_many_tags_is_told_with_all_of_its_promotions(world: World) -> None:
    for number in range(5):
        world.push(f"15.{number}", GREEN)
    world.settle()
    _, story = ask("candidate", method="GET", candidate=world.candidate(GREEN).id)
    shown = {promotion["tag"]: promotion["state"] for promotion in story["promotions"]}
    assert shown == dict.fromkeys(("15-alpine", *(f"15.{number}" for number in range(5))), "promoted")


def test_a_stalled_record_reads_as_stalled_in_lists_with_its_remedy(world: World) -> None:
    world.tasks.start_fault = Misconfigured("no task", cause=Cause.TASK, remedy="create it")
    world.push("15-alpine", digest("blue"))
    world.settle()
    _, page = ask("candidates", method="GET", gate="node")
    item = page["items"][0]
    assert (item["state"], item["reason"], item["remedy"]) == ("stalled", "no task", "create it")
    assert item["nextTryAt"] > item["changedAt"]
    assert {item["state"] for item in page["items"][1:]} == {"passed"}
    _, answer = ask("readyz", method="GET")
    (result,) = [one for one in answer["results"] if one["dependency"] == "records of gate node"]
    assert (result["state"], result["cause"], result["remedy"]) == ("warning", "task", "create it")


def test_status_is_an_overview_of_everything(world: World) -> None:
    _, status = ask("status", method="GET")
    assert status["gates"][0]["stable"][0]["digest"] == GREEN
    assert status["apps"][0]["base"].endswith(f"@{GREEN}")
    assert status["apps"][0]["live"].startswith("contoso.azurecr.io/hello-world:")


def test_readyz_says_of_each_dependency_what_to_mend(world: World) -> None:
    world.sweep_now()
    assert ask("readyz", method="GET")[0] == 200
    world.registry.fault = Misconfigured("reading node: 403. To fix it: give the app AcrPull on the registry")
    status, answer = ask("readyz", method="GET")
    assert (status, answer["ready"]) == (503, False)
    sick = [result for result in answer["results"] if result["state"] not in ("ok", "warning")]
    assert {result["state"] for result in sick} == {"misconfigured"}
    assert "AcrPull" in sick[0]["detail"]


def test_healthz_says_nothing_but_that_it_is_up() -> None:
    assert ask("healthz", method="GET") == (200, {"status": "up"})


def test_a_parameter_that_a_call_does_not_have_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    operated(monkeypatch)
    for handler, params, known in (
        ("candidates", {"limt": "5"}, "known parameters: limit, token, since, until, state"),
        ("vetoes", {"ALL": "true"}, "known parameters: all"),
        ("status", {"x": ""}, "it has none"),
    ):
        status, problem = ask(handler, method="GET", params=params, gate="node")
        assert (status, problem["field"]) == (400, next(iter(params)))
        assert known in problem["detail"]
    key = {"code": "a key", "clientId": "default"}
    assert ask("status", method="GET", params=key)[0] == 200
    status, problem = ask("sweep", WHY, params={"dryrun": "true"})
    assert (status, problem["field"]) == (400, "dryrun")
