"""Task files: what is read, and what is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from sandbox.tasks.outcome import RunInfo
from sandbox.tasks.taskfile.model import SecretReference, StepKind, TaskFile, TaskFileError
from sandbox.tasks.taskfile.parser import declared_secrets, load_task_file

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


def parsed(text: str) -> TaskFile:
    return load_task_file(text, RUN, {})


def faults(text: str) -> list[str]:
    with pytest.raises(TaskFileError) as raised:
        parsed(text)
    return raised.value.faults


def test_the_import_task_of_the_walkthrough_is_read() -> None:
    task = load_task_file(IMPORT, RUN, {"REGISTRY_FROM_URL": "publicregistry.azurecr.io/"})
    build, validate, pull, push = task.steps
    assert (task.version, task.step_timeout) == ("v1.1.0", 600)
    assert build.kind is StepKind.BUILD
    assert build.run.split()[1] == "REGISTRY_FROM_URL=publicregistry.azurecr.io/"
    assert build.when == ()
    assert (validate.run, validate.when) == ("contosobase.azurecr.io/node-import:test", ("build-test-base-image",))
    assert pull.run.strip() == "docker pull publicregistry.azurecr.io/node:15-alpine"
    assert push.images == ("contosobase.azurecr.io/node:15-alpine", "contosobase.azurecr.io/node:15-alpine-ca4")


def test_every_property_of_a_cmd_step_is_read() -> None:
    task = parsed(
        "version: v1.1.0\nstepTimeout: 30\nworkingDirectory: src\nenv: ['A=1,B=2']\n"
        "networks: [{name: net}]\nvolumes: [{name: v, secret: {key: aGk=}}]\n"
        "steps:\n- cmd: image run\n  id: x\n  env: [B=3]\n  timeout: 5\n  startDelay: 1\n"
        "  retries: 2\n  retryDelay: 3\n  repeat: 1\n  cmdDownloadRetries: 4\n  cmdDownloadRetryDelay: 6\n"
        "  ignoreErrors: true\n  keep: true\n  detach: false\n  pull: yes\n  entryPoint: sh\n  user: '7'\n"
        "  network: net\n  ports: ['80:80']\n  expose: [80]\n  isolation: default\n  privileged: false\n"
        "  retryOnErrors: [reset]\n  volumeMounts: [{name: v, mountPath: /secrets}]\n  when: ['-']\n"
        "  disableWorkingDirectoryOverride: true\n  cpus: 2\n  cache: disabled\n- push: [a]\n"
    )
    first, second = task.steps
    assert (first.env, first.timeout, first.retries, first.retry_delay) == (("B=3", "A=1"), 5, 2, 3)
    assert (first.cmd_download_retries, first.cmd_download_retry_delay, first.cpus) == (4, 6, "2")
    assert (first.working_directory, first.user, first.entry_point, first.expose) == ("src", "7", "sh", ("80",))
    assert first.volume_mounts == (("v", "/secrets"),)
    assert task.volumes[0].files == {"key": b"hi\n"}
    assert (second.id, second.timeout, second.env) == ("acb_step_1", 30, ("A=1", "B=2"))
    assert second.images == ("a:latest",)


def test_all_faults_are_found_at_once_each_with_its_line() -> None:
    found = faults(
        "# said\nversion: v9\nsteps:\n- id: a\n  cmd: x\n- id: a\n  cmd: x\n  push: [y]\n"
        "- id: b\n  cmd: x\n  when: [nobody]\n  timeout: soon\n"
        "- id: c\n  build: .\n  when: [d]\n- id: d\n  cmd: x\n  when: [c]\n"
    )
    assert found == [
        "line 2: unknown version v9 (known: 1.0-preview-1, v1.0.0, v1.1.0)",
        "line 6: a step has exactly one of build, push and cmd",
        "line 6: the step id a is used twice",
        "line 9: step b waits for nobody, which is not a step",
        "line 12: timeout is not an integer: soon",
        "line 13: step c waits for d, which stands after it: a step can wait only for those before it",
    ]


def test_what_acr_takes_and_ignores_is_a_warning_with_its_line() -> None:
    task = parsed(
        "version: v1.1.0\nalias:\n  vals: {a: b}\nstepz: 1\nsteps:\n- cmd: x\n  colour: red\n  cmd: y\n  cpus: 1\n"
    )
    assert task.steps[0].run == "y"
    assert task.warnings == (
        "line 3: vals is no key of alias: ACR ignores it",
        "line 4: stepz is no key of the task file: ACR ignores it",
        "line 7: colour is no key of a step: ACR ignores it",
        "line 8: cmd is given twice in a step: the last one counts",
        "line 9: cpus limits nothing here",
    )


@pytest.mark.attack(
    "a task file", "files of volumes that lead elsewhere, and what is malformed", "the reader of task files"
)
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("steps: [", "line 1: not YAML"),
        ("- a", "the task file is a list, not a mapping"),
        ("steps:\n- cmd: x\n  privileged: true", "line 3: privileged is refused"),
        ("steps:\n- cmd: x\n  volumeMounts: [{name: v, mountPath: /v}]", "the volume v is not declared"),
        ("volumes: [{name: v, secret: {../x: aGk=}}]\nsteps:\n- cmd: x", "file ../x is not a name"),
        ("volumes: [{name: v, secret: {..: aGk=}}]\nsteps:\n- cmd: x", "file .. is not a name"),
        ("steps:\n- cmd: x\n  id: a b", "'a b' contains a space"),
        ("env: [A]\nsteps:\n- cmd: x", "not name=value"),
        ("steps:\n- push: a", "push is a plain value, not a list"),
        ("steps:\n- cmd: ''", "a step needs build, push or cmd"),
        ("steps: " + "[" * 5000, "nested too deep"),
        ("steps:\n- cmd: x\n  timeout: 1e300", "timeout is not an integer"),
        ("steps:\n- cmd: x\n  timeout: .inf", "timeout is not an integer"),
    ],
)
def test_what_is_wrong_is_named(text: str, fault: str) -> None:
    assert any(fault in found for found in faults(text)), faults(text)


def test_merges_that_grow_without_end_are_refused() -> None:
    bomb = "a0: &a0 {id: x}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 30))
    with pytest.raises(TaskFileError, match="merges"):
        parsed(f"{bomb}steps:\n- <<: *a29\n  cmd: x\n")


def test_secrets_are_declared_before_they_are_known() -> None:
    client = "c72b2df0-b9d8-4ac6-9363-7c1eb06c1c86"
    text = (
        "secrets:\n- id: user\n  keyvault: https://{{.Values.vault}}.vault.azure.net/secrets/user\n"
        f"- {{id: other, keyvault: https://v/secrets/o, clientID: {client}}}\n"
        "steps:\n- cmd: login {{.Secrets.user}}\n  env: ['U={{.Secrets.user}}']\n"
    )
    assert declared_secrets(text, RUN, {"vault": "akv"}) == (
        SecretReference("user", "https://akv.vault.azure.net/secrets/user"),
        SecretReference("other", "https://v/secrets/o", client),
    )
    awkward = "a#b {c} d"
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


def test_no_fault_shows_a_secret_that_stands_beside_letters() -> None:
    run = RunInfo(id="ca4", registry="r.azurecr.io", date=RUN.date, secrets={"pin": "s3cret"})
    text = (
        "secrets:\n- {id: pin, keyvault: https://v/secrets/p}\n"
        "networks:\n- {name: n, driver: 'x{{.Secrets.pin}}y'}\nsteps:\n- cmd: x\n"
    )
    with pytest.raises(TaskFileError, match=r"driver x\*\*\*y of a network"):
        load_task_file(text, run, {})


def test_a_number_of_thousands_of_digits_is_no_number() -> None:
    assert faults(f"stepTimeout: {'1' * 5000}\nsteps:\n- cmd: x\n")[0].startswith("line 1: stepTimeout is not an")


def test_no_fault_shows_what_a_function_takes_out_of_a_secret() -> None:
    run = RunInfo(id="ca4", registry="r.azurecr.io", date=RUN.date, secrets={"c": "admin:s3cret"})
    for part in ('index (splitList ":" (.Secrets.c | default "1:1")) 1', '(split ":" (.Secrets.c | default "1:1"))._1'):
        text = f"secrets:\n- {{id: c, keyvault: https://v/s/c}}\nsteps:\n- cmd: x\n  timeout: {{{{{part}}}}}\n"
        with pytest.raises(TaskFileError) as raised:
            load_task_file(text, run, {})
        assert "not an integer" in str(raised.value)
        assert "s3cret" not in str(raised.value)


def test_no_fault_of_an_alias_shows_a_secret() -> None:
    run = RunInfo(id="ca4", registry="r.azurecr.io", date=RUN.date, secrets={"c": "tok-en"})
    with pytest.raises(TaskFileError, match="only letters and digits") as raised:
        load_task_file(
            "version: v1.1.0\nalias:\n  values: {'{{.Values.c}}': x}\nsteps:\n- cmd: x\n", run, {"c": "tok-en"}
        )
    assert "tok-en" not in str(raised.value)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "x: &x {" + ", ".join(f"k{number}: 1" for number in range(2000)) + "}\nsteps:\n- <<: [" + "*x, " * 2000 + "]\n",
        "a: &x {cmd: c, when: [" + "a, " * 2000 + "]}\nsteps: [" + "*x, " * 3000 + "]\n",
    ],
)
def test_anchors_cannot_multiply_what_is_read(text: str) -> None:
    with pytest.raises(TaskFileError, match="more than"):
        parsed(text)


def test_a_secret_that_breaks_the_yaml_fails_as_in_acr_without_showing_itself() -> None:
    text = "secrets:\n- {id: user, keyvault: https://v/secrets/u}\nsteps:\n- cmd: x {{.Secrets.user}}\n"
    for value in ("pass: word", "\n*pass word", 'pass: "word', "\n  a: *pass", "\n  [pass: word"):
        run = RunInfo(id="ca4", registry="r.azurecr.io", date=RUN.date, secrets={"user": value})
        with pytest.raises(TaskFileError) as raised:
            load_task_file(text, run, {})
        assert not {"pass", "word"} & set(re.findall(r"\w+", str(raised.value)))


def test_image_aliases_stand_first_in_cmd() -> None:
    task = parsed("version: v1.1.0\nsteps:\n- cmd: bash echo bash\n")
    assert task.steps[0].run == "mcr.microsoft.com/acr/bash:2ff604c echo bash"
