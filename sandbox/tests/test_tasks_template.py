"""Templates and aliases of task files."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sandbox.tasks.outcome import RunInfo
from sandbox.tasks.taskfile.model import TaskFileError
from sandbox.tasks.taskfile.template import render

RUN = RunInfo(
    id="ca4",
    registry="contoso.azurecr.io",
    date=datetime(2020, 10, 30, 3, 57, 39, tzinfo=UTC),
    task_name="hello-world",
    commit="abc123",
    branch="main",
    secrets={"token": "s3cret", "with-dash": "dashed"},
)
VALUES = {"FROM": "docker.io/", "empty": "", "price": "$Registry"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.Run.Registry}}/a:{{ .Run.ID }}", "contoso.azurecr.io/a:ca4"),
        ("{{.Run.RegistryName}} {{.Run.Date}} {{.Run.TaskName}}", "contoso 20201030-035739z hello-world"),
        ("{{.Run.Commit}} {{.Run.Branch}} {{.Run.OS}}/{{.Run.Architecture}}", "abc123 main linux/amd64"),
        ("{{.Values.FROM}}node", "docker.io/node"),
        ('{{index .Values "FROM"}}node', "docker.io/node"),
        ('{{.Secrets.token}} {{index .Secrets "with-dash"}}', "s3cret dashed"),
        ("{{.Secrets.token | b64enc}}", "czNjcmV0"),
        ('{{.Values.absent | default "latest"}} {{default "x" .Values.empty}}', "latest x"),
        ("a \n {{- .Values.FROM -}} \n b", "adocker.io/b"),
        ("a{{/* said */}}b", "ab"),
        ("price is {{.Values.price}}", "price is $Registry"),
        ("cost: $5", "cost: $5"),
    ],
)
def test_expressions_are_filled_in_as_go_does(text: str, expected: str) -> None:
    assert render(text, RUN, VALUES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$Registry/hello:$ID", "contoso.azurecr.io/hello:ca4"),
        ("$Registry$ID", "contoso.azurecr.ioca4"),
        ("$RegistryName $Date $OS $Architecture $Commit $Branch", "contoso 20201030-035739z linux amd64 abc123 main"),
        ("echo $$HOME ${HOME}", "echo $HOME ${HOME}"),
    ],
)
def test_aliases_exist_from_version_1_1_0_on(text: str, expected: str) -> None:
    assert render(f"version: v1.1.0\nx: {text}", RUN, VALUES) == f"version: v1.1.0\nx: {expected}"
    assert render(f"version: v1.0.0\nx: {text}", RUN, VALUES) == f"version: v1.0.0\nx: {text}"


def test_a_file_brings_its_own_aliases_and_its_own_sign() -> None:
    text = (
        'version: v1.1.0\nalias:\n  directive: "%"\n  values:\n    repo: "{{.Run.ID}}-repo"\nx: "%Registry/%repo $5"\n'
    )
    assert render(text, RUN, VALUES).splitlines()[-1] == 'x: "contoso.azurecr.io/ca4-repo $5"'
    assert len(render(text, RUN, VALUES).splitlines()) == len(text.splitlines())


def test_comments_are_no_templates() -> None:
    assert render("a\n  # {{.Values.gone}} $x\nb", RUN, VALUES) == "a\n  # {{.Values.gone}} $x\nb"
    text = "version: v1.1.0\nalias:\n  values:\n# said\n    a: b\n # $gone {{.Values.gone}}\nx: $a"
    assert render(text, RUN, VALUES).splitlines()[-1] == "x: b"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ok\n {{.Values.gone}}", "line 2, column 2: no value is given for .Values.gone"),
        ("{{.Secrets.gone}}", "no secret is given for .Secrets.gone"),
        ("{{.Run.Colour}}", "unknown field .Run.Colour"),
        ("{{.Walues.x}}", "unknown field .Walues.x"),
        ("{{if .Values.FROM}}", "unknown function if"),
        ("{{.Values.FROM | shout}}", "unknown function shout"),
        ("{{.Values}}", "has no value"),
        ("a {{.Values.FROM", "line 1, column 3: {{ is not closed"),
        ("{{}}", "an expression is empty"),
        ("version: v1.1.0\nx: $registry", "line 2, column 4: unknown alias $registry"),
    ],
)
def test_what_is_unknown_or_missing_is_named_with_its_place(text: str, fault: str) -> None:
    with pytest.raises(TaskFileError) as raised:
        render(text, RUN, VALUES)
    assert fault in str(raised.value)


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(TaskFileError) as raised:
        render("{{.Values.a}} {{.Values.b}}\n{{.Run.c}}", RUN, VALUES)
    assert len(raised.value.faults) == 3


def test_the_description_of_a_run_shows_no_secret() -> None:
    assert "s3cret" not in repr(RUN)
