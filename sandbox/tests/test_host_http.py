"""The host's HTTP functions, through HTTP."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sandbox.tests.apps.running import SAMPLE, RunningHost


def test_a_request_reaches_the_function_with_everything_it_sent(host: RunningHost) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"X-AGENT": "me", "traceparent": parent}
    answer = host.request("POST", "/api/echo/7/a%20b?x=1&x=2&empty=", data=b"hello", headers=headers)
    assert answer.status == 201
    seen = answer.json
    assert seen["route"] == {"kind": "7", "name": "a b"}
    assert seen["params"] == {"x": "1,2"}
    assert (seen["method"], seen["agent"], seen["body"], seen["function"]) == ("POST", "me", "hello", "echo")
    assert seen["trace"] == parent
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Seen"] == "yes"
    assert answer.headers["Set-Cookie"] == "flavour=oat; Path=/"


def test_an_optional_route_parameter_may_be_left_out(host: RunningHost) -> None:
    assert host.request("POST", "/api/echo/7").json["route"] == {"kind": "7"}


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/echo/7"), ("POST", "/api/echo/x"), ("GET", "/api/none")])
def test_what_no_route_covers_is_not_found(host: RunningHost, method: str, path: str) -> None:
    assert host.request(method, path).status == 404


def test_a_wildcard_takes_the_rest_and_leaves_an_encoded_slash_alone(host: RunningHost) -> None:
    assert host.request("GET", "/api/files/a/b%2Fc%20d").text == "a/b%2Fc d"
    assert host.request("GET", "/api/files").text == ""


def test_a_function_asks_for_a_key_of_its_level(host: RunningHost) -> None:
    keys = host.keys
    function_key, host_key = keys.of("keyed")["default"], keys.host["default"]
    assert host.request("GET", "/api/keyed").status == 401
    assert host.request("GET", "/api/keyed?code=wrong").status == 401
    assert host.request("GET", f"/api/keyed?code={keys.of('master')['default']}").status == 401
    for key in (function_key, host_key, keys.master):
        assert host.request("GET", f"/api/keyed?code={key}").text == "in"
        assert host.request("GET", "/api/keyed", headers={"x-functions-key": key}).text == "in"
    assert host.request("GET", f"/api/master?code={host_key}").status == 401
    assert host.request("GET", f"/api/master?code={keys.master}").text == "in"


def test_the_keys_are_kept_for_their_owner_only(host: RunningHost) -> None:
    file = host.folder / "state" / "keys.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert host.keys.master not in host.output.getvalue()


def test_a_function_that_returns_nothing_fails_as_in_azure(host: RunningHost) -> None:
    assert host.request("GET", "/api/nothing").status == 500


def test_a_request_whose_worker_dies_is_answered_and_the_next_one_is_served(host: RunningHost) -> None:
    before = host.admin("GET", "/admin/host/workers").json[0]["pid"]
    assert host.request("GET", "/api/leave").status == 502
    assert host.request("GET", "/api/files/x").text == "x"
    assert host.admin("GET", "/admin/host/workers").json[0]["pid"] != before


def test_a_worker_killed_from_outside_is_started_again(host: RunningHost) -> None:
    pid = host.admin("GET", "/admin/host/workers").json[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    host.until(lambda: [w["pid"] for w in host.admin("GET", "/admin/host/workers").json] not in ([], [pid]))
    assert host.request("GET", "/api/files/x").text == "x"


def test_the_number_of_workers_is_a_setting(tmp_path: Path) -> None:
    running = RunningHost(tmp_path, workers=None, settings={"FUNCTIONS_WORKER_PROCESS_COUNT": "2"}).start()
    try:
        running.until(lambda: len(running.admin("GET", "/admin/host/workers").json) == 2)
    finally:
        running.stop()


def test_log_lines_carry_function_and_invocation_also_from_a_thread_of_the_app(host: RunningHost) -> None:
    host.request("GET", "/api/thread")
    lines = [line for line in host.output.getvalue().splitlines() if "from a thread" in line]
    _, level, function, invocation, *_ = lines[0].split()
    assert (level, function) == ("WARNING", "thread")
    assert len(invocation) == 8
    host.until(lambda: "printed" in host.output.getvalue())


def test_outputs_go_out_only_when_the_function_succeeds(host: RunningHost) -> None:
    assert host.request("POST", "/api/enqueue?fail=1", json=["lost"]).status == 500
    assert host.request("POST", "/api/enqueue", json=["first", '{"second": 2}']).status == 200
    host.until(lambda: {"first", '{"second": 2}'} <= {job["text"] for job in host.noted("jobs")})
    assert "lost" not in {job["text"] for job in host.noted("jobs")}


def test_the_root_is_a_page_and_unknown_host_paths_are_named(host: RunningHost) -> None:
    assert "up and running" in host.request("GET", "/").text
    assert host.request("GET", "/admin/host/nothing").status == 404
    assert host.request("GET", "/admin/host/status").status == 401
    assert host.admin("GET", "/admin/host/status").json["state"] == "Running"


def test_the_operator_sees_functions_and_system_keys(host: RunningHost) -> None:
    names = {function["name"] for function in host.admin("GET", "/admin/functions").json}
    assert {"echo", "image-events", "work", "buried", "sweep"} <= names
    key = host.admin("GET", "/admin/host/systemkeys/eventgrid_extension").json["value"]
    assert key == host.keys.system["eventgrid_extension"]
    assert host.admin("GET", "/admin/host/keys").json["keys"][0]["name"] == "default"


def test_a_function_that_takes_too_long_ends_with_its_worker(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "function_app.py").write_bytes((SAMPLE / "function_app.py").read_bytes())
    text = (SAMPLE / "host.json").read_text()
    (app / "host.json").write_text(text.replace('"functionTimeout": "00:00:20"', '"functionTimeout": "00:00:01"'))
    running = RunningHost(tmp_path, app=app).start()
    try:
        assert running.request("GET", "/api/hang").status == 500
        assert "Timeout value of 1 s was exceeded" in running.output.getvalue()
        assert running.request("GET", "/api/files/x").text == "x"
    finally:
        running.stop()
