"""Runs on the ARM surface, through the real SDK."""

from __future__ import annotations

import base64
import json
import tarfile
import urllib.request
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from sandbox.tasks.outcome import ImageReference, RunOutcome, RunStatus
from sandbox.tests.tasks_world import GROUP, REGISTRY, VAULT, World, world

__all__ = ["world"]


def test_a_run_gets_the_values_of_file_task_and_request_and_every_login(world: World) -> None:
    vault = {"type": "Vaultsecret"}
    custom = {
        "userName": vault | {"value": f"{VAULT}/user"},
        "password": vault | {"value": f"{VAULT}/password"},
        "identity": "[system]",
    }
    identity = world.create(credentials={"customRegistries": {"public.azurecr.io": custom}}).identity
    queued = world.run(values=[{"name": "TAG", "value": "1"}], arguments=[], updateTriggerToken="dG9rZW4=")
    assert queued.properties.run_id == "ca1"
    world.release()
    run = world.ended("ca1")
    assert (run.status, run.run_type, run.task, run.update_trigger_token) == (
        "Succeeded", "QuickRun", "build-app", "dG9rZW4=",
    )  # fmt: skip
    assert run.custom_registries == ["public.azurecr.io"]
    ran = world.runner.ran[0]
    assert ran.task.steps[0].run == "app base/ Green 1 ca1"
    assert ran.task.steps[0].env == ("KEY=s3cret", "TOKEN=pa55word")
    assert "acr-task.yaml" in ran.files
    assert ran.run.logins["public.azurecr.io"].user == "puller"
    assert ran.run.logins["contoso.azurecr.io"].password == "password-of-contoso.azurecr.io"
    assert world.vaults.readers == {identity.principal_id}
    assert ran.run.secrets == {"KEY": "s3cret", "token": "pa55word"}
    assert (ran.run.repository, ran.run.branch, len(ran.run.commit)) == ("contoso/app", "main", 40)


def test_the_log_grows_and_ends_with_the_outcome(world: World) -> None:
    world.create()
    world.run()
    world.wait("ca1", lambda run: run.status == "Running")
    world.until(lambda: "Launching" in world.log("ca1"))
    assert not world.storage.metadata("logs/ca1/rawtext.log")
    world.release()
    world.ended("ca1")
    lines = world.log("ca1").split("\r\n")
    assert [line.split(" ", 2)[-1] for line in lines[:3]] == [
        "Downloading source code...", "Finished downloading source code", "Setting up agent",
    ]  # fmt: skip
    assert lines[3:] == ["Launching container with name: validate", "Run ID: ca1 was successful", ""]
    assert world.storage.metadata("logs/ca1/rawtext.log") == {"Complete": "successful"}


def test_a_failed_step_fails_the_run_with_its_message(world: World) -> None:
    world.runner.outcome = RunOutcome(RunStatus.FAILED, "failed to run step ID: validate: exit status 1")
    world.create()
    world.run()
    world.release()
    run = world.ended("ca1")
    assert (run.status, run.run_error_message) == ("Failed", "failed to run step ID: validate: exit status 1")
    assert world.storage.metadata("logs/ca1/rawtext.log") == {"Complete": "failed"}


def test_a_secret_that_cannot_be_read_fails_the_run_and_names_it(world: World) -> None:
    absent = {"type": "Vaultsecret", "value": f"{VAULT}/absent"}
    custom = {"userName": absent, "password": absent, "identity": "[system]"}
    world.create(credentials={"customRegistries": {"public.azurecr.io": custom}})
    world.run()
    run = world.ended("ca1")
    assert run.status == "Failed"
    assert f"failed to resolve secrets: There is no secret {VAULT}/absent" in run.run_error_message


def test_an_identity_the_task_lacks_fails_the_run(world: World) -> None:
    world.create(credentials={"customRegistries": {"base.azurecr.io": {"identity": "client-9"}}})
    world.run()
    assert "client-9" in world.ended("ca1").run_error_message


def test_runs_beyond_the_workers_wait_and_can_be_canceled(world: World) -> None:
    world.create()
    names = [world.run().properties.run_id for _ in range(5)]
    assert names == ["ca1", "ca2", "ca3", "ca4", "ca5"]
    world.until(lambda: world.runner.active == 3)
    assert world.client.runs.get(GROUP, REGISTRY, "ca5").properties.status == "Queued"
    for name in ("ca5", "ca1"):  # one that waits and one that runs
        world.client.runs.cancel(GROUP, REGISTRY, name)
        assert world.ended(name).status == "Canceled"
        assert world.storage.metadata(f"logs/{name}/rawtext.log") == {"Complete": "canceled"}
    world.release()
    assert world.ended("ca4").status == "Succeeded"
    assert world.runner.most_active == 3
    with pytest.raises(HttpResponseError, match="ca1"):
        world.client.runs.cancel(GROUP, REGISTRY, "ca1")


def test_runs_are_listed_newest_first_filtered_and_in_pages(world: World) -> None:
    world.release()
    digest = "sha256:" + "3" * 64
    world.runner.outcome = RunOutcome(
        RunStatus.SUCCEEDED, output_images=(ImageReference("contoso.azurecr.io", "app", "1", digest),)
    )
    world.create()
    world.create("other-task")
    for task in ("build-app", "other-task", "build-app"):
        world.ended(world.run(task).properties.run_id)
    assert world.runs() == ["ca3", "ca2", "ca1"]
    assert world.runs(top=2) == ["ca3", "ca2"]
    assert world.runs(filter="TaskName eq 'other-task'") == ["ca2"]
    assert world.runs(filter="TaskName eq 'build-app' and Status eq 'Succeeded' and runId eq 'ca1'") == ["ca1"]
    assert world.runs(filter=f"contains(OutputImageManifests, 'app@{digest}')", top=1) == ["ca3"]
    assert world.runs(filter="runType eq 'AutoRun'") == []
    created = world.client.runs.get(GROUP, REGISTRY, "ca2").properties.create_time
    assert world.runs(filter=f"createTime gt {created.isoformat().replace('+00:00', 'Z')}") == ["ca3"]
    assert world.runs(filter=f"createTime le '{(created - timedelta(hours=1)).isoformat()}'") == []
    for filter_, named in {
        "colour eq 'x'": "colour",
        "status eq 'x' or runId eq 'y'": "or runId",
        "not x": "not x",
    }.items():
        with pytest.raises(HttpResponseError, match=named):
            world.runs(filter=filter_)


def test_a_list_longer_than_a_page_goes_on_with_its_next_link(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.tasks.arm.runs._PAGE", 2)
    world.create()
    for _ in range(5):
        world.run()
    assert world.runs() == ["ca5", "ca4", "ca3", "ca2", "ca1"]
    assert world.runs(top=3, filter="TaskName eq 'build-app'") == ["ca5", "ca4", "ca3"]


def test_ids_of_two_registries_differ(world: World) -> None:
    request = {
        "type": "EncodedTaskRunRequest",
        "encodedTaskContent": base64.b64encode(b"steps:\n  - cmd: hello\n").decode(),
        "platform": {"os": "Linux"},
    }
    first = world.client.registries.schedule_run(GROUP, REGISTRY, request)
    second = world.client.registries.schedule_run("base-rg", "base", request)
    assert (first.properties.run_id, second.properties.run_id) == ("ca1", "cb1")
    with pytest.raises(ResourceNotFoundError, match="contoso"):
        world.client.registries.schedule_run("base-rg", "contoso", request)


def test_a_docker_build_runs_on_what_was_uploaded(world: World) -> None:
    upload = world.client.registries.get_build_source_upload_url(GROUP, REGISTRY)
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        info = tarfile.TarInfo("Dockerfile")
        tar.addfile(info, BytesIO())
    put = urllib.request.Request(upload.upload_url, archive.getvalue(), {"x-ms-blob-type": "BlockBlob"}, method="PUT")
    urllib.request.build_opener().open(put).close()
    request = {
        "type": "DockerBuildRequest",
        "dockerFilePath": "Dockerfile",
        "imageNames": ["app:{{.Run.ID}}"],
        "isPushEnabled": True,
        "noCache": True,
        "arguments": [{"name": "A", "value": "two words"}],
        "platform": {"os": "Linux", "architecture": "amd64"},
        "sourceLocation": upload.relative_path,
    }
    assert world.client.registries.schedule_run(GROUP, REGISTRY, request).properties.run_type == "QuickBuild"
    world.release()
    assert world.ended("ca1").status == "Succeeded"
    ran = world.runner.ran[0]
    assert ran.files == ["Dockerfile"]
    build, push = ran.task.steps
    assert build.run == "-f Dockerfile -t contoso.azurecr.io/app:ca1 --build-arg 'A=two words' --no-cache ."
    assert push.images == ("contoso.azurecr.io/app:ca1",)


def test_what_was_under_way_ends_as_error_and_what_was_queued_goes_on(world: World) -> None:
    world.create()
    for _ in range(4):
        world.run()
    world.wait("ca3", lambda run: run.status == "Running")
    world.live.run(world.tasks.stop())
    left = world.live.instance.folder("tasks", "contexts", "ca9-killed")
    again = world.build()
    assert not left.exists()
    world.release()
    world.live.run(again.start())
    stopped = [world.client.runs.get(GROUP, REGISTRY, name).properties for name in ("ca1", "ca2", "ca3")]
    assert {run.status for run in stopped} == {"Error"}
    assert "stopped" in stopped[0].run_error_message
    assert world.storage.metadata("logs/ca1/rawtext.log") == {"Complete": "internalerror"}
    world.until(lambda: any(ran.run.id == "ca4" for ran in world.runner.ran))
    world.live.run(again.stop())
    kept = json.loads((world.live.instance.root / "tasks" / "runs.json").read_text())
    assert kept["contoso/ca4"]["status"] in ("Succeeded", "Error")
    assert "s3cret" not in json.dumps(kept["contoso/ca1"])


def test_a_run_that_takes_too_long_times_out(world: World) -> None:
    world.tasks._runs._time_scale = 6000  # 0.1 s
    world.create(timeout=600)
    world.run()
    run = world.ended("ca1")
    assert (run.status, run.run_error_message) == ("Timeout", "the run did not end within its timeout")


def test_a_log_can_be_marked_to_be_kept(world: World) -> None:
    world.create()
    world.run()
    run = world.client.runs.update(GROUP, REGISTRY, "ca1", {"isArchiveEnabled": True})
    assert run.properties.is_archive_enabled is True
    with pytest.raises(ResourceNotFoundError, match="ca9"):
        world.client.runs.get(GROUP, REGISTRY, "ca9")


@pytest.mark.parametrize(
    ("override", "named"), [({"target": "x"}, "target"), ({"arguments": [{"name": "a", "value": "b"}]}, "arguments")]
)
def test_an_override_that_does_not_fit_the_step_is_refused(world: World, override: dict[str, Any], named: str) -> None:
    world.create()
    with pytest.raises(HttpResponseError, match=named):
        world.run(**override)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ({"file": "absent.yaml"}, "absent.yaml"),
        ({"file": "../../etc/passwd"}, "passwd"),
        ({"contextPath": "https://github.com/contoso/absent.git"}, "contoso/absent"),
        ({"contextPath": "https://example.com/source.tar.gz"}, "example.com"),
        ({"contextPath": "source/none.tar.gz"}, "none.tar.gz"),
    ],
)
def test_a_context_or_file_that_is_missing_fails_the_run(world: World, override: dict[str, Any], named: str) -> None:
    world.create()
    world.run(**override)
    run = world.ended("ca1")
    assert run.status == "Failed"
    assert named in run.run_error_message
    assert named in world.log("ca1")


def test_with_their_resource_group_tasks_and_runs_are_gone(world: World) -> None:
    world.create()
    world.run()
    world.until(lambda: world.runner.active == 1)
    world.live.run(world.tasks.delete_group("other-rg"))
    assert world.runs() == ["ca1"]
    world.live.run(world.tasks.delete_group("Contoso-RG"))
    assert world.runs() == []
    assert list(world.client.tasks.list(GROUP, REGISTRY)) == []
    assert world.runner.active == 0
