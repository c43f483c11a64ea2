"""What a run records of its base images, what its log says of them, and which base-image triggers fire by it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from sandbox.store import Collection
from sandbox.tasks.outcome import ImageDependency, ImageReference, RunOutcome, RunStatus
from sandbox.tasks.records import Cause, RunRecord, TaskRecord
from sandbox.tasks.requests import BaseImageTrigger, Platform, TaskProperties, Triggers
from sandbox.tasks.runner.references import DOCKER_HUB
from sandbox.tasks.triggers import BaseImageTriggers
from sandbox.tests.tasks_world import FakePush, FakeRegistries
from sandbox.tests.test_tasks_runner import Bench

BASE, TOOLS = "base.azurecr.io/node:15-alpine", "base.azurecr.io/tools:1"
OLD = {BASE: "sha256:" + "1" * 64, TOOLS: "sha256:" + "3" * 64}
BUILD = "steps:\n- {id: build, build: '-t contoso.azurecr.io/app:1 .'}\n"
UNSEEN = "ACR will not see this base: "


def bench(folder: Path, dockerfile: str, **says: list[int]) -> Bench:
    (folder / "Dockerfile").write_text(dockerfile)
    made = Bench(folder, **says)
    made.engine.store.images |= OLD
    return made


def references(dependency: ImageDependency) -> list[tuple[str, str, str]]:
    recorded = [dependency.runtime, *dependency.buildtime]
    return [(image.registry, image.repository, image.tag) for image in recorded if image]


def said(made: Bench, words: str) -> list[str]:
    return [line for line in made.lines if words in line]


def test_a_run_records_its_bases_as_acr_does_with_the_digests_that_were_used(tmp_path: Path) -> None:
    made = bench(tmp_path, f"FROM {TOOLS} AS tools\nFROM scratch AS empty\nFROM node:15-alpine\n")
    (dependency,) = made.play(BUILD).dependencies
    assert dependency.image == ImageReference("contoso.azurecr.io", "app", "1")
    assert dependency.runtime == ImageReference(DOCKER_HUB, "library/node", "15-alpine", "sha256:base")
    assert dependency.buildtime == (
        ImageReference("base.azurecr.io", "tools", "1", OLD[TOOLS]),
        ImageReference(DOCKER_HUB, "library/scratch", "latest"),
    )
    assert "Successfully populated digests for step ID: build" in made.text
    assert said(made, UNSEEN) == []


def test_a_build_without_a_tag_records_its_bases_too(tmp_path: Path) -> None:
    (dependency,) = bench(tmp_path, f"FROM {BASE}\n").play("steps:\n- build: .\n").dependencies
    assert dependency.image is None
    assert references(dependency) == [("base.azurecr.io", "node", "15-alpine")]


def test_a_base_that_an_earlier_step_built_has_no_digest(tmp_path: Path) -> None:
    text = "steps:\n- build: -t test:1 .\n- build: -t test:2 -f Second .\n"
    (tmp_path / "Second").write_text("FROM test:1\n")
    (_, dependency) = bench(tmp_path, f"FROM {BASE}\n").play(text).dependencies
    assert dependency.runtime == ImageReference(DOCKER_HUB, "library/test", "1")


def test_the_base_of_a_stage_that_nothing_needs_is_there_as_in_acr(tmp_path: Path) -> None:
    made = bench(tmp_path, f"FROM a.io/dev:1 AS dev\nFROM {BASE}\n")
    made.engine.store.remote["a.io/dev:1"] = "sha256:dev"
    (dependency,) = made.play(BUILD).dependencies
    assert dependency.buildtime == (ImageReference("a.io", "dev", "1", "sha256:dev"),)
    gone = bench(tmp_path, f"FROM a.io/dev:1 AS dev\nFROM {BASE}\n")
    gone.engine.store.says["a.io/dev:1"] = [1]
    assert gone.play(BUILD).status is RunStatus.FAILED
    assert "failed to query digests, msg: Error: No such object: a.io/dev:1: exit status 1" in gone.lines


def test_from_with_a_platform_fails_the_step_before_the_build_as_in_acr(tmp_path: Path) -> None:
    made = bench(tmp_path, f"ARG A=1\nFROM --platform=$BUILDPLATFORM {BASE} AS build\n")
    outcome = made.play(BUILD)
    assert (outcome.status, outcome.failed_step, outcome.exit_code) == (RunStatus.FAILED, "build", 1)
    line = f"unable to understand line FROM --platform=$BUILDPLATFORM {BASE} AS build"
    assert len(said(made, f"Output from dependency scanning: {line}")) == 1
    assert len(said(made, "Line 2 of the Dockerfile stops the dependency scan")) == 1
    assert "failed to run step ID: build: failed to scan dependencies: exit status 1" in made.lines
    assert made.engine.store.builds == []


def test_a_failed_scan_can_be_ignored(tmp_path: Path) -> None:
    outcome = bench(tmp_path, "FROM --platform=linux/amd64 a AS b\n").play("steps:\n- {build: ., ignoreErrors: true}\n")
    assert (outcome.status, outcome.dependencies) == (RunStatus.SUCCEEDED, ())


@pytest.mark.parametrize("option", ["--file=Other", "-f Other"])
def test_the_scan_sees_the_file_only_after_a_space(option: str, tmp_path: Path) -> None:
    made = bench(tmp_path, f"FROM {TOOLS}\n")
    (tmp_path / "Other").write_text(f"FROM {BASE}\n")
    (dependency,) = made.play(f"steps:\n- build: {option} .\n").dependencies
    assert made.engine.store.builds[0].dockerfile == f"FROM {BASE}\n"
    seen = option.startswith("-f")
    assert references(dependency)[0][1] == ("node" if seen else "tools")
    assert len(said(made, UNSEEN + BASE)) == (0 if seen else 1)


def test_a_dockerfile_that_only_the_build_finds_fails_the_scan(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Other").write_text("FROM scratch\n")
    made = Bench(tmp_path)
    outcome = made.play("steps:\n- build: --file=src/Other src\n")
    assert outcome.error == "failed during run, err: failed to scan dependencies: exit status 1"
    assert "error opening dockerfile: Dockerfile" in made.text


@pytest.mark.parametrize("second", ["the same", "another"])
def test_a_recorded_base_that_the_build_does_not_use_fails_the_run_after_it_unless_it_is_there(
    second: str, tmp_path: Path
) -> None:
    made = bench(tmp_path, "ARG TAG=14-alpine\nARG TAG=15-alpine\nFROM node:$TAG\n")
    if second == "another":
        made.engine.store.images["docker.io/library/node:14-alpine"] = "sha256:old"
    outcome = made.play(BUILD)
    assert len(made.engine.store.builds) == 1
    (unseen,) = said(made, UNSEEN)
    assert "docker.io/library/node:15-alpine (line 3 of the Dockerfile): its scan reads node:14-alpine there" in unseen
    if second == "another":
        assert references(outcome.dependencies[0]) == [(DOCKER_HUB, "library/node", "14-alpine")]
        return
    assert outcome.status is RunStatus.FAILED
    assert outcome.error == "failed during run, err: exit status 1"
    assert "failed to query digests, msg: Error: No such object: node:14-alpine: exit status 1" in made.lines
    assert len(said(made, "ACR Tasks records node:14-alpine as a base image (line 3 of the Dockerfile)")) == 1


def test_with_buildkit_the_recorded_base_is_looked_up_at_its_registry(tmp_path: Path) -> None:
    text = BUILD.replace("}", ", env: [DOCKER_BUILDKIT=1]}")
    dockerfile = f"FROM ${{R:-base.azurecr.io/}}node:14\nFROM {BASE}\n"
    made = bench(tmp_path, dockerfile)
    made.engine.store.remote["docker.io/library/node:14"] = "sha256:hub"
    (dependency,) = made.play(text).dependencies
    assert dependency.buildtime == (ImageReference(DOCKER_HUB, "library/node", "14", "sha256:hub"),)
    gone = bench(tmp_path, dockerfile)
    gone.engine.store.says["docker.io/library/node:14"] = [1]
    assert gone.play(text).status is RunStatus.FAILED
    assert "Failed to Resolve the reference 'node:14'" in gone.lines


def test_a_docker_build_in_a_cmd_step_is_not_scanned(tmp_path: Path) -> None:
    made = bench(tmp_path, f"FROM --platform=linux/amd64 {BASE} AS app\n")
    outcome = made.play("steps:\n- cmd: docker build -t contoso.azurecr.io/app:1 .\n")
    assert (outcome.status, outcome.dependencies) == (RunStatus.SUCCEEDED, ())
    assert said(made, "Scanning for dependencies") == []
    assert len(said(made, f"{UNSEEN}{BASE} (line 1 of the Dockerfile)")) == 1


class Watched:
    """A task with a base-image trigger, and the runs that it started."""

    def __init__(self, folder: Path, kind: Literal["All", "Runtime"]) -> None:
        trigger = BaseImageTrigger(name="base", base_image_trigger_type=kind)
        properties = TaskProperties(platform=Platform(os="linux"), trigger=Triggers(base_image_trigger=trigger))
        task = TaskRecord(id="t", name="app", registry="contoso", location="", created="", properties=properties)
        tasks = Collection(folder / "tasks.json", TaskRecord)
        tasks.put(task.key, task)
        self.started: list[str] = []
        self._triggers = BaseImageTriggers(tasks, FakeRegistries(), self._start)

    def _start(self, task: TaskRecord, cause: Cause) -> None:
        self.started.append(task.name)

    def fires(self, outcome: RunOutcome, repository: str, tag: str) -> bool:
        """Whether a push of an image of `base` starts the task after this run."""
        run = RunRecord(
            id="ca1", number=1, registry="contoso", registry_id="r", login_server="contoso.azurecr.io", task="app",
            status="Succeeded", type="QuickRun", created="", updated="", platform=Platform(os="linux"),
        )  # fmt: skip
        self.started.clear()
        self._triggers.learn(run, outcome)
        push = FakePush(repository=repository, tag=tag, timestamp=datetime(2026, 1, 1, tzinfo=UTC))
        asyncio.run(self._triggers.on_push(push))
        return self.started == ["app"]


@pytest.mark.parametrize(
    ("dockerfile", "line", "kind", "pushed"),
    [
        ("FROM {base}\n", ".", "Runtime", ("node", "15-alpine")),
        ("FROM {tools} AS t\nFROM {base}\n", ".", "All", ("tools", "1")),
        (
            "FROM {tools} AS t\nFROM {base} AS app\nFROM t AS tests\n",
            "--target app .",
            "Runtime",
            ("node", "15-alpine"),
        ),
        ("ARG BASE={base}\nFROM $BASE\n", ".", "Runtime", ("node", "15-alpine")),
        ("FROM {base} AS App\nFROM App\n", ".", "Runtime", ("node", "15-alpine")),
        ("FROM {base}\nFROM {tools} AS t\nFROM {base}\nCOPY --from=t /a /b\n", ".", "All", ("tools", "1")),
    ],
)
def test_a_base_that_acr_sees_starts_the_task(
    dockerfile: str, line: str, kind: Literal["All", "Runtime"], pushed: tuple[str, str], tmp_path: Path
) -> None:
    made = bench(tmp_path, dockerfile.format(base=BASE, tools=TOOLS))
    outcome = made.play(f"steps:\n- build: {line}\n")
    assert said(made, UNSEEN) == []
    assert Watched(tmp_path, kind).fires(outcome, *pushed)


@pytest.mark.parametrize(
    ("dockerfile", "step", "kind", "pushed"),
    [
        # The scan does not see --target=app: the base of `tests` counts as the runtime base.
        (
            "FROM {tools} AS t\nFROM {base} AS app\nFROM t AS tests\n",
            "build: --target=app .",
            "Runtime",
            ("node", "15-alpine"),
        ),
        # The scan does not see --build-arg=BASE=…; what it reads instead is there, because another stage uses it.
        (
            "ARG BASE={tools}\nFROM $BASE AS t\nFROM {tools} AS u\nFROM t\n",
            "build: --build-arg=BASE={base} .",
            "All",
            ("node", "15-alpine"),
        ),
        ("FROM {base}\n", "cmd: docker build .", "All", ("node", "15-alpine")),
        ("FROM {base}\nCOPY --from={tools} /a /b\n", "build: .", "All", ("tools", "1")),
        # The recorded base is not there, so the run fails in ACR, and nothing is learned of it.
        ("FROM ${{R:-base.azurecr.io/}}node:15\n", "build: .", "All", ("node", "15")),
    ],
)
def test_a_base_that_acr_does_not_see_starts_nothing_and_the_log_says_so(
    dockerfile: str, step: str, kind: Literal["All", "Runtime"], pushed: tuple[str, str], tmp_path: Path
) -> None:
    made = bench(tmp_path, dockerfile.format(base=BASE, tools=TOOLS))
    outcome = made.play("steps:\n- " + step.format(base=BASE, tools=TOOLS) + "\n")
    assert not Watched(tmp_path, kind).fires(outcome, *pushed)
    assert len(said(made, f"{UNSEEN}base.azurecr.io/{':'.join(pushed)}")) == 1
