"""Task files: what is read, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sandbox.tasks.outcome import RunInfo
from sandbox.tasks.taskfile.model import SecretReference, StepKind, TaskFileError
from sandbox.tasks.taskfile.parser import declared_secrets, load_task_file, parse_task_file

RUN = RunInfo(id="ca4", registry="contosobase.azurecr.io", date=datetime(2020, 10, 30, tzinfo=UTC))
IMPORT = """\
version: v1.1.0
steps:
  - id: build-test-base-image
    # the test image is not pushed
    build: >
      --build-arg REGISTRY_FROM_URL={{.Values.REGISTRY_FROM_URL}}
      -f ./Dockerfile
      -t {{.Run.Registry}}/node-import:test
      .
  - id: validate-base-image
    when: ['build-test-base-image']
    cmd: "{{.Run.Registry}}/node-import:test"
  - id: pull-base-image
    when: ['validate-base-image']
    cmd: >
        docker pull {{.Values.REGISTRY_FROM_URL}}node:15-alpine
  - id: push-base-image
    when: ['pull-base-image']
    push:
    - "{{.Run.Registry}}/node:15-alpine"
    - "$Registry/node:15-alpine-$ID"
"""


def faults(text: str) -> list[str]:
    with pytest.raises(TaskFileError) as raised:
        parse_task_file(text)
    return raised.value.faults


def test_the_import_task_of_the_walkthrough_is_read() -> None:
    task = load_task_file(IMPORT, RUN, {"REGISTRY_FROM_URL": "publicregistry.azurecr.io/"})
    build, validate, pull, push = task.steps
    assert (task.version, task.step_timeout) == ("v1.1.0", 600)
    assert build.kind is StepKind.BUILD
    assert build.run.split()[1] == "REGISTRY_FROM_URL=publicregistry.azurecr.io/"
    assert build.when is None
    assert (validate.run, validate.when) == ("contosobase.azurecr.io/node-import:test", ("build-test-base-image",))
    assert pull.run.strip() == "docker pull publicregistry.azurecr.io/node:15-alpine"
    assert push.images == ("contosobase.azurecr.io/node:15-alpine", "contosobase.azurecr.io/node:15-alpine-ca4")


def test_every_property_of_a_cmd_step_is_read() -> None:
    task = parse_task_file(
        "version: v1.1.0\nstepTimeout: 30\nworkingDirectory: src\nenv: [A=1, B=2]\n"
        "networks: [{name: net}]\nvolumes: [{name: v, secret: {key: aGk=}}]\n"
        "steps:\n- cmd: image run\n  id: x\n  env: [B=3]\n  timeout: 5\n  startDelay: 1\n"
        "  retries: 2\n  retryDelay: 3\n  repeat: 1\n"
        "  ignoreErrors: true\n  keep: true\n  detach: false\n  pull: yes\n  entryPoint: sh\n  user: '7'\n"
        "  network: net\n  ports: ['80:80']\n  expose: [80]\n  isolation: default\n  privileged: false\n"
        "  retryOnErrors: [reset]\n  volumeMounts: [{name: v, mountPath: /secrets}]\n  when: ['-']\n"
        "  disableWorkingDirectoryOverride: true\n- push: [a]\n"
    )
    first, second = task.steps
    assert (first.env, first.timeout, first.retries, first.retry_delay) == (("A=1", "B=3"), 5, 2, 3)
    assert (first.working_directory, first.user, first.entry_point, first.expose) == ("src", "7", "sh", ("80",))
    assert first.volume_mounts == {"v": "/secrets"}
    assert task.volumes[0].files == {"key": b"hi"}
    assert (second.id, second.timeout, second.env) == ("acb_step_1", 30, ("A=1", "B=2"))


def test_all_faults_are_found_at_once_each_with_its_line() -> None:
    found = faults(
        "version: v9\nstepz: 1\nsteps:\n- id: a\n  cmd: x\n  colour: red\n- id: a\n  cmd: x\n  push: [y]\n"
        "- id: b\n  cmd: x\n  when: [nobody]\n  timeout: soon\n"
        "- id: c\n  build: .\n  when: [d]\n- id: d\n  cmd: x\n  when: [c]\n"
    )
    text = "\n".join(found)
    for expected in (
        "line 1: unknown version v9",
        "line 2: unknown key stepz in the task file",
        "line 6: unknown key colour in a cmd step",
        "line 7: a step has exactly one of build, push and cmd",
        "line 7: the step id a is used twice",
        "line 10: step b waits for nobody, which is not a step",
        "line 13: timeout is not an integer",
        "wait for each other",
    ):
        assert expected in text


@pytest.mark.attack(
    "a task file", "files and mount paths that lead elsewhere, and what is malformed", "the reader of task files"
)
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("steps: []", "no steps"),
        ("", "no steps"),
        ("steps: [", "line 1: not YAML"),
        ("- a", "the task file is not a mapping"),
        ("steps:\n- cmd: x\n  cmd: y", "line 3: cmd is given twice"),
        ("steps:\n- cmd: x\n  privileged: true", "privileged is refused"),
        ("steps:\n- cmd: x\n  network: n", "the network n is not declared"),
        ("steps:\n- cmd: x\n  volumeMounts: [{name: v, mountPath: /v}]", "the volume v is not declared"),
        (
            "volumes: [{name: v, secret: {f: aGk=}}]\nsteps:\n- cmd: x\n"
            "  volumeMounts: [{name: v, mountPath: '/v:O,upperdir=/etc'}]",
            "the mountPath /v:O,upperdir=/etc has a : or a comma",
        ),
        ("volumes: [{name: v, secret: {../x: aGk=}}]\nsteps:\n- cmd: x", "file ../x is not a plain file name"),
        ("volumes: [{name: v, secret: {..: aGk=}}]\nsteps:\n- cmd: x", "file .. is not a plain file name"),
        ("steps:\n- cmd: x\n  exitedWith: [1]", "exitedWith has no effect"),
        ("steps:\n- cmd: x\n  id: a b", "is not a step id"),
        ("steps:\n- cmd: x\n  env: [A]", "not name=value"),
        ("steps:\n- push: [a]\n  retries: 1", "unknown key retries in a push step"),
        ("steps:\n- push: a", "push is not a list"),
        ("steps:\n- cmd: ''", "has nothing to do"),
    ],
)
def test_what_is_wrong_is_named(text: str, fault: str) -> None:
    assert any(fault in found for found in faults(text)), faults(text)


def test_secrets_are_declared_before_they_are_known_and_never_change_the_yaml_around_them() -> None:
    text = (
        "secrets:\n- id: user\n  keyvault: https://{{.Values.vault}}.vault.azure.net/secrets/user\n"
        "- {id: other, keyvault: https://v/secrets/o, clientID: c}\n"
        "steps:\n- cmd: login {{.Secrets.user}}\n  env: ['U={{.Secrets.user}}']\n"
    )
    assert declared_secrets(text, RUN, {"vault": "akv"}) == (
        SecretReference("user", "https://akv.vault.azure.net/secrets/user"),
        SecretReference("other", "https://v/secrets/o", "c"),
    )
    awkward = 'a: "b\n- c'
    run = RunInfo(id="ca4", registry="r.azurecr.io", date=RUN.date, secrets={"user": awkward, "other": "x"})
    task = load_task_file(text, run, {"vault": "akv"})
    assert task.steps[0].run == f"login {awkward}"
    assert task.steps[0].env == (f"U={awkward}",)
    assert awkward not in repr(task)


def test_no_fault_shows_a_secret() -> None:
    run = RunInfo(id="ca4", registry="r.azurecr.io", date=RUN.date, secrets={"pin": "s3cret"})
    with pytest.raises(TaskFileError) as raised:
        text = "steps:\n- cmd: x\n  id: 'a {{.Secrets.pin}}'\n  timeout: '{{.Secrets.pin}}'\n  {{.Values.pin}}: 1\n"
        load_task_file(text, run, {"pin": "s3cret"})
    assert "s3cret" not in str(raised.value)


def test_image_aliases_stand_first_in_cmd() -> None:
    task = load_task_file("version: v1.1.0\nsteps:\n- cmd: bash echo bash\n", RUN, {})
    assert task.steps[0].run == "mcr.microsoft.com/acr/bash:9fb281c echo bash"
