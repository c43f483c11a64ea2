"""The runner on a hand-written engine: order, retries, limits, masking, words."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.engine import ContainerHost, EngineError, ImageBuild, Login, Output, Pushed, RunContainer
from sandbox.tasks.outcome import ImageReference, RunInfo, RunOutcome, RunStatus
from sandbox.tasks.runner.command_line import (
    DockerCommandError,
    read_docker_build,
    read_docker_run,
    split_docker,
)
from sandbox.tasks.runner.runner import Runner
from sandbox.tasks.taskfile.parser import load_task_file

RUN = RunInfo(id="ca4", registry="contoso.azurecr.io", date=datetime(2020, 10, 30, tzinfo=UTC))
DIGEST = "sha256:" + "1" * 64


class FakeStore:
    """A store that remembers what it was asked; `says` are the exit codes that container names run through."""

    def __init__(self, says: Mapping[str, list[int]]) -> None:
        self.says = {name: list(codes) for name, codes in says.items()}
        self.calls: list[str] = []
        self.containers: list[RunContainer] = []
        self.builds: list[ImageBuild] = []
        self.running: set[str] = set()
        self.most_running = 0
        self.closed = False
        self.addresses = 1
        self.images = {"docker.io/library/node:15-alpine": "sha256:base"}
        self.remote: dict[str, str] = {}

    async def warm(self, images: Sequence[str]) -> None:
        self.calls.append(f"warm {' '.join(images)}")

    async def build(self, build: ImageBuild, out: Output) -> int:
        self.builds.append(build)
        self.calls.append(f"build {' '.join(build.tags)}")
        await out("STEP 1/1: FROM scratch")
        return 0

    async def pull(self, image: str, out: Output) -> int:
        self.calls.append(f"pull {image}")
        if image in self.remote:
            self.images[image] = self.remote[image]
        return self._code(image)

    async def push(self, image: str, out: Output) -> Pushed:
        self.calls.append(f"push {image}")
        code = self._code(image)
        return Pushed(code, "" if code else DIGEST)

    async def tag(self, source: str, target: str, out: Output) -> int:
        self.calls.append(f"tag {source} {target}")
        return 0

    async def run(self, container: RunContainer, out: Output) -> int:
        self.calls.append(f"run {container.name}")
        self.containers.append(container)
        self.running.add(container.name)
        self.most_running = max(self.most_running, len(self.running))
        try:
            await out(" ".join((container.image, *container.arguments)))
            await asyncio.sleep(3600 if container.name.startswith("endless") else 0.01)
        finally:
            self.running.discard(container.name)
        return self._code(container.name)

    def _code(self, name: str) -> int:
        codes = self.says.get(name)
        return codes.pop(0) if codes else 0

    async def remove(self, name: str) -> None:
        self.calls.append(f"remove {name}")

    def allocate_address(self) -> str:
        self.addresses += 1
        return f"10.89.7.{self.addresses}"

    async def digests(self) -> dict[str, str]:
        return dict(self.images)

    async def close(self) -> None:
        self.closed = True


class FakeEngine:
    """Hands out one store."""

    def __init__(self, **says: list[int]) -> None:
        self.store = FakeStore({name.replace("_", "-"): codes for name, codes in says.items()})

    @property
    def host(self) -> ContainerHost:
        raise NotImplementedError

    async def start(self) -> None: ...

    async def prepare_run(self, run_id: str, logins: Mapping[str, Login]) -> FakeStore:
        return self.store

    async def close(self) -> None: ...


class Bench:
    """A runner, its engine and its log. Delays are noted, not waited for."""

    def __init__(self, context: Path, **says: list[int]) -> None:
        self.context, self.engine = context, FakeEngine(**says)
        self.lines: list[str] = []
        self.delays: list[float] = []
        self.folder = context.parent / f"{context.name} of runs"
        self.folder.mkdir(exist_ok=True)
        self.runner = Runner(self.engine, self.folder, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.delays.append(seconds)

    async def _log(self, line: str) -> None:
        self.lines.append(line)

    async def start(self, text: str, run: RunInfo = RUN, **values: str) -> RunOutcome:
        return await self.runner.run(load_task_file(text, run, values), self.context, run, self._log)

    def play(self, text: str, run: RunInfo = RUN, **values: str) -> RunOutcome:
        return asyncio.run(self.start(text, run, **values))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


IMPORT = """\
version: v1.1.0
steps:
  - id: build-test
    build: --build-arg FROM={{.Values.FROM}} -t $Registry/test:1 .
  - id: validate
    cmd: $Registry/test:1
  - id: pull
    cmd: docker pull docker.io/library/node:15-alpine
  - id: tag
    when: [pull]
    cmd: docker tag docker.io/library/node:15-alpine $Registry/node:15-alpine
  - id: tag-unique
    when: [pull]
    cmd: docker tag docker.io/library/node:15-alpine $Registry/node:15-alpine-$ID
  - id: push
    when: [tag, tag-unique]
    push: ["$Registry/node:15-alpine", "$Registry/node:15-alpine-$ID"]
"""


def test_the_walkthroughs_import_runs_and_tells_what_it_pushed_and_stands_on(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG FROM=\nFROM ${FROM}node:15-alpine\n")
    bench = Bench(tmp_path)
    outcome = bench.play(IMPORT, FROM="docker.io/")
    assert outcome.status is RunStatus.SUCCEEDED
    assert [(image.repository, image.tag, image.digest) for image in outcome.output_images] == [
        ("node", "15-alpine", DIGEST),
        ("node", "15-alpine-ca4", DIGEST),
    ]
    (dependency,) = outcome.dependencies
    assert dependency.runtime == ImageReference("docker.io", "node", "15-alpine")
    calls = bench.engine.store.calls
    assert calls[:4] == [
        "warm docker.io/library/node:15-alpine",
        "build contoso.azurecr.io/test:1",
        "run validate",
        "pull docker.io/library/node:15-alpine",
    ]
    (build,) = bench.engine.store.builds
    assert (build.context, dict(build.arguments)) == (tmp_path, {"FROM": "docker.io/"})
    assert build.dockerfile == (tmp_path / "Dockerfile").read_text()
    assert bench.engine.store.closed


def test_containers_find_the_runs_logins_where_docker_login_stores_them_and_no_file_is_left(tmp_path: Path) -> None:
    class Reading(FakeStore):
        async def run(self, container: RunContainer, out: Output) -> int:
            home = next(path for path, inside in container.mounts.items() if inside == "/acb/home")
            file = home / ".docker" / "config.json"
            await out(f"{file.stat().st_mode & 0o777:o} {file.read_text()}")
            return 0

    bench = Bench(tmp_path)
    bench.engine.store = Reading({})
    run = replace(RUN, logins={"contoso.azurecr.io": Login("user", "pass:word"), "docker.io": Login("hub", "of-hub")})
    bench.play("steps:\n- {id: one, cmd: image}\n", run)
    (line,) = (line for line in bench.lines if "auths" in line)
    mode, _, text = line.partition(" ")
    assert mode == "600"
    auths = {server: base64.b64decode(entry["auth"]) for server, entry in json.loads(text)["auths"].items()}
    assert auths == {"contoso.azurecr.io": b"user:pass:word", "https://index.docker.io/v1/": b"hub:of-hub"}
    assert list(bench.folder.iterdir()) == []


def test_a_step_without_a_network_is_not_online(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.play("steps:\n- {id: one, cmd: image, network: none}\n")
    (one,) = bench.engine.store.containers
    assert not one.online


def test_the_log_has_acrs_words(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    bench = Bench(tmp_path, validate=[1])
    outcome = bench.play(IMPORT, FROM="docker.io/")
    assert (outcome.status, outcome.failed_step, outcome.exit_code) == (RunStatus.FAILED, "validate", 1)
    assert outcome.error == "failed during run, err: exit status 1"
    for expected in (
        "Executing step ID: validate. Timeout(sec): 600, Working directory: '', Network: 'acb_default_network'",
        "Launching container with name: validate",
        "Container failed during run: validate. No retries remaining.",
    ):
        assert any(line.endswith(expected) and line[4] == "/" for line in bench.lines), expected
    assert "failed to run step ID: validate: exit status 1" in bench.lines
    failed = r"Run ID: ca4 failed after \d+s\. Error: failed during run, err: exit status 1"
    assert re.fullmatch(failed, bench.lines[-1])
    assert not any(call.startswith("push") for call in bench.engine.store.calls)

    good = Bench(tmp_path)
    good.play("steps:\n- cmd: x\n- push: [a.io/b:1]\n")
    assert "Pushing image: a.io/b:1, attempt 1" in good.text
    assert "Successfully pushed image: a.io/b:1" in good.text
    assert "Step ID: acb_step_0 marked as successful (elapsed time in seconds: " in good.text
    assert re.fullmatch(r"Run ID: ca4 was successful after \d+s", good.lines[-1])


def test_steps_that_wait_for_nothing_run_side_by_side(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.play(
        "steps:\n- {id: a, cmd: x, when: ['-']}\n- {id: b, cmd: x, when: ['-']}\n- {id: c, cmd: x, when: [a, b]}\n"
    )
    assert bench.engine.store.most_running == 2
    assert bench.engine.store.calls[-1] == "run c"


def test_a_failure_ends_the_steps_beside_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bad=[3])
    outcome = bench.play("steps:\n- {id: endless, cmd: x, when: ['-']}\n- {id: bad, cmd: x, when: ['-']}\n")
    assert (outcome.failed_step, outcome.exit_code) == ("bad", 3)
    assert bench.engine.store.running == set()


def test_retries_wait_and_stop_at_the_first_success(tmp_path: Path) -> None:
    bench = Bench(tmp_path, flaky=[1, 1, 0])
    assert bench.play("steps:\n- {id: flaky, cmd: x, retries: 5, retryDelay: 7}\n").status is RunStatus.SUCCEEDED
    assert bench.delays == [7, 7]
    assert "waiting 7 seconds before retrying..." in bench.text


def test_retry_on_errors_retries_only_for_those_words(tmp_path: Path) -> None:
    text = "steps:\n- {id: flaky, cmd: image connection reset, retries: 1, retryOnErrors: [%s]}\n"
    assert Bench(tmp_path, flaky=[1, 0]).play(text % "reset").status is RunStatus.SUCCEEDED
    assert Bench(tmp_path, flaky=[1, 0]).play(text % "refused").status is RunStatus.FAILED


def test_repeat_runs_a_step_again_even_after_success(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.play("steps:\n- {id: again, cmd: x, repeat: 2}\n")
    assert bench.engine.store.calls == ["run again"] * 3


def test_ignored_errors_let_the_run_go_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bad=[1])
    outcome = bench.play("steps:\n- {id: bad, cmd: x, ignoreErrors: true}\n- {id: next, cmd: x}\n")
    assert outcome.status is RunStatus.SUCCEEDED
    assert "Step ID: bad encountered an error: exit status 1, but is set to ignore errors. Continuing..." in bench.text


def test_a_push_is_tried_three_times(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **{"image:latest": [1, 1, 1]})
    outcome = bench.play("steps:\n- push: [image]\n")
    assert outcome.error == "failed during run, err: failed to push images successfully"
    assert "Pushing image: image:latest, attempt 3" in bench.text
    good = Bench(tmp_path, **{"image:latest": [1, 1, 0]})
    assert good.play("steps:\n- push: [image]\n").status is RunStatus.SUCCEEDED


def test_a_step_over_its_time_fails_and_a_run_over_its_time_times_out(tmp_path: Path) -> None:
    step = Bench(tmp_path)
    outcome = step.play("steps:\n- {id: endless, cmd: x, timeout: 1}\n")
    assert (outcome.status, outcome.failed_step) == (RunStatus.FAILED, "endless")
    assert outcome.error == "failed during run, err: context deadline exceeded"
    run = Bench(tmp_path)
    outcome = run.play("steps:\n- {id: endless, cmd: x}\n", replace(RUN, timeout_seconds=0.05))
    assert outcome.status is RunStatus.TIMEOUT
    assert not step.engine.store.running | run.engine.store.running
    assert run.engine.store.closed


def test_a_cancelled_run_ends_its_containers_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def play() -> RunOutcome:
        task = asyncio.create_task(bench.start("steps:\n- {id: endless, cmd: x}\n"))
        while not bench.engine.store.running:
            await asyncio.sleep(0.001)
        task.cancel()
        return await task

    outcome = asyncio.run(play())
    assert outcome.status is RunStatus.CANCELED
    assert bench.engine.store.running == set()
    assert bench.engine.store.closed
    assert bench.lines[-1].startswith("Run ID: ca4 failed after 0s. Error: the run was canceled")


def test_no_secret_reaches_the_log_or_the_outcome(tmp_path: Path) -> None:
    secrets = {"token": "s3cret", "key": "line one\nline two"}
    run = replace(RUN, secrets=secrets, logins={"a.io": Login("u", "passw0rd")})
    bench = Bench(tmp_path)
    outcome = bench.play(
        "secrets: [{id: token, keyvault: https://v/secrets/token}]\n"
        "steps:\n- cmd: image {{.Secrets.token}} {{.Secrets.token | b64enc}} passw0rd 'line two'\n"
        "- cmd: docker {{.Secrets.token}}\n",
        run,
    )
    assert outcome.status is RunStatus.FAILED
    said = bench.text + repr(outcome)
    assert "image *** *** *** ***" in bench.text
    for secret in ("s3cret", "czNjcmV0", "passw0rd", "line two"):
        assert secret not in said
    assert bench.engine.store.containers[0].arguments[0] == "s3cret"


def test_a_log_is_cut_where_a_container_never_stops_talking_but_its_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.tasks.runner.log.OUTPUT_LIMIT_CHARACTERS", 10)
    bench = Bench(tmp_path)
    bench.play("steps:\n- cmd: image xxxxxxxxxx\n- cmd: image unheard\n")
    assert "is truncated at" in bench.text
    assert "unheard" not in bench.text
    assert bench.lines[-1].startswith("Run ID: ca4 was successful")


def test_containers_get_what_the_step_says(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    bench = Bench(tmp_path)
    bench.play(
        "env: [A=1]\nworkingDirectory: src\nvolumes: [{name: v, secret: {file: aGk=}}]\nsteps:\n"
        "- {id: one, cmd: 'image \"a b\" c', env: ['B=x=y'], entryPoint: sh, user: '7', pull: true,"
        " volumeMounts: [{name: v, mountPath: /v}]}\n"
        "- {id: two, cmd: image, workingDirectory: /opt}\n"
        "- {id: three, cmd: image, disableWorkingDirectoryOverride: true}\n"
        "- {id: four, cmd: 'docker run --rm -e C=3 --entrypoint id image -u'}\n"
    )
    one, two, three, four = bench.engine.store.containers
    assert (one.image, one.arguments) == ("image", ("a b", "c"))
    assert dict(one.environment) == {"HOME": "/acb/home", "A": "1", "B": "x=y"}
    assert (one.entrypoint, one.user, one.workdir, one.address) == ("sh", "7", "/workspace/src", None)
    assert one.online
    assert one.mounts[tmp_path] == "/workspace"
    assert sorted(one.mounts.values()) == ["/acb/home", "/v", "/workspace"]
    assert [path for path, inside in one.mounts.items() if inside == "/acb/home"] == [
        path for path, inside in two.mounts.items() if inside == "/acb/home"
    ]
    shared = [path for path, inside in one.mounts.items() if inside != "/workspace"]
    assert all(path.is_relative_to(bench.folder) for path in shared)
    assert list(bench.folder.iterdir()) == []  # as soon as the run has ended
    assert (two.workdir, three.workdir) == ("/opt", None)
    assert (four.entrypoint, four.arguments, dict(four.environment), dict(four.mounts)) == (
        "id",
        ("-u",),
        {"C": "3"},
        {},
    )
    assert "pull image" in bench.engine.store.calls
    assert not [path for path in one.mounts if path != tmp_path and path.exists()]


def test_containers_that_may_run_at_the_same_time_reach_each_other_by_id(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.play("steps:\n- {id: server, cmd: image, detach: true}\n- {id: client, cmd: image}\n")
    server, client = bench.engine.store.containers
    assert server.detach
    assert client.hosts["server"] == server.address != client.address
    assert "Creating Docker network: acb_default_network, driver: 'bridge'" in bench.text
    foreground = Bench(tmp_path)
    foreground.play("steps:\n- {id: one, cmd: image, when: ['-']}\n- {id: two, cmd: image, when: ['-']}\n")
    assert all(set(container.hosts) == {"one", "two"} for container in foreground.engine.store.containers)


def test_a_network_is_made_only_if_two_containers_can_meet_in_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.play(
        "steps:\n- {id: one, cmd: image}\n- {id: two, cmd: image}\n- {id: three, cmd: docker tag a b, when: [one]}\n"
        "- {id: four, cmd: docker pull a, when: [one]}\n"
    )
    assert bench.engine.store.addresses == 1
    assert "Creating Docker network" not in bench.text


def test_what_acr_ignores_is_told_before_the_steps(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.play("steps:\n- {id: one, cmd: image, colour: red}\n")
    warning = next(line for line in bench.lines if "colour" in line)
    assert warning.endswith("WARNING: line 2: colour is no key of a step: ACR ignores it")
    assert bench.lines.index(warning) < next(at for at, line in enumerate(bench.lines) if "Executing step" in line)


@pytest.mark.attack(
    "a task file", "options of a step that mount, add rights, lead elsewhere", "the list of options, and checks"
)
@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("{id: ../x, cmd: image}", "invalid container name: ../x"),
        ("{id: 'x:y', build: .}", "invalid container name: x:y"),
        ("{cmd: image, network: host}", "network: host is refused here"),
        ("{cmd: image, network: gone}", "network gone not found"),
        (
            "{cmd: image, volumeMounts: [{name: v, mountPath: '/v:O,upperdir=/etc'}]}",
            "the mountPath /v:O,upperdir=/etc",
        ),
        ("{cmd: image, volumeMounts: [{name: v, mountPath: v}]}", "the mountPath v is refused here"),
        ("{cmd: '--privileged image'}", "docker run --privileged is not supported here"),
        ("{cmd: image, user: '0 --privileged'}", "docker run --privileged is not supported here"),
        ("{cmd: image, entryPoint: 'sh -v /:/host'}", "docker run -v is not supported here"),
        ("{cmd: image, env: ['A=1 -v /:/host']}", "docker run -v is not supported here"),
        ("{cmd: 'image $(cat /etc/shadow)'}", "need a shell"),
    ],
)
def test_no_option_of_a_step_reaches_this_machine(step: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    bench = Bench(tmp_path)
    outcome = bench.play(f"volumes: [{{name: v, secret: {{f: aGk=}}}}]\nsteps:\n- {step}\n")
    assert problem in outcome.error
    assert bench.engine.store.containers == []


def test_an_image_of_acrs_own_that_is_not_here_is_told_as_that(tmp_path: Path) -> None:
    bench = Bench(tmp_path, one=[125])
    bench.play("version: v1.1.0\nsteps:\n- {id: one, cmd: bash echo}\n")
    assert "mcr.microsoft.com/acr/bash:2ff604c is an image of ACR's own: the sandbox has none" in bench.text


def test_a_folder_outside_the_workspace_is_refused(tmp_path: Path) -> None:
    outcome = Bench(tmp_path).play("steps:\n- {build: -t x ., workingDirectory: ../..}\n")
    assert "is outside /workspace" in outcome.error
    outcome = Bench(tmp_path).play("steps:\n- {build: -t x ., workingDirectory: gone}\n")
    assert "working directory gone does not exist" in outcome.error


def test_an_engine_that_refuses_is_an_error_of_the_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def refuse(run_id: str, logins: Mapping[str, Login]) -> Any:
        raise EngineError("no space left on device")

    bench.engine.prepare_run = refuse  # type: ignore[method-assign]
    outcome = bench.play("steps:\n- cmd: x\n")
    assert outcome.status is RunStatus.ERROR
    assert "no space left on device" in outcome.error


def test_a_build_command_line_is_read() -> None:
    words = "--no-cache -q --memory 1g -t a:1 --tag=a:2 -f x --build-arg A=b=c --build-arg B --label l=1 src"
    build = read_docker_build(words.split())
    assert (build.context, build.file, build.tags, build.labels) == ("src", "x", ["a:1", "a:2"], ["l=1"])
    assert build.arguments == {"A": "b=c", "B": None}
    assert (build.no_cache, build.pull) == (True, False)


@pytest.mark.attack("a task file", "options of a build that mount, add rights, write files", "the list of options")
@pytest.mark.parametrize(
    "options",
    [
        "-v /:/host", "--volume=/:/host", "--network host", "--cap-add=ALL", "--security-opt seccomp=unconfined",
        "--secret id=x,src=/etc/shadow", "--ssh default", "--build-context x=/", "--device /dev/sda", "-o /etc",
        "--iidfile /etc/x", "--add-host a:127.0.0.1", "--userns host", "--authfile /root/x", "--squash",
    ],
)  # fmt: skip
def test_an_option_of_a_build_that_could_reach_this_machine_is_refused_by_name(options: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    bench = Bench(tmp_path)
    outcome = bench.play(f"steps:\n- build: {options} -t x .\n")
    assert f"docker build {re.split('[ =]', options)[0]} is not supported here" in outcome.error
    assert bench.engine.store.builds == []


@pytest.mark.attack(
    "a task file", "a context or a Dockerfile outside of the workspace", "paths resolve below the workspace"
)
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("-t x ..", "is outside /workspace"),
        ("-t x /etc", "is outside /workspace"),
        ("-t x link", "is outside /workspace"),
        ("-t x -f ../secret .", "is outside /workspace"),
        ("-t x -f /etc/passwd .", "is outside /workspace"),
        ("-t x -f link/passwd .", "is outside /workspace"),
        ("-t x -f gone .", "the Dockerfile gone does not exist"),
        ("-t x gone", "the context gone is no folder"),
        ("-t x loop", "the context loop is no folder"),
        ("-t x -f loop .", "the Dockerfile loop does not exist"),
        ("-t x http://127.0.0.1:1/x.tar", "is no folder in /workspace"),
        ("-t x -", "the context - is no folder"),
        ("-t x https://github.com/o/r", "a repository is a run's context"),
        ("-t x", "accepts one context, not 0"),
        ("-t x . .", "accepts one context, not 2"),
    ],
)
def test_sources_of_a_build_are_in_the_workspace(line: str, problem: str, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (tmp_path / "secret").write_text("FROM scratch\n")
    (context / "Dockerfile").write_text("FROM scratch\n")
    (context / "link").symlink_to("/etc")
    (context / "loop").symlink_to("loop")
    bench = Bench(context)
    assert problem in bench.play(f"steps:\n- build: {line}\n").error
    assert bench.engine.store.builds == []


def test_an_argument_of_docker_build_takes_its_value_from_the_step_and_a_secret_one_is_marked(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    bench = Bench(tmp_path)
    build_line = "--build-arg A --build-arg B --build-arg C={{.Secrets.c}} -t x ."
    run = replace(RUN, secrets={"c": "s3cret"})
    secret = "secrets: [{id: c, keyvault: https://v/secrets/c}]\n"
    bench.play(f"{secret}steps:\n- {{cmd: 'docker build {build_line}', env: [A=1]}}\n", run)
    (build,) = bench.engine.store.builds
    assert (dict(build.arguments), build.secret) == ({"A": "1", "C": "s3cret"}, frozenset({"C"}))
    scanned = Bench(tmp_path)
    outcome = scanned.play(f"steps:\n- {{build: '{build_line}', env: [A=1]}}\n", run)
    assert "failed to scan dependencies" in outcome.error
    assert "A cannot be split into 2 tokens with '='" in scanned.text
    assert scanned.engine.store.builds == []


def test_the_dependencies_of_a_build_step_alone_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM node:15-alpine\n")
    by_step, by_command = Bench(tmp_path), Bench(tmp_path)
    assert len(by_step.play("steps:\n- build: -t a.io/x:1 .\n").dependencies) == 1
    assert by_command.play("steps:\n- cmd: docker build -t a.io/x:1 .\n").dependencies == ()


def test_docker_commands_that_are_not_carried_out_are_named() -> None:
    assert split_docker(["image", "docker"]) is None
    assert split_docker(["docker", "tag", "a", "b"]) == ("tag", ["a", "b"])
    with pytest.raises(DockerCommandError, match="docker system is not supported"):
        split_docker(["docker", "system", "prune"])
    with pytest.raises(DockerCommandError, match="accepts 2 image name"):
        split_docker(["docker", "tag", "a"])
    with pytest.raises(DockerCommandError, match="docker run -v is not supported"):
        read_docker_run(["-v", "/:/host", "image"])
