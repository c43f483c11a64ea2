"""The story as a user plays it, with the app's worker killed in the middle of it; and what it leaves behind."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pytest
from azure.keyvault.secrets import SecretClient

from demo import scenario
from demo.azure import Azure
from demo.client import ScenarioClient
from demo.environment import Environment
from demo.outcomes import Outcomes
from demo.provision import VAULT_URL
from sandbox.testing import until
from shared.board.parts import short_image
from tests.e2e.canaries import ALLOWED, Text, files_of, files_that_may, search, texts_in
from tests.e2e.conftest import house_in
from tests.e2e.house import House
from tests.e2e.surroundings import Surroundings

pytestmark = pytest.mark.timeout(900)  # the story takes three minutes where nothing else runs

_CHAPTERS = 11
"""All but the last one, which waits a minute for the next run of a scan."""


@dataclass(frozen=True)
class Played:
    """The story at its end, its sandbox running on: what it said, and its report."""

    house: House
    said: str
    story: dict[str, Any]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("report")
    with house_in() as house, pytest.MonkeyPatch.context() as patch:
        said = house.python(
            "demo", "play", "--state", str(house.state), "--report", str(folder), "--kill-worker-in", "4", "--keep",
            "--chapters", str(_CHAPTERS),
        )  # fmt: skip
        for name, value in house.instance.environment.items():
            patch.setenv(name, value)
        yield Played(house, said, json.loads((folder / "demo-report.json").read_text()))


def test_the_story_ends_as_told_though_the_worker_is_killed_in_its_middle(played: Played) -> None:
    assert "SIGKILL to the app's worker" in played.said

    story = played.story
    chapters: list[dict[str, Any]] = story["chapters"]
    assert story["complete"], story["problem"]
    assert [chapter["chapter"] for chapter in chapters] == list(range(1, _CHAPTERS + 1))
    outcomes = ["live", "live", "stopped", "live", "live", "put back", "stopped", "let through"]
    outcomes += ["restored", "found", "excepted"]
    assert [chapter["outcome"] for chapter in chapters] == outcomes
    colours = ["DeepSkyBlue", "Orange", "Orange", *["Green"] * 6, "Orange", "Green"]
    assert [chapter["colour"] for chapter in chapters] == colours

    digests = [chapter["stable_digest"] for chapter in chapters]
    first, orange, red, green, app, sick, red_again, softer, restored, found, excepted = digests
    assert red == orange, "Red must never become stable"
    assert len({first, orange, green, softer, found, excepted}) == 6
    assert restored == softer, "what was pushed around the gate was put back"
    assert (app, sick, red_again) == (green, green, green)
    assert "Invalid Color" in chapters[2]["reason"]
    assert chapters[6]["reason"] == chapters[2]["reason"], "run again, Red fails for the same reason"
    promotions = [len(chapter["unique_tags"]) for chapter in chapters]
    assert promotions == [1] * _CHAPTERS, "one promotion a digest, killed or not"
    assert chapters[3]["unique_tags"][0].startswith("15-alpine-")
    assert chapters[5]["image"] == chapters[4]["image"] != chapters[3]["image"]
    assert "accepted DEMO-2024-0001 demo-colour until" in chapters[10]["reason"], "the signed record says who and why"


def test_every_chapter_ends_with_the_base_that_the_page_names_on_the_board_too(played: Played) -> None:
    """The story itself compares the page with `status` and `drift` at the end of each chapter."""
    chapters = played.story["chapters"]
    named = [chapter["base"].partition("@")[2] or chapter["base"] for chapter in chapters]
    own, commit = [chapter["stable_digest"] for chapter in chapters], ["unknown"] * 3
    assert named == [*own[:4], *commit, *own[7:]], "what a commit built is built on whatever the tag was"

    azure, demo = Azure(), Environment(played.house.state)
    demo.enter()
    surroundings = Surroundings(azure, played.house.state, f"http://127.0.0.1:{demo.site.port}")
    client = ScenarioClient(azure)
    base = client.page().base
    assert base.endswith(chapters[-1]["stable_digest"])
    assert surroundings.read("v1/apps/hello-world")["base"] == base
    assert f"on {short_image(base)}" in surroundings.fragment("overview")
    assert base in surroundings.fragment("drift")
    client.close()
    azure.close()


def test_no_secret_of_the_scenario_is_written_stored_queued_served_or_announced(played: Played) -> None:
    """Secrets that a run prints are allowed in ACR's own log of it, and in what printed them, and nowhere else."""
    printed = {name: secrets.token_urlsafe(24) for name in _PRINTED}
    webhook = f"https://127.0.0.1:1/{printed['the webhook']}?code={printed['the key of the webhook']}"
    settings = {"BASEGATE_WEBHOOK_URL": webhook, "BASEGATE_WEBHOOK_SECRET": "webhook-secret"}
    azure, demo = Azure(), Environment(played.house.state, settings)
    demo.enter()
    _set_webhook_secret(azure, printed["the webhook's secret"])
    _give_task_secret(azure, printed["a task's secret"])
    demo.start_app(lambda _: None)
    announced = _examine_what_prints(azure, demo, printed)

    surroundings = Surroundings(azure, played.house.state, f"http://127.0.0.1:{demo.site.port}")
    canaries = surroundings.secrets()
    assert {"github-token", "registry-publicregistry-password", "key masterKey"} < set(canaries)
    read: list[Text] = [
        *surroundings.stored(),
        *surroundings.evidence(),
        *surroundings.served(),
        *surroundings.resources(),
        *((f"log {file.name}", file.read_bytes()) for file in played.house.instance.logs.iterdir()),
        *(("the machine's processes", line.encode()) for line in played.house.leftovers()),
        ("what the story said", played.said.encode()),
        ("the report", texts_in(played.story)),
        ("announced", texts_in(announced)),
    ]
    assert search(canaries | printed, read) == []
    everything = chain(surroundings.blobs(), files_of(played.house.state))
    assert search(canaries, everything, known=printed.values()) == []

    allowed = files_that_may(played.house.state)
    assert {one.where for one in search(canaries | printed, allowed)} == set(ALLOWED)
    (played.house.instance.logs / "planted.log").write_text(f"key={canaries['github-token']}\n")
    again = files_of(played.house.state)
    assert {one.secret for one in search(canaries, again, known=printed.values())} == {"github-token"}
    azure.close()


_PRINTED = {
    "a variable": 'echo "SCAN_TOKEN=%s"',
    "a header": 'echo "> Authorization: Bearer %s"',
    "an option": 'echo "+ docker login -u scanner -p %s registry.example.com"',
    "a URL's password": 'echo "cloning https://scanner:%s@git.example.com/rules"',
    "a signature": 'echo "GET https://example.blob.core.windows.net/log?sv=2022-11-02&sr=b&sig=%s"',
    "JSON": 'echo \'{"client_secret": "%s"}\'',
    "a task's secret": "",
    "the webhook": "",
    "the key of the webhook": "",
    "the webhook's secret": "",
}
"""What a careless check prints, by what the secret in it is; nothing prints the last four."""


_THE_END = 'if [ "${errors}" -gt 0 ]'
"""Where the check has found what it finds; what stands before it is in the end of its log."""


def _set_webhook_secret(azure: Azure, value: str) -> None:
    with SecretClient(VAULT_URL, azure.credential) as vault:
        vault.set_secret("webhook-secret", value)


def _give_task_secret(azure: Azure, value: str) -> None:
    """The task that examines is given a value that ACR keeps to itself."""
    gate = {"name": "IMAGE", "value": f"{scenario.PUBLIC}.azurecr.io/node:{scenario.STABLE}", "isSecret": False}
    values = [gate, {"name": "SCAN_TOKEN", "value": value, "isSecret": True}]
    task = f"{scenario.registry_id(scenario.BASE)}/tasks/base-import-node"
    azure.call("PATCH", task, "2025-03-01-preview", {"properties": {"step": {"type": "FileTask", "values": values}}})


def _examine_what_prints(azure: Azure, demo: Environment, printed: dict[str, str]) -> list[dict[str, Any]]:
    """Have Red fail once more, by a check that prints secrets, while a webhook is away; returns what was announced."""
    client, outcomes, basegate = ScenarioClient(azure), Outcomes(azure), demo.command_line()
    lines = "\n".join(line % printed[name] for name, line in _PRINTED.items() if line)
    client.commit(
        scenario.IMPORT_BASEIMAGE_NODE,
        "test.sh",
        lambda text: text.replace(_THE_END, f"{lines}\n{_THE_END}"),
        "Say more",
    )
    failed = (item for item in basegate.read("candidates", "node")["items"] if item["state"] == "failed")
    red = next(item["id"] for item in failed if item["attempt"] == 2)
    basegate.act("rerun", red, reason="What does it print?")
    event = until(lambda: outcomes.find("CandidateFailed", 0, attempt=3))
    assert "SCAN_TOKEN=***" in event["data"]["logTail"]
    log = demo.instance.logs / "site-basegate.log"
    until(lambda: "the webhook at 127.0.0.1 does not respond" in log.read_text())
    outcomes.listen()
    outcomes.close()
    client.close()
    return outcomes.heard
