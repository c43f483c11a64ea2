"""Templates and aliases of task files. What each of them does is in the rows of `sandbox/conformance`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from sandbox.tasks.outcome import RunInfo
from sandbox.tasks.taskfile.gotemplate.execution import FUNCTIONS
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
SPRIG = """
abbrev abbrevboth add add1 adler32sum ago append atoi b32dec b32enc b64dec b64enc base biggest buildCustomCert
camelcase cat ceil clean coalesce compact concat contains date dateInZone dateModify date_in_zone date_modify
decryptAES deepCopy deepEqual default derivePassword dict dir div empty encryptAES env expandenv ext fail
first float64 floor genCA genPrivateKey genSelfSignedCert genSignedCert getHostByName has hasKey hasPrefix
hasSuffix hello htmlDate htmlDateInZone indent initial initials int int64 isAbs join kebabcase keys kindIs
kindOf last list lower max merge mergeOverwrite min mod mul nindent nospace now omit pick pluck plural prepend
push quote randAlpha randAlphaNum randAscii randNumeric regexFind regexFindAll regexMatch regexReplaceAll
regexReplaceAllLiteral regexSplit repeat replace rest reverse round semver semverCompare set sha1sum sha256sum
shuffle slice snakecase sortAlpha split splitList splitn squote sub substr swapcase ternary title toDate
toDecimal toJson toPrettyJson toString toStrings trim trimAll trimPrefix trimSuffix trimall trunc tuple typeIs
typeIsLike typeOf uniq unixEpoch unset until untilStep untitle upper urlJoin urlParse uuidv4 values without
wrap wrapWith
"""
VALUES = {"FROM": "docker.io/", "empty": "", "price": "$Registry"}


def rendered(text: str) -> str:
    return render(text, RUN, VALUES).source.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.Run.Registry}}/a:{{ .Run.ID }}", "contoso.azurecr.io/a:ca4"),
        ("{{.Run.RegistryName}} {{.Run.Date}} {{.Run.TaskName}}", "contoso 20201030-035739z hello-world"),
        ("{{.Values.FROM}}node {{.Values.absent}}", "docker.io/node "),
        ('{{.Secrets.token}} {{index .Secrets "with-dash"}}', "s3cret dashed"),
        ("{{.Secrets.token | b64enc}}", "czNjcmV0"),
        ('{{.Values.absent | default "latest"}} {{default "x" .Values.empty}}', "latest x"),
        ("price is {{.Values.price}}", "price is $Registry"),
        ("cost: $5", "cost: $5"),
        ("version: v1.1.0\nx: $Registry/a:$ID", "version: v1.1.0\nx: contoso.azurecr.io/a:ca4\n"),
        ("version: v1.1.0\nx: price {{.Values.price}}", "version: v1.1.0\nx: price $Registry\n"),
    ],
)
def test_a_file_is_rendered(text: str, expected: str) -> None:
    assert rendered(text) == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ok\n {{.Values.gone.deep}}", "line 2, column 4: nil pointer evaluating"),
        ("# said\n\n{{.Walues.x}}", "line 3, column 3: nil pointer evaluating"),
        (
            "version: v1.1.0\nalias:\n  values:\n    a: b\n# said\nx: {{shout}}",
            "line 6, column 6: unknown function shout",
        ),
        ("a {{.Values.FROM", "line 1, column 3: {{ is not closed"),
        ("{{.Values.a-b}}", 'write index .Values "a-b"'),
        ("{{if true}}\n{{range list}}x{{end}}", "line 1, column 1: {{if}} is not closed"),
    ],
)
def test_what_cannot_be_rendered_is_named_with_its_place_in_the_file(text: str, fault: str) -> None:
    with pytest.raises(TaskFileError) as raised:
        rendered(text)
    assert fault in str(raised.value)


def test_every_line_of_the_result_knows_its_line_of_the_file() -> None:
    text = (
        "version: v1.1.0\n# one\nalias:\n  values:\n    two: |\n      x\n      y\nsteps:\n# two\n"
        "$two{{range list 1 2}}\nz{{end}}\nlast"
    )
    source = render(text, RUN, VALUES).source
    lines = source.text.splitlines()
    assert lines == ["version: v1.1.0", "steps:", "x", "y", "", "z", "z", "last"]
    assert [source.line(index) for index in range(len(lines))] == [1, 8, 10, 10, 10, 11, 11, 12]


@pytest.mark.attack("a task file", "all memory or time, through a template", "limits of steps, sizes and depth")
@pytest.mark.parametrize(
    "text",
    [
        "{{range until 10000}}{{range until 10000}}x{{end}}{{end}}",
        "{{until 1000000000}}",
        "{{repeat 1000000000 `x`}}",
        "{{indent 1000000000 `x`}}",
        "{{printf `%1000000000d` 1}}",
        "{{$x := `xxxxxxxxxx`}}{{range until 40}}{{$x = print $x $x}}{{end}}",
        "{{$x := list 1}}{{range until 40}}{{$x = list $x $x}}{{end}}{{$x}}",
        "{{$x := dict}}{{range until 40}}{{$x = dict `a` $x `b` $x}}{{end}}{{toJson $x}}",
        "{{$x := repeat 100000 `x`}}{{range until 1000}}{{$x}}{{end}}",
        "{{define `t`}}{{template `t`}}{{end}}{{template `t`}}",
        "{{" + "(" * 2000 + "1" + ")" * 2000 + "}}",
        "{{if true}}" * 2000,
        "{{range 1000000000}}x{{end}}",
        "{{randAlpha 1000000000}}",
        "{{$x := repeat 1000000 `x`}}{{range until 10000}}{{upper $x | len}}{{end}}",
        "{{$x := repeat 1000000 `x`}}{{range until 10000}}{{contains `y` $x}}{{end}}",
        "{{$x := repeat 1000000 `x`}}{{print " + "$x " * 1000 + "}}",
        "{{$x := repeat 1000000 `x`}}{{$y := list " + "$x " * 1000 + "}}",
        "{{replace `` (repeat 100000 `x`) (repeat 100000 `y`)}}",
        "{{indent 100000 (repeat 100000 `\n`)}}",
        '{{indent 100000 (repeat 100000 "\\n")}}',
        "{{join (repeat 1000000 `x`) (until 9000)}}",
        "{{wrapWith 1 (repeat 1000000 `x`) (repeat 1000000 `y `)}}",
        "{{$d := dict}}{{set $d `a` $d}}",
        "{{$x := list}}{{range until 1000}}{{$x = list $x}}{{end}}{{toPrettyJson $x}}",
        "{{define `t`}}" + "{{if true}}" * 45 + "{{template `t`}}" + "{{end}}" * 45 + "{{end}}{{template `t`}}",
        "{{date `2006` 99999999999999999}}",
        '{{"\\U99999999"}}',
        "{{regexMatch `(a+)+$` `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!`}}",
        "{{wrap 1 (repeat 500000 `a`)}}",
        "{{date (repeat 300000 `1`) now}}",
        "{{uniq (until 3000)}}",
        "{{range until 300}}{{$x := randAlpha 100000}}{{end}}",
        "{{list" + " 1" * 40_000 + "}}",
        "{{$a := 1}}" * 4000 + "{{$a = 2}}" * 4000,
        "{{/*" + "x" * 2_000_000 + "*/}}{{range until 3000}}{{1}}{{end}}",
        "{{0x" + "f" * 5000 + "}}",
        "{{range 0x" + "f" * 5000 + "}}{{end}}",
    ],
)
@pytest.mark.timeout(20)
def test_a_template_cannot_take_this_machines_memory_or_time(text: str) -> None:
    with pytest.raises(TaskFileError):
        rendered(text)


@pytest.mark.timeout(20)
def test_a_duration_that_is_none_is_refused_at_once() -> None:
    assert rendered("{{now | dateModify (repeat 100000 `1`) | kindOf}}") == "struct"


@pytest.mark.timeout(60)
def test_many_outputs_after_a_long_comment_are_rendered() -> None:
    assert rendered("{{/*" + "\n" * 900_000 + "*/}}{{range until 3000}}{{1}}{{end}}") == "1" * 3000


def test_half_of_a_surrogate_pair_is_no_character() -> None:
    assert rendered('{{printf "%c" 0xD800}}{{"\\uD800"}}') == "\ufffd\ufffd"


def test_aliases_cannot_make_a_file_of_any_length() -> None:
    with pytest.raises(TaskFileError, match="longer than 1 Mi characters"):
        rendered("version: v1.1.0\nalias:\n  values: {a: " + "x" * 100_000 + "}\nx: " + "$a " * 20)


@pytest.mark.attack("a task file", "the environment of this machine, through a template", "functions by name")
@pytest.mark.parametrize("name", ["env", "expandenv", "getHostByName"])
def test_a_template_does_not_read_this_machine(name: str) -> None:
    with pytest.raises(TaskFileError, match="it would read this machine"):
        rendered(f'{{{{{name} "HOME"}}}}')


def test_every_function_of_sprig_is_there_or_refused_by_name() -> None:
    assert sorted(set(SPRIG.split()) - FUNCTIONS.keys()) == []


@pytest.mark.parametrize(
    "text",
    [
        "{{.Secrets.token | fail}}",
        "{{fail (print `x` .Secrets.token)}}",
        "{{eq .Secrets.token 1}}",
        "{{.Secrets.token.field}}",
        "{{index .Secrets.token `a`}}",
        "{{.Secrets.token | atoi | fail}}",
        "{{range .Secrets.token}}{{end}}",
    ],
)
def test_no_fault_of_a_template_shows_a_secret(text: str) -> None:
    with pytest.raises(TaskFileError) as raised:
        rendered(text)
    assert "s3cret" not in str(raised.value)


def test_a_text_made_of_a_secret_is_one() -> None:
    text = "{{.Secrets.token | upper}} {{print .Secrets}} {{range .Secrets}}{{.}}{{end}} {{.Run.ID | upper}}"
    secrets = render(text, RUN, VALUES).secrets
    assert {"S3CRET", "s3cret", "dashed"} <= secrets
    assert "CA4" not in secrets


def test_the_description_of_a_run_shows_no_secret() -> None:
    assert "s3cret" not in repr(RUN)
    assert "s3cret" not in repr(render("x: {{.Secrets.token}}", RUN, VALUES))


def test_a_time_has_the_parts_that_its_layout_names() -> None:
    assert re.fullmatch(r"\d{8}-\d{6}", rendered('{{now | date "20060102-150405"}}'))
