"""ACR Tasks with real runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import HttpResponseError, ODataV4Format

from demo import scenario
from sandbox.testing import shell_image, until
from shared.adapters.azure_calls import registry_id
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.adapters.tasks_acr import AcrTaskRunner
from shared.domain.errors import BasegateError, Cause, Misconfigured, Retry
from shared.domain.policy import RegistryRule
from shared.ports import OutputImage, Run, RunStatus
from tests.contract.place import VAULT_URL, Place

pytestmark = pytest.mark.containers

EXAMINE = """
version: v1.1.0
steps:
  - cmd: "{{.Run.Registry}}/tools:1 sh -c '{{.Values.SCRIPT}}'"
    env: ["IMAGE={{.Values.IMAGE}}"]
"""
BUILD = """
version: v1.1.0
steps:
  - cmd: docker pull {{.Run.Registry}}/tools:2
  - cmd: docker tag {{.Run.Registry}}/tools:2 {{.Run.Registry}}/hello-world:{{.Run.ID}}
  - push: ["{{.Run.Registry}}/hello-world:{{.Run.ID}}"]
"""
VALUES = {"IMAGE": "publicregistry.azurecr.io/node@sha256:1", "SCRIPT": "echo examining $IMAGE"}


@pytest.fixture(scope="module")
def runner(place: Place) -> AcrTaskRunner:
    place.push(place.team, "tools", "1", shell_image())
    place.make_task(place.team, "examine", EXAMINE)
    return AcrTaskRunner(place.credential, VaultCredentials(VAULT_URL, place.credential))


def ended(runner: AcrTaskRunner, registry: RegistryRule, run_id: str) -> Run:
    def poll() -> Run | None:
        run = runner.get(registry, run_id)
        assert run
        return run if run.status is not RunStatus.RUNNING else None

    return until(poll)


def test_a_run_gets_its_values_and_its_log_can_be_read_from_the_end(place: Place, runner: AcrTaskRunner) -> None:
    before = datetime.now(UTC)
    run_id = runner.start(place.team, "examine", VALUES, "node/1")
    under_way = runner.get(place.team, run_id)
    assert under_way
    assert (under_way.run_id, under_way.status) == (run_id, RunStatus.RUNNING)
    assert under_way.finished_at is None

    run = ended(runner, place.team, run_id)
    assert (run.status, run.detail) == (RunStatus.SUCCEEDED, "Succeeded")
    assert run.started_at
    assert run.finished_at
    assert before <= run.started_at <= run.finished_at <= datetime.now(UTC)
    log = runner.log(place.team, run_id, 100_000)
    assert f"examining {VALUES['IMAGE']}" in log
    assert runner.log(place.team, run_id, 20) == log[-20:]


def test_the_vaults_values_are_in_no_log_of_a_run_not_even_those_replaced_since(
    place: Place, runner: AcrTaskRunner
) -> None:
    place.set_secrets(npm_registry="kq7zr91xLw", contoso_user="contoso", flag="on")
    script = {"IMAGE": "none", "SCRIPT": "echo it is on: kq7zr91xLw of contoso, and kq7zr91xNew"}
    run_id = runner.start(place.team, "examine", script, "node/1")
    ended(runner, place.team, run_id)
    place.set_secrets(npm_registry="kq7zr91xNew")
    assert "it is on: *** of contoso, and ***" in runner.log(place.team, run_id, 100_000)


def test_the_whole_log_comes_in_chunks_and_unredacted_once_it_is_ended(place: Place, runner: AcrTaskRunner) -> None:
    place.set_secrets(npm_registry="kq7zr91xLw")
    script = "echo it is on: kq7zr91xLw; head -c 1500000 /dev/zero | base64 -w 10000; echo ready; sleep 100"
    run_id = runner.start(place.team, "examine", VALUES | {"SCRIPT": script}, "node/1")
    until(lambda: "ready" in runner.log(place.team, run_id, 2_000))
    early = runner.raw_log(place.team, run_id)
    assert b"Executing step ID" in next(early)
    runner.cancel(place.team, run_id)
    ended(runner, place.team, run_id)
    with pytest.raises(Retry, match=f"reading the whole log of run {run_id} of contoso.azurecr.io: it changed"):
        list(early)

    chunks = list(runner.raw_log(place.team, run_id))
    assert max(map(len, chunks)) <= 1024 * 1024
    lines = b"".join(chunks).decode().splitlines()
    assert "it is on: kq7zr91xLw" in lines
    assert lines.count("A" * 10_000) == 200
    assert lines[-1].startswith(f"Run ID: {run_id} failed")


def test_a_log_is_withheld_while_nobody_knows_what_is_secret_in_it(place: Place, runner: AcrTaskRunner) -> None:
    run_id = runner.start(place.team, "examine", VALUES, "node/1")
    ended(runner, place.team, run_id)
    closed = AcrTaskRunner(
        place.credential, VaultCredentials("https://no-such-vault.vault.azure.net", place.credential)
    )
    with pytest.raises(BasegateError):
        closed.log(place.team, run_id, 100_000)


def test_a_run_lists_what_it_pushed_by_digest_and_says_which_task_it_is_of(place: Place, runner: AcrTaskRunner) -> None:
    content = place.push(place.team, "tools", "2", shell_image(MADE="twice"))
    place.make_task(place.team, "build-app", BUILD)
    run = ended(runner, place.team, runner.start(place.team, "build-app", {}, "basegate/app/base-1/1"))
    assert run.outputs == (OutputImage(place.team.login_server, "hello-world", run.run_id, content),)
    assert (run.task, run.mark) == ("build-app", "basegate/app/base-1/1")
    assert run.created_at
    assert run.started_at
    assert run.created_at <= run.started_at


def test_a_run_that_fails_says_why(place: Place, runner: AcrTaskRunner) -> None:
    values = VALUES | {"SCRIPT": "echo ERROR: Invalid Color; exit 3"}
    run = ended(runner, place.team, runner.start(place.team, "examine", values, "node/2"))
    assert run.status is RunStatus.FAILED
    assert run.detail.startswith("Failed: ")
    assert "ERROR: Invalid Color" in runner.log(place.team, run.run_id, 2_000)


def test_a_run_is_found_by_its_mark_and_can_be_canceled(place: Place, runner: AcrTaskRunner) -> None:
    asked = datetime.now(UTC)
    place.make_task(place.team, "examine-too", EXAMINE)
    values = VALUES | {"SCRIPT": "echo begun; sleep 100"}
    run_id = runner.start(place.team, "examine", values, "node/größe/3")
    assert runner.find(place.team, "examine", "node/größe/3", asked) == run_id
    assert runner.find(place.team, "examine", "node/größe/3", asked + timedelta(minutes=10)) is None
    assert runner.find(place.team, "examine", "node/größe/4", asked) is None
    assert runner.find(place.team, "examine-too", "node/größe/3", asked) is None

    until(lambda: "begun" in runner.log(place.team, run_id, 2_000))
    runner.cancel(place.team, run_id)
    run = ended(runner, place.team, run_id)
    assert run.status is RunStatus.BROKEN
    assert run.detail.startswith("Canceled")
    assert run.finished_at
    runner.cancel(place.team, run_id)


def test_a_task_that_is_not_there_asks_for_a_person(place: Place, runner: AcrTaskRunner) -> None:
    with pytest.raises(
        Misconfigured, match=r"there is no task no-such in contoso\.azurecr\.io\. To fix it: create it, or correct"
    ):
        runner.start(place.team, "no-such", VALUES, "node/1")


def test_a_run_that_is_not_there_is_none(place: Place, runner: AcrTaskRunner) -> None:
    assert runner.get(place.team, "zz99") is None
    assert runner.find(place.team, "no-such", "node/1", datetime.now(UTC)) is None
    runner.cancel(place.team, "zz99")


def test_whether_a_task_can_be_started_is_known_without_a_run(place: Place, runner: AcrTaskRunner) -> None:
    def runs() -> list[str]:
        subscription, group, _ = registry_id(place.team)
        client = runner._client(subscription)
        return [str(run.run_id) for run in client.runs.list(group, scenario.TEAM)]

    before = runs()
    runner.check(place.team, "examine")
    assert runs() == before
    with pytest.raises(Misconfigured, match=r"there is no task absent in contoso\.azurecr\.io") as caught:
        runner.check(place.team, "absent")
    assert caught.value.cause is Cause.TASK


def test_a_subscription_that_may_run_no_tasks_is_told_apart(
    place: Place, runner: AcrTaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejection = HttpResponseError(message="ACR Tasks requests for the registry contoso and 1 are not permitted.")
    rejection.status_code = 400
    rejection.error = ODataV4Format({"code": "TasksOperationsNotAllowed", "message": rejection.message})

    def refuse(*_: object) -> None:
        raise rejection

    client = runner._client(registry_id(place.team)[0])
    monkeypatch.setattr(client.registries, "schedule_run", refuse)
    with pytest.raises(Misconfigured, match="400 TasksOperationsNotAllowed") as caught:
        runner.check(place.team, "examine")
    assert caught.value.cause is Cause.TASKS_NOT_ALLOWED


def test_marked_runs_are_listed_with_their_marks_the_newest_first(place: Place, runner: AcrTaskRunner) -> None:
    since = datetime.now(UTC)
    first = runner.start(place.team, "examine", VALUES, "basegate/node/one/0")
    second = runner.start(place.team, "examine", VALUES, "basegate/node/two/0")
    marked = list(runner.marked(place.team, "examine", since))
    assert marked[:2] == [(second, "basegate/node/two/0"), (first, "basegate/node/one/0")]
    for run_id in (first, second):
        ended(runner, place.team, run_id)
