"""The operators' command line against the real functions."""

from __future__ import annotations

import io
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from basegate_cli.commands import main
from functions.web.openapi import document
from shared import bootstrap
from shared.domain.errors import Cause, Misconfigured
from shared.domain.image import Tag
from shared.domain.retention import LeftOver
from shared.settings import APP_ROOT
from tests.fakes import START, World, digest
from tests.served import KEY, App
from tests.unit.front_door import FrontDoor, open_door

ORANGE, RED, GREEN = digest("orange"), digest("red"), digest("green")
WHY = ("--reason", "it is three in the morning")
LINE = "ERROR: Invalid Color: Red"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    world.tasks.failing[RED] = f"one\n{LINE}\n"
    for content in (ORANGE, RED, GREEN):
        world.push("15-alpine", content)
        world.settle()
        world.clock.forward(60)
    app = App(world)
    monkeypatch.setattr(bootstrap, "basegate", lambda: app)
    return world


@pytest.fixture
def door(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[FrontDoor]:
    with open_door() as door:
        monkeypatch.setenv("BASEGATE_URL", door.url)
        monkeypatch.setenv("BASEGATE_KEY", KEY)
        yield door


@pytest.fixture
def run(door: FrontDoor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; the exit code, what it printed, and what it complained."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def name(content: str, attempt: int = 1) -> str:
    """An id as an operator types it."""
    return f"node.{content[7:19]}-{attempt:03}"


def test_drift_shows_everything_side_by_side(run: Run, world: World) -> None:
    world.subscriptions.reaching = False
    world.sweep_now()
    code, out, _ = run("drift")
    assert code == 0
    assert "15-alpine" in out
    assert "changes known by event" in out
    assert "! no event subscription of publicregistry.azurecr.io reaches this app" in out


def test_drift_lists_the_unique_tags_that_nothing_stands_on(run: Run, world: World) -> None:
    left = LeftOver(gate="node", unique="15-alpine-cb0", digest=RED, tag=Tag("15-alpine"), since=START)
    world.ledger.insert(left)
    assert "unused unique tags of contosobaseartifacts.azurecr.io/node: 15-alpine-cb0" in " ".join(
        run("drift")[1].split()
    )


def test_a_sweep_by_hand_says_what_it_does(run: Run, world: World) -> None:
    world.registry.tags[("public", "node:15-alpine")] = digest("never told")
    code, out, _ = run("sweep", *WHY, "--yes")
    assert code == 0
    assert "examine, new digest" in out


def test_status_shows_gates_and_apps(run: Run) -> None:
    code, out, _ = run("status")
    assert code == 0
    assert GREEN[:19] in out
    assert "contoso.azurecr.io/hello-world:" in out
    assert f"{name(GREEN)} passed" in out


def test_json_is_the_answer_untouched_before_and_after_the_command(run: Run, world: World) -> None:
    code, out, _ = run("status", "--json")
    assert code == 0
    assert json.loads(out)["gates"][0]["stable"][0]["digest"] == GREEN
    assert run("--json", "status") == (0, out, "")


def test_why_tells_the_story_in_order_with_verdict_and_log(run: Run) -> None:
    code, out, _ = run("why", name(RED))
    assert code == 0
    assert f"{name(RED)}  failed" in out
    assert re.search(r"check task in run cb2 of contosobaseartifacts\.azurecr\.io: failed", out)
    assert out.index("admitted") < out.index("The end of its log:") < out.rindex(LINE)


def test_why_tells_what_became_of_each_tag(run: Run) -> None:
    code, out, _ = run("why", name(GREEN))
    assert code == 0
    assert "tag 15-alpine, number 3 as 15-alpine-cb3: promoted" in " ".join(out.split())
    assert out.index("task check passed") < out.index("15-alpine: copied") < out.index("15-alpine: promoted")
    assert "tag 15-alpine, number 2: refused" in " ".join(run("why", name(RED))[1].split())


def test_what_is_stalled_is_told_with_the_remedy_and_the_next_try(run: Run, world: World) -> None:
    world.registry.copy_fault = Misconfigured("copying: 403", cause=Cause.ROLE, remedy="give the app AcrPush")
    world.push("15-alpine", digest("blue"))
    world.settle()
    out = " ".join(run("why", name(digest("blue")))[1].split())
    assert "tag 15-alpine, number 4: stalled: copying: 403" in out
    assert "stalled on registry base since" in out
    assert "give the app AcrPush" in out
    assert "again at 2026-03-01" in out


def test_why_a_push_was_not_examined_is_told_with_drift(run: Run, world: World) -> None:
    lost = digest("left before it was read")
    world.deliver(world.event("15-alpine", lost))
    world.settle(within_seconds=3600)
    out = " ".join(run("drift")[1].split())
    assert f"gate node, tag 15-alpine: {lost[:19]}, named by event event-" in out
    assert "was never read: not examined" in out


def test_what_a_log_says_never_drives_the_terminal(run: Run, door: FrontDoor) -> None:
    raw = f"\x1b]0;mine\x07\x1b[2J{LINE}\r\n[bold]text\x9b"
    door.responses = [(200, {}, raw.encode())] * 2
    code, out, _ = run("log", name(RED))
    assert (code, f"{LINE}\n[bold]text" in out) == (0, True)
    assert not set("\x1b\x07\x9b\r") & set(out)
    assert json.loads(run("log", name(RED), "--json")[1]) == {"log": raw}


def test_what_an_operator_wrote_turns_no_line_of_the_terminal(run: Run) -> None:
    reason = "it is \u202edoog\u202c, really\u200b\ufeff"
    run("hold", "node", "15-alpine", "--reason", reason, "--yes")
    out = run("holds")[1]
    assert "doog" in out
    assert not set("\u202e\u202c\u200b\ufeff") & set(out)


def test_a_log_is_told_whole(run: Run) -> None:
    code, out, _ = run("log", name(RED))
    assert (code, out.startswith("one\n"), LINE in out) == (0, True, True)


def test_lists_come_a_page_at_a_time(run: Run) -> None:
    code, out, _ = run("candidates", "node", "--limit", "1")
    assert (code, name(GREEN) in out, name(RED) in out) == (0, True, False)
    token = out.split("--token ")[1].strip()
    code, out, _ = run("candidates", "node", "--token", token)
    assert (code, name(GREEN) in out, name(RED) in out, name(ORANGE) in out) == (0, False, True, True)


def test_lists_are_of_one_state_and_of_a_span_of_time_if_asked(run: Run) -> None:
    for command in ("candidates", "history"):
        code, out, _ = run(command, "node", "--state", "failed")
        assert (code, name(RED) in out, name(GREEN) in out) == (0, True, False)
    since = json.loads(run("history", "node", "--limit", "1", "--json")[1])["items"][0]["createdAt"]
    code, out, _ = run("history", "node", "--since", since)
    assert (code, name(GREEN) in out, name(RED) in out) == (0, True, False)
    assert name(GREEN) not in run("history", "node", "--until", since)[1]
    assert run("rollouts", "hello-world", "--state", "live")[1].count(" live ") == 2
    code, _, err = run("history", "node", "--state", "odd")
    assert (code, "state: must be one of" in err) == (1, True)


def test_a_page_with_nothing_in_it_says_how_to_go_on(run: Run, world: World) -> None:
    world.ledger.page_scan = 1
    code, out, _ = run("history", "node", "--state", "failed")
    assert (code, name(RED) in out) == (0, False)
    token = out.split("--token ")[1].strip()
    assert name(RED) in run("history", "node", "--state", "failed", "--token", token)[1]


def test_promotions_holds_and_vetoes_are_told_with_who_and_why(run: Run) -> None:
    assert run("--actor", "ada", "rollback", "node", "15-alpine", ORANGE, *WHY, "--yes")[0] == 0
    run("--actor", "ada", "veto", "node", RED, *WHY, "--yes")
    code, out, _ = run("promotions", "node")
    lines = out.splitlines()[1:]
    assert (code, len(lines)) == (0, 3)
    assert "ada (by key): it is three in the morning" in lines[0]
    assert name(GREEN) in lines[1]
    assert "ada (by key)" in run("holds")[1]
    assert RED in run("vetoes")[1]
    run("unveto", "node", RED, *WHY, "--yes")
    assert RED not in run("vetoes")[1]
    assert RED in run("vetoes", "--all")[1]


def test_a_veto_rolls_back_at_once_when_asked(run: Run, world: World) -> None:
    warned = run("veto", "node", GREEN, *WHY, "--dry-run")[1]
    assert f"warning: 15-alpine of gate node still points to the banned digest: roll it back to {ORANGE}" in " ".join(
        warned.split()
    )
    assert run("veto", "node", GREEN, "--rollback", "--until", "newer", *WHY, "--yes")[0] == 0
    assert world.stable_tag() == ORANGE
    assert "(until newer)" in run("gate", "node")[1]


def test_an_image_that_was_built_before_is_deployed_again(run: Run, world: World) -> None:
    image = world.rollouts()[0].image
    assert image is not None
    assert run("app-rebuild", "hello-world", "--image", image.tag, *WHY, "--yes")[0] == 0
    world.settle()
    assert world.containers.puts[-1] == str(image)


def test_the_log_of_a_build_is_told_too(run: Run) -> None:
    rollout = json.loads(run("rollouts", "hello-world", "--json")[1])["items"][0]["id"]
    code, out, _ = run("log", rollout)
    assert (code, "successful" in out) == (0, True)


def test_a_watch_outlasts_a_while_without_answers_and_says_so(run: Run, door: FrontDoor, monkeypatch: Any) -> None:
    monkeypatch.setattr("basegate_cli.watch.time.sleep", lambda seconds: None)
    door.lost_responses = 3
    door.responses = [*[(200, {}, b"lost")] * 3, (503, {}, b"")]
    code, out, err = run("watch", name(RED))
    assert (code, out.splitlines()[-1].startswith("failed: ")) == (0, True)
    assert err.count("cannot be reached") == 3
    assert "503, without an explanation (try 4 of 10)" in err


def test_a_watch_gives_up_in_the_end_and_at_once_where_there_is_nothing_to_see(
    run: Run, door: FrontDoor, monkeypatch: Any
) -> None:
    monkeypatch.setattr("basegate_cli.watch.time.sleep", lambda seconds: None)
    assert run("watch", "node.000000000000")[0] == 1
    asked = len(door.asked)
    door.lost_responses = 100
    code, _, err = run("watch", name(RED))
    assert (code, "(try 9 of 10)" in err) == (3, True)
    assert len(door.asked) == asked + 10


def test_rollouts_and_their_stories_are_told(run: Run) -> None:
    code, out, _ = run("rollouts", "hello-world")
    assert (code, out.count(" live ")) == (0, 2)
    rollout = next(word for word in out.split() if word.startswith("hello-world."))
    code, out, _ = run("why", rollout)
    assert (code, f"{rollout}  live" in out) == (0, True)


def test_a_rerun_is_recorded_with_who_and_why(run: Run, world: World) -> None:
    code, out, _ = run("--actor", "ada", "rerun", name(RED), *WHY, "--yes")
    assert (code, "See /api/v1/candidates/node." in out) == (0, True)
    world.settle()
    again = next(c for c in world.candidates() if c.digest == RED and c.attempt == 2)
    assert again.requested_by == "ada (by key)"
    assert "three in the morning" in again.history[0].why


def test_a_dry_run_shows_the_blast_radius_and_does_nothing(run: Run, world: World) -> None:
    before = dict(world.ledger.rows)
    code, out, _ = run("rollback", "node", "15-alpine", ORANGE, *WHY, "--dry-run")
    assert code == 0
    assert "This would be done:" in out
    assert "rebuild and redeploy: hello-world" in out
    code, out, _ = run("rollback", "node", "15-alpine", ORANGE, *WHY, "--dry-run", "--json")
    assert json.loads(out)["dryRun"] is True
    assert dict(world.ledger.rows) == before


def test_a_rollback_holds_until_it_is_lifted(run: Run, world: World) -> None:
    assert run("rollback", "node", "15-alpine", ORANGE, *WHY, "--yes")[0] == 0
    assert world.stable_tag() == ORANGE
    assert "it is three in the morning (until lifted)" in run("gate", "node")[1]
    assert run("lift", "node", "15-alpine", *WHY, "--yes")[0] == 0
    assert "(until" not in run("gate", "node")[1]


def test_a_hold_may_end_with_a_newer_digest(run: Run) -> None:
    assert run("hold", "node", "15-alpine", "--until", "newer", *WHY, "--yes")[0] == 0
    assert "(until newer)" in run("status")[1]


def test_a_veto_stands_until_it_is_lifted(run: Run) -> None:
    assert run("veto", "node", RED, *WHY, "--yes")[0] == 0
    assert RED in run("gate", "node")[1]
    code, _, err = run("rerun", name(RED), *WHY, "--yes")
    assert (code, "is vetoed by" in err) == (1, True)
    assert run("unveto", "node", RED, *WHY, "--yes")[0] == 0
    assert run("rerun", name(RED), *WHY, "--yes")[0] == 0


def test_cancel_tells_candidates_and_rollouts_apart(run: Run, world: World) -> None:
    see = json.loads(run("--json", "rerun", name(RED), *WHY, "--yes")[1])["see"]
    assert run("cancel", see.rpartition("/")[2], *WHY, "--yes")[0] == 0
    see = json.loads(run("--json", "app-rebuild", "hello-world", *WHY, "--yes")[1])["see"]
    assert run("cancel", see.rpartition("/")[2], *WHY, "--yes")[0] == 0
    assert world.rollouts()[-1].state == "canceled"


def test_a_refusal_is_one_sentence_and_for_programs_the_problem_too(run: Run) -> None:
    code, out, err = run("lift", "node", "15-alpine", *WHY, "--yes")
    assert (code, out, err) == (1, "", "Not found: 15-alpine of gate node is not held\n")
    code, out, _ = run("lift", "node", "15-alpine", *WHY, "--yes", "--json")
    assert (code, json.loads(out)["status"]) == (1, 404)


def test_a_wrong_key_and_a_wrong_address_are_told_apart(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run("--key", "another", "status")
    assert (code, "BASEGATE_KEY" in err, "another" in err) == (1, True, False)
    code, _, err = run("why", "no/such")
    assert (code, err.startswith("Invalid request")) == (1, True)
    monkeypatch.setenv("BASEGATE_URL", f"http://127.0.0.1:{_nobody()}")
    code, _, err = run("status")
    assert (code, "cannot be reached" in err) == (3, True)


def test_a_key_goes_neither_in_the_open_nor_where_a_redirect_leads(run: Run, door: FrontDoor) -> None:
    code, _, err = run("--url", "http://basegate.example.com", "status")
    assert (code, "https" in err) == (2, True)
    door.responses.append((302, {"Location": f"{door.url}/elsewhere"}, b""))
    code, _, err = run("status")
    assert (code, "302" in err, len(door.asked)) == (1, True, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("hold", "node", "15-alpine", "--yes"),
        ("hold", "node", *WHY, "--yes"),
        ("hold", "node", "15-alpine", "--until", "never", *WHY, "--yes"),
        ("hold", "node", "15-alpine", *WHY),
        ("candidates", "node", "--limit", "0"),
        ("--url", "nowhere", "status"),
        ("nonsense",),
    ],
)
def test_wrong_usage_asks_nobody(run: Run, door: FrontDoor, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert (code, out, bool(err), door.asked) == (2, "", True, [])


class Terminal(io.StringIO):
    """Someone who types at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code", "held"), [("y\n", 0, True), ("n\n", 1, False)])
def test_on_a_terminal_the_plan_is_shown_and_asked_about(
    run: Run, monkeypatch: pytest.MonkeyPatch, *, typed: str, code: int, held: bool
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", screen)
    assert run("hold", "node", "15-alpine", *WHY)[0] == code
    assert f"hold: 15-alpine on {GREEN}" in " ".join(screen.getvalue().split())
    assert "Do it?" in screen.getvalue()
    assert ("(until lifted)" in run("status")[1]) == held


def test_each_act_has_a_key_of_its_own_and_a_lost_answer_is_asked_for_with_the_same(
    run: Run, door: FrontDoor, world: World
) -> None:
    rollouts = len(world.rollouts())
    door.lost_responses = 1
    assert run("app-rebuild", "hello-world", *WHY, "--yes")[0] == 0
    assert len(world.rollouts()) == rollouts + 1
    run("hold", "node", "15-alpine", *WHY, "--yes")
    first, repeated, other = (headers["idempotency-key"] for _, _, headers in door.asked)
    assert first == repeated != other


def test_watch_prints_what_is_new_until_it_is_finished(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run("rerun", name(RED), *WHY, "--yes")
    monkeypatch.setattr("basegate_cli.watch.time.sleep", lambda seconds: world.next_item())
    code, out, _ = run("watch", name(RED, 2))
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == len(set(lines)) > 2
    assert any("admitted" in line for line in lines)
    assert lines[-1].startswith("failed: ")
    code, out, _ = run("watch", name(RED, 2), "--json")
    assert json.loads(out)["state"] == "failed"


def test_watch_without_a_record_goes_on_until_it_is_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("basegate_cli.watch.time.sleep", interrupt)
    code, out, _ = run("watch")
    assert code == 0
    assert out.startswith(f"gate node: 15-alpine on {GREEN[:19]}; {name(GREEN)} passed\napp hello-world: ")


def test_on_a_terminal_the_whole_story_stays_when_the_watch_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    assert run("watch", name(RED))[0] == 0
    _, _, story = screen.getvalue().rpartition("\x1b[2K")
    assert story.startswith(name(RED))
    assert LINE in story


CALLS: tuple[tuple[str, ...], ...] = (
    ("examine", "node", "15-alpine"),
    ("rerun", name(RED)),
    ("cancel", name(RED)),
    ("cancel", "hello-world.rebuild-1"),
    ("approve", name(RED)),
    ("reject", name(RED)),
    ("hold", "node", "15-alpine"),
    ("lift", "node", "15-alpine"),
    ("veto", "node", RED),
    ("unveto", "node", RED),
    ("except", "node", "CVE-2026-1", "2026-06-30"),
    ("grant", "node", "3f0d9a52c1b8"),
    ("end-exception", "node", "3f0d9a52c1b8"),
    ("rollback", "node", "15-alpine", ORANGE),
    ("app-rebuild", "hello-world"),
    ("app-rollback", "hello-world"),
    ("sweep",),
    ("rebuild-ledger", "--hold-all"),
)


def test_there_is_a_command_for_every_act_of_the_interface(run: Run, door: FrontDoor) -> None:
    for call in CALLS:
        run(*call, *WHY, "--dry-run")
    called = {(method.lower(), path.removeprefix("/api")) for method, path, _ in door.asked}
    paths: dict[str, dict[str, Any]] = document()["paths"]
    acts = {(method, path) for path, methods in paths.items() for method in methods if method != "get"}
    matched = {
        (method, path)
        for method, path in acts
        if any(m == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), asked) for m, asked in called)
    }
    assert matched == acts


def test_rules_are_checked_without_a_gate(run: Run, door: FrontDoor, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("BASEGATE_URL", "nowhere")
    text, file = (APP_ROOT / "gates.sample.yaml").read_text(encoding="utf-8"), tmp_path / "gates.yaml"
    file.write_text(text, encoding="utf-8")
    assert run("rules", "check", str(file)) == (0, f"{file} has no errors (registries: 3, gates: 1, apps: 1)\n", "")
    file.write_text(text.replace("gate: node", "gate: nodes"), encoding="utf-8")
    code, out, err = run("rules", "check", str(file))
    assert (code, out) == (1, "")
    assert re.search(
        r"gates\.yaml has 1 error:\n  line \d+, column \d+: apps\.hello-world\.base\.gate: there is no", err
    )
    file.write_bytes(b"\xff")
    assert run("rules", "check", str(file)) == (1, "", f"{file} is not UTF-8 text\n")
    assert run("rules", "check", str(tmp_path / "none.yaml"))[0] == 2
    assert door.asked == []


def test_rules_are_checked_for_who_signs_in(run: Run, tmp_path: Path) -> None:
    text, file = (APP_ROOT / "gates.sample.yaml").read_text(encoding="utf-8"), tmp_path / "gates.yaml"
    file.write_text(text.replace("    checks:", "    checks:\n      - approval: {two_persons: true}"), encoding="utf-8")
    code, _, err = run("rules", "check", str(file))
    assert (code, "a function key does not identify a person" in err) == (1, True)
    assert run("rules", "check", str(file), "--sign-in", "easy-auth")[0] == 0


def _nobody() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_proxy_gets_the_key_of_an_app_on_this_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert run("status")[0] == 0
