"""`task explain`, as a user runs it: what it prints for a task file, and what for one that ACR would refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sandbox.__main__ import main

ROOT = Path(__file__).parents[2]
TASK = """\
version: v1.1.0
env: ["COLOR={{.Values.COLOR}}"]
secrets:
  - id: token
    keyvault: https://v.vault.azure.net/secrets/token
volumes: [{name: files, secret: {file: "{{.Secrets.token}}"}}]
steps:
  - id: build
    build: -t $Registry/app:$ID --build-arg TAG={{.Values.TAG}} -f Dockerfile .
  - id: test
    cmd: $Registry/app:$ID --token {{.Secrets.token}}
    env: ["BASIC={{.Secrets.token | b64enc}}"]
    retries: 3
    retryDelay: 9
    volumeMounts: [{name: files, mountPath: /files}]
  - {id: lint, when: ["-"], cmd: docker run --rm a.io/lint:1 .}
  - {id: push, when: [test, lint], push: ["$Registry/app:$ID"]}
"""
DOCKERFILE = "ARG TAG\nFROM go:1 AS tools\nFROM base.azurecr.io/node:$TAG\nCOPY --from=php:8 /a /b\n"
PRINTED = """\
{file}, version v1.1.0, as the run ca1 of myregistry.azurecr.io
order: build and lint, then test, then push
secrets: token

build (build), at once
  command: -t myregistry.azurecr.io/app:ca1 --build-arg TAG=15 -f Dockerfile .
  image: myregistry.azurecr.io/app:ca1
  env: COLOR=Red
  timeout: 600
  runtime dependency: base.azurecr.io/node:15
  buildtime dependency: registry.hub.docker.com/library/go:1
  note: ACR will not see this base: docker.io/library/php:8 (line 4 of the Dockerfile): its scan reads no COPY. \
No base-image trigger fires for it: give it a stage of its own (FROM IMAGE AS NAME, COPY --from=NAME).

test (cmd), after build
  command: myregistry.azurecr.io/app:ca1 --token {{{{.Secrets.token}}}}
  image: myregistry.azurecr.io/app:ca1
  env: BASIC={{{{.Secrets.token | b64enc}}}}
  env: COLOR=Red
  volumeMounts: {{"files":"/files"}}
  timeout: 600
  retries: 3
  retryDelay: 9

lint (cmd), at once
  command: docker run --rm a.io/lint:1 .
  image: a.io/lint:1
  env: COLOR=Red
  timeout: 600

push (push), after test and lint
  image: myregistry.azurecr.io/app:ca1
  env: COLOR=Red
  timeout: 600
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def explain(*arguments: str) -> int:
    return main(("task", "explain", *arguments))


def write(folder: Path, text: str, dockerfile: str = DOCKERFILE, name: str = "acr-task.yaml") -> str:
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / name).write_text(text)
    return name


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_steps_images_environment_order_and_dependencies_are_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(folder, TASK)
    assert explain(file, "--set", "COLOR=Red", "--set", "TAG=15") == 0
    assert capsys.readouterr() == (PRINTED.format(file=file), "")


def test_json_has_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(folder, TASK)
    assert explain(file, "--set", "COLOR=Red", "--set", "TAG=15", "--registry", "contoso.azurecr.io", "--json") == 0
    shown = printed(capsys)
    assert (shown["file"], shown["version"], shown["secrets"]) == (file, "v1.1.0", ["token"])
    assert shown["order"] == [["build", "lint"], ["test"], ["push"]]
    assert shown["variables"]["Registry"] == "contoso.azurecr.io"
    build, test, lint, push = shown["steps"]
    assert build["dependencies"] == {
        "runtime": {"registry": "base.azurecr.io", "repository": "node", "tag": "15", "digest": ""},
        "buildtime": [{"registry": "registry.hub.docker.com", "repository": "library/go", "tag": "1", "digest": ""}],
    }
    assert len(build["notes"]) == 1
    assert (test["waitsFor"], test["env"]) == (["build"], ["BASIC={{.Secrets.token | b64enc}}", "COLOR=Red"])
    assert test["settings"] == {"volumeMounts": {"files": "/files"}, "timeout": 600, "retries": 3, "retryDelay": 9}
    assert (lint["kind"], lint["images"]) == ("cmd", ["a.io/lint:1"])
    assert "waitsFor" not in lint
    assert (push["kind"], push["images"], push["waitsFor"]) == (
        "push",
        ["contoso.azurecr.io/app:ca1"],
        ["test", "lint"],
    )


def test_nothing_is_started_or_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explain(write(folder, TASK), "--set", "COLOR=Red", "--set", "TAG=15")
    assert sorted(path.name for path in folder.iterdir()) == ["Dockerfile", "acr-task.yaml"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("steps:\n  - {id: a, cmd: x}\n  - {id: a, cmd: y}\n", 3, "a"),
        ("steps:\n  - cmd: x\n   bad: yes\n", 3, ""),
        ("steps:\n  - {id: a, cmd: x, when: [b]}\n  - {id: b, cmd: y, when: [a]}\n", 2, "a"),
        ("version: v9\nsteps:\n  - cmd: x\n", 1, "v9"),
    ],
)
def test_an_invalid_task_file_is_told_with_its_line(
    text: str, line: int, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(folder, text)
    assert explain(file) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{file}:{line}" in err
    assert explain(file, "--json") == 1
    shown = printed(capsys)
    assert set(shown) == {"file", "errors"}
    assert [error["file"] for error in shown["errors"]] == [file] * len(shown["errors"])
    first = next(error for error in shown["errors"] if error["line"] == line)
    assert words in first["message"]
    assert not first["message"].startswith("line ")


def test_a_dockerfile_that_fails_acrs_scan_is_an_error_with_its_line_and_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(folder, "steps:\n- {id: app, build: .}\n", "ARG A\nFROM --platform=linux/amd64 node:15 AS x\n")
    assert explain(file) == 1
    out, err = capsys.readouterr()
    assert "app (build), at once" in out
    message = "unable to understand line FROM --platform=linux/amd64 node:15 AS x"
    assert err.startswith(f"Dockerfile:2: step app: {message}\n  ACR Tasks does not know FROM --platform (")
    assert "https://github.com/Azure/acr/issues/697" in err
    assert explain(file, "--json") == 1
    (error,) = printed(capsys)["errors"]
    assert (error["file"], error["line"], error["step"], error["message"]) == ("Dockerfile", 2, "app", message)


def test_a_base_that_acr_looks_for_in_vain_is_noted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(folder, "steps:\n- build: .\n", "ARG T=1\nARG T=2\nFROM a.io/base:$T\n")
    assert explain(file) == 0
    out = capsys.readouterr().out
    assert "note: ACR will not see this base: a.io/base:2 (line 3 of the Dockerfile): its scan reads a.io/base:1" in out
    assert "note: ACR Tasks records a.io/base:1 as a base image (line 3 of the Dockerfile)" in out


def test_an_image_of_an_earlier_step_is_a_base_without_a_note(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "Second").write_text("FROM test:1\n")
    file = write(folder, "steps:\n- build: -t test:1 .\n- build: -f Second .\n", "FROM node:15\n")
    assert explain(file) == 0
    out = capsys.readouterr().out
    assert "runtime dependency: registry.hub.docker.com/library/test:1" in out
    assert "note" not in out


def test_a_dockerfile_that_is_not_there_yet_is_noted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(folder, "steps:\n- build: -f made/Dockerfile .\n- build: -f ../../Dockerfile .\n")
    assert explain(file) == 0
    out = capsys.readouterr().out
    assert "note: There is no made/Dockerfile in ., so" in out
    assert "note: There is no ../../Dockerfile in ., so" in out
    assert "dependency:" not in out


def test_what_the_sandbox_does_not_run_is_noted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'steps:\n- cmd: docker system prune\n- cmd: docker build -t a.io/b:1 .\n- cmd: image "open\n'
    assert explain(write(folder, text, "FROM node:15\n")) == 0
    out = capsys.readouterr().out
    assert "note: The sandbox does not run this: docker system is not supported here" in out
    assert "it does not scan `docker build` in a cmd step" in out
    assert 'note: The sandbox cannot parse this command line: a " is not closed' in out


def test_a_command_cannot_hide_itself_from_who_reads_the_explanation(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(folder, 'steps:\n- cmd: "evil \\e[2K\\e[1A x"\n  env: ["A=b\\n  note: harmless"]\n')
    assert explain(file) == 0
    shown = capsys.readouterr().out
    assert "command: evil \\x1b[2K\\x1b[1A x\n" in shown
    assert "env: A=b\\n  note: harmless\n" in shown


@pytest.mark.parametrize("name", ["x" * 300, "loop"])
def test_a_dockerfile_with_a_name_that_no_file_has_is_not_there(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "loop").symlink_to("loop")
    file = write(folder, f"steps:\n- build: -t a -f {name} .\n")
    assert explain(file) == 0
    assert "its base images are not known" in capsys.readouterr().out


def test_the_context_may_be_another_folder_than_that_of_the_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "tasks").mkdir()
    write(folder, "", "FROM node:15\n")
    (folder / "tasks" / "app.yaml").write_text("workingDirectory: src\nsteps:\n- build: -f ../Dockerfile .\n")
    (folder / "src").mkdir()
    assert explain("tasks/app.yaml", "--context", ".") == 0
    assert "runtime dependency: registry.hub.docker.com/library/node:15" in capsys.readouterr().out


def test_the_readme_shows_what_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = re.sub("^    ", "", (ROOT / "sandbox" / "README.md").read_text(), flags=re.MULTILINE)
    (folder / "samples").symlink_to(ROOT / "samples")
    (folder / "app").mkdir()
    text = "version: v1.1.0\nsteps:\n- {id: build, build: -t $Registry/app:$ID .}\n"
    write(folder / "app", text, "FROM --platform=$BUILDPLATFORM node:15 AS build\n")
    (shown,) = re.findall(r"^python -m sandbox task (explain .*)$", readme, re.MULTILINE)
    assert main(("task", *shown.split())) == 0
    assert explain("app/acr-task.yaml") == 1
    out, err = capsys.readouterr()
    assert out.partition("\napp/")[0] in readme
    assert err in readme


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.yaml"], "sandbox: gone.yaml cannot be read: No such file or directory"),
        (["."], "sandbox: . cannot be read: Is a directory"),
        (["latin.yaml"], "sandbox: latin.yaml is no UTF-8 text"),
        (["acr-task.yaml", "--context", "gone"], "sandbox: there is no folder gone"),
    ],
)
def test_what_cannot_be_read_is_told(
    arguments: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, TASK)
    (folder / "latin.yaml").write_bytes(b"steps: \xe9\n")
    assert explain(*arguments) == 1
    assert capsys.readouterr() == ("", f"{said}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: FILE"),
        (["acr-task.yaml", "--set", "A"], "'A' is not NAME=VALUE"),
        (["acr-task.yaml", "--set", "=A"], "'=A' is not NAME=VALUE"),
    ],
)
def test_wrong_arguments_are_told(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        explain(*arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_what_acr_ignores_and_what_its_agent_expands_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'version: v1.1.0\nalias: {src: [tools.yaml]}\nsteps:\n- cmd: tool "$HOME" $ID\n  colour: red\n'
    (folder / "tools.yaml").write_text("tool: a.io/tool:1\n")
    assert explain(write(folder, text)) == 0
    out = capsys.readouterr().out
    assert "warning: line 5: colour is no key of a step: ACR ignores it" in out
    assert "note: step acb_step_0: $HOME outside single quotes is that of ACR's agent, not of the container." in out
    assert "image: a.io/tool:1" in out
