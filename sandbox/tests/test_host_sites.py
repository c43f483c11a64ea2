"""Function apps as sites, by their real names."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.instance import SUBSCRIPTION
from sandbox.sites import SiteControl, Sites, SitesControlPlane, process
from sandbox.sites.process import SiteRecord
from sandbox.store import Collection
from sandbox.tests.apps.running import SAMPLE, Answer
from sandbox.tests.live import LiveGateway
from sandbox.web import Fault

_SITE_ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/basegate-rg/providers/Microsoft.Web/sites/sample"

_APP = """
import os
import azure.functions as func
app = func.FunctionApp()

@app.route(methods=["GET"])
def hello(req: func.HttpRequest) -> str:
    who = req.headers.get("x-ms-client-principal", "nobody")
    return " ".join([os.environ["GREETING"], req.url.split("?")[0], who])
"""


class Operator:
    """The sandbox's control operations and the sites, through the gateway."""

    def __init__(self, live: LiveGateway, sites: Sites) -> None:
        self.live, self.sites = live, sites
        self.groups: set[str] = set()

    def control(self, method: str, path: str, json: object = None) -> tuple[int, Any]:
        return self.live.ask(method, path, json)

    def ask(self, method: str, url: str, **options: Any) -> Answer:
        return self.live.run(self._ask(method, url, options))

    def arm(self, method: str, path: str = "", **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.live.issuer.issue('https://management.azure.com')}"}
        url = f"https://management.azure.com{path}?api-version=2025-05-01"
        return self.ask(method, url, headers=headers, **options)

    async def _ask(self, method: str, url: str, options: dict[str, Any]) -> Answer:
        async with self.live.gateway.outside() as session, session.request(method, url, **options) as answer:
            return Answer(answer.status, answer.headers.copy(), await answer.text())


@pytest.fixture
def operator(live: LiveGateway) -> Iterator[Operator]:
    sites = Sites(live.instance, lambda: live.environment)
    operator = Operator(live, sites)
    SiteControl(sites, operator.groups.add).mount(live.control)
    SitesControlPlane(sites).mount(live.arm, live.index)
    live.gateway.add(sites.surface())
    yield operator
    live.run(sites.stop())


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "function_app.py").write_text(_APP)
    (folder / "host.json").write_text('{"version": "2.0"}')
    return folder


def start(operator: Operator, app: Path, **more: Any) -> Any:
    body = {"app": str(app), "settings": {"GREETING": "hello"}, "workers": 2, "python": sys.executable, **more}
    status, site = operator.control("PUT", "/sites/sample", body)
    assert status == 200, site
    return site


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_method_query_reaches_the_app_and_is_as_unknown_there_as_any_that_no_route_has(
    operator: Operator, app: Path
) -> None:
    (function,) = start(operator, app)["functions"]
    assert operator.ask("QUERY", function["url"]).status == 404


def test_a_site_answers_under_its_name_until_it_is_deleted(operator: Operator, app: Path) -> None:
    site = start(operator, app)
    (function,) = site["functions"]
    url = function["url"]
    answer = operator.ask("GET", url, headers={"x-ms-client-principal": "forged"})
    assert answer.text == "hello https://sample.azurewebsites.net/api/hello nobody"
    assert operator.ask("GET", url.split("?")[0]).status == 401
    assert operator.ask("GET", url.split("?")[0], headers={"x-functions-key": site["hostKey"]}).status == 200
    assert operator.ask("GET", "https://other.azurewebsites.net/").status == 404
    until(lambda: len(operator.control("GET", "/sites/sample")[1]["workers"]) == 2)
    pids = [site["pid"], *(worker["pid"] for worker in operator.control("GET", "/sites/sample")[1]["workers"])]
    assert operator.control("DELETE", "/sites/sample")[0] == 204
    assert not any(is_alive(pid) for pid in pids)
    assert operator.ask("GET", url).status == 404
    assert operator.control("GET", "/sites") == (200, [])


def test_an_app_that_does_not_load_is_an_error_with_its_traceback(operator: Operator, app: Path) -> None:
    (app / "function_app.py").write_text("import nowhere\n")
    status, answer = operator.control("PUT", "/sites/sample", {"app": str(app)})
    assert status == 400
    assert "No module named 'nowhere'" in answer["error"]["message"]
    assert operator.control("PUT", "/sites/sample", {"app": "/nowhere"})[0] == 400
    assert operator.control("PUT", "/sites/sample", {"app": str(app), "wrokers": 2})[0] == 400


@pytest.mark.attack("an app's settings", "LD_PRELOAD, SSLKEYLOGFILE and the like", "the names of settings")
@pytest.mark.parametrize("name", ["LD_PRELOAD", "PYTHONPATH", "SSLKEYLOGFILE", "a=b", ""])
def test_a_setting_that_changes_how_the_app_s_interpreter_starts_is_refused_by_name(
    name: str, operator: Operator, app: Path
) -> None:
    status, answer = operator.control("PUT", "/sites/sample", {"app": str(app), "settings": {name: "x"}})
    assert (status, answer["error"]["code"]) == (400, "InvalidSetting")
    assert repr(name) in answer["error"]["message"]
    assert operator.control("GET", "/sites") == (200, [])


TOO_LONG = "x" * 131_072
"""Longer than Linux passes to a process."""


@pytest.mark.attack("an app's settings", "a sandbox that does not start again", "the values of settings")
@pytest.mark.parametrize("value", ["a\0b", TOO_LONG])
def test_a_value_that_no_process_can_have_is_refused_and_not_shown(value: str, operator: Operator, app: Path) -> None:
    status, answer = operator.control("PUT", "/sites/sample", {"app": str(app), "settings": {"GREETING": value}})
    assert (status, answer["error"]["code"]) == (400, "InvalidSetting")
    assert "The value of GREETING" in answer["error"]["message"]
    assert value not in answer["error"]["message"]
    assert operator.control("GET", "/sites") == (200, [])


def test_settings_that_are_too_long_together_are_refused_when_the_app_starts(operator: Operator, app: Path) -> None:
    settings = {f"SETTING_{number}": "x" * 130_000 for number in range(64)}
    with pytest.raises(Fault, match="SiteNotReady: The site's process cannot be started"):
        operator.live.run(operator.sites.put(SiteRecord(name="sample", app=str(app), settings=settings)))
    assert operator.sites.records() == []


def test_a_stored_site_that_cannot_be_started_does_not_keep_the_sandbox_from_starting(
    operator: Operator, app: Path
) -> None:
    stored = Collection(operator.live.instance.folder("sites") / "sites.json", SiteRecord)
    stored.put("broken", SiteRecord(name="broken", app=str(app), settings={"GREETING": "a\0b"}))
    sites = Sites(operator.live.instance, lambda: operator.live.environment)
    operator.live.run(sites.start())
    assert [record.name for record in sites.records()] == ["broken"]
    assert sites.process("broken") is None


@pytest.mark.attack("a function app", "a folder in the place of a file of its host", "it alone does not start")
@pytest.mark.parametrize("place", ["sample/endpoint.json", "sample"])
def test_a_site_whose_folder_is_unusable_does_not_keep_the_sandbox_from_starting(
    place: str, operator: Operator, app: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = operator.live.instance.folder("sites")
    Collection(folder / "sites.json", SiteRecord).put("sample", SiteRecord(name="sample", app=str(app)))
    if place == "sample":
        (folder / place).touch()
    else:
        (folder / place).mkdir(parents=True)
    sites = Sites(operator.live.instance, lambda: operator.live.environment)
    operator.live.run(sites.start())
    assert sites.process("sample") is None
    assert "The site sample is not started: " in caplog.text
    assert str(folder / place) in caplog.text


def test_a_killed_host_takes_its_workers_along_and_is_started_again_once_nothing_is_in_the_way(
    operator: Operator, app: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "_FIRST_PAUSE_SECONDS", 0.01)
    site = start(operator, app, workers=1)
    (worker,) = operator.control("GET", "/sites/sample")[1]["workers"]
    endpoint = operator.live.instance.folder("sites", "sample") / "endpoint.json"
    endpoint.unlink()
    endpoint.mkdir()
    os.kill(site["pid"], signal.SIGKILL)
    until(lambda: not is_alive(worker["pid"]))
    until(lambda: "The site sample is not started again: " in caplog.text)
    endpoint.rmdir()
    until(lambda: operator.ask("GET", site["functions"][0]["url"]).status == 200)
    assert operator.control("GET", "/sites/sample")[1]["pid"] != site["pid"]


def test_sites_come_back_with_their_keys_when_the_sandbox_starts_again(operator: Operator, app: Path) -> None:
    site = start(operator, app)
    operator.live.run(operator.sites.stop())
    assert operator.ask("GET", site["functions"][0]["url"]).status == 503
    operator.live.run(operator.sites.start())
    assert operator.ask("GET", site["functions"][0]["url"]).status == 200


def test_azure_resource_manager_tells_functions_and_keys(operator: Operator) -> None:
    settings = {
        "JOBS": "jobs",
        "SWEEP": "0 0 0 1 1 *",
        "Store__accountName": "store",
        "NOTES": str(operator.live.instance.root),
    }
    start(operator, SAMPLE, settings=settings)

    def arm(method: str, path: str = "") -> Answer:
        return operator.arm(method, _SITE_ID + path)

    assert arm("GET").json["properties"]["defaultHostName"] == "sample.azurewebsites.net"
    function = arm("GET", "/functions/image-events").json
    assert function["name"] == "sample/image-events"
    assert function["properties"]["config"]["bindings"][0]["type"] == "eventGridTrigger"
    assert arm("GET", "/functions/none").status == 404
    assert len(arm("GET", "/functions").json["value"]) == 14
    keys = arm("POST", "/host/default/listkeys").json
    assert keys["systemKeys"]["eventgrid_extension"] == operator.sites.eventgrid_key("sample")
    assert arm("POST", "/functions/keyed/listkeys").json.keys() == {"default"}
    assert operator.sites.eventgrid_key("other") is None
    assert [resource["id"] for resource in operator.live.index.list("Microsoft.Web/sites")] == [_SITE_ID]


def test_a_site_is_created_with_its_group_and_goes_with_it(operator: Operator, app: Path) -> None:
    start(operator, app)
    assert operator.groups == {"basegate-rg"}
    operator.live.run(operator.sites.delete_group("other-rg"))
    group = _SITE_ID.rpartition("/")[0]
    assert [site["name"] for site in operator.arm("GET", group).json["value"]] == ["sample"]
    operator.live.run(operator.sites.delete_group("Basegate-RG"))
    assert operator.arm("GET", group).json["value"] == []


def test_settings_are_listed_and_replaced_and_the_app_starts_again_with_them(operator: Operator, app: Path) -> None:
    (function,) = start(operator, app)["functions"]
    settings = operator.arm("POST", f"{_SITE_ID}/config/appsettings/list").json
    assert settings["properties"] == {"GREETING": "hello"}
    before = operator.control("GET", "/sites/sample")[1]["pid"]
    changed = operator.arm("PUT", f"{_SITE_ID}/config/appsettings", json={"properties": {"GREETING": "bye"}})
    assert changed.json["properties"] == {"GREETING": "bye"}
    assert operator.ask("GET", function["url"]).text.startswith("bye ")
    assert operator.control("GET", "/sites/sample")[1]["pid"] != before
    for name, value in (("LD_PRELOAD", "x"), ("GIT_SSH_COMMAND", "x"), ("GREETING", "a\0b"), ("GREETING", TOO_LONG)):
        refused = operator.arm("PUT", f"{_SITE_ID}/config/appsettings", json={"properties": {name: value}})
        assert (refused.status, refused.json["error"]["code"]) == (400, "InvalidSetting")
    assert operator.ask("GET", function["url"]).text.startswith("bye ")


def test_a_restart_that_waits_for_new_settings_keeps_them(operator: Operator, app: Path) -> None:
    (function,) = start(operator, app, workers=1)["functions"]

    async def both() -> tuple[SiteRecord, SiteRecord]:
        changed = operator.sites.restart("sample", {"GREETING": "bye"})
        return await asyncio.gather(changed, operator.sites.restart("sample"))

    assert [record.settings for record in operator.live.run(both())] == [{"GREETING": "bye"}] * 2
    assert operator.ask("GET", function["url"]).text.startswith("bye ")


def test_a_restarted_app_is_served_by_new_processes_and_one_that_does_not_start_stays_as_a_site(
    operator: Operator, app: Path
) -> None:
    site = start(operator, app)
    assert operator.arm("POST", f"{_SITE_ID}/restart").status == 200
    assert operator.control("GET", "/sites/sample")[1]["pid"] != site["pid"]
    good = (app / "function_app.py").read_text()
    (app / "function_app.py").write_text("import nowhere\n")
    failed = operator.arm("POST", f"{_SITE_ID}/restart")
    assert (failed.status, failed.json["error"]["code"]) == (400, "SiteNotReady")
    assert operator.arm("GET", _SITE_ID).status == 200
    assert operator.ask("GET", site["functions"][0]["url"]).status == 503
    (app / "function_app.py").write_text(good)
    assert operator.arm("POST", f"{_SITE_ID}/restart").status == 200
    assert operator.ask("GET", site["functions"][0]["url"]).status == 200


def test_the_stack_of_a_site_is_one_that_functions_can_have(operator: Operator, app: Path) -> None:
    start(operator, app)
    runtime = operator.arm("GET", _SITE_ID).json["properties"]["functionAppConfig"]["runtime"]
    stacks = "https://management.azure.com/providers/Microsoft.Web/locations/eastus/functionAppStacks"
    headers = {"Authorization": f"Bearer {operator.live.issuer.issue('https://management.azure.com')}"}
    (stack,) = operator.ask("GET", f"{stacks}?api-version=2020-10-01&stack=python", headers=headers).json["value"]
    versions = [minor["value"] for major in stack["properties"]["majorVersions"] for minor in major["minorVersions"]]
    assert (stack["name"], versions) == (runtime["name"], [runtime["version"]])
