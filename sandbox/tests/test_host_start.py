"""Apps that the host cannot serve, and what it says about them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.host.errors import Misconfigured
from sandbox.host.queues.service import StorageQueues
from sandbox.host.settings import AppSettings
from sandbox.tests.apps.running import RunningHost

_HEAD = "import azure.functions as func\nimport typing\napp = func.FunctionApp()\n"
_BUNDLE = {"extensionBundle": {"id": "b", "version": "[4.*, 5.0.0)"}}
_ROUTE = "@app.route(route='x')\n"
_QUEUE = "@app.queue_trigger(arg_name='msg', queue_name='jobs', connection='Store')\n"

MakeApp = Callable[..., RunningHost]


@pytest.fixture
def make_app(tmp_path: Path) -> MakeApp:
    def make(source: str, **host_json: object) -> RunningHost:
        app = tmp_path / "app"
        app.mkdir()
        (app / "function_app.py").write_text(_HEAD + source)
        (app / "host.json").write_text(json.dumps({"version": "2.0"} | _BUNDLE | host_json))
        return RunningHost(tmp_path, app=app)

    return make


def error(running: RunningHost) -> str:
    with pytest.raises(Misconfigured) as refused:
        running.start()
    return str(refused.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere\n", "No module named 'nowhere'"),
        ("other = func.FunctionApp()\n", "More than one top level function app"),
        ("del app\n", "Could not find top level function app"),
        ("import os\nos._exit(3)\n", "exit code 3"),
        (_ROUTE + "def f(request: func.HttpRequest) -> str: ...\n", "declared in Python but not in function.json"),
        (
            _ROUTE + "def f(req: func.HttpRequest) -> dict: ...\n",
            'annotation "dict" does not match binding type "http"',
        ),
        (_QUEUE + "def f(msg: dict) -> None: ...\n", 'does not match its Python annotation "dict"'),
        (_QUEUE + "def f(msg: typing.Optional[func.QueueMessage]) -> None: ...\n", "invalid non-type annotation"),
        (
            "@app.queue_output(arg_name='out', queue_name='jobs', connection='Store')\n"
            + _ROUTE
            + "def f(req: func.HttpRequest, out: func.Out[list[str]]) -> str: ...\n",
            "invalid non-type annotation",
        ),
        (_ROUTE + "def f(req: func.HttpRequest, context: int) -> str: ...\n", "expected to be of type azure.functions"),
        (2 * (_ROUTE + "def f(req: func.HttpRequest) -> str: ...\n"), "f"),
        (
            "@app.blob_trigger(arg_name='b', path='c/n', connection='S')\ndef f(b: func.InputStream) -> None: ...\n",
            "Function 'f': the binding type 'blobTrigger' is not in the sandbox",
        ),
        (
            "@app.timer_trigger(arg_name='t', schedule='%WHEN%')\ndef f(t: func.TimerRequest) -> None: ...\n",
            "Function 'f', binding 't': '%WHEN%' does not resolve: there is no setting 'WHEN'",
        ),
        ("", "no functions"),
    ],
)
def test_an_app_that_does_not_fit_is_refused_with_the_reason(make_app: MakeApp, source: str, reason: str) -> None:
    assert reason in error(make_app(source))


def test_the_traceback_of_a_broken_app_begins_with_its_own_code(make_app: MakeApp) -> None:
    text = error(make_app("def helper():\n    raise ValueError('no gates')\nhelper()\n"))
    assert "ValueError: no gates" in text
    assert "function_app.py" in text
    assert "importlib" not in text
    assert "sandbox/host" not in text


def test_queue_and_event_grid_need_an_extension_bundle(make_app: MakeApp) -> None:
    source = _QUEUE + "def f(msg: func.QueueMessage) -> None: ...\n"
    assert "Function 'f': the binding type 'queueTrigger' needs an extensionBundle" in error(
        make_app(source, extensionBundle=None)
    )


def test_another_version_of_host_json_is_refused(make_app: MakeApp) -> None:
    assert '"version" must be "2.0"' in error(make_app("", version="3.0"))


def test_an_unknown_key_of_host_json_is_a_warning_that_names_it(make_app: MakeApp) -> None:
    queues = {"queues": {"batchsize": 1}}
    running = make_app(_ROUTE + "def f(req: func.HttpRequest) -> str: return 'x'\n", loging={}, extensions=queues)
    running.start()
    output = running.output.getvalue()
    running.stop()
    assert "'loging'" in output
    assert "'extensions.queues.batchsize'" in output


def test_a_log_level_silences_what_is_below_it(make_app: MakeApp) -> None:
    source = _ROUTE + "def f(req: func.HttpRequest) -> str:\n  import logging\n  logging.info('quiet')\n"
    source += "  logging.warning('loud')\n  return 'x'\n"
    running = make_app(source, logging={"logLevel": {"default": "Information", "Function.f": "Warning"}})
    running.start()
    key = running.keys.master
    assert running.request("GET", f"/api/x?code={key}").text == "x"
    output = running.output.getvalue()
    running.stop()
    assert "loud" in output
    assert "quiet" not in output
    assert "Ready" in output


def test_a_connection_without_settings_is_named() -> None:
    queues = StorageQueues(AppSettings({"Old": "DefaultEndpointsProtocol=https;AccountKey=secret"}))
    with pytest.raises(Misconfigured, match="F: there is no setting 'Store__accountName'"):
        queues.open("Store", "jobs", "F")
    with pytest.raises(Misconfigured, match="connection string") as refused:
        queues.open("Old", "jobs", "F")
    assert "secret" not in str(refused.value)
    assert AppSettings({"Store:accountName": "a"}).get("store__ACCOUNTNAME") == "a"


def test_the_settings_file_gives_way_to_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "local.settings.json"
    file.write_text(json.dumps({"IsEncrypted": False, "Values": {"A": "file", "B": "file"}, "Host": {}}))
    settings = AppSettings.load({"A": "environment"}, file)
    assert settings.resolve("%A%-%b%", "x") == "environment-file"
    file.write_text(json.dumps({"IsEncrypted": True, "Values": {}}))
    with pytest.raises(Misconfigured, match="encrypted"):
        AppSettings.load({}, file)
